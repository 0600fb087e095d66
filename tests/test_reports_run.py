"""Whole runs of paper 5 on a tiny cohort: reports by template and from the table, new patients, folds, what is beside the network."""

import json
import pathlib
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from etils import epath
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import reports_cohort as tiny  # noqa: E402

from jaxstroke import workdir as work  # noqa: E402
from jaxstroke.training import predict  # noqa: E402

pytestmark = pytest.mark.usefixtures("signals_kept")

GIVEN = ("--config.text.source=given", "--config.cohort.text=report")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def by_template(table):
    """A run with an atlas and a regression with its territories; the atlas is gone by now."""
    atlas = table.parent / "moved"
    atlas.mkdir()
    for name in ("atlas.nii.gz", "atlas.txt"):
        shutil.copy(table.parent / name, atlas / name)
    beside = ("--config.evaluate.comparators.territories=True", "--config.evaluate.comparators.volume=lesion")
    assert tiny.run(table, table.parent / "template", f"--config.text.atlas={atlas / 'atlas.nii.gz'}", *beside) == 0
    shutil.rmtree(atlas)
    return table.parent / "template"


@pytest.fixture(scope="module")
def given(table):
    assert tiny.run(table, table.parent / "given", *GIVEN, f"--config.text.atlas={table.parent / 'atlas.nii.gz'}") == 0
    return table.parent / "given"


def test_every_unit_has_its_line(by_template):
    found = tiny.lines(by_template)
    assert list(found) == [tiny.name_of(number) for number in range(tiny.PATIENTS)]
    for number, line in enumerate(found.values()):
        if number in (tiny.NO_MASK, tiny.NO_IMAGE):
            assert not line["text"] and line["findings"] is None and "'lesion' is missing" in line["failure"]
        else:
            assert not line["failure"] and line["provenance"] == {"generator": "template"}
            assert f"{line['findings']['volume_ml']:.2f} ml" in line["text"]
            assert "61.0" not in line["text"] and "SENTINEL" not in line["text"]
    assert any("left front" in line["text"] for line in found.values())
    assert any("territory 5" in line["text"] for line in found.values())  # the atlas has no name for it


def test_who_has_no_report_is_scored_and_told(by_template):
    frame = tiny.predictions(by_template / "predictions.csv")
    tests = frame[frame["split"] == "test"].set_index("patient_id")["missing"]
    without = [tiny.name_of(tiny.NO_MASK), tiny.name_of(tiny.NO_IMAGE)]
    assert len(tests) == tiny.PATIENTS and list(tests[without]) == ["report", "flair|report"]
    assert set(tests.drop(without)) == {""}


def test_template_without_a_mask_is_refused_by_its_key(table, tmp_path, capsys):
    said = tiny.refused(capsys, tiny.run(table, tmp_path / "run", "--config.text.mask="))
    assert "config.text.source = 'template' needs config.text.mask" in said and not (tmp_path / "run").exists()


def test_a_cohort_without_any_mask_is_not_trained_on(table, tmp_path, capsys):
    bare = tiny.changed(table, tmp_path / "bare.csv", lambda frame: frame.assign(lesion=""))
    said = tiny.refused(capsys, tiny.run(bare, tmp_path / "run"))
    assert "no row has a report (config.text.source = 'template')" in said and "'lesion' is missing" in said


def test_reports_of_the_table_and_of_its_files(given, table):
    found = tiny.lines(given)
    for number in range(tiny.PATIENTS):
        line = found[tiny.name_of(number)]
        if number == tiny.NO_REPORT:
            assert (line["text"], line["failure"]) == ("", "column 'report' is empty")
        else:
            assert line["text"].endswith(".") and "infarct" in line["text"] and not line["failure"]
    for number in tiny.IN_A_FILE:
        assert found[tiny.name_of(number)]["text"] == (table.parent / f"report{number}.txt").read_text().strip()


@pytest.mark.parametrize("kind", ["by_template", "given"])
def test_evaluate_says_the_same(request, kind):
    workdir = request.getfixturevalue(kind)
    before = [(workdir / name).read_bytes() for name in ("predictions.csv", "reports.jsonl", "model.json")]
    assert tiny.again(workdir, "evaluate") == 0
    assert [(workdir / name).read_bytes() for name in ("predictions.csv", "reports.jsonl", "model.json")] == before


