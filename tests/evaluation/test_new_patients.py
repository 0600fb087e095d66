"""External validation: the shift in the large by hand and by repeated rows, differences of inputs by formula, damaged files by name."""

import json

import numpy as np
import pytest
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation import bootstrap, calibration, in_the_large, metrics, new_patients, predictions


@pytest.fixture
def external():
    """Sixty new patients, three with two visits, of whom fewer have the outcome than the network says."""
    random = np.random.default_rng(3)
    logit = random.normal(size=60)
    label = (random.random(60) < predictions.sigmoid(logit - 1)).astype(float)
    patients = [f"p{min(number, 56)}" for number in range(60)]
    where = {"repeat": 0, "fold": -1, "seed": -1, "split": "external", "task": "poor"}
    frame = predictions.block(patients, [f"u{n}" for n in range(60)], predictions.sigmoid(logit), label, model="network", **where)
    return frame.assign(recalibrated=predictions.sigmoid(1.2 * logit + 0.1))


def test_the_shift_makes_the_mean_that_of_the_outcome(external):
    found = metrics.compute(external, 200, thresholds={})["tasks"]["poor"]["in_the_large"]
    moved = predictions.sigmoid(predictions.log_odds(external["recalibrated"]) + found["shift"])
    assert moved.mean() == pytest.approx(external["label"].mean(), abs=1e-9) == pytest.approx(found["observed"])
    assert found["kind"] == "recalibrated" and found["predicted"] == pytest.approx(external["recalibrated"].mean())
    assert found["brier_shifted"] == pytest.approx(np.mean((moved - external["label"]) ** 2)) and found["brier_shifted"] < found["brier"]
    assert found["ci95"][0] < found["shift"] < found["ci95"][1] < 0


def test_a_resample_is_the_shift_of_repeated_rows(external):
    task = metrics.tasks_of(external)["poor"]
    (part,) = task.models["network"][""]
    drawn = bootstrap.weights(np.zeros(len(task.stratum), int), 20, 5)
    logit = predictions.log_odds(part.score)
    shifts = in_the_large.resampled_shift(logit, part, drawn)
    for column in range(20):
        rows = np.repeat(np.arange(60), drawn[part.patient, column])
        assert shifts[column] == pytest.approx(calibration.in_the_large(logit[rows], part.label[rows]), abs=1e-7)


def test_a_cohort_of_one_class_has_no_shift(external):
    assert metrics.compute(external.assign(label=1.0), 20, thresholds={})["tasks"]["poor"]["in_the_large"] is None


def test_thresholds_of_training_judge_new_patients(external):
    numbers = metrics.compute(external, 20, thresholds={"network": {"poor": 0.6}})["tasks"]["poor"]
    called = external["probability"] >= 0.6
    assert numbers["sensitivity"] == pytest.approx(called[external["label"] == 1].mean())
    assert numbers["specificity"] == pytest.approx(1 - called[external["label"] == 0].mean())
    assert numbers["thresholds"] == [{"repeat": 0, "fold": -1, "seed": -1, "value": 0.6, "source": "validation"}]


def test_a_cross_validation_has_no_shift(simulated):
    assert "in_the_large" not in metrics.compute(simulated(), 20)["tasks"]["poor"]


def inputs(mean=70.0, sd=10.0, known=100, old=40) -> dict:
    numbers = {"age": {"known": known, "of": 100, "mean": mean, "sd": sd}}
    levels = {"sex": {"known": 100, "of": 100, "counts": {"F": 100 - old, "M": old}}}
    return {"n": 100, "numbers": numbers, "levels": levels, "looked_at": 100}


def said(training, here) -> dict:
    return {"networks": 5, "known": 0, "thresholds": {}, "training": training, "here": here}


def test_differences_are_in_deviations():
    age, sex = new_patients.lines(said(inputs(), inputs(mean=75.0, old=60)))
    assert age["difference"] == "+0.50" and age["marked"] and age["training"] == "70.0 (10.0)"
    assert sex["name"] == "sex: M" and sex["difference"] == f"+{0.2 / np.sqrt(0.24):.2f}" and sex["here"] == "60 (60.0 %)"
    same = new_patients.lines(said(inputs(), inputs()))
    assert [row["difference"] for row in same] == ["+0.00", "+0.00"] and not any(row["marked"] for row in same)


def test_small_numbers_keep_a_digit_that_counts():
    age, _ = new_patients.lines(said(inputs(mean=0.061, sd=0.0042), inputs(mean=0.0, sd=0.0)))
    assert (age["training"], age["here"]) == ("0.061 (0.004)", "0.00 (0.00)")


def test_a_level_that_few_have_is_not_told_as_one_that_nobody_has():
    here = inputs()
    here["levels"]["sex"]["counts"] = {"F": 97}  # three have another level, which `drift.counted` does not keep
    _, sex = new_patients.lines(said(inputs(), here))
    assert (sex["name"], sex["here"], sex["difference"], sex["marked"]) == ("sex: M", "fewer than 5", "–", False)
    here["levels"]["sex"]["counts"] = {"F": 100}
    _, sex = new_patients.lines(said(inputs(), here))
    assert (sex["here"], sex["difference"], sex["marked"]) == ("0", "−1.15", True)


def test_a_shift_without_interval_is_not_called_chance():
    large = {"kind": "raw", "observed": 0.2, "predicted": 0.3, "shift": -0.5, "ci95": None, "brier": 0.2, "brier_shifted": 0.1}
    told = [new_patients.tell(said(None, inputs()), large | {"ci95": limits})["large"] for limits in (None, [-0.6, 0.1], [-0.6, -0.1])]
    assert [bool(one["chance"]) for one in told] == [False, True, False]


def test_more_missing_values_are_marked():
    age, _ = new_patients.lines(said(inputs(), inputs(known=85)))
    assert age["marked"] and (age["missing"], age["missing_here"]) == ("0.0", "15.0")


def test_a_constant_that_differs_is_large():
    assert new_patients.lines(said(inputs(sd=0.0), inputs(mean=71.0, sd=0.0)))[0]["difference"] == "large"


def test_without_the_inputs_of_training_the_report_says_so():
    told = new_patients.tell(said(None, inputs()), None)
    assert told["rows"] == [] and not told["has_training"]


@pytest.mark.parametrize("text", ["{", "[]", '{"networks": 5}', json.dumps(said({"numbers": {"age": 3}}, inputs()))])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "external.json").write_text(text)
    with pytest.raises(InputError, match=r"external\.json is not as it was written"):
        new_patients.read(epath.Path(tmp_path))


def test_no_file_is_no_external_validation(tmp_path):
    assert new_patients.read(epath.Path(tmp_path)) == {} == new_patients.tell({}, None)


def test_known_patients_are_said_and_few_are_not_counted():
    assert new_patients.tell(said(None, inputs()) | {"known": 3}, None)["known"] == "fewer than 5"
