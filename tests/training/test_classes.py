"""Tasks with classes through training and judgement: loss, weights, oversampling, fusion, comparators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score

from jaxstroke.evaluation import metrics
from jaxstroke.feed import plan
from jaxstroke.feed.load import Loaded
from jaxstroke.training import engine as engines
from jaxstroke.training import fusion, losses, runs, scores

CLASSES = ("normal", "infarct", "bleeding")


@pytest.fixture
def classes_config(config):
    """The smoke config with three classes in place of the binary task."""
    with config.unlocked():
        config.cohort.outcomes.poor = ("diagnosis", "classes", CLASSES)
        config.loss.poor.kind = "classes"
        config.evaluate.comparators.columns = ("reader",)
    return config


@pytest.fixture
def with_classes(arrays):
    """The cohort whose `poor` is the place of a class, by the level of the mRS."""
    return arrays | {"label/poor": np.digitize(arrays["label/mrs"], [2.5, 4.5]).astype(np.float32)}


def drawn(rows=40, k=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, k)).astype(np.float32), rng.integers(0, k, rows).astype(np.float32)


def test_the_loss_and_its_gradient_are_those_of_the_softmax():
    logits, label = drawn()
    weight = np.array([0.5, 2.0, 1.0], np.float32)
    each, weights = losses.classes(logits, label, weight)
    assert float(each.mean()) == pytest.approx(log_loss(label, softmax(logits, -1), labels=[0, 1, 2]), rel=1e-5)
    np.testing.assert_array_equal(weights, weight[label.astype(int)])
    gradient = jax.grad(lambda x: losses.classes(x, label, weight)[0].sum())(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, softmax(logits, -1) - np.eye(3)[label.astype(int)], atol=1e-6)


def test_the_order_of_the_classes_does_not_matter_to_the_loss():
    logits, label = drawn()
    order = np.array([2, 0, 1])  # new place -> old place
    moved = np.argsort(order)[label.astype(int)].astype(np.float32)
    plain, _ = losses.classes(logits, label, np.ones(3))
    np.testing.assert_allclose(losses.classes(logits[:, order], moved, np.ones(3))[0], plain, rtol=1e-5)


def test_two_classes_are_a_binary_task_by_the_difference_of_the_logits():
    logits, label = drawn(k=2)
    two, weights = losses.classes(logits, label, np.array([0.7, 1.6]))
    one, binary_weights = losses.binary(logits[:, 1:] - logits[:, :1], label, np.array([0.7, 1.6]))
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights, binary_weights, rtol=1e-6)


def test_recalls_are_of_the_largest_logit():
    logits, label = drawn()
    known = np.ones(40)
    known[:5] = 0
    batch = {"label/d": label, "label_mask/d": known, "weight": np.ones(40)}
    loss = ConfigDict({"d": {"kind": "classes", "weight": 1.0}})
    right, total = losses.recalls({"parts": {}, "logits": {"d": logits}}, batch, {}, loss, "d", joint=False)["network"]
    predicted, true = logits[5:].argmax(1), label[5:]
    np.testing.assert_array_equal(total, [(true == place).sum() for place in range(3)])
    np.testing.assert_array_equal(right, [((true == place) & (predicted == place)).sum() for place in range(3)])


def test_fitted_numbers_by_hand(classes_config, with_classes, todo, schema):
    run = todo[0]
    labels = runs.labels_of(run, with_classes, "poor")
    counts = np.array([(labels == place).sum() for place in range(3)])
    plain = runs.fitted(run, schema, with_classes, classes_config)
    np.testing.assert_allclose(plain["prior/poor"], (counts + 0.5) / (counts.sum() + 1.5), rtol=1e-6)
    np.testing.assert_array_equal(plain["class_weight/poor"], np.ones(3))
    np.testing.assert_array_equal(plain["logit_shift/poor"], np.zeros(3))
    with classes_config.unlocked():
        classes_config.train.imbalance = "weights"
    weighted = runs.fitted(run, schema, with_classes, classes_config)
    np.testing.assert_allclose(weighted["class_weight/poor"], counts.sum() / (3 * counts), rtol=1e-6)
    shift = weighted["logit_shift/poor"]
    np.testing.assert_allclose(shift - shift[0], np.log(counts / counts[0]), atol=1e-5)  # back from equal shares


def test_oversampling_makes_all_classes_equal_and_is_undone_in_the_probabilities(classes_config, with_classes, todo, schema):
    run = todo[0]
    plain = runs.fitted(run, schema, with_classes, classes_config)
    with classes_config.unlocked():
        classes_config.train.imbalance = "oversample"
    moved = runs.fitted(run, schema, with_classes, classes_config)
    labels = runs.labels_of(run, with_classes, "poor")
    counts = np.array([(labels == place).sum() for place in range(3)])
    used = runs.epoch_rows(run, 0, with_classes, classes_config)
    used = used[used >= 0]
    met = with_classes["label/poor"][used[with_classes["label_mask/poor"][used] > 0]]
    assert [int((met == place).sum()) for place in range(3)] == [counts.max()] * 3
    np.testing.assert_allclose(plan.frequencies(labels)[~np.isnan(labels)], (counts.max() / counts)[labels[~np.isnan(labels)].astype(int)])
    engine = engines.build(classes_config, with_classes, plain)
    variables = engine.initial(0)["best"]
    a, b = (softmax(engine.predict(variables, numbers, run.val)["logits"]["poor"], -1) for numbers in (plain, moved))
    np.testing.assert_allclose(b, a * counts / (a * counts).sum(-1, keepdims=True), atol=1e-5)


def test_every_model_gives_each_patient_one_distribution(classes_config, with_classes, schema, folds, judged, tmp_path):
    frame = judged(classes_config, with_classes, schema, folds, tmp_path)
    poor = frame[frame["task"] == "poor"]
    assert set(poor["model"]) == {
        "network", "rule:mean", "rule:learned_age", "rule:learned_nihss", "module:dwi", "module:tmax", "clinical_logistic",
        "clinical_volume_logistic",
    }  # fmt: skip
    assert list(poor["class"].unique()) == list(CLASSES)
    patients = poor.groupby(["unit_id", "split", "model"])
    np.testing.assert_allclose(patients["probability"].sum(), 1, atol=1e-9)
    np.testing.assert_allclose(patients["recalibrated"].sum(), 1, atol=1e-9)
    known = poor[poor["label"].notna()].groupby(["unit_id", "split", "model"])["label"]
    assert (known.sum() == 1).all() and (known.max() == 1).all()
    one = poor[(poor["unit_id"] == "u30") & (poor["model"] == "network")].set_index("class")["label"]
    assert one.idxmax() == CLASSES[int(with_classes["label/poor"][30])]
    np.testing.assert_allclose(poor["logit"], np.log(poor["probability"]) - np.log1p(-poor["probability"]), atol=1e-9)
    mrs = frame[frame["task"] == "mrs"]
    assert "column:reader" in set(mrs["model"]) and mrs["recalibrated"].isna().all()  # a number ranks levels, and names no class


def test_regressions_and_merges_do_not_know_the_order_of_the_classes(classes_config, with_classes, schema, folds, judged, tmp_path):
    """Renamed and named in another order, every class keeps its probability where nothing is drawn by its place: regressions."""
    frame = judged(classes_config, with_classes, schema, folds, tmp_path / "a")
    order = np.array([2, 0, 1])
    names = {"c": "bleeding", "a": "normal", "b": "infarct"}
    with classes_config.unlocked():
        classes_config.cohort.outcomes.poor = ("diagnosis", "classes", tuple(names))
    moved = with_classes | {"label/poor": np.argsort(order)[with_classes["label/poor"].astype(int)].astype(np.float32)}
    again = judged(classes_config, moved, schema, folds, tmp_path / "b").replace({"class": names})
    keys = ["unit_id", "split", "model", "class"]
    for model in ("clinical_logistic", "clinical_volume_logistic"):
        chosen = [one[(one["task"] == "poor") & (one["model"] == model)] for one in (frame, again)]
        first, second = (one.set_index(keys).sort_index() for one in chosen)
        np.testing.assert_allclose(first["probability"], second["probability"], atol=1e-9)
        np.testing.assert_allclose(first["recalibrated"], second["recalibrated"], atol=1e-9)
        assert first["label"].equals(second["label"])


def modules(logits, nihss):
    n, m = logits.shape[:2]
    clinical = np.stack([np.full(n, 70.0), nihss], -1)
    return fusion.Modules({"poor": logits}, np.ones((n, m)), clinical, np.ones((n, 2)))


def test_stacking_finds_the_module_that_knows_each_class(classes_config):
    """One module tells the first class from the others, one the last; a constant a patient, which no softmax sees, is added to both."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 400).astype(float)
    first = np.stack([3.0 * (label == 0), np.zeros(400), np.zeros(400)], -1)
    last = np.stack([np.zeros(400), np.zeros(400), 3.0 * (label == 2)], -1)
    logits = np.stack([first, last], 1) + rng.normal(size=(400, 2, 3)) + rng.normal(size=(400, 2, 1)) * 20
    rule = fusion.Rule("stacked", "stacked")
    known, prior = modules(logits, rng.integers(0, 20, 400)), {"poor": np.full(3, 1 / 3)}
    numbers = fusion.fit(classes_config, [rule], known, {"poor": label}, prior, np.arange(250))
    merged = fusion.apply(classes_config, rule, known, numbers, "poor")[250:]
    np.testing.assert_allclose(merged.sum(1), 1, rtol=1e-12)
    alone = [roc_auc_score(label[250:], softmax(logits[250:, place], -1), multi_class="ovr") for place in range(2)]
    assert roc_auc_score(label[250:], merged, multi_class="ovr") > max(alone) + 0.05


