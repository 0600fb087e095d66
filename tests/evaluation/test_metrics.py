import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, cohen_kappa_score, roc_auc_score

from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, metrics, predictions


def within_fold(frame):
    """The mean over folds of the AUC by scikit-learn, then over repeats and seeds."""
    rows = frame[(frame["split"] == "test") & (frame["model"] == "network") & (frame["task"] == "poor")]
    folds = rows.groupby(["repeat", "seed", "fold"])[["label", "probability"]].apply(lambda g: roc_auc_score(g["label"], g["probability"]))
    return folds.groupby(level=[0, 1]).mean().mean()


def test_auc_is_the_mean_of_within_fold_aucs(simulated):
    frame = simulated(repeats=2, seeds=2)
    found = metrics.compute(frame, 100)["tasks"]["poor"]
    assert found["auc"]["value"] == pytest.approx(within_fold(frame))
    low, high = found["auc"]["ci95"]
    assert low < found["auc"]["value"] < high
    test = frame[(frame["split"] == "test") & (frame["model"] == "network")]
    pooled = test.groupby(["repeat", "seed"])[["label", "probability"]].apply(lambda g: roc_auc_score(g["label"], g["probability"]))
    assert found["auc_pooled"] == pytest.approx(pooled.mean())


def test_other_numbers_equal_scikit_learn(simulated):
    frame = simulated()
    found = metrics.compute(frame, 50)["tasks"]["poor"]
    rows = frame[(frame["split"] == "test") & (frame["model"] == "network")]
    assert found["brier"] == pytest.approx(brier_score_loss(rows["label"], rows["probability"]))
    assert found["mae"] == pytest.approx((rows["label"] - rows["probability"]).abs().mean())
    folds = [average_precision_score(g["label"], g["probability"]) for _, g in rows.groupby("fold")]
    assert found["auprc"] == pytest.approx(np.mean(folds))
    assert (found["n"], found["patients"], found["events"]) == (60, 60, int(rows["label"].sum()))


def test_auc_and_precision_do_not_change_under_monotone_transforms(simulated):
    frame = simulated()
    found = metrics.compute(frame, 100)["tasks"]["poor"]
    # To a power of one half: ties stay ties, order stays order, in every fold and resample.
    changed = metrics.compute(frame.assign(probability=np.sqrt(frame["probability"])), 100)["tasks"]["poor"]
    for name in ("auc", "auc_pooled", "auprc"):
        assert found[name] == changed[name]
    assert found["brier"] != changed["brier"]


def test_thresholds_come_from_validation_rows_of_their_own_fold(simulated):
    frame = simulated()
    found = metrics.compute(frame, 50)["tasks"]["poor"]
    flipped = frame.assign(label=np.where(frame["split"] == "test", 1 - frame["label"], frame["label"]))
    again = metrics.compute(flipped, 50)["tasks"]["poor"]
    assert found["thresholds"] == again["thresholds"] and len(found["thresholds"]) == 3
    assert {line["source"] for line in found["thresholds"]} == {"validation"}
    assert again["sensitivity"] == pytest.approx(1 - found["specificity"])
    counts = np.zeros((2, 2))
    for line in found["thresholds"]:
        rows = frame[(frame["split"] == "test") & (frame["model"] == "network") & (frame["fold"] == line["fold"])]
        called = rows["probability"] >= line["value"]
        counts += [[(called & (rows["label"] == value)).sum(), (~called & (rows["label"] == value)).sum()] for value in (0, 1)]
    assert found["sensitivity"] == pytest.approx(counts[1, 0] / counts[1].sum())
    assert found["ppv"] == pytest.approx(counts[1, 0] / counts[:, 0].sum())
    assert found["balanced_accuracy"] == pytest.approx((found["sensitivity"] + found["specificity"]) / 2)


def test_without_validation_rows_rates_are_null(simulated):
    frame = simulated()
    found = metrics.compute(frame[frame["split"] == "test"], 50)["tasks"]["poor"]
    assert found["thresholds"] == [] and found["sensitivity"] is None and found["recalibrated"] is None


def test_paired_difference_shares_resamples(simulated):
    frame = simulated(models=("network", "clinical_logistic"), repeats=3)
    twin = frame[frame["model"] == "network"].assign(model="rule:mean")
    found = metrics.compute(pd.concat([frame, twin]), 200)
    same = next(line for line in found["paired"] if line["b"] == "rule:mean")
    assert (same["auc_difference"], same["ci95"], same["p_delong"]) == (0.0, [0.0, 0.0], 1.0)
    other = next(line for line in found["paired"] if line["b"] == "clinical_logistic")
    models = found["models"]
    value = models["network"]["poor"]["auc"]["value"] - models["clinical_logistic"]["poor"]["auc"]["value"]
    assert other["auc_difference"] == pytest.approx(value)
    assert other["ci95"][0] < value < other["ci95"][1] and 0 < other["p_delong"] <= 1


def test_delong_over_folds_agrees_with_the_bootstrap(simulated):
    frame = simulated(patients=600, folds=3, models=("network", "clinical_logistic", "module:a"), seed=2)
    for line in metrics.compute(frame, 2000)["paired"]:
        spread = (line["ci95"][1] - line["ci95"][0]) / (2 * 1.96)
        z = abs(line["auc_difference"]) / spread
        assert line["p_delong"] == pytest.approx(2 * (1 - predictions.sigmoid(1.702 * z)), abs=0.04)  # logistic near the normal


def test_models_on_other_patients_are_compared_on_the_common_ones(simulated):
    frame = simulated()
    short = frame[(frame["model"] == "network") | (frame["unit_id"] < "040")]
    line = metrics.compute(short, 50)["paired"][0]
    common = metrics.compute(frame[frame["unit_id"] < "040"], 50)
    assert line["n"] == 40
    assert line["auc_difference"] == pytest.approx(common["paired"][0]["auc_difference"])
    assert line["p_delong"] == pytest.approx(common["paired"][0]["p_delong"])


