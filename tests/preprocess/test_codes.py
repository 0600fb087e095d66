"""Groups of diagnosis codes among the clinical columns: places, masks, imputation, files of before."""

import json
import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxstroke.preprocess import clinical


def units(*rows):
    return [types.SimpleNamespace(clinical=dict(zip(("age", "sex", "old", "new"), row, strict=True))) for row in rows]


COHORT = units(
    (60.0, "M", ("E10-E14", "I10-I15"), ("I00-I99",)),
    (70.0, "F", (), None),
    (80.0, "F", None, ("I00-I99",)),
    (90.0, "M", ("I10-I15",), ("E00-E90", "I00-I99")),
)


@pytest.fixture
def schema():
    codes = {"old": "blocks", "new": "chapters"}
    return clinical.schema(ConfigDict({"clinical": {"numeric": ("age",), "categorical": {"sex": ()}, "codes": codes}}), COHORT)


def test_the_groups_that_occur_follow_the_levels(schema):
    assert schema.columns == (
        "age", "sex=F", "sex=M", "sex=other", "new: E00-E90", "new: I00-I99", "new: other", "old: E10-E14", "old: I10-I15", "old: other",
    )  # fmt: skip
    assert schema.variables == ("age", "sex", "new", "old")
    assert schema.source == (0, 1, 1, 1, 2, 2, 2, 3, 3, 3) and schema.first == (0, 1, 4, 7)
    assert schema.indicator == (False,) + (True,) * 9


def test_several_at_once_none_and_missing(schema):
    values, mask = clinical.encode_all(schema, COHORT)
    np.testing.assert_array_equal(values[:, 7:], [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(mask[:, 7:], np.repeat([[1], [1], [0], [1]], 3, 1))  # none is known, an empty cell is not
    np.testing.assert_array_equal(mask[:, 4:7], np.repeat([[1], [0], [1], [1]], 3, 1))


def test_groups_that_the_table_had_not_are_other(schema):
    values, mask = clinical.encode(schema, units((60.0, "M", ("A00-A09", "I10-I15", "Z80-Z99"), ("Z00-Z99",)))[0])
    assert values[4:].tolist() == [0, 0, 1, 0, 1, 1] and mask[4:].tolist() == [1] * 6


def test_a_missing_cell_is_imputed_as_no_such_diagnosis(schema):
    values, mask = clinical.encode_all(schema, COHORT)
    fitted = clinical.fit(schema, values, mask, range(4))
    assert (fitted["median"][4:] == 0).all()  # I00-I99 is in all who are known
    assert fitted["mean"][schema.columns.index("old: I10-I15")] == 0.5


def test_json_keeps_codes_and_reads_and_writes_files_without_them(schema):
    assert clinical.from_json(json.dumps(clinical.to_json(schema))) == schema
    before = {"numeric": ["age"], "categorical": [["sex", ["F", "M"]]]}
    read = clinical.from_json(before)
    assert read == clinical.Schema(("age",), (("sex", ("F", "M")),)) and read.codes == () and clinical.to_json(read) == before


def test_a_network_sees_the_columns_that_it_names(schema):
    assert clinical.seen(schema, ("age", "old")) == clinical.Schema(("age",), (), (("old", ("E10-E14", "I10-I15")),))
    assert clinical.seen(schema, schema.variables) == schema