def test_a_mean_is_of_probabilities_and_the_prior_of_nobody(classes_config):
    logits = np.log(np.array([[[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]]] * 2))
    known = modules(logits, np.zeros(2))
    known.present[1] = 0
    numbers = {"priors": {"poor": [0.5, 0.3, 0.2]}, "medians": [0.0, 0.0]}
    merged = fusion.apply(classes_config, fusion.Rule("mean", "mean"), known, numbers, "poor")
    np.testing.assert_allclose(merged, [[0.4, 0.25, 0.35], [0.5, 0.3, 0.2]], atol=1e-7)


@pytest.mark.parametrize("rule", ["mean", "learned", "stacked"])
def test_a_joint_merge_of_modules_gives_distributions(classes_config, with_classes, todo, schema, rule):
    with classes_config.unlocked():
        classes_config.train.stages, classes_config.split.inner_folds = "joint", 0
        classes_config.model.fusion = rule
        classes_config.model.fusion_column = "nihss" if rule == "learned" else ""
    numbers = runs.fitted(todo[0], schema, with_classes, classes_config)
    engine = engines.build(classes_config, with_classes, numbers)
    outputs = engine.predict(engine.initial(0)["best"], numbers, todo[0].held)
    known = scores.patients_of(classes_config, loaded_of(with_classes, schema), outputs, todo[0].held)
    (found,) = [one for one in scores.score(classes_config, schema, known, {"comparators": {}}) if one.task == "poor"]
    np.testing.assert_allclose(found.probability.sum(1), 1, atol=1e-6)
    if rule == "mean":
        parts = [softmax(outputs["parts"][name]["logits"]["poor"], -1) for name in ("dwi", "tmax")]
        there = np.stack([outputs["parts"][name]["present"] for name in ("dwi", "tmax")])[..., None]
        np.testing.assert_allclose(found.probability, (np.stack(parts) * there).sum(0) / there.sum(0), atol=1e-6)


