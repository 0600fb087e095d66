import json

import numpy as np
import pytest

from jaxstroke.evaluation import curves, delong, plots
from jaxstroke.evaluation.parts import tasks_of


@pytest.fixture
def parts(simulated):
    return tasks_of(simulated(patients=300))["poor"].models["network"][""]


def test_area_under_the_mean_curve_is_the_mean_auc(parts):
    area = np.trapezoid(curves.mean_roc(parts), curves.GRID)
    assert area == pytest.approx(np.mean([delong.auc(part.score, part.label) for part in parts]), abs=0.01)


def test_calibration_groups_hold_everyone(parts):
    groups = curves.calibration_groups(parts, "score", 10)
    assert len(groups) == 10 and sum(group["n"] for group in groups) == 300
    assert all(group["low"] <= group["observed"] <= group["high"] for group in groups)
    assert curves.calibration_groups(parts, "recalibrated") == []


def test_net_benefit_by_hand():
    benefit = curves.benefit(np.array([0.9, 0.6, 0.1]), np.array([1.0, 0, 0]))
    near_half = int(np.argmin(abs(curves.THRESHOLDS - 0.5)))
    odds = curves.THRESHOLDS[near_half] / (1 - curves.THRESHOLDS[near_half])
    assert benefit[near_half] == pytest.approx((1 - odds) / 3)


def test_wilson_by_hand():
    low, high = curves.wilson(0.5, 100)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


def test_learning_reads_whole_lines_of_outer_runs():
    lines = [
        json.dumps({"run": "r0-f0-s0", "epoch": 0, "train_loss": {"dwi": 1.0}, "val_loss": {"dwi": 2.0}}),
        json.dumps({"run": "r0-f0-i1-s0", "epoch": 0, "train_loss": {"dwi": 9.0}, "val_loss": {"dwi": 9.0}}),
        json.dumps({"run": "r0-f1-s0", "epoch": 0, "train_loss": 3.0, "val_loss": {"dwi": 4.0}}),
        '{"run": "r0-f0',
    ]
    found = curves.learning("\n".join(lines))
    assert set(found) == {"dwi", "all"} and set(found["dwi"]["val"]) == {"r0-f0-s0", "r0-f1-s0"}
    np.testing.assert_allclose(curves.mean_curve(found["dwi"]["val"]), [[0, 3.0]])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.03, 0.42), (0, 1500), (0.0, 0.001)])
def test_ticks_lie_within_the_range(low, high):
    found = plots.ticks(low, high)
    assert 3 <= len(found) <= 11 and low <= found[0] and found[-1] <= high * (1 + 1e-9)


def test_names_in_pictures_are_escaped():
    picture = plots.roc([("<script>", "s0", curves.GRID)])
    assert "<script>" not in picture and "&lt;script&gt;" in picture
