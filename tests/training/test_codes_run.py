"""Diagnosis codes from a table to the report, new patients, an external validation and a program without this package."""

import csv
import json
import re

import jax
import jax.export
import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict

from jaxstroke import check, config_json
from jaxstroke import config as settings
from jaxstroke.benchmark import synthetic
from jaxstroke.cohort import icd10
from jaxstroke.evaluation import new_patients, patients, predictions
from jaxstroke.feed import load
from jaxstroke.interop import export
from jaxstroke.preprocess import clinical
from jaxstroke.training import drift, external, modes, predict, summary

PATIENTS = 150
CODES = ("I10", "E11.9", "I63.311", "i48", "H353", "Z95.1")


class Never:
    """A stop that never stops."""

    training = False

    def __call__(self):
        return False


def write(path, prefix, patients=PATIENTS, more=(), outcome=True, seed=0):
    """Patients with any of `CODES`; atrial fibrillation makes the outcome likely. more: cells of the first rows."""
    random = np.random.default_rng(seed)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "age", "diagnoses", *(["poor"] if outcome else [])])
        for number in range(patients):
            codes = [code for code in CODES if random.random() < 0.4]
            poor = int(random.random() < (0.9 if "i48" in codes else 0.1))
            cell = more[number] if number < len(more) else "|".join(codes) or "none"
            writer.writerow([f"{prefix}{number}", f"{random.normal(70, 10):.0f}", cell, *([poor] if outcome else [])])
    return str(path)


@pytest.fixture(scope="module")
def code_config(tmp_path_factory):
    config = settings.base()
    config.cohort.table = write(tmp_path_factory.mktemp("codes") / "my.csv", "p", more=("", "", "I10 typo"))
    config.cohort.outcomes = ConfigDict({"poor": ("poor", "==", 1)})
    config.clinical.numeric, config.clinical.codes = ("age",), ConfigDict({"diagnoses": "blocks"})
    config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}})
    config.model.name, config.model.hidden, config.model.dropout = "clinical_mlp", 16, (0.0, 0.0)
    config.split.folds, config.split.inner_folds = 2, 0
    config.train.epochs, config.train.batch_size, config.optimizer.learning_rate = 10, 16, 2e-2
    config.evaluate.primary, config.evaluate.bootstrap = "poor", 50
    config.device.data, config.device.cache = 1, ""
    check.check(config)
    return config.lock()


