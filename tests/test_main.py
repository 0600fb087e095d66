"""The program as a user meets it: the road on a small cohort, new patients, and messages instead of tracebacks."""

import json
import pathlib
import shutil
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest

from jaxstroke import main

SIZES = (("shape", "(3,8,8)"), ("spacing", "(40,24,24)"))
TINY = [f"--config.images.{name}.{key}={value}" for name in ("dwi", "adc") for key, value in SIZES]
OWN = [
    "--config.model.images=('dwi','adc')", "--config.model.widths=(4,)", "--config.model.hidden=4", "--config.train.epochs=1",
    "--config.split.folds=2", "--config.split.inner_folds=2", "--config.evaluate.bootstrap=50", "--config.device.data=1",
    "--config.device.cache=", "--config.cohort.workers=1", "--config.cohort.max_failed_share=0.2", *TINY,
]  # fmt: skip
CONFIG = str(pathlib.Path(__file__).resolve().parent.parent / "configs" / "mri_cnn_lstm.py")


@pytest.fixture(autouse=True)
def keep_signals(monkeypatch):
    """The program's SIGTERM handler and arguments must not outlive a test."""
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", sys.argv)


def write_cohort(folder: pathlib.Path, patients: int = 24) -> pd.DataFrame:
    """A table and scans of an own cohort: one brain-like ball a module, brighter with a worse outcome; one patient lacks ADC."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (6, 24, 24)), indexing="ij")
    ball = (z**2 + y**2 + x**2 < 0.8).T
    rows = []
    for number in range(patients):
        mrs = number % 7
        row = {"patient_id": f"{number:03d}", "age": 50 + number, "nihss": mrs * 3 + number % 3, "sex": "FM"[number % 2], "mrs": mrs}
        for name, scale in (("dwi", 100.0), ("adc", 1e-3)):
            values = scale * (1 + 0.2 * mrs + 0.1 * rng.random(ball.shape)) * ball
            image = nibabel.Nifti1Image(values.astype(np.float32), np.diag([8.0, 8.0, 20.0, 1.0]))
            nibabel.save(image, folder / f"{number:03d}_{name}.nii.gz")
            row[name] = f"{number:03d}_{name}.nii.gz"
        rows.append(row)
    rows[5]["adc"] = ""
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "my.csv", index=False)
    return frame


@pytest.fixture(scope="session")
def own_cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_cohort(folder)
    return folder


@pytest.fixture(scope="session")
def trained(own_cohort, tmp_path_factory):
    """A workdir trained on the own cohort: the documented way to bring one's own patients."""
    workdir = tmp_path_factory.mktemp("runs") / "own"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main.signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", sys.argv)
        assert run(workdir, own_cohort / "my.csv") == 0
    return workdir


def run(workdir, table, *more) -> int:
    return main.main(["main", f"--config={CONFIG}:own", f"--workdir={workdir}", f"--config.cohort.table={table}", *OWN, *more])


