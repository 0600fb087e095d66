"""Do groups of patients differ in AUC? By hand, under no difference, with one, and where no test is made."""

import math

import numpy as np
import pandas as pd
import pytest

from jaxstroke.evaluation import interactions, metrics
from jaxstroke.evaluation.parts import Part


def ids(start, stop):
    return {f"{number:03d}" for number in range(start, stop)}


def lines(frame, groups):
    return metrics.compute(frame, 20, groups=groups)["interactions"]


def test_chi_square_by_hand():
    # Weighted mean (0.8 / 0.01 + 0.6 / 0.03) / (1 / 0.01 + 1 / 0.03) = 0.75; 0.05 ** 2 / 0.01 + 0.15 ** 2 / 0.03 = 1.
    assert interactions.heterogeneity(np.array([0.8, 0.6]), np.array([0.01, 0.03])) == pytest.approx(1.0)


def test_two_groups_are_the_test_of_their_difference(simulated):
    """With one degree of freedom chi-square is the square of the difference over its standard error."""
    frame = simulated(patients=240, repeats=2, seeds=2)
    halves = {"first": ids(0, 120), "second": ids(120, 240)}
    line = lines(frame, {"half": halves})[0]
    alone = [metrics.compute(frame[frame["unit_id"].isin(units)], 2000)["tasks"]["poor"]["auc"] for units in halves.values()]
    difference = alone[0]["value"] - alone[1]["value"]
    spread = math.hypot(*((one["ci95"][1] - one["ci95"][0]) / (2 * 1.96) for one in alone))
    assert (line["groups"], line["df"], line["untested"]) == (["first", "second"], 1, "")
    assert math.sqrt(line["chi2"]) == pytest.approx(abs(difference) / spread, rel=0.15)  # the bootstrap's spread beside DeLong's
    assert line["p"] == pytest.approx(math.erfc(math.sqrt(line["chi2"] / 2)))


def test_a_group_in_which_the_network_knows_nothing_stands_out_and_columns_are_one_family(simulated):
    frame = simulated(patients=300)
    blind = frame["unit_id"].isin(ids(0, 100)) & (frame["model"] == "network")
    shuffled = np.random.default_rng(0).random(len(frame))
    frame = frame.assign(probability=frame["probability"].mask(blind, pd.Series(shuffled)))
    thirds = {"a": ids(0, 100), "b": ids(100, 200), "c": ids(200, 300)}
    parity = {name: {f"{number:03d}" for number in range(start, 300, 2)} for start, name in enumerate(("even", "odd"))}
    first, second = lines(frame, {"third": thirds, "parity": parity})
    assert (first["df"], second["df"]) == (2, 1) and first["p"] < 0.01
    assert first["p_holm"] == pytest.approx(2 * first["p"]) and second["p_holm"] == second["p"]


def test_where_no_test_is_made_it_says_why(simulated):
    frame = simulated(patients=120)
    few, empty = lines(frame, {"sex": {"F": ids(0, 117), "M": ids(117, 120)}, "none": {"x": set()}})
    assert few["untested"] == empty["untested"] == interactions.FEW and few["p"] is None and few["p_holm"] is None
    eyes = pd.concat([frame.assign(unit_id=frame["unit_id"] + eye) for eye in ("L", "R")], ignore_index=True)
    sides = {eye: {unit for unit in eyes["unit_id"] if unit.endswith(eye)} for eye in ("L", "R")}
    other = {"low": {unit for unit in eyes["unit_id"] if unit < "060"}, "high": {unit for unit in eyes["unit_id"] if unit >= "060"}}
    shared, apart = lines(eyes, {"eye": sides, "half": other})
    assert shared["untested"] == interactions.SHARED and shared["chi2"] is None and apart["untested"] == ""
    once = lines(frame, {"half": {"low": ids(0, 60), "high": ids(60, 120)}})[0]
    assert apart["chi2"] == pytest.approx(once["chi2"], rel=0.1)  # each eye twice is not twice as sure
    perfect = frame.assign(probability=frame["probability"].mask(frame["unit_id"] < "060", frame["label"]))
    assert lines(perfect, {"half": {"low": ids(0, 60), "high": ids(60, 120)}})[0]["untested"] == interactions.CERTAIN


def test_patients_of_no_known_group_are_none_and_small_groups_are_joined(simulated):
    frame = simulated(patients=240)
    named = {"centre": {"A": ids(0, 90), "B": ids(90, 180), **{f"h{n}": ids(n, n + 4) for n in range(180, 220, 4)}}}
    line = lines(frame, named)[0]
    assert line["groups"] == ["A", "B", "10 smaller groups"] and line["df"] == 2


def test_an_ordinal_outcome_is_compared_at_the_cuts_that_all_groups_have(simulated):
    frame = simulated(patients=300, ordinal=True)
    frame = frame[frame["task"] == "mrs"]
    high = set(frame.loc[(frame["label"] >= 1) & (frame["unit_id"] < "150"), "unit_id"])
    groups = {"high": high, "rest": ids(150, 300)}
    assert lines(frame, {"level": groups})[0]["chi2"] == pytest.approx(lines(frame[frame["class"] != "1"], {"level": groups})[0]["chi2"])
    low = set(frame.loc[frame["label"] <= 1, "unit_id"])
    assert lines(frame, {"level": {"low": low, "high": high - low}})[0]["untested"] == interactions.APART


def test_p_is_uniform_without_a_difference():
    """300 cohorts of 200 patients in 5 folds, two repeats and two groups."""
    random, place, p_values = np.random.default_rng(7), np.arange(200), []
    for _ in range(300):
        label, group = (place % 5 < 2).astype(float), random.integers(0, 2, 200)
        signal = random.normal(size=200) + label
        groups: dict = {"a": {"": []}, "b": {"": []}}
        for repeat in range(2):
            fold, score = random.permutation(200) % 5, signal + 0.5 * random.normal(size=200)
            for number, parts in enumerate(groups.values()):
                rows = [place[(fold == one) & (group == number)] for one in range(5)]
                parts[""] += [Part(repeat, 0, one, r, r, score[r], label[r], label[r]) for one, r in enumerate(rows)]
        p_values.append(interactions.compared(groups, 200)["p"])
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.04)
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.09) and np.mean(p_values) == pytest.approx(0.5, abs=0.06)
