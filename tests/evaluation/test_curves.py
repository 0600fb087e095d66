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


def test_operating_points_are_the_rates_and_the_net_benefit(parts):
    """At a threshold that is also one of `THRESHOLDS`, and by hand."""
    found = curves.operating_points(parts, "score", (0.5, float(curves.THRESHOLDS[10])))
    assert found[1]["benefit"] == pytest.approx(curves.net_benefit(parts, "score")[10])
    score, label = np.concatenate([part.score for part in parts]), np.concatenate([part.label for part in parts])
    assert found[0]["sensitivity"] == pytest.approx((score >= 0.5)[label == 1].mean())
    assert found[0]["npv"] == pytest.approx((label == 0)[score < 0.5].mean()) and found[0]["called"] == pytest.approx((score >= 0.5).mean())
    assert curves.operating_points(parts, "recalibrated", (0.5,)) is None


def test_the_histogram_counts_every_patient_once(simulated):
    parts = tasks_of(simulated(patients=100, repeats=2, seeds=2))["poor"].models["network"][""]
    edges, without, having = curves.histogram(parts, "score")
    events = len({unit for part in parts for unit in part.unit[part.label == 1]})
    assert len(edges) == 21 and having.sum() == events and without.sum() == 100 - events


def test_predictions_by_outcome_lie_where_the_predictions_lie(simulated):
    cuts = tasks_of(simulated(patients=200))["poor"].models["network"]
    groups, edges = curves.by_outcome(cuts, {0: "without", 1: "with"}, score=False)
    score, label = (np.concatenate([getattr(part, name) for part in cuts[""]]) for name in ("score", "label"))
    for outcome, group in enumerate(groups):
        assert group["shares"].sum() == pytest.approx(1) and group["n"] == (label == outcome).sum()
        np.testing.assert_allclose(group["quartiles"], np.percentile(score[label == outcome], [25, 50, 75]))
    assert edges[0] == 0 and edges[-1] == 1


def test_predictions_by_level_are_expected_levels_and_few_patients_are_not_drawn(simulated):
    frame = simulated(patients=200, ordinal=True)
    lowest = sorted(set(frame.loc[(frame["task"] == "mrs") & (frame["label"] == 0), "unit_id"]))
    cuts = tasks_of(frame[~frame["unit_id"].isin(lowest[4:])])["mrs"].models["network"]
    groups, edges = curves.by_outcome(cuts, {level: str(level) for level in range(4)}, score=False)
    assert (groups[0]["n"], groups[0]["shares"], groups[0]["quartiles"]) == (4, None, None) and edges[-1] == 3
    medians = [group["quartiles"][1] for group in groups[1:]]
    assert medians == sorted(medians)


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


def test_net_benefit_without_anybody_who_has_the_outcome_is_drawn():
    """Nothing lies above zero then: one new patient, or a cohort of one class."""
    everybody = -curves.THRESHOLDS / (1 - curves.THRESHOLDS)
    drawn = str(plots.decision_curve([("network", "s0", np.zeros(len(curves.THRESHOLDS)))], everybody))
    assert "treat nobody" in drawn and "nan" not in drawn
