"""Fusion and comparators: fitted on the right patients, merged by hand-checkable rules, written whole."""

import numpy as np

from jaxstroke.cohort.table import Unit
from jaxstroke.feed.load import Loaded
from jaxstroke.training import fusion, judge


def probabilities(frame, split):
    chosen = frame[frame["split"] == split]
    return chosen.set_index(["unit_id", "task", "class", "model"])["probability"].sort_index()


def changed(arrays, rows):
    """The cohort with other labels on some rows."""
    other = arrays | {name: arrays[name].copy() for name in ("label/poor", "label/mrs")}
    other["label/poor"][rows] = 1 - other["label/poor"][rows]
    other["label/mrs"][rows] = 6 - other["label/mrs"][rows]
    return other


def test_test_labels_reach_nothing_and_validation_labels_no_validation_prediction(config, arrays, schema, folds, judged, tmp_path):
    plain = judged(config, arrays, schema, folds, tmp_path / "a")
    by_test = judged(config, changed(arrays, folds[0].held), schema, folds, tmp_path / "b")
    for split in ("val", "test"):
        assert probabilities(plain, split).equals(probabilities(by_test, split))
    assert plain["recalibrated"].equals(by_test["recalibrated"])
    by_val = judged(config, changed(arrays, folds[0].val), schema, folds, tmp_path / "c")
    assert probabilities(plain, "val").equals(probabilities(by_val, "val"))
    assert not probabilities(plain, "test").equals(probabilities(by_val, "test"))  # the final fit does use them


def test_every_model_is_there_once_a_patient(config, arrays, schema, folds, judged, tmp_path):
    frame = judged(config, arrays, schema, folds, tmp_path)
    poor = frame[(frame["task"] == "poor") & (frame["split"] == "test")]
    counts = poor.groupby("model")["unit_id"].nunique()
    assert counts["network"] == counts["clinical_logistic"] == counts["clinical_volume_logistic"] == counts["column:reader"] == 10
    assert counts["module:tmax"] == int((arrays["images_mask/tmax"][27:].sum(1) > 0).sum()) < 10
    rules = {rule.name for rule in fusion.rules(config, schema)} - {fusion.headline(config, schema)}
    assert {f"rule:{name}" for name in rules} <= set(counts.index)


def test_true_log_odds_are_scored_on_tasks_of_their_own_outcome_alone(config, arrays, schema):
    columns = {"truth": 0.5, "truth_without_age": 0.2, "reader": 1.0}
    units = tuple(Unit(f"u{i}", f"p{i}", "", "", {}, {}, {}, columns, "") for i in range(3))
    loaded = Loaded(units, arrays, {}, schema, schema, np.full(3, np.nan))
    with config.unlocked():
        config.evaluate.attainable = "truth"
    tasks = {(score.model, score.task) for score in judge.columns(loaded, np.arange(3), config)}
    assert tasks == {(f"column:{name}", task) for name in columns for task in ("poor", "mrs")}  # both are of the column mrs
    with config.unlocked():
        config.cohort.outcomes.mrs = ("nihss", "ordinal", (1, 2, 3, 4, 5, 6))
    tasks = {(score.model, score.task) for score in judge.columns(loaded, np.arange(3), config)}
    assert tasks == {(f"column:{name}", "poor") for name in columns} | {("column:reader", "mrs")}


def test_ordinal_probabilities_fall_with_the_cut_off(config, arrays, schema, folds, judged, tmp_path):
    frame = judged(config, arrays, schema, folds, tmp_path)
    rows = frame[(frame["task"] == "mrs") & ~frame["model"].str.startswith("column:")]
    wide = rows.pivot_table(index=["unit_id", "split", "model"], columns="class", values="probability")
    assert list(wide.columns) == list("123456")
    assert (np.diff(wide.to_numpy(), axis=1) <= 1e-9).all()


def modules(logit, present, nihss):
    n = len(logit)
    clinical = np.stack([np.full(n, 70.0), nihss], -1)
    return fusion.Modules({"poor": np.asarray(logit, float)[..., None]}, np.asarray(present, float), clinical, np.ones((n, 2)))


def test_stacking_finds_the_module_that_knows(config, schema):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 300).astype(float)
    logits = np.stack([3 * (label - 0.5) + rng.normal(size=300), rng.normal(size=300)], -1)
    known = modules(logits, np.ones((300, 2)), rng.integers(0, 20, 300))
    rule = fusion.Rule("stacked", "stacked")
    numbers = fusion.fit(config, [rule], known, {"poor": label}, {"poor": np.array([0.5])}, np.arange(200))
    merged = fusion.apply(config, rule, known, numbers, "poor")[200:, 0]
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(label[200:], merged) > 0.9
    coefficients = np.abs(numbers["stacked"]["poor"][0]["coefficients"])
    assert coefficients[0] > 4 * coefficients[1]


def test_a_missing_module_is_not_read(config, schema):
    logits = np.array([[2.0, 50.0], [2.0, -50.0]])
    known = modules(logits, [[1, 0], [1, 0]], np.array([10.0, 10.0]))
    for rule in fusion.rules(config, schema):
        if rule.kind in ("mean", "poe", "scalar"):
            p = fusion.apply(config, rule, known, {"priors": {"poor": [0.3]}, "medians": [0.0, 0.0]}, "poor")
            assert p[0, 0] == p[1, 0]


def test_a_regression_on_the_clinical_columns_does_not_see_the_column_that_it_predicts(config, arrays, schema, folds, judged, tmp_path):
    with config.unlocked():
        config.cohort.outcomes.mrs = ("nihss", "ordinal", (1, 2, 3, 4, 5, 6))
    place = schema.columns.index("nihss")
    other = arrays | {"clinical": arrays["clinical"].copy()}
    other["clinical"][:, place] = other["clinical"][::-1, place] + 3
    plain, moved = (judged(config, one, schema, folds, tmp_path / name) for name, one in (("a", arrays), ("b", other)))
    for task, same in (("mrs", True), ("poor", False)):
        chosen = [frame[(frame["task"] == task) & (frame["model"] == "clinical_logistic")]["probability"] for frame in (plain, moved)]
        assert np.allclose(*chosen) == same