def test_reports_that_have_changed_are_refused(given, table, tmp_path, capsys):
    """The table's digest holds words, and so does that of reports, where a .txt file behind the same cell has changed."""
    file, workdir = table.parent / f"report{tiny.IN_A_FILE[0]}.txt", tmp_path / "run"
    shutil.copytree(given, workdir)
    before = file.read_text()
    try:
        file.write_text("another report.")
        said = tiny.refused(capsys, tiny.again(workdir, "evaluate", f"--config.cohort.records={table.parent / 'records'}"))
    finally:
        file.write_text(before)
    assert "holds other data than" in said and ("reports.jsonl" in said or "the cohort's table" in said)


@pytest.mark.parametrize("kind", ["by_template", "given"])
def test_new_patients_are_read_by_each_networks_own_words(request, kind, table, tmp_path):
    """The patients of training once more, as new ones: every network says of its test and validation patients what it said."""
    workdir = request.getfixturevalue(kind)
    new_table = tiny.changed(table, table.parent / f"{kind}.csv", lambda frame: frame.drop(columns="mrs"))
    config = work.trained_config(epath.Path(workdir))
    new = predict.read_new(config, epath.Path(workdir), str(new_table))
    assert {unit: line["text"] for unit, line in tiny.lines(new.folder).items()} == {
        unit: line["text"] for unit, line in tiny.lines(workdir).items()
    }
    said, before = predict.score_new(config, epath.Path(workdir), new, "new"), tiny.predictions(workdir / "predictions.csv")
    both = before.merge(said[said["model"] == "network"], on=["fold", "unit_id"])
    assert len(both) == len(before) > tiny.PATIENTS
    np.testing.assert_allclose(both["logit_y"].astype(float), both["logit_x"].astype(float), rtol=0, atol=1e-5)
    tokenizers = json.loads((workdir / "model.json").read_text())["tokenizer"]
    assert len(set(tokenizers.values())) == len(tokenizers) == 2  # each fold's words are its own
    output = tmp_path / "new.csv"
    assert tiny.again(workdir, "predict", f"--cohort={new_table}", f"--output={output}") == 0
    means = said[said["model"] == "network"].groupby("unit_id")["probability"].mean()
    again = tiny.predictions(output).set_index("unit_id")
    np.testing.assert_allclose(again["probability"].astype(float), means[again.index], rtol=0, atol=1e-6)
    assert set(again["missing"]) >= {"", "flair|report" if kind == "by_template" else "report"}


def test_new_patients_without_any_report_are_scored(by_template, table, tmp_path):
    new_table = tiny.changed(table, tmp_path / "new.csv", lambda frame: frame.head(3).drop(columns="mrs").assign(lesion=""))
    assert tiny.again(by_template, "predict", f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}") == 0
    assert set(tiny.predictions(tmp_path / "out.csv")["missing"]) == {"report"}


def test_the_atlas_of_the_workdir_is_what_new_patients_are_told_by(by_template, table, tmp_path):
    """Whatever lies where the config found it."""
    place = pathlib.Path(json.loads((by_template / "run.json").read_text())["config"]["text"]["atlas"])
    place.parent.mkdir()
    tiny.save(place, np.full(tiny.SHAPE, 7, np.uint8))
    try:
        new_table = tiny.changed(table, tmp_path / "new.csv", lambda frame: frame.head(3).drop(columns="mrs"))
        assert tiny.again(by_template, "predict", f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}") == 0
        assert tiny.again(by_template, "evaluate") == 0
    finally:
        shutil.rmtree(place.parent)
    folder = max((by_template / "external").iterdir(), key=lambda path: path.stat().st_mtime)
    assert all("left front" in line["text"] or "territory 5" in line["text"] for line in tiny.lines(folder).values() if line["text"])


def test_a_report_of_a_test_patient_changes_nothing_for_others(given, table, tmp_path):
    """Neither a network of that fold nor what it says of anybody else; in the other fold the patient is learned from, and it does."""
    parts = json.loads((given / "splits.json").read_text())["folds"]
    patient = next(unit for unit in parts[0]["test"] if unit != tiny.name_of(tiny.NO_REPORT) and unit in parts[1]["train"])

    def change(frame):
        frame.loc[frame["patient_id"] == patient, "report"] = "zebra zebra, quite another quagga, 17 and 4."
        return frame

    other = tiny.changed(table, table.parent / "zebra.csv", change)
    assert tiny.run(other, tmp_path / "run", *GIVEN) == 0
    assert json.loads((tmp_path / "run" / "splits.json").read_text())["folds"] == parts
    before, after = tiny.networks(given), tiny.networks(tmp_path / "run")
    tiny.equal(after["r0-f0-s0"], before["r0-f0-s0"])
    with pytest.raises(AssertionError):
        tiny.equal(after["r0-f1-s0"], before["r0-f1-s0"])
    one, two = (tiny.predictions(workdir / "predictions.csv") for workdir in (given, tmp_path / "run"))
    one, two = (frame[(frame["fold"] == 0) & (frame["unit_id"] != patient)].drop(columns="recalibrated") for frame in (one, two))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    kept = [json.loads((workdir / "model.json").read_text()) for workdir in (given, tmp_path / "run")]
    first, second = ({run: model["tokenizers"][name] for run, name in model["tokenizer"].items()} for model in kept)
    assert first["r0-f0-s0"] == second["r0-f0-s0"] and first["r0-f1-s0"] != second["r0-f1-s0"] and "zebra" in second["r0-f1-s0"]


