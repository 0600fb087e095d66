"""Readers beside the network: their points by hand, the network at their specificity, and how far they agree."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from jaxstroke.evaluation import bootstrap, curves, metrics, readers
from jaxstroke.evaluation.parts import Part, tasks_of


def as_calls(frame, limits, model="column:reader"):
    """The rows of a model as grades: how many of the limits its probability reaches, the same in every repeat and seed."""
    rows = frame[frame["model"] == model]
    value = rows.drop_duplicates("unit_id").set_index("unit_id")["probability"]
    grades = np.searchsorted(limits, rows["unit_id"].map(value), "right").astype(float)
    return frame.assign(probability=frame["probability"].mask(frame["model"] == model, pd.Series(grades, rows.index)))


def test_points_by_hand_count_a_unit_once(simulated):
    frame = as_calls(simulated(patients=120, repeats=2, seeds=2, models=("network", "column:reader")), [0.3, 0.6])
    line = metrics.compute(frame, 50)["readers"][0]
    rows = frame[(frame["model"] == "column:reader") & (frame["split"] == "test")].drop_duplicates("unit_id")
    assert (line["n"], line["patients"], line["events"]) == (120, 120, int(rows["label"].sum()))
    assert [cut["cut"] for cut in line["cuts"]] == [1, 2]
    for cut in line["cuts"]:
        for name, side in (("sensitivity", rows["label"] == 1), ("specificity", rows["label"] == 0)):
            right = ((rows["probability"] >= cut["cut"]) == (name == "sensitivity"))[side]
            assert cut[name]["value"] == pytest.approx(right.mean())
            assert cut[name]["ci95"] == pytest.approx(list(curves.wilson(right.mean(), side.sum())))
        parts = tasks_of(frame)["poor"].models["network"][""]
        network = curves.mean_roc(parts, np.array([1 - cut["specificity"]["value"]]))[0]
        assert cut["network_sensitivity"] == pytest.approx(network)
        assert cut["difference"]["value"] == pytest.approx(network - cut["sensitivity"]["value"])
        low, high = cut["difference"]["ci95"]
        assert low < cut["difference"]["value"] < high


def test_a_reader_who_is_the_network_is_a_point_of_its_curve(simulated):
    """In one fold, calls above a threshold on the network lie on its curve, in a resample at most a vertical stretch below it."""
    frame = simulated(patients=150, folds=1, models=("network",))
    twin = frame[frame["model"] == "network"].assign(model="column:reader")
    cut = metrics.compute(as_calls(pd.concat([frame, twin], ignore_index=True), [0.5]), 200)["readers"][0]["cuts"][0]
    assert cut["difference"]["value"] == pytest.approx(0, abs=1e-12)
    assert cut["difference"]["ci95"][0] == pytest.approx(0, abs=1e-12) and cut["difference"]["ci95"][1] < 0.1


def test_the_interval_of_the_difference_holds_the_truth():
    """Reader and network of the same binormal strength: the true difference is 0."""
    random = np.random.default_rng(5)
    label = (np.arange(160) < 80).astype(float)
    place = np.arange(160)
    inside = 0
    for trial in range(200):
        signal = random.normal(size=160) * 0.6 + label * 1.2
        network, seen = (signal + 0.8 * random.normal(size=160) for _ in range(2))
        reader = readers.Reader(place, place, (seen > 0.5).astype(float), label, np.ones(len(label)))
        part = Part(0, 0, 0, place, place, network, label, place, np.ones(len(place)))
        drawn = bootstrap.weights(label.astype(int), 300, trial)
        low, high = readers.points(reader, [part], drawn)[0]["difference"]["ci95"]
        inside += low <= 0 <= high
    assert 0.90 <= inside / 200 <= 0.99


def test_a_patient_with_two_units_is_one_patient_for_the_interval(simulated):
    frame = as_calls(simulated(models=("network", "column:reader")), [0.5])
    twice = pd.concat([frame, frame.assign(unit_id=frame["unit_id"] + "/2")], ignore_index=True)
    once, both = (metrics.compute(one, 200)["readers"][0] for one in (frame, twice))
    assert both["n"] == 2 * once["n"] and both["patients"] == once["patients"]
    for name in ("sensitivity", "specificity", "difference"):
        assert both["cuts"][0][name]["ci95"] == pytest.approx(once["cuts"][0][name]["ci95"])


def test_only_few_whole_numbers_are_calls(simulated):
    names = ("network", "column:grade", "column:true", "column:score", "column:one")
    frame = as_calls(as_calls(as_calls(simulated(models=names), [0.5], "column:grade"), [0.5], "column:true"), [], "column:one")
    found = metrics.compute(frame, 20, "true")
    assert [line["model"] for line in found["readers"]] == ["column:grade"] and found["agreement"] == []
    many = as_calls(simulated(models=("network", "column:grade")), np.linspace(0, 1, 14), "column:grade")
    assert metrics.compute(many, 20)["readers"] == []
    huge = many.assign(probability=many["probability"].mask(many["model"] == "column:grade", (many["unit_id"] > "030") * 1e200))
    assert metrics.compute(huge, 20)["readers"] == []


def test_of_few_patients_and_without_a_network_there_is_less(simulated):
    frame = as_calls(simulated(models=("network", "column:reader")), [0.5])
    cases = sorted(set(frame.loc[frame["label"] == 1, "unit_id"]))
    short = frame[~((frame["model"] == "column:reader") & frame["unit_id"].isin(cases[4:]))]
    line = metrics.compute(short, 20)["readers"][0]
    assert line["events"] == 4 and line["cuts"] == []
    alone = metrics.compute(frame[frame["model"] != "network"], 20)["readers"][0]
    assert alone["cuts"][0]["network_sensitivity"] is None and alone["cuts"][0]["difference"] == {"value": None, "ci95": None}
    assert alone["cuts"][0]["sensitivity"]["value"] > 0


def test_readers_who_missed_patients_are_compared_on_theirs(simulated):
    frame = as_calls(simulated(patients=120, models=("network", "column:reader")), [0.5])
    short = frame[(frame["model"] == "network") | (frame["unit_id"] < "080")]
    both = frame[frame["unit_id"] < "080"]
    found, expected = (metrics.compute(one, 20)["readers"][0] for one in (short, both))
    assert found["n"] == 80 and found["cuts"][0]["network_sensitivity"] == expected["cuts"][0]["network_sensitivity"]


@pytest.mark.parametrize("ordinal", [False, True])
def test_kappa_of_every_two_and_of_all(simulated, ordinal):
    names = tuple(f"column:{name}" for name in "abc")
    frame = simulated(patients=150, models=("network", *names), ordinal=ordinal)
    for name in names:
        frame = as_calls(frame, [0.3, 0.6], name)
    task = "mrs" if ordinal else "poor"
    found = metrics.compute(frame[frame["task"] == task], 200)
    assert (found["readers"] == []) == ordinal  # levels have no one ROC plane
    grades = frame[(frame["split"] == "test") & (frame["task"] == task)].drop_duplicates(["unit_id", "model"])
    grades = grades.pivot(index="unit_id", columns="model", values="probability")
    assert [(line["statistic"], len(line["models"])) for line in found["agreement"]] == [("cohen", 2)] * 3 + [("fleiss", 3)]
    for line in found["agreement"][:3]:
        first, second = (grades[model] for model in line["models"])
        assert line["kappa"]["value"] == pytest.approx(cohen_kappa_score(first, second, weights="quadratic"))
        assert line["weights"] == "quadratic" and line["n"] == 150
    for line in found["agreement"]:
        low, high = line["kappa"]["ci95"]
        assert low < line["kappa"]["value"] < high


def test_readers_on_other_scales_are_not_paired():
    yes, grade, wide = np.array([0, 1]), np.array([0, 1, 2]), np.array([0, 1, 2, 3, 7])
    assert readers.one_scale(yes, yes) and readers.one_scale(grade, wide) and readers.one_scale(wide, grade)
    assert not readers.one_scale(yes, grade) and not readers.one_scale(yes, np.array([1, 2]))
    assert not readers.one_scale(grade, np.array([1, 2, 3]))
