import numpy as np
import pytest

from jaxstroke.evaluation import calibration, predictions


def drawn(n=20_000, seed=0):
    random = np.random.default_rng(seed)
    logit = random.normal(size=n) * 1.5
    return logit, (random.random(n) < predictions.sigmoid(logit)).astype(float)


def test_a_known_distortion_is_recovered():
    logit, label = drawn()
    distorted = (logit - 0.7) / 0.4  # the truth is 0.7 + 0.4 x distorted
    intercept, slope = calibration.fit_recalibration(distorted, label)
    assert (intercept, slope) == (pytest.approx(0.7, abs=0.06), pytest.approx(0.4, abs=0.02))
    before = calibration.measures(predictions.sigmoid(distorted), label)
    after = calibration.measures(calibration.apply(distorted, intercept, slope), label)
    assert before["slope"] == pytest.approx(0.4, abs=0.02) and after["slope"] == pytest.approx(1, abs=0.01)
    assert after["intercept"] == pytest.approx(0, abs=0.01) and after["in_the_large"] == pytest.approx(0, abs=0.01)
    assert after["ece"] < 0.02 < before["ece"]


def test_in_the_large_is_the_shift():
    logit, label = drawn()
    assert calibration.in_the_large(logit - 0.5, label) == pytest.approx(0.5, abs=0.05)


def test_separable_and_one_class_data_stay_finite():
    intercept, slope = calibration.fit_recalibration(np.array([-3.0, -2, 2, 3]), np.array([0.0, 0, 1, 1]))
    assert np.isfinite([intercept, slope]).all() and slope > 1
    assert calibration.fit_recalibration(np.array([1.0, 2]), np.ones(2)) == (0.0, 1.0)


def test_youden_by_hand():
    # Called at 0.35: cases 3 of 3, controls right 2 of 3; every other cut gives less.
    assert calibration.youden(np.array([0.1, 0.3, 0.6, 0.4, 0.7, 0.9]), np.array([0, 0, 0, 1, 1, 1])) == pytest.approx(0.35)
    assert calibration.youden(np.array([0.1, 0.3]), np.ones(2)) is None
    assert calibration.youden(np.full(4, 0.5), np.array([0, 1, 0, 1])) is None


def test_expected_error_by_hand():
    probability, label = np.array([0.2, 0.2, 0.8, 0.8]), np.array([0.0, 1, 1, 1])
    assert calibration.expected_error(probability, label, count=2) == pytest.approx((0.3 + 0.2) / 2)


def test_test_labels_change_neither_recalibration_nor_thresholds(simulated):
    frame = simulated()
    changed = frame.assign(label=np.where(frame["split"] == "test", 1 - frame["label"], frame["label"]))
    assert calibration.decisions(frame) == calibration.decisions(changed)
    np.testing.assert_array_equal(
        calibration.add_recalibrated(frame)["recalibrated"], calibration.add_recalibrated(changed)["recalibrated"]
    )


def test_validation_labels_do_change_them(simulated):
    frame = simulated()
    changed = frame.assign(label=np.where(frame["split"] == "val", 1 - frame["label"], frame["label"]))
    assert calibration.decisions(frame) != calibration.decisions(changed)


def test_recalibrated_only_where_it_has_a_meaning(simulated):
    frame = calibration.add_recalibrated(simulated(models=("network", "rule:scalar_nihss", "column:score"), ordinal=True))
    filled = frame["recalibrated"].notna()
    assert (filled == ((frame["model"] == "network") & (frame["task"] == "poor"))).all()
    one = frame[filled & (frame["fold"] == 1)]
    line = next(line for line in calibration.decisions(frame)["network"]["poor"] if line["fold"] == 1)
    np.testing.assert_allclose(one["recalibrated"], calibration.apply(one["logit"], line["intercept"], line["slope"]))


def test_without_validation_rows_nothing_is_filled(simulated):
    frame = simulated()
    frame = frame[frame["split"] == "test"]
    assert calibration.add_recalibrated(frame)["recalibrated"].isna().all()
    assert calibration.decisions(frame) == {}
