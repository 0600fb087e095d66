"""The table of ICD-10: whole, without overlap, and codes of several editions in their groups; cells and columns of a cohort."""

import itertools
import string

import pytest
from ml_collections import ConfigDict

from jaxstroke import check
from jaxstroke import config as settings
from jaxstroke.cohort import icd10, table
from jaxstroke.errors import InputError

CATEGORIES = [f"{letter}{number:02d}" for letter in string.ascii_uppercase for number in range(100)]


def test_there_are_22_chapters_and_every_block_lies_in_one():
    assert len(icd10.GROUPS["chapters"]) == 22 and len(icd10.GROUPS["blocks"]) > 250
    for groups in icd10.GROUPS.values():
        assert all(group[:3] <= group[4:] for group in groups)
        assert all(one[4:] < other[:3] for one, other in itertools.pairwise(groups))
    for block in icd10.GROUPS["blocks"]:
        assert icd10.group(block[:3], "chapters") == icd10.group(block[4:], "chapters") is not None


def test_every_letter_is_used_and_a_category_of_a_block_is_in_a_chapter():
    assert {chapter[0] for chapter in icd10.GROUPS["chapters"]} | set("BTWXY") == set(string.ascii_uppercase)
    for code in CATEGORIES:
        block = icd10.group(code, "blocks")
        if block and code not in icd10.NATIONAL:
            assert block[:3] <= code <= block[4:]
        assert block is None or icd10.group(code, "chapters") is not None


@pytest.mark.parametrize(
    ("code", "block", "chapter"),
    [
        ("I10", "I10-I15", "I00-I99"), ("e11.9", "E10-E14", "E00-E90"), ("I63.311", "I60-I69", "I00-I99"), ("i63311", "I60-I69", "I00-I99"),
        ("D48.9", "D37-D48", "C00-D48"), ("D50", "D50-D53", "D50-D89"), ("H59.0", "H55-H59", "H00-H59"), ("H60", "H60-H62", "H60-H95"),
        ("H35.30", "H30-H36", "H00-H59"), ("Y09", "X85-Y09", "V01-Y98"), ("T98.3", "T90-T98", "S00-T98"), ("U07.1", "U00-U49", "U00-U99"),
        ("S00.00XA", "S00-S09", "S00-T98"), ("T36.0X1A", "T36-T50", "S00-T98"), ("C50.911", "C50-C50", "C00-D48"),
        ("A17.0+", "A15-A19", "A00-B99"), ("G01*", "G00-G09", "G00-G99"), ("I10.-", "I10-I15", "I00-I99"),
        ("C7A.00", "C76-C80", "C00-D48"), ("O9A.2", "O94-O99", "O00-O99"),
        ("Z3A.01", "Z30-Z39", "Z00-Z99"), ("D49.0", "D37-D48", "C00-D48"),
        ("K95.8", "K90-K93", "K00-K93"), ("I03", None, "I00-I99"), ("D95", None, None), ("V00.0", "V01-V09", "V01-Y98"),
        ("430", None, None), ("IX", None, None), ("I1", None, None), ("I10.12345", None, None), ("stroke", None, None), ("", None, None),
    ],
)  # fmt: skip
def test_codes_of_several_editions(code, block, chapter):
    assert icd10.group(code, "blocks") == block and icd10.group(code, "chapters") == chapter


def test_national_categories_are_no_who_categories_of_another_block():
    for code, other in icd10.NATIONAL.items():
        assert icd10.group(code, "blocks") == icd10.group(other, "blocks") is not None


@pytest.mark.parametrize("cell", ["I10|E11.9|I63.3", " i10 , e119;I633 ", "I63.311 I64\tE10 I11|I10"])
def test_a_cell_in_any_dress_is_the_same_groups(cell):
    assert icd10.read(cell, "blocks") == (("E10-E14", "I10-I15", "I60-I69"), ())
    assert icd10.read(cell, "chapters") == (("E00-E90", "I00-I99"), ())