@pytest.fixture(scope="module")
def coded_run(code_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    modes.train(config_json.copied(code_config), epath.Path(folder), Never())
    return folder


GROUPS = ["E10-E14", "H30-H36", "I10-I15", "I30-I52", "I60-I69", "Z80-Z99"]


def test_networks_and_regressions_learn_from_the_groups(coded_run):
    model = json.loads((coded_run / "model.json").read_text())
    assert model["schema"]["codes"] == [["diagnoses", GROUPS]]
    content = json.loads((coded_run / "metrics.json").read_text())["models"]
    assert content["clinical_logistic"]["poor"]["auc"]["value"] > 0.8 and content["network"]["poor"]["auc"]["value"] > 0.8
    frame = predictions.read(coded_run / "predictions.csv").drop_duplicates("patient_id").set_index("patient_id")
    assert frame.loc[["p0", "p1", "p2", "p3"], "missing"].tolist() == ["diagnoses", "diagnoses", "", ""]


def test_the_report_counts_groups_and_predictors(coded_run):
    page = (coded_run / "report.html").read_text()
    assert "diagnoses: I30-I52" in page and "A patient may have several" not in page  # those words are the card's
    assert "Diagnoses: a patient may have several" in page and "codes of diagnoses become indicators of ICD-10 blocks" in page
    assert re.search(r"diagnoses holds a code that is in no ICD-10 group \(blocks\), passed over", page)
    cohort = json.loads((coded_run / "cohort.json").read_text())
    (line,) = (line for line in cohort["characteristics"] if line["name"] == "diagnoses")
    assert line["several"] == 6 and list(line["levels"]) == GROUPS and line["known"]["all"] == PATIENTS - 2
    assert re.search(r"\b7 candidate", page) or re.search(r"\b7 predictors", page)


def test_new_patients_with_groups_that_training_had_not(coded_run, code_config, tmp_path):
    cells = ("", "none", "A00|C50.9", "I48", "unreadable")
    new = write(tmp_path / "new.csv", "n", len(cells), cells, outcome=False)
    predict.predict(config_json.copied(code_config), epath.Path(coded_run), new, str(tmp_path / "scores.csv"))
    frame = predictions.read(tmp_path / "scores.csv")
    network = frame[frame["model"] == "network"].set_index("patient_id")
    assert network["probability"].between(0, 1).all() and network["missing"].tolist() == ["diagnoses", "", "", "", "diagnoses"]
    assert network.loc["n3", "probability"] > network.loc["n1", "probability"]


def test_an_external_cohort_is_set_beside_training(coded_run, code_config, tmp_path):
    elsewhere = write(tmp_path / "elsewhere.csv", "e", 60, ("I48|Q20",) * 30, seed=2)
    external.validate(config_json.copied(code_config), epath.Path(coded_run), elsewhere)
    (found,) = coded_run.glob("external/*/external.json")
    rows = {row["name"]: row for row in new_patients.lines(json.loads(found.read_text()))}
    assert [name for name in rows if name.startswith("diagnoses")] == [f"diagnoses: {group}" for group in GROUPS]
    assert rows["diagnoses: I30-I52"]["marked"] and rows["diagnoses: I30-I52"]["difference"].startswith("+")
    assert "diagnoses: I30-I52" in (found.parent / "report.html").read_text()


def test_the_export_tells_how_a_cell_becomes_its_inputs(coded_run, code_config, tmp_path):
    """Cells remade by the description alone give what predict says."""
    cells = ("none", "I10 e119", "A00.1|I48.9", "")
    predict.predict(
        config_json.copied(code_config), epath.Path(coded_run), write(tmp_path / "n.csv", "n", 4, cells), str(tmp_path / "scores.csv")
    )
    export.export(code_config, epath.Path(coded_run))
    described = json.loads((coded_run / "export" / "preprocessing.json").read_text())
    assert "ICD-10 codes separated by" in described["codes"]["diagnoses"] and "D49 as D48" in described["codes"]["diagnoses"]
    values, mask = np.zeros((2, len(cells), len(described["clinical"])), np.float32)
    groups = [one["group"] for one in described["clinical"] if one.get("group")]
    assert groups == [*GROUPS, "other"] and "in none of E10-E14" in described["clinical"][-1]["what"]
    with open(tmp_path / "n.csv") as file:
        ages = [float(row["age"]) for row in csv.DictReader(file)]
    for row, cell in enumerate(cells):
        codes = [] if cell == "none" else [code.upper()[:3] for code in re.split(r"[|,;\s]+", cell) if code]
        for one in described["clinical"]:
            if one["kind"] == "number":
                values[row, one["place"]], mask[row, one["place"]] = ages[row], 1
                continue
            inside = [[code for code in codes if group[:3] <= code <= group[4:]] for group in groups[:-1]]
            other = len(codes) - sum(map(len, inside))
            values[row, one["place"]] = bool(other if one["group"] == "other" else inside[groups.index(one["group"])])
            mask[row, one["place"]] = cell != ""
    model = jax.export.deserialize(bytearray((coded_run / "export" / "model.jaxexport").read_bytes()))
    numbers = dict(np.load(coded_run / "export" / "weights.npz"))
    batch = {name: {"clinical": values, "clinical_mask": mask}[name] for name in described["inputs"]}
    found = np.asarray(jax.jit(model.call)(numbers, batch)["probability"]["poor"])[:, 0]
    frame = predictions.read(tmp_path / "scores.csv")
    np.testing.assert_allclose(found, frame[frame["model"] == "network"]["probability"], atol=2e-5)
    assert "ranges of ICD-10" in (coded_run / "export" / "model_card.md").read_text()


def test_a_network_may_leave_the_codes_out(coded_run, code_config):
    config = config_json.copied(code_config)
    schema = clinical.from_json(json.loads((coded_run / "model.json").read_text())["schema"])
    assert load.network_schema(config, schema) == schema
    with config.unlocked():
        config.model.clinical = ("age",)
    assert load.network_schema(config, schema) == clinical.Schema(("age",), ())


def test_a_benchmark_without_a_table_has_every_group(code_config):
    assert synthetic.schema(code_config).codes == (("diagnoses", icd10.GROUPS["blocks"]),)


def test_the_commonest_groups_are_shown_and_few_patients_are_not_told():
    values = [tuple(f"A{n:02d}-A{n:02d}" for n in range(12) if row % (n + 1) == 0) for row in range(40)] + [None, ()]
    everybody = {"all": np.ones(42, bool), "with": np.arange(42) < 20}
    found = summary.codes_of(values, np.array([value is not None for value in values]), everybody)
    assert list(found["levels"]) == [*(f"A{n:02d}-A{n:02d}" for n in range(10)), "2 other groups"] and found["several"] == 12
    assert found["levels"]["A01-A01"] == {"all": 20, "with": 10} and found["known"] == {"all": 41, "with": 20}
    rare = [value for value in values if value and {"A10-A10", "A11-A11"} & set(value)]
    assert found["levels"]["2 other groups"]["all"] == len(rare)
    shown = patients.characteristics({"characteristics": [{"name": "codes"} | found]})
    assert shown["codes"] and [row["level"] for row in shown["rows"]] == list(found["levels"])
    counted = drift.grouped(values)
    assert counted["counts"]["A00-A00"] == 40 and "A11-A11" not in counted["counts"] and (counted["known"], counted["of"]) == (41, 42)
    lines = new_patients.code_rows("codes", counted, {"known": 30, "of": 30, "counts": {"A00-A00": 30}})
    assert lines[1]["here"] == "fewer than 5" and lines[1]["difference"] == "–" and lines[0]["here"].startswith("30")