def test_a_patient_with_two_units_is_one_patient(simulated):
    """Every patient twice: the numbers stay, and the interval must not become narrower as if there were twice as many."""
    frame = simulated(patients=90)
    twice = pd.concat([frame, frame.assign(unit_id=frame["unit_id"] + "/2")])
    once, both = metrics.compute(frame, 400), metrics.compute(twice, 400)
    assert both["tasks"]["poor"]["n"] == 180 and both["tasks"]["poor"]["patients"] == 90
    assert both["tasks"]["poor"]["auc"]["ci95"] == pytest.approx(once["tasks"]["poor"]["auc"]["ci95"])
    assert both["paired"][0]["p_delong"] == pytest.approx(once["paired"][0]["p_delong"], abs=0.03)


def test_one_class_folds_are_null_and_counted(simulated):
    frame = simulated()
    frame.loc[frame["fold"] == 1, "label"] = 1.0
    found = metrics.compute(frame, 50)["tasks"]["poor"]
    rest = metrics.compute(frame[frame["fold"] != 1], 50)["tasks"]["poor"]
    assert found["skipped_folds"] == 1 and found["auc"]["value"] == pytest.approx(rest["auc"]["value"])
    only = metrics.compute(frame.assign(label=1.0), 50)
    numbers = only["tasks"]["poor"]
    assert numbers["auc"] == {"value": None, "ci95": None} and numbers["auprc"] is None and numbers["calibration"]["slope"] is None
    assert numbers["sensitivity"] is None and only["paired"][0]["p_delong"] is None
    json.dumps(only, allow_nan=False)


def test_ordinal_numbers_by_hand():
    # Levels 0, 1, 2, 2; P(>= 1) and P(>= 2) give the median levels 0, 2, 2, 1: two are wrong by one level.
    ids, level = ["a", "b", "c", "d"], np.array([0, 1, 2, 2])
    common = {"repeat": 0, "fold": 0, "seed": 0, "split": "test", "task": "mrs", "model": "network"}
    first = predictions.block(ids, ids, [0.2, 0.7, 0.9, 0.8], level, class_=1, **common)
    second = predictions.block(ids, ids, [0.1, 0.6, 0.8, 0.3], level, class_=2, **common)
    found = metrics.compute(pd.concat([first, second]), 20)["tasks"]["mrs"]
    assert found["mae"] == pytest.approx(0.5)
    assert found["qwk"] == pytest.approx(cohen_kappa_score(level, [0, 2, 2, 1], weights="quadratic"))
    assert found["auc_cuts"]["1"]["value"] == 1 and found["auc_cuts"]["2"]["value"] == pytest.approx(3 / 4)
    assert found["auc"]["value"] == pytest.approx(7 / 8) and found["auc_cuts"]["1"]["events"] == 3
    assert found["brier"] == pytest.approx(np.mean([0.04, 0.09, 0.01, 0.04, 0.01, 0.36, 0.04, 0.49]))


def test_ordinal_beside_binary(simulated):
    found = metrics.compute(calibration.add_recalibrated(simulated(ordinal=True)), 50)
    assert set(found["tasks"]) == {"poor", "mrs"} and {line["task"] for line in found["paired"]} == {"poor", "mrs"}
    assert found["tasks"]["mrs"]["recalibrated"] is None and found["tasks"]["poor"]["recalibrated"]["brier"] > 0


def test_attainable_and_what_its_parts_are_worth(simulated):
    names = ("network", "column:true", "column:true_without_age", "column:true_without_lesion")
    found = metrics.compute(simulated(models=names), 50, "true")
    models = found["models"]
    best = models["column:true"]["poor"]["auc"]["value"]
    assert models["network"]["poor"]["attainable_auc"] == best
    worth = found["tasks"]["poor"]["ablations"]
    assert set(worth) == {"without_age", "without_lesion"}
    assert worth["without_age"] == pytest.approx(best - models["column:true_without_age"]["poor"]["auc"]["value"])
    assert metrics.compute(simulated(), 50)["tasks"]["poor"]["attainable_auc"] is None


def test_schema_and_scores(simulated):
    found = metrics.compute(simulated(models=("network", "rule:scalar_nihss")), 50)
    json.dumps(found, allow_nan=False)
    assert set(found) >= {"models", "tasks", "paired"} and found["tasks"] is found["models"]["network"]
    keys = {"n", "events", "auc", "auc_pooled", "attainable_auc", "auprc", "brier", "calibration", "thresholds", "mae", "recalibrated"}
    keys |= {"balanced_accuracy", "sensitivity", "specificity", "accuracy", "ppv", "npv"}
    for tasks in found["models"].values():
        assert set(tasks["poor"]) >= keys
    assert {"slope", "intercept", "ece"} <= set(found["tasks"]["poor"]["calibration"])
    score = found["models"]["rule:scalar_nihss"]["poor"]
    assert score["brier"] is None and score["calibration"]["slope"] is None and score["auc"]["value"] is not None
    assert set(found["paired"][0]) >= {"task", "a", "b", "auc_difference", "ci95", "p_delong"}


def test_external_validation_and_nothing_to_judge(simulated):
    frame = simulated()
    outside = frame.assign(split=frame["split"].replace("test", "external"))
    assert metrics.compute(outside, 50)["split"] == "external"
    with pytest.raises(InputError, match="nothing to judge"):
        metrics.compute(frame[frame["split"] == "val"], 50)
    with pytest.raises(InputError, match="known outcome"):
        metrics.compute(frame.assign(label=np.nan), 50)