def test_no_diagnosis_is_known_and_what_cannot_be_read_is_not():
    assert icd10.read("none", "blocks") == icd10.read(" - ", "blocks") == icd10.read("NONE", "blocks") == ((), ())
    assert icd10.read("I10|typo|I03", "blocks") == (("I10-I15",), ("typo", "I03"))
    assert icd10.read("typo", "blocks") == (None, ("typo",))


@pytest.fixture
def coded(tmp_path):
    """A config on a table of codes, written by `coded(cells)`."""

    def of(cells, kind="blocks", labelled=True):
        lines = [f"p{number},{60 + number},{number % 2},{cell}" for number, cell in enumerate(cells)]
        (tmp_path / "codes.csv").write_text("\n".join(["patient_id,age,poor,diagnoses", *lines]) + "\n")
        config = settings.base()
        config.cohort.table = str(tmp_path / "codes.csv")
        config.cohort.outcomes = ConfigDict({"poor": ("poor", "==", 1)})
        config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}})
        config.clinical.numeric, config.clinical.codes = ("age",), ConfigDict({"diagnoses": kind})
        config.evaluate.primary, config.model.name = "poor", "clinical_mlp"
        return config, lambda: table.read_cohort(config, tmp_path, labelled)

    return of


def test_a_table_of_codes(coded):
    config, read = coded(["I10|E11.9", "none", "", "n/a", "i639"])
    check.check(config)
    units = read().units
    assert [unit.clinical["diagnoses"] for unit in units] == [("E10-E14", "I10-I15"), (), None, None, ("I60-I69",)]


def test_the_digest_hangs_on_the_groups(coded):
    first = coded(["I10|E11.9", "I63"])[1]().digest
    assert coded(["e119 I11", "I64"])[1]().digest == first != coded(["I10", "I63"])[1]().digest


def test_a_typing_error_stops_nobody_and_is_told_without_the_code(coded, caplog):
    cohort = coded(["I10", "I10|X-typo", "E11", "secret"])[1]()
    assert [unit.clinical["diagnoses"] for unit in cohort.units] == [("I10-I15",), ("I10-I15",), ("E10-E14",), None]
    assert cohort.notes == (("diagnoses holds a code that is in no ICD-10 group (blocks), passed over", 2),)
    assert "2 rows, the first of patient 'p1'" in caplog.text and "secret" not in caplog.text and "typo" not in caplog.text


def test_a_column_without_a_single_code_is_refused_but_not_of_new_patients(coded):
    with pytest.raises(InputError, match="column 'diagnoses' holds no ICD-10 code.*patient 'p0'.*config.clinical.codes"):
        coded(["stroke", "", "diabetes"])[1]()
    cohort = coded(["stroke", "", "diabetes"], labelled=False)[1]()
    assert [unit.clinical["diagnoses"] for unit in cohort.units] == [None] * 3


def test_what_cannot_be_in_a_config_is_named(coded):
    config, read = coded(["I10", "I11"], kind="block")
    with pytest.raises(InputError, match="config.clinical.codes.diagnoses = 'block' is unknown.*blocks"):
        check.check(config)
    config.clinical.codes.diagnoses = "blocks"
    config.evaluate.subgroups = ("diagnoses",)
    with pytest.raises(InputError, match="config.evaluate.subgroups: 'diagnoses' holds several diagnosis codes"):
        check.check(config)
    config.evaluate.subgroups, config.clinical.categorical = (), ConfigDict({"diagnoses": ()})
    with pytest.raises(InputError, match="'diagnoses' is listed as categorical and as codes: keep one"):
        read()
    config.clinical.categorical, config.clinical.codes = ConfigDict(), ConfigDict({"diagnosis": "blocks"})
    with pytest.raises(InputError, match=r"no column 'diagnosis', which config.clinical.codes \(diagnosis\) names"):
        read()
