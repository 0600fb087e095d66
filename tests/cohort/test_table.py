"""The cohort table: what becomes of every cell, and what is said when one is wrong."""

import os
import shutil

import pandas as pd
import pytest
from ml_collections import ConfigDict

from jaxstroke import config as settings
from jaxstroke.cohort import cells
from jaxstroke.cohort.table import read_cohort, write_table
from jaxstroke.errors import InputError

HEADER = "patient_id,visit,centre,dwi,flair,age,nihss,sex,mrs,score"
ROWS = (
    "007,1,A,scans/a.nii.gz,,70,4,F,3,0.2",
    "007,2,A,scans/b.nii.gz,flair/10,71,,F,2,0.3",
    "8/x,1,B,n/a,one.png|two.png,n/a,9,,n/a,",
    "9,1,,scans/c.nii.gz,,55.5,11,X,6,0.9",
)


@pytest.fixture
def config(tmp_path):
    config = settings.base()
    config.cohort.table = str(tmp_path / "my.csv")
    config.cohort.study = "visit"
    config.cohort.group = "centre"
    config.cohort.outcomes = ConfigDict({"poor": ("mrs", ">", 2), "mrs": ("mrs", "ordinal", (1, 2, 3, 4, 5, 6))})
    config.cohort.ranges = ConfigDict({"mrs": (0, 6), "age": (0, 120)})
    config.images = ConfigDict({"dwi": settings.image("dwi"), "flair": settings.image("flair")})
    config.clinical.numeric = ("age", "nihss")
    config.clinical.categorical = ConfigDict({"sex": ()})
    config.evaluate.comparators.columns = ("score",)
    return config


def write(config, header=HEADER, rows=ROWS, encoding="utf-8", end="\n"):
    with open(config.cohort.table, "wb") as file:
        file.write((end.join((header, *rows)) + end).encode(encoding))


def read(config, tmp_path, labelled=True):
    return read_cohort(config.lock(), tmp_path / "run", labelled)


def refused(config, tmp_path, *words, labelled=True):
    with pytest.raises(InputError) as caught:
        read(config, tmp_path, labelled)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


def test_cells_become_values(config, tmp_path):
    (tmp_path / "flair" / "10").mkdir(parents=True)
    for name in ("s10.png", "s9.png", ".hidden.png"):
        (tmp_path / "flair" / "10" / name).write_bytes(b"x")
    write(config)
    cohort = read(config, tmp_path)
    assert [unit.unit for unit in cohort.units] == ["007/1", "007/2", "9/1"]
    first, second, last = cohort.units
    assert (first.patient, first.study, first.group, last.group) == ("007", "1", "A", "")
    assert first.paths == {"dwi": (str(tmp_path / "scans/a.nii.gz"),), "flair": ()}
    assert [os.path.basename(path) for path in second.paths["flair"]] == ["s9.png", "s10.png"]
    assert first.clinical == {"age": 70.0, "nihss": 4.0, "sex": "F"}
    assert second.clinical["nihss"] is None
    assert [unit.labels["poor"] for unit in cohort.units] == [1.0, 0.0, 1.0]
    assert [unit.labels["mrs"] for unit in cohort.units] == [3.0, 2.0, 6.0]
    assert last.columns == {"score": 0.9}
    assert cohort.flow == (("rows in the table", 4), ("without outcome", -1), ("used", 3))


