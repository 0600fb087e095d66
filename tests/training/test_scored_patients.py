"""`evaluate.per` = patient, from a table of eyes to the report, new patients, an external validation and the export."""

import json
import types

import numpy as np
import pandas as pd
import pytest
from etils import epath
from ml_collections import ConfigDict

from jaxstroke import check, config_json
from jaxstroke import config as settings
from jaxstroke.cohort import table
from jaxstroke.errors import InputError
from jaxstroke.evaluation import by_patient, calibration, predictions
from jaxstroke.explain import patient as explained
from jaxstroke.interop import export
from jaxstroke.training import external, modes, predict

PATIENTS = 60
PLACE = ["patient_id", "task", "class", "model"]


class Never:
    """A stop that never stops."""

    training = False

    def __call__(self):
        return False


def eyes(path, prefix, patients=PATIENTS, seed=0):
    """A table with a row an eye: every third patient has one, and of few the eyes differ in the outcome."""
    random, rows = np.random.default_rng(seed), []
    for number in range(patients):
        sick = int(random.random() < 0.5)
        for eye in ("left", "right")[: 1 + (number % 3 > 0)]:
            poor = sick if number % 10 else int(eye == "left")
            thickness = f"{random.normal(100 - 15 * sick, 15):.1f}" if random.random() > 0.1 else ""
            rows.append([f"{prefix}{number}", eye, thickness, "FM"[number % 2], poor])
    pd.DataFrame(rows, columns=["patient_id", "eye", "thickness", "sex", "poor"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def eye_config(tmp_path_factory):
    config = settings.base()
    config.cohort.table, config.cohort.study = str(eyes(tmp_path_factory.mktemp("eyes") / "eyes.csv", "p")), "eye"
    config.cohort.outcomes = ConfigDict({"poor": ("poor", "==", 1)})
    config.clinical.numeric, config.clinical.categorical = ("thickness",), ConfigDict({"sex": ()})
    config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}})
    config.model.name, config.model.hidden, config.model.dropout = "clinical_mlp", 8, (0.0, 0.0)
    config.split.folds, config.split.inner_folds = 2, 0
    config.train.epochs, config.train.batch_size, config.optimizer.learning_rate = 3, 16, 1e-2
    config.evaluate.primary, config.evaluate.bootstrap, config.evaluate.subgroups = "poor", 50, ("sex", "thickness")
    config.device.data, config.device.cache = 1, ""
    config.evaluate.per = "patient"
    check.check(config)
    return config


def trained(config, folder, per):
    config = config_json.copied(config)
    with config.unlocked():
        config.evaluate.per = per
    modes.train(config, epath.Path(folder), Never())
    return folder


