"""Whole runs of paper 5 whose reports a language model writes: a real server on loopback, what it is sent, and when it is asked at all."""

import contextlib
import json
import logging
import pathlib
import shutil
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent / "preprocess"), str(pathlib.Path(__file__).resolve().parent)]

import chat_server as chat  # noqa: E402
import reports_cohort as tiny  # noqa: E402

from jaxstroke.preprocess.report import asking  # noqa: E402

pytestmark = pytest.mark.usefixtures("signals_kept")
DESCRIBED = tiny.PATIENTS - 1  # who has a mask or a slice
BAD = 8  # answers that are refused, all attempts of 4 patients


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(asking, "BACK_OFF", 0.01)


@contextlib.contextmanager
def running():
    """A server whose answers tell no number but that of the findings."""
    with chat.running() as server:
        server.otherwise = good
        yield server


good = chat.says(lambda sections: sections | {"territories": "Left front."})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("cohort"))


def model(server, *more) -> tuple[str, ...]:
    return (
        "--config.text.source=llm", f"--config.text.llm.url={server.url}", "--config.text.llm.model=a-model",
        "--config.text.llm.image=flair", "--config.text.llm.slices=1", "--config.text.llm.at_once=1", "--config.text.llm.attempts=2",
        "--config.text.llm.seconds=20.0", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(table):
    """(workdir, bodies of all requests). The server is gone."""
    workdir = table.parent / "first"
    with running() as server:
        assert tiny.run(table, workdir, *model(server)) == 0
        return workdir, list(server.bodies)


def test_every_report_is_asked_for_once(trained):
    workdir, bodies = trained
    found = tiny.lines(workdir)
    assert len(bodies) == DESCRIBED and sum(bool(line["text"]) for line in found.values()) == DESCRIBED
    nothing = found[tiny.name_of(tiny.NO_IMAGE)]
    assert nothing["failure"] == "not made: there is neither a lesion mask nor a slice to write of"
    for line in found.values():
        if line["text"]:
            assert line["text"].startswith("Side: Left hemisphere.") and line["provenance"]["generator"] == "llm"
            assert "mask" not in line and line["provenance"]["cached"] is False
    tests = tiny.predictions(workdir / "predictions.csv").query("split == 'test'").set_index("patient_id")["missing"]
    assert len(tests) == tiny.PATIENTS and tests[tiny.name_of(tiny.NO_IMAGE)] == "flair|report"


def test_nothing_but_findings_and_slices_is_sent(trained):
    """No id, no age, no clinical column, no outcome, no path; the findings have names of their own, all of which are known."""
    _, bodies = trained
    known = {"side", "volume_ml", "left_ml", "right_ml", "lesions", "diameter_mm", "territories", "outside_ml", "signals"}
    for body in bodies:
        request = json.loads(body)
        assert set(request) == {"model", "temperature", "messages", "response_format"}
        told = chat.told(request)
        assert told is None or set(told) == known
        for word in (b"SENTINEL", b"nihss", b"mrs", b".nii", b"infarct,", b"cohort"):
            assert word not in body, word
        for number in range(tiny.PATIENTS):
            assert str(61.037 + number / 2).encode() not in body
    pictures = [json.loads(body)["messages"][1]["content"] for body in bodies]
    assert all(content[1]["image_url"]["url"].startswith("data:image/png;base64,") for content in pictures)
    without = [content for content in pictures if content[0]["text"].startswith("There are no findings")]
    assert len(without) == 1  # the patient without a mask: a slice alone


def test_a_trained_workdir_needs_no_server(trained):
    """Not to evaluate, and not to train on the same reports in another workdir."""
    workdir, _ = trained
    before = (workdir / "predictions.csv").read_bytes(), (workdir / "reports.jsonl").read_bytes()
    assert tiny.again(workdir, "evaluate") == 0
    assert ((workdir / "predictions.csv").read_bytes(), (workdir / "reports.jsonl").read_bytes()) == before


def test_reports_that_were_edited_are_refused_and_lost_ones_are_taken_from_the_answers(trained, table, tmp_path, capsys):
    workdir, more = tmp_path / "run", f"--config.cohort.records={table.parent / 'records'}"
    shutil.copytree(trained[0], workdir)
    path, before = workdir / "reports.jsonl", (workdir / "reports.jsonl").read_bytes()
    path.write_bytes(before.replace(b"Left hemisphere.", b"Right hemisphere.", 1))
    assert f"{path}, or what it is made from, holds other data" in tiny.refused(capsys, tiny.again(workdir, "evaluate", more))
    for lost in (before[: len(before) // 2], b"\xff\xfe" + before, b"[]\n{}\n3\n"):
        path.write_bytes(lost)
        assert tiny.again(workdir, "evaluate", more) == 0
        assert {unit: line["text"] for unit, line in tiny.lines(workdir).items()} == {
            unit: line["text"] for unit, line in tiny.lines(trained[0]).items()
        }


@pytest.mark.slow
def test_another_workdir_takes_the_answers_that_are_there(trained, table, tmp_path):
    workdir, _ = trained
    with running() as server:
        records = f"--config.cohort.records={table.parent / 'records'}"
        assert tiny.run(table, tmp_path / "second", *model(server), records) == 0
        assert server.bodies == []
    assert {unit: line["text"] for unit, line in tiny.lines(tmp_path / "second").items()} == {
        unit: line["text"] for unit, line in tiny.lines(workdir).items()
    }
    assert all(line["provenance"]["cached"] for line in tiny.lines(tmp_path / "second").values() if line["text"])
    assert (tmp_path / "second" / "predictions.csv").read_bytes() == (workdir / "predictions.csv").read_bytes()


def test_new_patients_alone_are_asked_for(trained, table, tmp_path):
    """By another server, since the first has moved; what training has said of the same findings is not asked for again."""
    workdir, _ = trained

    def change(frame):
        frame = frame.drop(columns="mrs").head(4)
        frame["patient_id"] = [f"NEW-{number}" for number in range(4)]
        frame.loc[0, "flair"] = frame.loc[1, "flair"]  # the mask of one on the image of another: no report there
        return frame

    new_table = tiny.changed(table, tmp_path / "new.csv", change)
    with running() as server:
        url = f"--config.text.llm.url={server.url}"
        said = ("--mode=predict", f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}", url, "--config.text.llm.at_once=2")
        assert tiny.main.main(["main", f"--workdir={workdir}", *said]) == 0
        assert len(server.bodies) == 1 and b"NEW-" not in server.bodies[0]
        assert tiny.main.main(["main", f"--workdir={workdir}", *said]) == 0
        assert len(server.bodies) == 1
    assert set(tiny.predictions(tmp_path / "out.csv")["missing"]) == {""}


@pytest.mark.slow
def test_answers_that_are_none_leave_patients_without_report(table, tmp_path, capsys):
    """Listed with the reason and told; training goes on, and afterwards they stay as they are."""
    workdir, records = tmp_path / "run", f"--config.cohort.records={table.parent / 'records'}"
    with running() as server:
        server.script = [good, *[chat.says(lambda sections: "sorry, no")] * BAD]
        more = (records, f"--config.text.llm.cache={tmp_path / 'answers'}")
        assert tiny.run(table, workdir, *model(server, *more)) == 0
        said, requests = capsys.readouterr().err, len(server.bodies)
        assert requests == DESCRIBED + BAD // 2
        failed = {unit: line for unit, line in tiny.lines(workdir).items() if not line["text"]}
        assert len(failed) == BAD // 2 + 1
        reasons = [line["failure"] for unit, line in failed.items() if unit != tiny.name_of(tiny.NO_IMAGE)]
        assert set(reasons) == {"not made in 2 attempts (config.text.llm.attempts), the last: the answer is no JSON object"}
        assert f"{len(failed)} of {tiny.PATIENTS} rows have no report" in said and "reports.jsonl" in said
        assert f"reports: {BAD // 2} of {DESCRIBED} are not made" in said
        before = (workdir / "predictions.csv").read_bytes()
        assert tiny.again(workdir, "evaluate") == 0 and tiny.run(table, workdir, *model(server, *more)) == 0
        assert len(server.bodies) == requests and (workdir / "predictions.csv").read_bytes() == before


def test_a_budget_that_is_used_ends_the_run_and_the_same_command_goes_on(table, tmp_path, capsys):
    """Networks trained on the reports that there happened to be would be no use. `prepare` alone is enough to make them."""
    workdir = tmp_path / "run"
    with running() as server:
        more = ("--config.text.llm.budget=15", f"--config.text.llm.cache={tmp_path / 'answers'}", "--mode=prepare")
        said = tiny.refused(capsys, tiny.run(table, workdir, *model(server, *more)))
        assert f"{DESCRIBED - 15} of {tiny.PATIENTS} reports are not made: config.text.llm.budget = 15 requests are used" in said
        assert "the same command again goes on" in said and len(server.bodies) == 15
        listed = tiny.lines(workdir).values()
        assert len(listed) == tiny.PATIENTS and sum(bool(line["text"]) for line in listed) == 15
        assert all(line["text"] or line["failure"] for line in listed)
        assert tiny.run(table, workdir, *model(server, *more)) == 0
        assert len(server.bodies) == DESCRIBED and sum(bool(line["text"]) for line in tiny.lines(workdir).values()) == DESCRIBED


def test_a_server_that_is_not_there_ends_the_run(table, tmp_path, capsys):
    with running() as server:
        arguments = model(server, f"--config.text.llm.cache={tmp_path / 'answers'}")
    said = tiny.refused(capsys, tiny.run(table, tmp_path / "run", *arguments))
    assert "reports are not made" in said and "config.text.llm.url" in said and not (tmp_path / "run" / "run.json").exists()
    listed = tiny.lines(tmp_path / "run").values()
    assert len(listed) == tiny.PATIENTS and all(line["failure"] and not line["text"] for line in listed)


@pytest.mark.slow
def test_instructions_are_kept_with_the_run(table, tmp_path):
    """New patients are asked for by the same, whatever became of the file."""
    prompt, workdir = tmp_path / "mine.txt", tmp_path / "run"
    prompt.write_text("Write it short. Answer as JSON.")
    with running() as server:
        more = (f"--config.text.llm.prompt={prompt}", f"--config.text.llm.cache={tmp_path / 'answers'}", "--config.train.epochs=1")
        assert tiny.run(table, workdir, *model(server, *more)) == 0
        prompt.unlink()
        shutil.rmtree(tmp_path / "answers")
        assert tiny.again(workdir, "evaluate") == 0 and len(server.bodies) == DESCRIBED
        new_table = tiny.changed(table, tmp_path / "new.csv", lambda frame: frame.drop(columns="mrs").head(2))
        assert tiny.again(workdir, "predict", f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}") == 0
        assert len(server.bodies) == DESCRIBED + 2
        assert {request["messages"][0]["content"] for request in server.requests} == {"Write it short. Answer as JSON."}


def test_no_id_beyond_the_first_is_in_the_log(trained, table, tmp_path, caplog, monkeypatch):
    """What preparation says of a cohort with its log at its widest."""
    with running() as server, caplog.at_level(logging.DEBUG):
        monkeypatch.setattr(logging.getLogger("jaxstroke"), "propagate", True)
        server.script = [chat.says(lambda sections: "sorry, no")] * 4
        more = (f"--config.text.llm.cache={tmp_path / 'answers'}", "--mode=prepare")
        assert tiny.run(table, tmp_path / "run", *model(server, *more)) == 0
    assert "infarct" not in caplog.text and "Left hemisphere" not in caplog.text and "61.0" not in caplog.text
