"""Risk of bias: every `no` is provoked by files that deserve it, and nothing is answered that no file says."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from jaxstroke import main
from jaxstroke.errors import InputError
from jaxstroke.evaluation import files, predictions, probast, report
from jaxstroke.evaluation.probast_facts import Facts

QUESTIONS = {  # a word of each: what it is asked by in here
    "source": "suitable source", "complete": "data are incomplete", "apart": "left out of the predictors", "rule": "one rule",
    "followed": "known for nearly all", "fit": "predictors tried", "test": "in the tests?", "missing": "missing values",
    "separate": "trained or tuned on", "within": "inside the folds", "thresholds": "thresholds", "imbalance": "balanced sample",
    "discrimination": "discrimination", "calibration": "calibration", "optimism": "optimism", "repeated": "another training",
    "outside": "from elsewhere", "groups": "in groups", "chosen": "without looking at the tests",
}  # fmt: skip
CONFIG = {
    "cohort": {"recipe": "table", "outcomes": {"poor": ["mrs", ">", 2]}},
    "images": {}, "clinical": {"numeric": ["age"], "categorical": {}}, "split": {"kind": "kfold"},
    "model": {"name": "clinical_mlp", "fusion": "none", "images": [], "clinical": [], "init_from": ""},
    "train": {"imbalance": "none", "as_published": False},
    "evaluate": {"bootstrap": 60, "attainable": "", "primary": "poor", "comparators": {"columns": []}},
}  # fmt: skip
COHORT = {"flow": [["rows in the table", 400], ["used", 400]], "missing": {"age": 0}, "n": 400, "characteristics": []}


@pytest.fixture(scope="module")
def good(simulated, tmp_path_factory):
    """A workdir of which little can be said against: 400 patients, two repeats, calibrated, groups, patients from elsewhere."""
    folder = tmp_path_factory.mktemp("good")
    random = np.random.default_rng(0)
    frame = simulated(patients=400, repeats=2)
    logit = random.normal(size=400)
    label = (random.random(400) < predictions.sigmoid(logit)).astype(float)
    number = frame["unit_id"].astype(int).to_numpy()
    frame = frame.assign(label=label[number], probability=predictions.sigmoid(logit[number]), logit=logit[number])
    predictions.write(folder / "predictions.csv", frame)
    write(folder / "run.json", {"config": CONFIG, "records": {}, "versions": {}, "devices": [], "command": ""})
    write(folder / "cohort.json", COHORT)
    tests = frame[(frame["split"] == "test") & (frame["model"] == "network")]
    folds = []
    for (repeat, fold), rows in tests.groupby(["repeat", "fold"]):
        val = frame[(frame["split"] == "val") & (frame["repeat"] == repeat) & (frame["fold"] == fold)]["unit_id"].unique()
        rest = sorted(set(frame["unit_id"]) - set(rows["unit_id"]) - set(val))
        inner = [{"train": rest[:50], "val": rest[50:60], "holdout": rest[60:]}]
        parts = {"train": rest, "val": list(val), "test": list(rows["unit_id"]), "inner": inner}
        folds.append({"repeat": int(repeat), "fold": int(fold)} | parts)
    write(folder / "splits.json", {"kind": "kfold", "folds": folds})
    lines = [f"{unit},sex,{'FM'[int(unit) % 2]}" for unit in sorted(frame["unit_id"].unique())]
    (folder / "subgroups.csv").write_text("\n".join(["unit_id,column,group", *lines]) + "\n")
    report.write_metrics(folder)
    outside = folder / "external" / "abc"
    outside.mkdir(parents=True)
    shutil.copyfile(folder / "metrics.json", outside / "metrics.json")
    return folder


@pytest.fixture
def copied(good, tmp_path):
    shutil.copytree(good, tmp_path / "run")
    return tmp_path / "run"


def write(path, values):
    path.write_text(json.dumps(values))


def edit(path, change):
    """Change a json file in place."""
    values = json.loads(path.read_text())
    change(values)
    write(path, values)


def answers(folder) -> dict:
    """{key of QUESTIONS: the answer} of a workdir."""
    told = report.risk_of_bias(folder, files.read_metrics(folder), files.read(folder))
    return by_key(told)


def by_key(told) -> dict:
    """{key of QUESTIONS: the answer} of what `probast.assess` found."""
    every = [answer for _, found in told for answer in found]
    found = {key: [answer for answer in every if word.lower() in answer.question.lower()] for key, word in QUESTIONS.items()}
    assert all(len(some) == 1 for some in found.values()), {key: len(some) for key, some in found.items()}
    return {key: some[0] for key, some in found.items()}


def test_a_good_run_has_no_no_and_says_what_it_cannot_know(good):
    found = answers(good)
    assert {key for key, answer in found.items() if answer.verdict == "no"} == set()
    assert {key for key, answer in found.items() if answer.verdict == "unclear"} == {"source", "chosen"}
    assert all(answer.why.endswith(".") for answer in found.values())
    assert "in any of 6 folds" in found["separate"].why and "1 in external/: 400 with AUC" in found["outside"].why


def leak_train(folds):
    folds[0]["train"].append(folds[0]["test"][0])


def leak_inner(folds):
    folds[2]["inner"][0]["holdout"] += folds[2]["test"][:7]


@pytest.mark.parametrize(("leak", "words"), [(leak_train, "fewer than 5 patients"), (leak_inner, "7 patients")])
def test_a_patient_in_two_parts_of_splits_json(copied, leak, words):
    edit(copied / "splits.json", lambda splits: leak(splits["folds"]))
    found = answers(copied)["separate"]
    assert found.verdict == "no" and words in found.why


def test_a_second_study_of_a_tested_patient_is_a_leak(copied):
    """Units differ, the patient is one: only the ids in predictions.csv tell."""
    frame = predictions.read(copied / "predictions.csv")
    row = frame[(frame["split"] == "test") & (frame["fold"] == 0) & (frame["repeat"] == 0)].iloc[0]
    other = frame[(frame["split"] == "val") & (frame["fold"] == 0) & (frame["repeat"] == 0)].iloc[0]
    frame["patient_id"] = frame["patient_id"].where(frame["unit_id"] != other["unit_id"], row["patient_id"])
    predictions.write(copied / "predictions.csv", frame)
    assert answers(copied)["separate"].verdict == "no"
    (copied / "splits.json").unlink()
    assert answers(copied)["separate"].verdict == "no"


def of_config(section: str, **values):
    return lambda run: run["config"][section].update(values)


@pytest.mark.parametrize(
    ("key", "file", "change", "verdict", "words"),
    [
        ("apart", "run", of_config("clinical", numeric=["age", "mrs"]), "no", "the network reads mrs"),
        ("apart", "run", of_config("evaluate", comparators={"columns": ["mrs"]}), "no", "the comparators score mrs"),
        ("source", "run", of_config("cohort", recipe="synthetic"), "no", "synthetic"),
        ("fit", "run", of_config("clinical", numeric=[f"x{n}" for n in range(60)]), "no", "60 candidate predictors"),
        ("fit", "run", of_config("clinical", numeric=[f"x{n}" for n in range(12)]), "unclear", "fewer than 20"),
        ("fit", "run", of_config("clinical", categorical={"sex": ["F", "M"], "stroke": ["a", "b", "c"]}), "yes", "4 candidate predictors"),
        ("within", "run", of_config("model", init_from="w.pth"), "unclear", "w.pth"),
        ("imbalance", "run", of_config("train", imbalance="oversample"), "yes", "shifted back"),
        ("imbalance", "run", of_config("train", imbalance="oversample", as_published=True), "no", "not shifted back"),
        ("complete", "cohort", lambda cohort: cohort["flow"].insert(1, ["incomplete: age", -40]), "no", "10 %: incomplete: age (40)"),
        ("complete", "cohort", lambda cohort: cohort["flow"].insert(1, ["incomplete: age", -3]), "unclear", "Left out: incomplete: age (f"),
        ("followed", "cohort", lambda cohort: cohort["flow"].insert(1, ["without outcome", -80]), "no", "20 %"),
        ("missing", "cohort", lambda cohort: cohort["missing"].update(age=120), "no", "up to 30 % of 400: age 120"),
        ("missing", "cohort", lambda cohort: cohort["missing"].update(age=60), "unclear", "15 %"),
        ("missing", "cohort", lambda cohort: cohort["missing"].update(age=4), "yes", "Missing of 400: age fewer than 5"),
        ("missing", "cohort", lambda cohort: cohort["missing"].update(other=399), "yes", "No value of a predictor"),
    ],
)
def test_what_the_files_say_is_answered(copied, key, file, change, verdict, words):
    edit(copied / f"{file}.json", change)
    found = answers(copied)[key]
    assert (found.verdict, words in found.why) == (verdict, True), found


def of_network(change):
    return lambda content: change(content["models"]["network"]["poor"])


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("thresholds", of_network(lambda one: one["thresholds"][0].update(source="test")), "test, validation"),
        (
            "calibration",
            of_network(lambda one: one["recalibrated"]["calibration"].update(slope=0.5)),
            "Slope 0.50 after recalibration, outside",
        ),
        ("discrimination", of_network(lambda one: one["auc"].update(ci95=None)), "no interval"),
        ("test", of_network(lambda one: one.update(events=12)), "12 with and 388 without"),
        ("fit", of_network(lambda one: one.update(events=9)), "9.0 each"),
        ("groups", lambda content: content["subgroups"].clear(), "evaluate.subgroups"),
    ],
)
def test_what_the_metrics_say_is_answered(copied, key, change, words):
    edit(copied / "metrics.json", change)
    found = answers(copied)[key]
    assert found.verdict == "no" and words in found.why


def test_an_image_counts_but_its_network_is_never_called_small(copied):
    edit(copied / "run.json", lambda run: run["config"].update(images={"dwi": {"column": "dwi"}}, model={"name": "ich_multitask"}))
    found = answers(copied)
    assert found["fit"].verdict == "unclear" and "1 images and 0 clinical" in found["fit"].why and "many more weights" in found["fit"].why
    assert found["apart"].verdict == "yes"


def test_one_division_one_seed_and_nobody_from_elsewhere(copied, simulated):
    frame = predictions.read(copied / "predictions.csv")
    predictions.write(copied / "predictions.csv", frame[(frame["fold"] == 0) & (frame["repeat"] == 0)])
    edit(copied / "splits.json", lambda splits: splits.update(folds=splits["folds"][:1]))
    shutil.rmtree(copied / "external")
    found = answers(copied)
    assert [found[key].verdict for key in ("optimism", "repeated", "outside")] == ["no"] * 3


def test_levels_and_bare_files_are_unclear_not_wrong(simulated, tmp_path):
    frame = simulated(ordinal=True)
    predictions.write(tmp_path / "predictions.csv", frame[frame["task"] == "mrs"])
    config = {"model": {}, "cohort": {"outcomes": {}}, "evaluate": {"bootstrap": 20, "attainable": ""}}
    write(tmp_path / "run.json", {"config": config})
    report.write_metrics(tmp_path)
    found = answers(tmp_path)
    unclear = ("complete", "apart", "rule", "followed", "fit", "test", "missing", "separate", "thresholds", "imbalance", "calibration")
    assert {key: found[key].verdict for key in unclear} == dict.fromkeys(unclear, "unclear")


def test_an_external_evaluation_is_one(good):
    parts = (files.read_metrics(good) | {"split": "external"}, CONFIG, COHORT, files.read_frame(good), [], [], "poor")
    found = by_key(probast.assess(Facts(*parts, known=0)))
    assert [found[key].verdict for key in ("outside", "separate", "optimism")] == ["yes"] * 3
    assert found["fit"].why == found["repeated"].why == "Nothing was trained here: see the report of the trained run."
    assert by_key(probast.assess(Facts(*parts)))["separate"].verdict == "unclear"  # without external.json
    synthetic = CONFIG | {"cohort": CONFIG["cohort"] | {"recipe": "synthetic"}}  # the training's, not that of these patients
    assert by_key(probast.assess(Facts(parts[0], synthetic, *parts[2:])))["source"].verdict == "unclear"


def test_patients_of_the_training_cohort_are_no_external_ones(good):
    parts = (files.read_metrics(good) | {"split": "external"}, CONFIG, COHORT, files.read_frame(good), [], [], "poor")
    found = by_key(probast.assess(Facts(*parts, known=3)))
    assert found["separate"].verdict == found["optimism"].verdict == "no" and "fewer than 5" in found["separate"].why


def test_few_events_are_not_told_by_their_ratio(good):
    content, frame = files.read_metrics(good), files.read_frame(good)
    content["tasks"]["poor"] = content["models"]["network"]["poor"] = content["tasks"]["poor"] | {"events": 3}
    found = by_key(probast.assess(Facts(content, CONFIG, COHORT, frame, [], [], "poor")))["fit"]
    assert found.verdict == "no" and "3" not in found.why and "fewer than 5" in found.why


@pytest.mark.parametrize("name", ["splits.json", "metrics.json", "run.json", "cohort.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"folds": 3}', '{"folds": [{"train": 1}], "config": {"cohort": 1}, "models": {"a": 1}}'])
def test_a_damaged_file_is_named(copied, name, content):
    (copied / name).write_text(content)
    with pytest.raises(InputError, match=r"json"):
        report.check(copied)


def test_check_prints_and_needs_no_jax(good):
    code = "import sys; from jaxstroke import main; code = main.main(['main', *sys.argv[1:]]); print('jax' in sys.modules); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code, "--workdir", str(good), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "False" and max(map(len, lines)) <= 130
    assert [line for line in lines if not line.startswith((" ", "Risk", "False"))] == list(probast.DOMAINS)
    assert lines[0] == "Risk of bias, after PROBAST+AI: 17 yes, 0 no, 7 unclear. 'yes' is the better answer."


def test_check_says_what_is_lacking(copied, tmp_path, capsys):
    (copied / "metrics.json").unlink()
    for arguments, words in (
        (["--workdir", copied, "--check"], "--mode report"),
        (["--workdir", tmp_path / "nothing", "--check"], "train first"),
        (["--workdir", copied, "--check", "--mode=report"], "--check"),
    ):
        assert main.main(["main", *map(str, arguments)]) == 2
        assert words in capsys.readouterr().err


def test_the_report_has_the_same_answers(copied):
    page = report.write_report(copied).read_text()
    found = answers(copied)
    assert 'id="risk"' in page and f"<p>{found['optimism'].why}</p>" in page and "17 yes, 0 no, 7 unclear" in page
