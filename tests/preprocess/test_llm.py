"""Reports by a language model: every one is made or listed, none is paid for twice, and nothing but findings and slices is sent."""

import json
import logging
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import chat_server as chat  # noqa: E402

from jaxstroke.errors import InputError  # noqa: E402
from jaxstroke.preprocess.report import answers, asking, instructions, llm  # noqa: E402
from jaxstroke.preprocess.report.findings import Seen  # noqa: E402
from jaxstroke.preprocess.report.sections import SECTIONS  # noqa: E402


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(asking, "BACK_OFF", 0.01)
    monkeypatch.setattr(logging.getLogger("jaxstroke"), "propagate", True)  # a test of `main` before may have set up its logging


@pytest.fixture
def server():
    with chat.running() as server:
        yield server


def made(found: dict) -> list[str]:
    return [unit for unit, answer in found.items() if answer.text]


def check_whole(found: dict, patients):
    """Each patient is there, in order, with either a report or a reason of one line."""
    assert list(found) == list(patients)
    for answer in found.values():
        assert bool(answer.text) != bool(answer.failure) and "\n" not in answer.failure and "Traceback" not in answer.failure


def test_report_is_rendered_and_says_where_it_is_from(server, tmp_path):
    found = llm.written({"a": chat.seen(7)}, chat.settings(server.url + "/?version=1"), tmp_path)["a"]
    assert found.text.splitlines()[0] == "Side: Left hemisphere." and "Size: 7.2 ml." in found.text and "Signal" not in found.text
    assert found.provenance == {
        "generator": "llm", "model": "a-model", "url": server.url, "prompt": instructions.digest(instructions.INSTRUCTIONS),
        "temperature": 0.0, "cached": False, "attempts": 1, "requests": 1,
    }  # fmt: skip
    assert server.heads[0][0] == "/v1/chat/completions?version=1"
    (request,) = server.requests
    assert request["model"] == "a-model" and request["temperature"] == 0 and chat.told(request)["volume_ml"] == 7.25
    assert request["messages"][0] == {"role": "system", "content": instructions.INSTRUCTIONS}
    schema = request["response_format"]["json_schema"]
    assert schema["strict"] and schema["schema"]["required"] == list(SECTIONS) and not schema["schema"]["additionalProperties"]


def test_slices_are_sent_beside_findings_or_alone(server, tmp_path):
    patients = {"a": chat.seen(1, (b"first png", b"second png")), "b": Seen(None, (b"first png",)), "c": Seen(None)}
    found = llm.written(patients, chat.settings(server.url), tmp_path)
    assert made(found) == ["a", "b"] and found["c"].failure == "not made: there is neither a lesion mask nor a slice to write of"
    parts = [request["messages"][1]["content"] for request in server.requests]
    assert [[part["type"] for part in content] for content in parts] == [["text", "image_url", "image_url"], ["text", "image_url"]]
    assert parts[1][1]["image_url"]["url"] == "data:image/png;base64,Zmlyc3QgcG5n"
    assert "JSON" in parts[1][0]["text"]


