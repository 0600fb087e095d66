"""Weights for patients who were lost: against R, against the truth that nobody would know, and at the edges.

`tests/reference/censoring.R` says how its values were made, with which versions; no R is needed here.
"""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from jaxstroke.cohort import censoring
from jaxstroke.cohort.table import Unit
from jaxstroke.evaluation import bootstrap, calibration, curves, delong, metrics
from jaxstroke.evaluation.parts import Part

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "reference"


@pytest.fixture(scope="module")
def reference():
    return json.loads((FOLDER / "censoring.json").read_text())


@pytest.fixture(scope="module")
def patients():
    frame = pd.read_csv(FOLDER / "censoring.csv")
    return frame["days"].to_numpy(float), frame["happened"].to_numpy() == 1, frame["probability"].to_numpy()


def one_part(score, label, weight):
    rows = np.arange(len(score))
    return Part(0, 0, 0, rows, rows, score, label.astype(float), np.full(len(score), np.nan), weight)


def test_the_chance_of_staying_is_that_of_r(reference, patients):
    times, chance = censoring.fit(*patients[:2])
    assert times.tolist() == reference["times"]
    np.testing.assert_allclose(chance, reference["chance"], atol=1e-12)


@pytest.mark.parametrize("kind", ["apart", "tied"])
def test_weights_and_measures_are_those_of_r(reference, patients, kind):
    """`tied`: some are last seen on the day of the horizon itself."""
    days, happened, p = patients
    wanted, horizon = reference[kind], reference[kind]["horizon"]
    assert ((days == horizon) & ~happened).any() == (kind == "tied")
    weight = censoring.row_weights(days, happened, horizon, np.arange(len(days)))
    np.testing.assert_allclose(weight, wanted["weight"], atol=1e-12)
    assert weight.sum() == pytest.approx(len(days), abs=1e-9)  # on the patients it is fitted on
    known = weight > 0
    part = one_part(p[known], (happened & (days <= horizon))[known], weight[known])
    measures = calibration.measures(part.score, part.label, part.weight)
    point = curves.operating_points([part], "score", (0.3, 0.5))
    found = {
        "auc": delong.auc(part.score, part.label, part.weight), "brier": metrics.brier({"": [part]}, "score"),
        "auprc": metrics.average_precision(part), "net_benefit": point[0]["benefit"], "sensitivity": point[1]["sensitivity"],
        "specificity": point[1]["specificity"], "prevalence": float(np.average(part.label, weights=part.weight)),
        "in_the_large": measures["in_the_large"],
    }  # fmt: skip
    for name, value in found.items():
        assert value == pytest.approx(wanted[name], abs=1e-9), name
    for name in ("slope", "intercept"):  # hold a ridge of 1e-6
        assert measures[name] == pytest.approx(wanted[name], abs=1e-6), name
    if kind == "apart":
        packages = reference["packages"]
        assert found["auc"] == pytest.approx(packages["auc"], abs=1e-9)
        assert found["brier"] == pytest.approx(packages["brier"], abs=1e-9) == pytest.approx(packages["pec"], abs=1e-9)


def test_without_losses_everybody_weighs_one():
    days, happened = np.array([3.0, 9, 9, 4]), np.array([True, False, False, True])
    assert censoring.row_weights(days, happened, 9, np.arange(4)).tolist() == [1, 1, 1, 1]


def test_by_hand_events_come_before_losses_of_the_same_day():
    """Day 2: one of five has the event, then one of the four others is lost; day 3: one of the remaining three is lost."""
    days, happened = np.array([2.0, 2, 3, 4, 9]), np.array([True, False, False, True, False])
    times, chance = censoring.fit(days, happened)
    assert times.tolist() == [2, 3, 9] and chance.tolist() == pytest.approx([3 / 4, 3 / 4 * 2 / 3, 0])
    assert censoring.row_weights(days, happened, 9, np.arange(5)).tolist() == pytest.approx([1, 0, 0, 2, 2])


def test_large_weights_are_capped_and_the_unknown_weigh_nothing():
    days, happened = np.append(np.arange(1.0, 100), [200, np.nan]), np.zeros(101, bool)
    weight = censoring.row_weights(days, happened, 150, np.arange(101))
    assert weight[99] == 1 / censoring.LEAST and weight[:99].sum() == 0 and weight[100] == 0
    assert censoring.capped(weight).sum() == 1


def test_times_of_other_rows_do_not_enter():
    random = np.random.default_rng(0)
    days, happened = random.exponential(300, 60), random.random(60) < 0.5
    fitted = np.arange(40)
    other, often = days.copy(), happened.copy()
    other[40:], often[40:] = random.exponential(10, 20), False
    kept = censoring.row_weights(days, happened, 200, fitted)[:40]
    assert np.array_equal(censoring.row_weights(other, often, 200, fitted)[:40], kept)


def test_units_become_arrays():
    units = [Unit(f"u{i}", "p", "", "", {}, {}, {}, {}, "", follow_up=told) for i, told in enumerate(({"a": (3.0, True)}, {}))]
    days, happened = censoring.follow_up(units, "a")
    assert days[0] == 3 and np.isnan(days[1]) and happened.tolist() == [True, False]


def test_weights_give_the_truth_where_leaving_out_does_not():
    """Losses that have nothing to do with the risk: half of the patients are lost before anything is known."""
    random = np.random.default_rng(1)
    n, horizon = 40_000, 365
    score = random.normal(size=n)
    event = random.exponential(900 * np.exp(-2 * score))
    lost = random.exponential(300, n)
    truth = event <= horizon
    days, happened = np.minimum(event, lost), event <= lost
    weight = censoring.row_weights(days, happened, horizon, np.arange(n))
    known = weight > 0
    seen, label = score[known], (happened & (days <= horizon))[known]
    wanted = delong.auc(score, truth), truth.mean()
    weighted = delong.auc(seen, label, weight[known]), np.average(label, weights=weight[known])
    left_out = delong.auc(seen, label), label.mean()
    assert weighted == pytest.approx(wanted, abs=0.006)  # standard errors of 0.002 and 0.004
    assert left_out[0] - wanted[0] > 0.011 and left_out[1] - wanted[1] > 0.15
    again = bootstrap.resampled_auc(seen, label, np.arange(len(seen)), np.ones((len(seen), 1), np.uint8), weight[known])
    assert again[0] == pytest.approx(weighted[0], abs=1e-5)