def loaded_of(arrays, schema):
    return Loaded((), arrays, {}, schema, schema, None)


@pytest.mark.slow
def test_two_classes_are_scored_as_the_binary_task(config, arrays, schema, folds, judged, tmp_path):
    """The same comparators, fitted twice as one against the rest, and the same AUC of either class."""
    binary = judged(config, arrays, schema, folds, tmp_path / "a")
    with config.unlocked():
        config.cohort.outcomes.poor = ("mrs", "classes", ("good", "poor"))
        config.loss.poor.kind = "classes"
    two = judged(config, arrays, schema, folds, tmp_path / "b")
    first, second = (metrics.compute(frame, 200)["models"]["clinical_logistic"]["poor"] for frame in (binary, two))
    assert second["auc_classes"]["poor"]["value"] == pytest.approx(first["auc"]["value"], abs=1e-9)
    assert second["auc"]["value"] == pytest.approx(first["auc"]["value"], abs=1e-9)
    assert second["auc"]["ci95"] == pytest.approx(first["auc"]["ci95"], abs=1e-9)
    assert second["brier"] == pytest.approx(2 * first["brier"], abs=1e-6)  # summed over both classes
    kept = (binary, two[two["class"] != "good"])
    columns = [frame[(frame["model"] == "clinical_logistic") & (frame["task"] == "poor")] for frame in kept]
    np.testing.assert_allclose(*(one.set_index(["unit_id", "split"])["probability"].sort_index() for one in columns), atol=1e-6)