PASSING = {
    "no json": (chat.says(lambda right: "The scan shows an infarct."), "is no JSON object"),
    "no object": (chat.says(lambda right: list(right.values())), "is no JSON object"),
    "missing": (chat.says(lambda right: {n: t for n, t in right.items() if n != "size"}), "lacks the section 'size'"),
    "more": (chat.says(lambda right: right | {"prognosis": "poor"}), "has sections that were not asked for"),
    "no text": (chat.says(lambda right: right | {"lesions": 2}), "has a section 'lesions' that is no text"),
    "long": (chat.says(lambda right: right | {"size": "x" * 2001}), "has a section 'size' of more than 2000 characters"),
    "surrogate": (chat.says(lambda right: right | {"size": "\ud800"}), "has a section 'size' that is no text"),
    "empty": (chat.says(lambda right: dict.fromkeys(right, " ")), "has empty sections only"),
    "invented": (chat.says(lambda right: right | {"size": "volume 37 ml"}), "tells a number, 37, that the findings do not have"),
    "nothing": (chat.says(lambda right: None), "holds no text"),
    "limit of tokens": (chat.says(lambda right: right, end="length"), "is half an answer"),
    "garbage": (chat.garbage, "is no answer of a chat"),
    "429": (chat.fails(429, "slow down"), "the server answers 429: slow down"),
    "500": (chat.fails(500), "the server answers 500: out of order"),
    "503": (chat.fails(503, Retry_After="0"), "the server answers 503: out of order"),
    "half": (chat.half, "the connection ended in the middle of it"),
    "half of chunks": (chat.half_of_chunks, "the connection ended in the middle of it"),
    "hangs up": (chat.hangs_up, "the connection ended in the middle of it"),
    "silent": (chat.silent, "none within config.text.llm.seconds"),
    "trickles": (chat.trickles, "it is not whole within config.text.llm.seconds"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again_then_listed(server, tmp_path, name):
    behaviour, reason = PASSING[name]
    seconds = 0.3 if name in ("silent", "trickles") else 20.0
    patients = chat.cohort(4)
    server.script = [chat.good, behaviour, chat.good, behaviour, behaviour, chat.good]
    settings = chat.settings(server.url, seconds=seconds, attempts=2)
    found = llm.written(patients, settings, tmp_path)
    check_whole(found, patients)
    assert made(found) == ["SENTINEL-0", "SENTINEL-1", "SENTINEL-3"] and server.served == 3
    assert found["SENTINEL-1"].provenance["attempts"] == 2
    failure = found["SENTINEL-2"].failure
    assert failure.startswith("not made in 2 attempts (config.text.llm.attempts), the last: ") and reason in failure
    asked_again = llm.written(patients, settings, tmp_path)  # what is not made, and no more
    assert len(made(asked_again)) == 4 and len(server.bodies) == 7 and chat.told(server.requests[-1])["volume_ml"] == 2.25
    assert [answer.provenance["cached"] for answer in asked_again.values()] == [True, True, False, True]


def test_refused_answer_is_shown_to_the_model_again(server, tmp_path):
    server.script = [PASSING["invented"][0], chat.good]
    llm.written(chat.cohort(1), chat.settings(server.url), tmp_path)
    first, second = server.requests
    assert second["messages"][:2] == first["messages"] and [m["role"] for m in second["messages"][2:]] == ["assistant", "user"]
    assert "37" in second["messages"][2]["content"] and "tells a number, 37" in second["messages"][3]["content"]


@pytest.mark.parametrize("around", ["Here it is:\n```json\n{}\n```\nAnything else?", "<think>braces: {{a}}</think>\n{}"])
def test_text_around_the_object_does_no_harm(server, tmp_path, around):
    server.otherwise = chat.says(lambda right: around.format(json.dumps(right)))
    found = llm.written({"a": chat.seen(1)}, chat.settings(server.url), tmp_path)
    assert "Size: 1.2 ml." in found["a"].text and len(server.bodies) == 1


HOPELESS = {
    401: "not made: the server refused the key (401): check config.text.llm.key",
    403: "not made: the server does not allow it (403): check config.text.llm.key",
    404: "not made: the server knows no such address or model (404): check config.text.llm.url",
    307: "not made: the server sends elsewhere, which is not followed: give its own address as config.text.llm.url (307)",
}


@pytest.mark.parametrize("status", HOPELESS)
def test_what_is_hopeless_ends_the_run_at_once(server, tmp_path, status):
    patients = chat.cohort(9)
    server.script = [chat.good, chat.good]
    server.otherwise = chat.redirects if status == 307 else chat.fails(status)
    found = llm.written(patients, chat.settings(server.url), tmp_path)
    check_whole(found, patients)
    assert len(made(found)) == 2 and len(server.bodies) == 3 and {path for path, _ in server.heads} == {"/v1/chat/completions"}
    assert all(answer.failure.startswith(HOPELESS[status]) for answer in found.values() if answer.failure)


def test_refused_report_is_listed_and_the_others_go_on(server, tmp_path):
    patients = chat.cohort(3)
    server.script = [chat.fails(413, f"too large {'x' * 500}")]
    found = llm.written(patients, chat.settings(server.url), tmp_path)
    assert made(found) == ["SENTINEL-1", "SENTINEL-2"] and len(server.bodies) == 3
    words = found["SENTINEL-0"].failure
    assert words.startswith("not made: the server refuses it (413: too large xxx") and len(words) < 200


def test_server_that_makes_none_of_the_first_is_not_asked_for_all(server, tmp_path):
    server.otherwise = PASSING["no json"][0]
    patients = chat.cohort(30)
    found = llm.written(patients, chat.settings(server.url, attempts=2), tmp_path)
    check_whole(found, patients)
    assert len(server.bodies) == 20
    assert found["SENTINEL-29"].failure.startswith("not made: none of the first 10 reports could be made, the last for: the answer is no")


def test_nobody_at_the_address(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    patients = chat.cohort(40)
    found = llm.written(patients, chat.settings(url, attempts=3), tmp_path)
    check_whole(found, patients)
    failures = [answer.failure for answer in found.values()]
    assert failures[0] == "not made in 3 attempts (config.text.llm.attempts), the last: no reply of the server (it accepts no connection)"
    assert set(failures[1:]) == {
        "not made: no reply of the server (it accepts no connection): check config.text.llm.url and whether it runs; the same command "
        "again goes on"
    }
    assert sum(answer.provenance["requests"] for answer in found.values()) == 3


def test_server_that_dies_on_the_way(server, tmp_path):
    patients = chat.cohort(20)
    server.script = [chat.good] * 5
    server.otherwise = chat.hangs_up
    found = llm.written(patients, chat.settings(server.url, attempts=2), tmp_path)
    check_whole(found, patients)
    assert len(made(found)) == 5 and len(server.bodies) == 5 + 2 * 2  # of two reports, twice as many as are asked for at once


def test_limit_of_requests_pauses_all(server, tmp_path):
    """Two are asked for at once; the second is under way when the first is told to wait, and nothing is sent before a second is over."""
    both = threading.Barrier(2)
    refused = threading.Event()

    def limited(handler, request):
        both.wait(20)
        chat.fails(429, Retry_After="1")(handler, request)
        refused.set()

    def late(handler, request):
        both.wait(20)
        refused.wait(20)
        threading.Event().wait(0.3)
        chat.good(handler, request)

    server.script = [limited, late]
    found = llm.written(chat.cohort(6), chat.settings(server.url, at_once=2), tmp_path)
    assert len(made(found)) == 6 and server.times[2] - server.times[0] >= 1.0


def test_limit_of_requests_till_a_date(server, tmp_path):
    server.script = [chat.limited_till_date]
    found = llm.written(chat.cohort(2), chat.settings(server.url), tmp_path)
    assert len(made(found)) == 2 and server.times[1] >= server.date


@pytest.mark.parametrize("changes", [{}, {"status": 422}, {"status": 500}, {"long": True}])
@pytest.mark.parametrize("known, asked", [((chat.OBJECT,), 1), (("text",), 2)])
def test_older_server_is_asked_in_a_looser_format(server, tmp_path, caplog, known, asked, changes):
    server.otherwise = chat.knows_formats(*known, **changes)
    with caplog.at_level(logging.INFO, "jaxstroke"):
        found = llm.written(chat.cohort(5), chat.settings(server.url, attempts=1), tmp_path)
    assert len(made(found)) == 5 and len(server.bodies) == 5 + asked
    assert found["SENTINEL-0"].provenance["attempts"] == 1 and found["SENTINEL-0"].provenance["requests"] == 1 + asked
    assert sum("does not take response_format" in line for line in caplog.messages) == asked


def test_equal_findings_are_paid_for_once(server, tmp_path):
    advanced = []
    patients = {"a": chat.seen(1), "b": chat.seen(2), "c": chat.seen(1), "d": Seen(None)}
    found = llm.written(patients, chat.settings(server.url), tmp_path, advanced.append)
    assert found["a"] is found["c"] and len(server.bodies) == 2 and sorted(advanced) == [1, 1, 2]
    again = llm.written(patients, chat.settings("http://moved:1/v1"), tmp_path, advanced.append)  # no server is needed, nor there
    assert len(server.bodies) == 2 and {unit: a.text for unit, a in again.items()} == {unit: a.text for unit, a in found.items()}
    assert sum(advanced) == 8 and again["a"].provenance["cached"] and again["a"].provenance["requests"] == 0


def test_what_an_answer_depends_on_is_asked_anew(server, tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Write JSON.")
    patient, cache = {"a": chat.seen(1)}, tmp_path / "cache"
    cases = ({}, {"model": "other"}, {"temperature": 0.5}, {"prompt": str(prompt)})
    for number, changes in enumerate(cases, 1):
        for _ in range(2):
            found = llm.written(patient, chat.settings(server.url, **changes), cache)["a"]
            assert found.text and len(server.bodies) == number
    assert server.requests[-1]["messages"][0]["content"] == "Write JSON." and len(list(cache.iterdir())) == 4
    llm.written({"a": chat.seen(1, (b"png",))}, chat.settings(server.url), cache)
    assert len(server.bodies) == 5


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"sections": {"side": "left"}}', b"9" * 5000, b"[" * 100_000])
def test_damaged_answer_is_asked_for_again(server, tmp_path, damage):
    patient, settings = {"a": chat.seen(1)}, chat.settings(server.url)
    llm.written(patient, settings, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = json.loads(file.read_text())
    assert whole["usage"] == {"prompt_tokens": 200, "completion_tokens": 90} and whole["model"] == "a-model"
    file.write_bytes(damage)
    assert llm.written(patient, settings, tmp_path)["a"].text and len(server.bodies) == 2
    assert json.loads(file.read_text())["sections"] == whole["sections"]


def test_budget(server, tmp_path):
    patients, settings = chat.cohort(7), chat.settings(server.url, budget=4, at_once=3)
    server.script = [chat.fails(500)]
    found = llm.written(patients, settings, tmp_path)
    check_whole(found, patients)
    assert len(server.bodies) == 4 and len(made(found)) == 3
    said = "not made: config.text.llm.budget = 4 requests are used; the same command again goes on"
    assert {answer.failure for answer in found.values()} == {"", said}
    assert len(made(llm.written(patients, settings, tmp_path))) == 7 and len(server.bodies) == 8


def test_never_more_at_once_than_allowed(server, tmp_path):
    """The first three wait for each other: so many are open at least."""
    together = threading.Barrier(3)

    def meet(handler, request):
        together.wait(20)
        chat.good(handler, request)

    server.script = [meet] * 3
    found = llm.written(chat.cohort(30), chat.settings(server.url, at_once=3), tmp_path)
    assert len(made(found)) == 30 and server.most == 3 and len(server.bodies) == 30


COMMAND = """
import sys
sys.path.insert(0, sys.argv[1])
import chat_server as chat
from jaxstroke.preprocess.report import llm
llm.written(chat.cohort(12), chat.settings(sys.argv[2], at_once=2, seconds=600.0), sys.argv[3])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_pays_nothing_twice(server, tmp_path, project_root, number):
    """Answers under way at the kill, `at_once` at most, may be paid for again: here the server had not given them yet. Ctrl-C does not wait
    for them."""
    server.script = [chat.good] * 5
    server.otherwise = chat.silent
    command = [sys.executable, "-c", COMMAND, str(pathlib.Path(chat.__file__).parent), server.url, str(tmp_path)]
    process = subprocess.Popen(command, cwd=project_root, stderr=subprocess.DEVNULL)
    try:
        chat.wait_for(lambda: server.held == 2 or process.poll() is not None)
        process.send_signal(number)
        assert process.wait(100) == -number
    finally:
        process.kill()
        process.wait()
    assert server.served == 5
    server.otherwise = chat.good
    patients = chat.cohort(12)
    found = llm.written(patients, chat.settings(server.url, at_once=2), tmp_path)
    assert len(made(found)) == 12 and server.served == 12 and len(server.bodies) == 12 + 2
    assert sum(answer.provenance["cached"] for answer in found.values()) == 5


def test_stopping_does_not_wait_for_answers(server, tmp_path):
    """Ctrl-C comes while a request is under way that has no answer before the server is closed."""
    held = threading.Event()

    def hold(handler, request):
        held.set()
        chat.silent(handler, request)

    def second(handler, request):
        held.wait(20)
        chat.good(handler, request)

    def interrupt(count):
        raise KeyboardInterrupt

    server.script = [hold, second]
    server.otherwise = chat.silent
    with pytest.raises(KeyboardInterrupt):
        llm.written(chat.cohort(9), chat.settings(server.url, at_once=2, seconds=300.0), tmp_path, interrupt)
    assert server.open >= 1 and len(list(tmp_path.glob("*.json"))) == 1
    server.over.set()
    for thread in threading.enumerate():
        if thread.name == "report":
            thread.join(20)
    assert len(server.bodies) <= 3


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_paid(server, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="cache"):
        llm.written(chat.cohort(1), chat.settings(server.url), tmp_path / "cache")
    assert server.bodies == []


def test_an_error_while_keeping_an_answer_ends_the_run(server, tmp_path, monkeypatch):
    """As of a full disk: a folder stands where the file of an answer should be."""
    asked = answers.Asked("a-model", instructions.INSTRUCTIONS, 0.0)
    monkeypatch.setattr(answers, "read", lambda folder, key: None)
    for number in range(3):
        (tmp_path / f"{answers.name(chat.seen(number), asked)}.json" / "x").mkdir(parents=True)
    with pytest.raises(OSError):
        llm.written(chat.cohort(3), chat.settings(server.url), tmp_path)
    assert len(server.bodies) == 1


def test_ids_and_the_key_stay_here(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("A_KEY", "sk-secret-4711\n")
    server.script = [chat.good, chat.fails(500, "sk-secret-4711 is over its limit"), chat.good, chat.fails(400, "not with sk-secret-4711")]
    with caplog.at_level(logging.DEBUG):
        found = llm.written(chat.cohort(3), chat.settings(server.url, key="A_KEY"), tmp_path)
    assert all("Authorization: Bearer sk-secret-4711\n" in head.replace("\r\n", "\n") for _, head in server.heads)
    assert found["SENTINEL-2"].failure == "not made: the server refuses it (400: not with ***)"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    kept = "".join(path.name + path.read_text() for path in files)
    sent = "".join(f"{path}{head}" for path, head in server.heads) + b"".join(server.bodies).decode()
    assert len(files) == 2 and len(server.bodies) == 4
    assert "SENTINEL" not in sent + kept + caplog.text
    assert "sk-secret" not in kept + caplog.text + str(found) + b"".join(server.bodies).decode()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"url": ""}, "config.text.llm.url is empty"),
        ({"url": "127.0.0.1:8000/v1"}, "config.text.llm.url is no address of http or https"),
        ({"url": "ftp://host/v1"}, "config.text.llm.url is no address of http or https"),
        ({"url": "http:///v1"}, "config.text.llm.url is no address"),
        ({"url": "http://host:many/v1"}, "config.text.llm.url is no address"),
        ({"url": "http://[::1/v1"}, "config.text.llm.url is no address"),
        ({"url": "http://ho st/v1"}, "config.text.llm.url is no address"),
        ({"url": "http://me:sk-secret@host/v1"}, "config.text.llm.url holds a user or password"),
        ({"model": " "}, "config.text.llm.model is empty"),
        ({"prompt": "no such file"}, "config.text.llm.prompt: no such file cannot be read"),
        ({"key": "NO_SUCH_VARIABLE"}, "config.text.llm.key: the environment variable NO_SUCH_VARIABLE is not set"),
        ({"key": "BAD_KEY"}, "config.text.llm.key: the environment variable BAD_KEY holds what is no key"),
    ],
)
def test_settings_that_are_wrong(server, tmp_path, monkeypatch, changes, words):
    monkeypatch.setenv("BAD_KEY", "sk-secret\nX-Other: 1")
    with pytest.raises(InputError) as caught:
        llm.written(chat.cohort(1), chat.settings(**({"url": server.url} | changes)), tmp_path)
    assert str(caught.value).startswith(words) and "secret" not in str(caught.value) and server.bodies == []


@pytest.mark.parametrize("content, words", [(b"", "is empty"), (b"\xff\xff", "it is no text in UTF-8")])
def test_prompt_that_is_none(server, tmp_path, content, words):
    (tmp_path / "prompt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        llm.written(chat.cohort(1), chat.settings(server.url, prompt=str(tmp_path / "prompt")), tmp_path / "cache")


@pytest.mark.parametrize(
    "url, address, shown",
    [
        ("http://Host:80/v1/", "http://host:80/v1/chat/completions", "http://host:80/v1"),
        ("https://h/v1?a=1#x", "https://h/v1/chat/completions?a=1", "https://h/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/chat/completions", "http://[::1]:8000"),
    ],
)
def test_addresses(url, address, shown):
    assert llm.addresses(url) == (address, shown)


def test_nothing_of_the_network_is_imported_before(project_root):
    code = "import sys, jaxstroke.preprocess.report.llm; print('urllib3' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]
