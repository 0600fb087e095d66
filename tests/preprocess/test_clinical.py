import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxstroke.errors import InputError
from jaxstroke.preprocess import clinical


def units(*rows):
    return [types.SimpleNamespace(clinical=dict(zip(("age", "sex", "prior"), row, strict=True))) for row in rows]


COHORT = units((60.0, "M", "1.0"), (None, "F", "0"), (80.0, None, None), (70.0, "M", "0.0"))


def make(**categorical):
    config = ConfigDict({"clinical": {"numeric": ("age",), "categorical": categorical or {"sex": (), "prior": ("0", "1")}, "codes": {}}})
    return clinical.schema(config, COHORT)


def test_schema_expands_levels_and_other():
    schema = make()
    assert schema.columns == ("age", "prior=0", "prior=1", "prior=other", "sex=F", "sex=M", "sex=other")
    assert schema.variables == ("age", "prior", "sex")
    assert schema.source == (0, 1, 1, 1, 2, 2, 2) and schema.first == (0, 1, 4)
    assert clinical.from_json(clinical.to_json(schema)) == schema


def test_encode_missing_and_unseen_levels():
    schema = make()
    values, mask = clinical.encode_all(schema, COHORT)
    np.testing.assert_array_equal(values[0], [60, 0, 1, 0, 0, 1, 0])  # '1.0' is level '1'
    np.testing.assert_array_equal(mask[0], np.ones(7))
    np.testing.assert_array_equal(values[2], [80, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(mask[2], [1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(mask[1], [0, 1, 1, 1, 1, 1, 1])
    values, mask = clinical.encode(schema, units((float("nan"), "X", "2"))[0])
    np.testing.assert_array_equal(values, [0, 0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(mask, [0, 1, 1, 1, 1, 1, 1])


def test_fit_is_blind_to_rows_outside_training():
    schema = make()
    values, mask = clinical.encode_all(schema, COHORT)
    rows = [0, 1, 3, -1, -1]
    numbers = clinical.fit(schema, values, mask, rows)
    changed = values.copy()
    changed[2] = 1e6
    for name, fitted in clinical.fit(schema, changed, mask, rows).items():
        np.testing.assert_array_equal(fitted, numbers[name])
    assert numbers["median"][0] == 65 and (numbers["median"][1:] == 0).all()
    imputed = np.where(mask[[0, 1, 3]] > 0, values[[0, 1, 3]], numbers["median"])
    scaled = (imputed - numbers["mean"]) / numbers["scale"]
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(0)[[0, 1, 2, 4, 5]], 1, atol=1e-5)
    assert numbers["scale"][[3, 6]].tolist() == [1, 1]  # `other` never seen


def test_minmax_is_0_to_1_over_the_training_rows():
    schema = make()
    values, mask = clinical.encode_all(schema, COHORT)
    numbers = clinical.fit(schema, values, mask, [0, 2, -1], "minmax")
    scaled = (np.where(mask > 0, values, numbers["median"]) - numbers["mean"]) / numbers["scale"]
    assert scaled[[0, 2], 0].tolist() == [0, 1] and scaled[3, 0] == 0.5
    assert scaled[[0, 2], schema.columns.index("sex=M")].tolist() == [1, 0]
    constant = schema.columns.index("sex=F")
    assert numbers["scale"][constant] == 1 and numbers["mean"][constant] == 0
    empty = clinical.fit(schema, values, mask, [], "minmax")
    assert (empty["scale"] == 1).all() and (empty["mean"] == 0).all()


def test_a_majority_level_is_not_imputed():
    schema = make(sex=())
    values, mask = clinical.encode_all(schema, COHORT)
    median = clinical.fit(schema, values, mask, range(4))["median"]
    assert median[schema.columns.index("sex=M")] == 0


def test_column_never_seen_and_no_rows():
    schema = make(sex=())
    values, mask = clinical.encode_all(schema, units((None, "M", None), (None, "M", None)))
    numbers = clinical.fit(schema, values, mask, [0, 1])
    assert numbers["median"][0] == 0 and numbers["scale"].tolist() == [1, 1, 1, 1]
    empty = clinical.fit(schema, values, mask, [])
    assert all(np.isfinite(v).all() for v in empty.values()) and (empty["scale"] == 1).all()


def test_bad_columns_are_named():
    many = units(*[(1.0, f"name {i}", None) for i in range(70)])
    with pytest.raises(InputError, match="'sex' has 70 levels"):
        clinical.schema(ConfigDict({"clinical": {"numeric": (), "categorical": {"sex": ()}, "codes": {}}}), many)
    with pytest.raises(InputError, match="'age' is listed as numeric and as categorical"):
        make(age=())