def test_what_a_cell_names(tmp_path):
    """A folder of slices is one image and so are slices named one by one; files of other kinds are an image each."""
    slices = ("ct/1.dcm", "ct/2.dcm", "ct/preview.png", "plain/IM2", "plain/IM10", "deep/a/IM1")
    for name in (*slices, "photos/2.jpg", "photos/10.jpg", "photos/notes"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()

    def named(cell):
        return tuple(found.replace(f"{tmp_path}/", "") for found in cells.files(cell, str(tmp_path), frozenset(("", "n/a"))))

    for folder in ("ct", "plain", "deep", "empty"):
        assert named(folder) == (folder,)
    assert named("photos") == ("photos/notes", "photos/2.jpg", "photos/10.jpg")
    assert named("ct/1.dcm | ct/2.dcm") == named("ct/1.dcm|n/a|ct/2.dcm") == ("ct/1.dcm|ct/2.dcm",)
    assert named("plain/IM2|plain/IM10") == ("plain/IM2|plain/IM10",)
    assert named("ct|deep") == ("ct", "deep")
    assert named("a.nii|ct/1.dcm|ct/2.dcm|b.nii.gz|x.npz#a/3") == ("a.nii", "ct/1.dcm|ct/2.dcm", "b.nii.gz", "x.npz#a/3")
    assert named("absent.dcm") == ("absent.dcm",) and named("absent") == ("absent",) and named("n/a") == ()


def test_prediction_keeps_every_patient_and_needs_no_outcome(config, tmp_path):
    write(config, HEADER.replace("mrs", "other").replace("score", "else").replace("centre", "town"))
    config.split.column = "fold"
    cohort = read(config, tmp_path, labelled=False)
    assert [unit.unit for unit in cohort.units] == ["007/1", "007/2", "8/x/1", "9/1"]
    assert cohort.units[2].clinical == {"age": None, "nihss": 9.0, "sex": None}
    assert [os.path.basename(path) for path in cohort.units[2].paths["flair"]] == ["one.png", "two.png"]
    assert all(unit.labels == {"mrs": None, "poor": None} for unit in cohort.units)


def test_prediction_is_not_stopped_by_a_wrong_outcome(config, tmp_path):
    write(config, rows=("1,1,A,a.nii,,70,4,F,dead,0.2", "2,1,A,a.nii,,70,4,F,3,0.2"))
    assert [unit.labels["poor"] for unit in read(config, tmp_path, labelled=False).units] == [None, 1.0]


def test_subgroups_are_levels_numbers_and_the_centre(config, tmp_path):
    """Clinical columns as they were read, others as cells unless they are cut; the centre is always among them."""
    config.evaluate.subgroups = ("sex", "age", "score", "visit")
    config.evaluate.subgroup_bounds = ConfigDict({"score": (0.5,)})
    write(config, rows=(*ROWS[:3], ROWS[3].replace("55.5", "155")))
    first, _, last = read(config, tmp_path).units
    assert first.subgroups == {"sex": "F", "age": 70.0, "score": 0.2, "visit": "1", "centre": "A"}
    assert last.subgroups == {"sex": "X", "age": None, "score": 0.9, "visit": "1", "centre": None}


def test_a_subgroup_column_that_is_not_there_is_named_but_not_needed_to_predict(config, tmp_path):
    config.evaluate.subgroups = ("sex", "scor")
    write(config)
    refused(config, tmp_path, "no column 'scor'", "config.evaluate.subgroups", "leave it out", "'score'")
    assert all(unit.subgroups == {} for unit in read(config, tmp_path, labelled=False).units)


def test_a_number_of_a_subgroup_out_of_range_is_missing_and_noted(config, tmp_path):
    config.evaluate.subgroups = ("visit",)
    config.evaluate.subgroup_bounds = ConfigDict({"visit": (2,)})
    config.cohort.ranges = ConfigDict({"mrs": (0, 6), "visit": (0, 1)})
    write(config)
    cohort = read(config, tmp_path)
    assert [unit.subgroups["visit"] for unit in cohort.units] == [1.0, None, 1.0]
    assert cohort.notes == (("visit outside its range, taken as missing", 1),)


def test_incomplete_patients_are_counted_once_at_the_first_reason(config, tmp_path):
    config.cohort.complete = ("dwi", "nihss", "flair")
    write(config)
    config.unlock()
    config.cohort.complete = ("dwi", "nihss")
    cohort = read(config, tmp_path)
    assert cohort.flow == (("rows in the table", 4), ("without outcome", -1), ("incomplete: nihss", -1), ("used", 2))


def test_clinical_value_out_of_range_is_missing_and_noted(config, tmp_path):
    write(config, rows=(ROWS[0].replace("70", "700"), *ROWS[1:]))
    cohort = read(config, tmp_path)
    assert cohort.units[0].clinical["age"] is None
    assert cohort.notes == (("age outside its range, taken as missing", 1),)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (("mrs", ">=", 3), [1, 0, 1]),
        (("mrs", "<", 3), [0, 1, 0]),
        (("mrs", "<=", 2), [0, 1, 0]),
        (("mrs", "==", 6), [0, 0, 1]),
        (("mrs", "in", (2, 6)), [0, 1, 1]),
        (("mrs", "ordinal", (3, 6)), [1, 0, 2]),
        (("mrs", "ordinal", (6, 3)), [1, 2, 0]),
        (("sex", "==", "F"), [1, 1, 0]),
        (("sex", "in", ("X", "Y")), [0, 0, 1]),
    ],
)
def test_rules(config, tmp_path, outcome, expected):
    config.cohort.outcomes = ConfigDict({"task": outcome})
    write(config)
    assert [unit.labels["task"] for unit in read(config, tmp_path).units] == expected


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (("mrs", "over", 2), "over"),
        (("mrs", "ordinal", (2, 1, 3)), "rise"),
        (("mrs", ">", "2"), "number"),
        (("mrs", ">"), "column, rule, value"),
    ],
)
def test_wrong_rules_name_the_config_key(config, tmp_path, outcome, word):
    config.cohort.outcomes = ConfigDict({"task": outcome})
    write(config)
    refused(config, tmp_path, "config.cohort.outcomes.task", word)


def test_missing_column_is_named_with_the_nearest(config, tmp_path):
    write(config, HEADER.replace("nihss", "NIHS"))
    refused(config, tmp_path, "'nihss'", "my.csv", "config.clinical")