def test_the_regression_with_territories_is_scikit_learns(by_template, table):
    """Made anew from `reports.jsonl` and the table, of each fold."""
    frame = pd.read_csv(table, dtype={"patient_id": str}).set_index("patient_id")
    findings = {unit: line["findings"] for unit, line in tiny.lines(by_template).items()}

    def share(unit: str, number: int) -> float:
        if findings[unit] is None:
            return np.nan
        return sum(one["share"] for one in findings[unit]["territories"] if one["number"] == number)

    sexes = {f"sex {sex}": (frame["sex"] == sex).astype(float) for sex in "FM"}
    volume = {"volume": [np.nan if findings[unit] is None else np.log(findings[unit]["volume_ml"] + 0.01) for unit in frame.index]}
    shares = {f"share {number}": [np.log1p(100 * share(unit, number)) for unit in frame.index] for number in (1, 2, 5)}
    columns = frame[["age", "nihss"]].assign(**sexes, **volume, **shares)
    poor, compared = frame["mrs"] > 2, 0
    said = tiny.predictions(by_template / "predictions.csv", "clinical_territory_logistic")
    for part in json.loads((by_template / "splits.json").read_text())["folds"]:
        fit = [*part["train"], *part["val"]]
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        model = make_pipeline(
            make_union(numbers, MissingIndicator(features="all")), LogisticRegression(C=0.05, solver="newton-cholesky", tol=1e-7)
        )
        model.fit(columns.loc[fit].to_numpy(), poor[fit])
        found = said[(said["fold"] == part["fold"]) & (said["split"] == "test")].set_index("unit_id")["probability"].astype(float)
        wanted = model.predict_proba(columns.loc[found.index].to_numpy())[:, 1]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
        compared += len(found)
    assert compared == tiny.PATIENTS and said["probability"].nunique() > tiny.PATIENTS // 2


def test_territories_may_be_asked_for_after_training(given, table, tmp_path):
    """Masks that nothing has looked at before are no other reports."""
    workdir = tmp_path / "run"
    shutil.copytree(given, workdir)
    more = ("--config.evaluate.comparators.territories=True", f"--config.cohort.records={table.parent / 'records'}")
    assert tiny.again(workdir, "evaluate", *more) == 0
    assert len(tiny.predictions(workdir / "predictions.csv", "clinical_territory_logistic")) > tiny.PATIENTS
    before, after = (tiny.predictions(one / "predictions.csv").reset_index(drop=True) for one in (given, workdir))
    pd.testing.assert_frame_equal(after, before)


@pytest.mark.slow
def test_stacked_has_the_networks_logit_as_a_module(table, tmp_path):
    workdir = tmp_path / "run"
    assert tiny.run(table, workdir, "--config.model.fusion=stacked", "--config.split.inner_folds=2", "--config.train.epochs=1") == 0
    before = (workdir / "predictions.csv").read_bytes()
    names = set(pd.read_csv(workdir / "predictions.csv")["model"])
    assert {"network", "rule:mean", "module:trimodal", "clinical_logistic"} <= names
    assert len(list((workdir / "networks").iterdir())) == 6
    assert tiny.again(workdir, "evaluate") == 0 and (workdir / "predictions.csv").read_bytes() == before
    new_table = tiny.changed(table, tmp_path / "new.csv", lambda frame: frame.drop(columns="mrs"))
    assert tiny.again(workdir, "predict", f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}") == 0
    assert len(tiny.predictions(tmp_path / "out.csv")) == tiny.PATIENTS


def test_networks_that_read_are_not_exported(by_template, capsys):
    said = tiny.refused(capsys, tiny.again(by_template, "export"))
    assert "reports are read by a vocabulary of each fold" in said and not (by_template / "export").exists()