def refused(capsys, *arguments) -> str:
    """The message of a call that must end with exit code 2 and without a traceback."""
    capsys.readouterr()
    assert main.main(["main", *map(str, arguments)]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message[message.index("error:") :]


def refused_own(capsys, workdir, table, *more) -> str:
    return refused(capsys, f"--config={CONFIG}:own", f"--workdir={workdir}", f"--config.cohort.table={table}", *OWN, *more)


def test_a_workdir_that_is_a_file_is_refused(capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "name a folder" in refused(capsys, f"--config={CONFIG}:demo", f"--workdir={tmp_path / 'taken'}")


def changed(folder, tmp_path, change) -> pathlib.Path:
    """A copy of the cohort with a changed table."""
    copy = tmp_path / "cohort"
    shutil.copytree(folder, copy)
    frame = pd.read_csv(copy / "my.csv", dtype=str, keep_default_na=False)
    change(frame).to_csv(copy / "my.csv", index=False)
    return copy / "my.csv"


def test_own_cohort_gives_every_file(trained):
    wanted = "run.json splits.json predictions.csv metrics.json report.html metrics.jsonl prepare_report.csv model.json"
    for name in wanted.split():
        assert (trained / name).stat().st_size > 0
    frame = pd.read_csv(trained / "predictions.csv", dtype=str, keep_default_na=False)
    assert set(frame["patient_id"]) == {f"{number:03d}" for number in range(24)}
    assert {"network", "rule:mean", "rule:stacked", "module:dwi", "module:adc", "clinical_logistic"} <= set(frame["model"])
    lacking = frame[(frame["patient_id"] == "005") & (frame["split"] == "test")]
    assert set(lacking["missing"]) == {"adc"} and "module:adc" not in set(lacking["model"])
    tests = frame[(frame["split"] == "test") & (frame["model"] == "network") & (frame["task"] == "poor")]
    assert tests["patient_id"].is_unique and len(tests) == 24


def test_same_command_again_changes_nothing(trained, own_cohort):
    before = (trained / "predictions.csv").read_bytes()
    assert run(trained, own_cohort / "my.csv") == 0
    assert (trained / "predictions.csv").read_bytes() == before


def test_evaluate_and_report_reproduce(trained):
    before, metrics = (trained / "predictions.csv").read_bytes(), json.loads((trained / "metrics.json").read_text())
    assert main.main(["main", f"--workdir={trained}", "--mode=evaluate"]) == 0
    assert (trained / "predictions.csv").read_bytes() == before
    (trained / "metrics.json").unlink()
    assert main.main(["main", f"--workdir={trained}", "--mode=report"]) == 0
    assert json.loads((trained / "metrics.json").read_text()) == metrics


def test_evaluate_with_other_subgroups_changes_no_prediction(trained):
    other = trained.parent / "other"
    shutil.copytree(trained, other)
    with_bounds = ["--config.evaluate.subgroups=('nihss','age')", "--config.evaluate.subgroup_bounds.age=(60.0,)"]
    assert main.main(["main", f"--workdir={other}", "--mode=evaluate", *with_bounds]) == 0
    assert (other / "predictions.csv").read_bytes() == (trained / "predictions.csv").read_bytes()
    groups = [(line["column"], line["group"], line["n"]) for line in json.loads((other / "metrics.json").read_text())["subgroups"]]
    assert ("age", "< 60", 10) in groups and ("age", "≥ 60", 14) in groups and ("nihss", "≥ 8.5", 12) in groups
    assert 'id="subgroups"' in (other / "report.html").read_text()


def test_predict_new_patients_without_outcomes(trained, own_cohort, tmp_path):
    """No outcome column, a missing module, a missing value, an unseen level: all scored, flagged."""

    def change(frame):
        frame = frame.drop(columns="mrs").head(4)
        frame.loc[0, "dwi"], frame.loc[1, "age"], frame.loc[2, "sex"] = "", "", "X"
        frame["patient_id"] = ["n1", "n2", "n3", "n4"]
        return frame

    table, output = changed(own_cohort, tmp_path, change), tmp_path / "out" / "new.csv"
    assert main.main(["main", f"--workdir={trained}", "--mode=predict", f"--cohort={table}", f"--output={output}"]) == 0
    frame = pd.read_csv(output, dtype={"patient_id": str}, keep_default_na=False)
    network = frame[(frame["model"] == "network") & (frame["task"] == "poor")].set_index("patient_id")
    assert list(network.index) == ["n1", "n2", "n3", "n4"] and set(network["split"]) == {"new"}
    assert list(network["missing"])[:2] == ["dwi", "age"]
    assert network["probability"].between(0, 1).all() and network["recalibrated"].astype(float).between(0, 1).all()


def test_predict_on_training_patients_is_close_to_their_test_predictions(trained, own_cohort, tmp_path):
    """Half of the ensemble of two is the very network that scored the patient in cross-validation: the mean must lie near it."""
    output = tmp_path / "again.csv"
    assert main.main(["main", f"--workdir={trained}", "--mode=predict", f"--cohort={own_cohort / 'my.csv'}", f"--output={output}"]) == 0
    new = pd.read_csv(output, dtype={"patient_id": str, "class": str}, keep_default_na=False)
    old = pd.read_csv(trained / "predictions.csv", dtype={"patient_id": str, "class": str}, keep_default_na=False)
    assert set(new["model"]) == set(old["model"])
    pick = {"model": "network", "task": "poor"}
    new, old = (frame[(frame["model"] == pick["model"]) & (frame["task"] == pick["task"])] for frame in (new, old))
    both = old[old["split"] == "test"].merge(new, on="patient_id")
    assert len(both) == 24
    assert np.corrcoef(both["probability_x"].astype(float), both["probability_y"].astype(float))[0, 1] > 0.5


def test_missing_column(own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame.rename(columns={"nihss": "nihs"}))
    message = refused_own(capsys, tmp_path / "run", table)
    assert "'nihss'" in message and "nihs" in message


def test_duplicate_patient(own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: pd.concat([frame, frame.iloc[[3]]]))
    assert "003" in refused_own(capsys, tmp_path / "run", table)


def test_outcome_out_of_range(own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame.assign(mrs=frame["mrs"].where(frame["patient_id"] != "004", "7")))
    message = refused_own(capsys, tmp_path / "run", table)
    assert "004" in message and "mrs" in message and "6" in message


def test_text_in_a_numeric_column(own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame.assign(age=frame["age"].where(frame["patient_id"] != "002", "old")))
    message = refused_own(capsys, tmp_path / "run", table)
    assert "002" in message and "age" in message


def test_one_class_only(own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame.assign(mrs="1"))
    message = refused_own(capsys, tmp_path / "run", table)
    assert "fold" in message and "poor" in message


def damage(path: pathlib.Path, how: str):
    """Spoil a NIfTI file in one of the ways the world does."""
    image = nibabel.load(path)
    values = np.asarray(image.dataobj)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "unreadable":
        path.write_bytes(b"this is no image" * 50)
    else:
        if how == "4D":
            values = np.stack([values, values], -1)
        else:
            values = values.copy()
            values[3, 3, 3] = {"NaN": np.nan, "Inf": np.inf}[how]
        nibabel.save(nibabel.Nifti1Image(values, image.affine), path)


@pytest.mark.parametrize("how", ["truncated", "empty", "unreadable", "NaN", "Inf", "4D"])
def test_one_bad_file_is_listed_and_the_rest_go_on(own_cohort, tmp_path, how, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame)
    damage(table.parent / "007_dwi.nii.gz", how)
    assert run(tmp_path / "run", table, "--mode=prepare") == 0
    report = pd.read_csv(tmp_path / "run" / "prepare_report.csv", dtype=str)
    assert list(report["patient_id"]) == ["007"] and list(report["image"]) == ["dwi"]
    assert report["path"][0].endswith("007_dwi.nii.gz") and len(report["reason"][0]) > 5


def test_too_many_bad_files_stop(own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame)
    for number in range(6):
        damage(table.parent / f"{number:03d}_dwi.nii.gz", "truncated")
    message = refused_own(capsys, tmp_path / "run", table)
    assert "max_failed_share" in message and (tmp_path / "run" / "prepare_report.csv").exists()


def test_workdir_of_another_config(trained, own_cohort, capsys):
    message = refused_own(capsys, trained, own_cohort / "my.csv", "--config.optimizer.learning_rate=0.5")
    assert "optimizer.learning_rate" in message and "0.5" in message


def test_table_changed_after_training_began(trained, own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame.assign(age="60"))
    assert "other data" in refused_own(capsys, trained, table)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.train.epoch=3"], ("epoch", "epochs")),
        (["--config.train.epochs=many"], ("epochs",)),
        (["--config.model.name=mri_cnn_lst"], ("mri_cnn_lstm",)),
        (["--config.model.fusion=poee"], ("poe",)),
        (["--mode=trian"], ("train",)),
        (["--confg=3"], ("confg",)),
        (["--config.train.batch_size=3", "--config.device.data=2"], ("batch_size", "2")),
        (["--config.device.run=99"], ("devices",)),
    ],
)
def test_what_is_misspelt_is_named_with_the_nearest_known(own_cohort, tmp_path, capsys, arguments, words):
    message = refused_own(capsys, tmp_path / "run", own_cohort / "my.csv", *arguments)
    assert all(word in message for word in words)


