"""Rows of a patient as one: means by hand, patients with one row untouched, labels and weights of all rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from jaxstroke.errors import InputError
from jaxstroke.evaluation import by_patient, calibration, metrics, predictions, probast_analysis
from jaxstroke.evaluation.predictions import log_odds, sigmoid

WHERE = {"repeat": 0, "fold": 0, "seed": 0, "split": "test"}


def block(units, probability, label, task="poor", model="network", **more):
    """Rows of units such as p1/left, of patient p1."""
    return predictions.block([unit.split("/")[0] for unit in units], units, probability, label, task=task, model=model, **WHERE, **more)


def eyes(patients, random):
    """Two eyes a patient, some with one; probabilities and labels of patients."""
    units = [f"p{n:03d}/{eye}" for n in range(patients) for eye in ("left", "right")[: 1 + (n % 3 > 0)]]
    label = random.integers(0, 2, patients).astype(float)
    number = np.array([int(unit[1:4]) for unit in units])
    return units, number, label[number], sigmoid(label[number] + random.normal(size=len(units)))


def test_the_auc_is_that_of_means_by_hand():
    units, number, label, p = eyes(80, np.random.default_rng(0))
    merged = by_patient.aggregate(block(units, p, label))
    means = [float(np.mean(log_odds(p[number == one]))) for one in range(80)]
    expected = roc_auc_score([label[number == one][0] for one in range(80)], means)
    assert metrics.compute(merged, 20)["models"]["network"]["poor"]["auc"]["value"] == pytest.approx(expected, abs=1e-12)
    assert metrics.compute(block(units, p, label), 20)["models"]["network"]["poor"]["auc"]["value"] != pytest.approx(expected, abs=1e-3)
    assert list(merged["unit_id"]) == list(merged["patient_id"]) == [f"p{one:03d}" for one in range(80)]
    np.testing.assert_allclose(merged["logit"], means, rtol=1e-12)
    np.testing.assert_allclose(merged["probability"], sigmoid(np.array(means)), rtol=1e-12)


@pytest.mark.parametrize("ordinal", [False, True])
def test_patients_with_one_row_keep_every_bit(simulated, ordinal):
    frame = simulated(repeats=2, seeds=2, ordinal=ordinal).assign(missing="adc|age")
    pd.testing.assert_frame_equal(by_patient.aggregate(frame), frame, check_exact=True)


def test_equal_rows_twice_change_no_metric_and_no_interval(simulated):
    """Recalibration, thresholds and the bootstrap of patients are those of one row each."""
    frame = simulated(ordinal=True)
    twice = pd.concat([frame.assign(unit_id=frame["unit_id"] + f"/{eye}") for eye in "ab"], ignore_index=True)
    once, merged = (calibration.add_recalibrated(one) for one in (frame, by_patient.aggregate(twice)))
    np.testing.assert_allclose(merged["recalibrated"], once["recalibrated"], rtol=1e-9)
    flat = [pd.json_normalize(metrics.compute(one, 200), max_level=None).iloc[0].to_dict() for one in (once, merged)]
    assert flat[0].keys() == flat[1].keys()
    lines = [name for name in flat[0] if isinstance(flat[0][name], float)]
    assert len(lines) > 40
    np.testing.assert_allclose([flat[1][name] for name in lines], [flat[0][name] for name in lines], rtol=1e-6)
    assert flat[1]["models.network.poor.auc.ci95"] == pytest.approx(flat[0]["models.network.poor.auc.ci95"])
    assert flat[1]["models.network.poor.n"] == flat[1]["models.network.poor.patients"] == 60


def test_of_classes_log_probabilities_are_averaged_and_sum_to_one():
    units, names = ["a/1", "a/2", "b/1"], ("normal", "infarct", "bleeding")
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]])
    label = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1.0]])
    frame = pd.concat([block(units, p[:, k], label[:, k], "kind", class_=name) for k, name in enumerate(names)], ignore_index=True)
    merged = by_patient.aggregate(frame, ["kind"]).pivot(index="unit_id", columns="class", values=["probability", "label", "logit"])
    wanted = np.sqrt(p[0] * p[1])
    np.testing.assert_allclose(merged["probability"].loc["a", list(names)].astype(float), wanted / wanted.sum(), rtol=1e-12)
    np.testing.assert_allclose(merged["logit"].loc["a", list(names)].astype(float), log_odds(wanted / wanted.sum()), rtol=1e-12)
    assert merged["probability"].loc["b", list(names)].tolist() == p[2].tolist()
    assert predictions.kind_of(by_patient.aggregate(frame, ["kind"])) == "classes"


def test_levels_stay_in_order_and_the_highest_counts():
    random = np.random.default_rng(1)
    units = [f"{patient}/{visit}" for patient in "abcdef" for visit in range(3)]
    falling = np.sort(random.random((18, 4)))[:, ::-1]
    level = random.integers(0, 5, 18).astype(float)
    level[3:6] = np.nan
    frame = pd.concat([block(units, falling[:, k], level, "mrs", class_=k + 1) for k in range(4)], ignore_index=True)
    merged = by_patient.aggregate(frame).pivot(index="unit_id", columns="class", values=["probability", "label"])
    assert (np.diff(merged["probability"].to_numpy(), axis=1) <= 0).all()
    highest = [np.nan if np.isnan(level[3 * n]) else level[3 * n : 3 * n + 3].max() for n in range(6)]
    np.testing.assert_array_equal(merged["label"], np.repeat(np.array(highest)[:, None], 4, 1))


def test_label_weight_and_what_is_missing_are_of_all_rows_whatever_a_model_has():
    units = ["a/1", "a/2", "b/1", "c/1", "c/2"]
    label, weight, missing = [0, 1, 0, np.nan, 0], [1.0, 1.5, 1.0, 0.0, 2.0], ["oct", "age|oct", "", "", "age"]
    whole = block(units, [0.2, 0.6, 0.4, 0.3, 0.5], label, weight=weight, missing=missing)
    module = block(["a/1", "c/1"], [0.2, 0.3], [0, np.nan], model="module:oct", weight=[1.0, 0.0], missing=["oct", ""])
    column = block(units, [1.0, 4.0, 3.0, 5.0, 7.0], label, model="column:reader", weight=weight, missing=missing)
    merged = by_patient.aggregate(pd.concat([whole, module, column], ignore_index=True)).set_index(["model", "unit_id"])
    for model in ("network", "module:oct"):
        assert merged.loc[(model, "a"), ["label", "weight", "missing"]].tolist() == [1, 1.5, "oct|age"]
        assert merged.loc[(model, "c"), ["label", "weight", "missing"]].tolist() == [0, 2, "age"]
    assert merged.loc[("module:oct", "a"), "probability"] == 0.2
    assert merged.loc["column:reader", "probability"].to_dict() == {"a": 2.5, "b": 3.0, "c": 6.0}
    assert merged.loc["column:reader", "logit"].isna().all()
    predictions.validate(merged.reset_index())


def test_a_network_that_diverged_in_one_row_is_not_passed_over():
    merged = by_patient.aggregate(block(["a/1", "a/2", "b/1"], [0.5, np.nan, 0.5], [0, 0, 1]))
    assert merged["probability"].isna().tolist() == [True, False]
    with pytest.raises(InputError, match="may have diverged"):
        predictions.validate(merged)


def test_a_row_of_the_splits_finds_its_patient():
    patient = {"p1": "p1", "p/2": "p/2"}
    assert [probast_analysis.owner(unit, patient) for unit in ("p1/left", "p/2/a/b", "p1", "p3/left")] == ["p1", "p/2", "p1", "p3/left"]
    assert probast_analysis.owner("p1/left", {"p1/left": "of the table"}) == "of the table"
