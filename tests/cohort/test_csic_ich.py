"""The haemorrhage paper's published folder, as a small copy: scans by outcome, a spreadsheet's table, a folder to be predicted."""

import nibabel
import numpy as np
import pytest

from jaxstroke import config as settings
from jaxstroke.cohort.public import csic_ich
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError

PREDICTORS = list(csic_ich.COLUMNS.values())


def scan(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 6), 40, np.int16), np.eye(4)), path)


def csv(path, rows, id_column="ID", delimiter=",", encoding="utf-8", label=csic_ich.LABEL):
    """rows: patient -> {published column: cell}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [id_column, *PREDICTORS, label]
    lines = [delimiter.join(names)] + [
        delimiter.join([patient, *(cells.get(name, "1") for name in PREDICTORS), cells.get("label", "")]) for patient, cells in rows.items()
    ]
    path.write_bytes("\n".join(lines).encode(encoding))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "ich"
    for place in ("GOOD_PROGNOSIS/2", "GOOD_PROGNOSIS/10", "POOR_PROGNOSIS/7", "POOR_PROGNOSIS/213"):
        scan(folder / f"{place}_brain.nii.gz")
    rows = {"7": {"Age": "81", "GCS": "6", "label": "1"}, "2": {"Age": "64", "GCS": "15", "label": "0"}, "99": {"label": "1"}, "213": {}}
    csv(folder / "CLINICAL_DATA_ICH.csv", rows)
    return folder


def cells(frame, patient):
    return frame[frame["patient_id"] == patient].to_dict("records")[0]


def test_outcomes_come_from_folders(root):
    frame = csic_ich.table(root)
    assert list(frame["patient_id"]) == ["2", "7", "10", "213", "99"]
    assert list(frame["poor_prognosis"]) == ["0", "1", "0", "1", "1"]
    assert {name: cells(frame, "7")[name] for name in ("age", "gcs", "temperature", "rdw")} == {
        "age": "81", "gcs": "6", "temperature": "1", "rdw": "1",
    }  # fmt: skip
    assert cells(frame, "7")["ct"].endswith("POOR_PROGNOSIS/7_brain.nii.gz")
    assert cells(frame, "10")["age"] == "" and cells(frame, "99")["ct"] == ""
    assert len(csic_ich.COLUMNS) == len(set(PREDICTORS)) == 42 and set(csic_ich.COLUMNS) < set(frame)


def make_config(root):
    config = settings.base()
    config.cohort.recipe, config.cohort.root = "csic_ich", str(root)
    config.images.ct = settings.image("ct", kind="volume")
    config.clinical.numeric = ("age", "gcs")
    config.cohort.outcomes.prognosis = ("poor_prognosis", "==", 1)
    config.cohort.complete = ("ct",)
    return config


def test_patient_213_has_no_part_in_training_and_the_flow_says_so(root, tmp_path):
    cohort = read_cohort(make_config(root), tmp_path)
    assert cohort.flow == (
        ("rows in the table", 5), ("patient 213, left out as in the paper's code", -1), ("incomplete: ct", -1), ("used", 3),
    )  # fmt: skip
    assert [unit.unit for unit in cohort.units] == ["2", "7", "10"]
    assert "213" in [unit.unit for unit in read_cohort(make_config(root), tmp_path, labelled=False).units]


def test_a_spanish_spreadsheet_in_deeper_folders_and_small_letters(tmp_path):
    scan(tmp_path / "data" / "poor_prognosis" / "007_BRAIN.nii")
    rows = {"7.0": {"Age": "71,5", "Tº": "36,8", "Gender": "M", "label": "1"}}
    csv(tmp_path / "data" / "clinical_data_ich.csv", rows, id_column="Nº", delimiter=";", encoding="cp1252")
    (row,) = csic_ich.table(tmp_path).to_dict("records")
    assert {name: row[name] for name in ("patient_id", "age", "temperature", "gender", "poor_prognosis")} == {
        "patient_id": "007", "age": "71.5", "temperature": "36.8", "gender": "M", "poor_prognosis": "1",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ID", "Patient ID", "patient_id", "Nº paciente", "Unheard of"])
def test_the_ids_are_found_by_name_or_by_what_they_hold(root, name):
    csv(root / "CLINICAL_DATA_ICH.csv", {"7": {"Age": "81"}, "2": {"Age": "64"}}, id_column=name)
    assert cells(csic_ich.table(root), "7")["age"] == "81"


def test_scans_alone_are_enough_to_predict(tmp_path):
    for patient in ("b", "12", "3", "213"):
        scan(tmp_path / "new" / f"{patient}_brain.nii.gz")
    scan(tmp_path / "new" / "._3_brain.nii.gz")
    config = make_config(tmp_path / "new")
    units = read_cohort(config, tmp_path / "run", labelled=False).units
    assert [unit.unit for unit in units] == ["3", "12", "213", "b"]
    assert all(unit.paths["ct"] and unit.labels["prognosis"] is None and unit.clinical["age"] is None for unit in units)
    with pytest.raises(InputError, match="no patient"):
        read_cohort(config, tmp_path / "run")


def refusal(root):
    with pytest.raises(InputError) as caught:
        csic_ich.table(root)
    return str(caught.value)


def test_what_is_wrong_is_named(root, tmp_path):
    assert "--config.cohort.root" in refusal("") and "_brain.nii.gz" in refusal(tmp_path / "none")
    table = root / "CLINICAL_DATA_ICH.csv"
    csv(table, {"7": {"label": "0"}})
    assert "patient '7' lies in POOR_PROGNOSIS" in refusal(root)
    csv(table, {"7": {"label": "poor"}})
    assert "patient '7'" in refusal(root) and csic_ich.LABEL in refusal(root)
    csv(table, {"7": {}, "07": {}})
    assert "'7' is there twice" in refusal(root)
    csv(table, {"x": {}}, id_column="Unheard of")
    assert "name it 'ID'" in refusal(root)
    table.unlink()
    scan(root / "GOOD_PROGNOSIS" / "7_brain.nii.gz")
    assert "patient '7' has two scans" in refusal(root)


def test_missing_outcome_cells_are_missing(root):
    csv(root / "CLINICAL_DATA_ICH.csv", {"7": {"label": "n/a"}, "98": {"label": "NA"}})
    frame = csic_ich.table(root)
    assert cells(frame, "7")["poor_prognosis"] == "1" and cells(frame, "98")["poor_prognosis"] == ""