def test_missing_flags_say_what_to_give(tmp_path, capsys):
    assert "--workdir" in refused(capsys, f"--config={CONFIG}:own")
    assert "--config" in refused(capsys, f"--workdir={tmp_path}")
    assert "own" in refused(capsys, f"--config={CONFIG}:onw", f"--workdir={tmp_path}")
    assert "train first" in refused(capsys, f"--config={CONFIG}:own", f"--workdir={tmp_path}", "--mode=evaluate")


def test_predict_needs_new_patients(trained, capsys):
    assert "--cohort" in refused(capsys, f"--workdir={trained}", "--mode=predict")


def external_table(own_cohort, tmp_path) -> pathlib.Path:
    """The own cohort as patients of elsewhere: other ids but one, older, one without outcome."""

    def change(frame):
        frame["patient_id"] = ["000", *(f"x{number}" for number in range(1, len(frame)))]
        frame["age"] = (frame["age"].astype(float) + 15).astype(str)
        frame.loc[7, "mrs"] = ""
        return frame

    return changed(own_cohort, tmp_path, change)


def test_external_validation(trained, own_cohort, tmp_path):
    """The same probabilities as predict gives, judged; thresholds from training; older patients are marked; report mode repeats it."""
    table, output = external_table(own_cohort, tmp_path), tmp_path / "new.csv"
    assert main.main(["main", f"--workdir={trained}", "--mode=evaluate", f"--cohort={table}"]) == 0
    (path,) = (trained / "external").glob("*/external.json")
    folder, text = path.parent, {"patient_id": str, "class": str}
    judged = pd.read_csv(folder / "predictions.csv", dtype=text, keep_default_na=False)
    assert set(judged["split"]) == {"external"} and "x7" not in set(judged["patient_id"]) and judged["patient_id"].nunique() == 23
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["split"] == "external" and metrics["tasks"]["poor"]["n"] == 23
    assert [line["fold"] for line in metrics["tasks"]["poor"]["thresholds"]] == [-1]
    page = (folder / "report.html").read_text()
    assert json.loads(path.read_text())["table"] in page and "table of patients, training" in page and "Command of the training" in page
    assert "External validation" in page and "fewer than 5 of them have ids that were in the training cohort" in page
    age = page[page.index('<tr class="main"><th scope="row" class="words">age</th>') :]
    assert ">61.5 (6.9)<" in age[:200] and ">76.7 (7.0)<" in age[:200]
    assert json.loads((trained / "metrics.json").read_text())["split"] == "test"  # the trained run's own stays

    assert main.main(["main", f"--workdir={trained}", "--mode=predict", f"--cohort={table}", f"--output={output}"]) == 0
    new = pd.read_csv(output, dtype=text, keep_default_na=False).merge(judged, on=["patient_id", "task", "class", "model"])
    assert len(new) == len(judged)
    np.testing.assert_allclose(new["probability_x"].astype(float), new["probability_y"].astype(float), rtol=1e-6)


def test_external_patients_need_outcomes(trained, own_cohort, tmp_path, capsys):
    table = changed(own_cohort, tmp_path, lambda frame: frame.drop(columns="mrs"))
    assert "'mrs'" in refused(capsys, f"--workdir={trained}", "--mode=evaluate", f"--cohort={table}")
