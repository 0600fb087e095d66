"""What seed and split do to the AUC: the components come back as they were put in, and the seeds' mean is scored as a model is."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from jaxstroke.evaluation import metrics, spread, story
from jaxstroke.evaluation.parts import tasks_of


@pytest.mark.parametrize(("seed", "split"), [(0.01, 0.03), (0.03, 0.01), (0.02, 0.0)])
def test_components_come_back_as_they_were_put_in(seed, split):
    """2000 experiments of 6 repeats with 4 seeds; squares are averaged, since the mean of a root is too small."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        values = 0.8 + split * random.normal(size=(6, 1)) + seed * random.normal(size=(6, 4))
        found.append(spread.components(values.tolist()))
    within, between = np.sqrt(np.mean(np.square(found), 0))
    assert within == pytest.approx(seed, rel=0.03)
    # What is floored at 0 makes a small split look larger, by at most the spread of its own estimate.
    assert between == pytest.approx(split, rel=0.05) if split > seed else split - 0.0005 <= between < split + 0.006


def test_by_hand_and_with_a_seed_missing():
    # Within: (2 * 0.01 ** 2 + 0) / 2 of freedom 1 + 1; means 0.71 and 0.75, variance 0.0008.
    within, between = spread.components([[0.70, 0.72], [0.75, 0.75]])
    assert within == pytest.approx(0.01) and between == pytest.approx(np.sqrt(0.0008 - 0.0001 / 2))
    assert spread.components([[0.70, 0.72], [0.75]])[0] == pytest.approx(np.sqrt(0.0002))
    assert spread.components([[0.7], [0.8]]) == (None, pytest.approx(np.sqrt(0.005)))
    assert spread.components([[0.7, 0.8]]) == (pytest.approx(np.sqrt(0.005)), None)
    assert spread.components([[0.7]]) == (None, None) and spread.components([]) == (None, None)
    assert spread.components([[0.6, 0.8], [0.7, 0.7]])[1] == 0


def aucs(frame, by):
    """{by: mean over folds of scikit-learn's AUC} of the network on its test rows, probabilities averaged over what is not in `by`."""
    rows = frame[(frame["split"] == "test") & (frame["model"] == "network")]
    rows = rows.groupby([*by, "fold", "unit_id"], as_index=False)[["label", "probability"]].mean()
    folds = rows.groupby([*by, "fold"])[["label", "probability"]].apply(lambda g: roc_auc_score(g["label"], g["probability"]))
    return folds.groupby(level=list(range(len(by)))).mean()


def test_the_numbers_of_a_run(simulated):
    frame = simulated(repeats=3, seeds=2)
    found = metrics.compute(frame, 200)
    numbers, runs = found["tasks"]["poor"]["spread"], aucs(frame, ["repeat", "seed"]).unstack()
    assert (numbers["repeats"], numbers["seeds"]) == (3, 2)
    assert numbers["sd_seed"] == pytest.approx(np.sqrt(runs.var(axis=1, ddof=1).mean()))
    assert numbers["sd_split"] == pytest.approx(np.sqrt(max(0, runs.mean(axis=1).var(ddof=1) - numbers["sd_seed"] ** 2 / 2)))
    low, high = numbers["auc_ensemble"]["ci95"]
    assert (
        numbers["auc_ensemble"]["value"] == pytest.approx(aucs(frame, ["repeat"]).mean()) and low < numbers["auc_ensemble"]["value"] < high
    )
    assert "spread" not in found["models"]["clinical_logistic"]["poor"]


def test_seeds_that_say_the_same_are_their_own_mean(simulated):
    frame = simulated(seeds=2)
    first = frame[frame["seed"] == 0]
    twin = metrics.compute(pd.concat([first, first.assign(seed=1)], ignore_index=True), 200)["tasks"]["poor"]
    assert twin["spread"]["sd_seed"] == 0 and twin["spread"]["auc_ensemble"] == twin["auc"] and twin["spread"]["sd_split"] is None
    alone = metrics.compute(first, 20)["tasks"]["poor"]["spread"]
    assert alone["sd_seed"] is None and alone["auc_ensemble"] == {"value": None, "ci95": None}


def test_the_mean_of_seeds_is_on_the_patients_that_all_have(simulated):
    frame = simulated(seeds=2, models=("network",))
    short = frame[(frame["seed"] == 0) | (frame["unit_id"] >= "010")]
    parts = spread.ensemble(tasks_of(short)["poor"].models["network"])[""]
    whole = spread.ensemble(tasks_of(frame)["poor"].models["network"])[""]
    assert sum(len(part.unit) for part in parts) == 50 and len(parts) == 3
    for part, full in zip(parts, whole, strict=True):
        kept = full.unit >= 10
        assert (part.unit == full.unit[kept]).all() and (part.score == full.score[kept]).all() and (part.label == full.label[kept]).all()


def test_an_ordinal_outcome_is_the_mean_over_its_cuts(simulated):
    frame = simulated(patients=120, repeats=2, seeds=2, ordinal=True)
    frame = frame[frame["task"] == "mrs"]
    numbers = metrics.compute(frame, 50)["tasks"]["mrs"]["spread"]
    alone = [metrics.compute(frame[frame["class"] == cut], 50)["tasks"]["mrs"]["spread"]["auc_ensemble"]["value"] for cut in "123"]
    assert numbers["sd_seed"] > 0 and numbers["auc_ensemble"]["value"] == pytest.approx(np.mean(alone))


def test_words():
    merged = {"value": 0.81, "ci95": [0.75, 0.86]}
    both = {"repeats": 5, "seeds": 3, "sd_seed": 0.012, "sd_split": 0.02, "auc_ensemble": merged}
    assert story.spread_words(both) == [
        "Another seed moves the AUC of the network by ± 0.012, another split by ± 0.020 "
        "(standard deviation of single runs, 3 seeds, 5 repeats).",
        "The mean probability of the seeds has an AUC of 0.810 (95 % interval 0.750 to 0.860).",
    ]
    none = {"value": None, "ci95": None}
    one = both | {"sd_seed": None, "seeds": 1, "auc_ensemble": none}
    assert story.spread_words(one) == [
        "Another split, with another training, moves the AUC of the network by ± 0.020 (standard deviation of single runs, 5 repeats)."
    ]
    assert story.spread_words(one | {"sd_split": None, "repeats": 1}) == [] == story.spread_words(None)