def test_images_the_network_does_not_see_need_no_column(config, tmp_path):
    config.model.images = ("dwi",)
    write(config, HEADER.replace("flair", "t2"))
    assert all(unit.paths["flair"] == () for unit in read(config, tmp_path).units)


def test_brain_mask_columns_are_read_under_their_own_name(config, tmp_path):
    config.images.dwi.brain_mask = "flair"
    config.images.flair.column = "dwi"
    write(config)
    refused(config, tmp_path, "rename")
    config.unlock()
    config.images = ConfigDict({"dwi": settings.image("dwi", brain_mask="flair")})
    assert len(read(config, tmp_path, labelled=False).units[2].paths["flair"]) == 2


def test_duplicates_are_refused_by_name(config, tmp_path):
    write(config, rows=(*ROWS, ROWS[1]))
    refused(config, tmp_path, "'007'", "study '2'", "rows 2 and 5")
    config.unlock()
    config.cohort.study = ""
    refused(config, tmp_path, "'007'", "cohort.study")


def test_outcome_out_of_range_names_patient_column_and_range_only(config, tmp_path):
    write(config, rows=(*ROWS, "10,1,A,a.nii,,77,31,F,9,0.5"))
    message = refused(config, tmp_path, "'10'", "'mrs'", "0 to 6").replace(str(tmp_path), "")
    assert "77" not in message
    assert "31" not in message


@pytest.mark.parametrize("cell", ["old", "1_0", "inf", "1e999", "٣"])
def test_text_in_a_numeric_column(config, tmp_path, cell):
    write(config, rows=(f"1,1,A,a.nii,,{cell},4,F,3,0.2",))
    refused(config, tmp_path, "'1'", "'age'", "not a number")


def test_missing_id_is_refused(config, tmp_path):
    write(config, rows=(*ROWS, ",1,A,a.nii,,70,4,F,3,0.2"))
    refused(config, tmp_path, "row 5", "'patient_id'")


def test_complete_names_something_known(config, tmp_path):
    config.cohort.complete = ("lesions",)
    write(config)
    refused(config, tmp_path, "config.cohort.complete", "lesions")


def test_unknown_recipe_and_empty_table_key(config, tmp_path):
    config.cohort.table = ""
    refused(config, tmp_path, "--config.cohort.table")
    config.unlock()
    config.cohort.recipe = "sop"
    refused(config, tmp_path, "Did you mean 'soop'")


@pytest.mark.parametrize("key", ["comparators.columns", "attainable"])
def test_a_scored_column_that_is_lacking_may_be_left_out(config, tmp_path, key):
    """As in a table of new patients whom no reader has seen: the key is one that may differ from the trained run's."""
    write(config)
    with config.unlocked():
        config.evaluate.attainable = "" if key == "comparators.columns" else "truth"
        config.evaluate.comparators.columns = ("reader",) if key == "comparators.columns" else ()
    refused(config, tmp_path, f"config.evaluate.{key}", "It may be left out there")
    with config.unlocked():
        config.evaluate.attainable, config.evaluate.comparators.columns = "", ()
    assert read(config, tmp_path).units


def test_digest_follows_content_and_not_the_place(config, tmp_path):
    write(config)
    digest = read(config, tmp_path).digest
    moved = tmp_path / "elsewhere" / "my.csv"
    moved.parent.mkdir()
    shutil.copy(config.cohort.table, moved)
    with config.unlocked():
        config.cohort.table = str(moved)
        config.evaluate.comparators.columns = ()
    assert read(config, tmp_path).digest == digest
    write(config, rows=(ROWS[0].replace("a.nii.gz", "z.nii.gz"), *ROWS[1:]))
    assert read(config, tmp_path).digest != digest


def test_digest_of_absolute_paths_below_the_root(config, tmp_path):
    digests = []
    for place in ("one", "two"):
        root = tmp_path / place
        root.mkdir()
        with config.unlocked():
            config.cohort.root = str(root)
        write(config, rows=(f"1,1,A,{root}/a.nii,,70,4,F,3,0.2",))
        digests.append(read(config, tmp_path).digest)
    assert digests[0] == digests[1]


def test_write_table_leaves_an_equal_file_alone(tmp_path):
    frame = pd.DataFrame({"patient_id": ["1", "2"], "age": ["70", ""]})
    write_table(frame, tmp_path / "new" / "table.csv")
    before = (tmp_path / "new" / "table.csv").stat().st_mtime_ns
    write_table(frame, tmp_path / "new" / "table.csv")
    assert (tmp_path / "new" / "table.csv").stat().st_mtime_ns == before
    assert (tmp_path / "new" / "table.csv").read_text() == "patient_id,age\n1,70\n2,\n"
    assert os.listdir(tmp_path / "new") == ["table.csv"]