@pytest.fixture(scope="module")
def workdirs(eye_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {per: trained(eye_config, folder / per, per) for per in ("patient", "study")}


def read(folder):
    return predictions.read(folder / "predictions.csv")


def logits(frame):
    return frame.set_index(PLACE)["logit"].sort_index()


def test_recalibration_and_thresholds_are_fitted_on_means_of_a_patients_rows(workdirs):
    merged, rows = read(workdirs["patient"]), read(workdirs["study"])
    tests, eyes_tested = (frame[(frame["split"] == "test") & (frame["model"] == "network")] for frame in (merged, rows))
    assert len(tests) == PATIENTS < len(eyes_tested) and (tests["unit_id"] == tests["patient_id"]).all()
    np.testing.assert_allclose(logits(tests), eyes_tested.groupby(PLACE)["logit"].mean(), atol=1e-6)
    assert tests.set_index("patient_id")["label"].to_dict() == eyes_tested.groupby("patient_id")["label"].max().to_dict()
    again = calibration.decisions(by_patient.aggregate(rows))["network"]["poor"]
    kept = json.loads((workdirs["patient"] / "model.json").read_text())["decisions"]["network"]["poor"]
    for one, other in zip(kept, again, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    np.testing.assert_allclose(
        tests["recalibrated"],
        [calibration.apply(row.logit, kept[row.fold]["intercept"], kept[row.fold]["slope"]) for row in tests.itertuples()],
        rtol=1e-5,
    )


def test_the_report_says_what_a_row_is_and_groups_are_of_patients(workdirs):
    content = json.loads((workdirs["patient"] / "metrics.json").read_text())
    assert content["tasks"]["poor"]["n"] == content["tasks"]["poor"]["patients"] == PATIENTS
    groups = {(line["column"], line["group"]): line["n"] for line in content["subgroups"]}
    assert groups["sex", "F"] == groups["sex", "M"] == PATIENTS / 2 and not any(
        group == "not known" for column, group in groups if column == "sex"
    )
    first = pd.read_csv(workdirs["patient"] / "subgroups.csv", dtype=str)
    assert set(first["unit_id"]) == {f"p{number}" for number in range(PATIENTS)} and not first.duplicated(["unit_id", "column"]).any()
    page = (workdirs["patient"] / "report.html").read_text()
    assert "Each patient is scored once: the log-odds that a network gives" in page and "(100 rows)" in page
    assert "all rows of a patient scored as one" in page and "their rows as one" in page and "No patient is in two parts" in page
    assert "scored once" not in (workdirs["study"] / "report.html").read_text()


def test_new_patients_and_an_external_cohort_are_scored_the_same_way(workdirs, eye_config, tmp_path):
    elsewhere = str(eyes(tmp_path / "elsewhere.csv", "e", 30, seed=3))
    frames = {}
    for per, folder in workdirs.items():
        config = config_json.copied(eye_config)
        with config.unlocked():
            config.evaluate.per = per
        predict.predict(config_json.copied(config), epath.Path(folder), elsewhere, str(tmp_path / f"{per}.csv"))
        external.validate(config_json.copied(config), epath.Path(folder), elsewhere)
        (found,) = (path.parent for path in folder.glob("external/*/metrics.json"))
        frames[per] = [frame[frame["model"] == "network"] for frame in (predictions.read(tmp_path / f"{per}.csv"), read(found))]
        told = (found / "report.html").read_text()
    assert "scored once" not in told  # of the last one, by study
    new, outside = frames["patient"]
    assert len(new) == len(outside) == 30 and outside["label"].notna().all()
    np.testing.assert_allclose(new["probability"], outside["probability"], rtol=1e-7)
    alone = outside["patient_id"].isin([f"e{number}" for number in range(0, 30, 3)])
    by_eye = frames["study"][1].set_index("patient_id")
    np.testing.assert_allclose(outside[alone]["probability"], by_eye.loc[outside[alone]["patient_id"], "probability"], rtol=1e-7)
    between = by_eye.groupby("patient_id")["probability"].agg(["min", "max"]).loc[outside["patient_id"]]
    assert (outside["probability"].to_numpy() >= between["min"] - 1e-3).all() and (
        outside["probability"].to_numpy() <= between["max"] + 1e-3
    ).all()
    decided = json.loads((workdirs["patient"] / "model.json").read_text())["decisions"]["network"]["poor"]
    (metrics,) = (json.loads(path.read_text()) for path in workdirs["patient"].glob("external/*/metrics.json"))
    assert metrics["tasks"]["poor"]["thresholds"][0]["value"] == pytest.approx(np.median([line["threshold"] for line in decided]))


def test_the_export_says_that_it_scores_rows(workdirs, eye_config):
    export.export(eye_config, epath.Path(workdirs["patient"]))
    described = json.loads((workdirs["patient"] / "export" / "preprocessing.json").read_text())
    assert "average log(p / (1 - p))" in described["rows"]
    card = (workdirs["patient"] / "export" / "model_card.md").read_text()
    assert described["rows"] in card and "Each patient is scored once" in card


def test_an_explained_row_has_its_own_probability_or_that_of_its_patient(workdirs, eye_config):
    unit = types.SimpleNamespace(unit="p1/left", patient="p1")
    for folder, name in ((workdirs["study"], "p1/left"), (workdirs["patient"], "p1")):
        frame = read(folder)
        scored = frame[(frame["split"] == "test") & (frame["model"] == "network")]
        (head,) = explained.heads_of(eye_config, types.SimpleNamespace(scored=scored), unit)
        assert head.probability == scored.set_index("unit_id")["probability"][name]


def test_classes_must_agree_where_rows_are_one(eye_config, tmp_path):
    config = config_json.copied(eye_config)
    with config.unlocked():
        config.cohort.table = str(tmp_path / "kinds.csv")
        config.cohort.outcomes = ConfigDict({"poor": ("kind", "classes", ("wet", "dry"))})
    (tmp_path / "kinds.csv").write_text(
        "patient_id,eye,thickness,sex,kind\na,left,1,F,wet\na,right,1,F,\nb,left,2,M,dry\nb,right,2,M,wet\n"
    )
    with pytest.raises(InputError, match="patient 'b' has rows of two classes in column 'kind'.*set config.evaluate.per = 'study'"):
        table.read_cohort(config, tmp_path)
    with config.unlocked():
        config.evaluate.per = "study"
    assert len(table.read_cohort(config, tmp_path).units) == 3
