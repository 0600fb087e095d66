"""What is fitted for a run, and from whom."""

import numpy as np
import pytest

from jaxstroke import outcomes
from jaxstroke.training import engine as engines
from jaxstroke.training import runs


def test_fitted_numbers_see_training_rows_only(config, arrays, todo, schema):
    run = todo[0]
    before = runs.fitted(run, schema, arrays, config)
    other = {name: values.copy() for name, values in arrays.items()}
    outside = np.setdiff1d(np.arange(len(arrays["patient"])), run.train)
    for name in ("clinical", "clinical_mask", "label/poor", "label/mrs"):
        other[name][outside] = 1 - other[name][outside]
    after = runs.fitted(run, schema, other, config)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_class_weights_by_hand():
    labels, binary, classes = np.array([1, 0, 0, 0]), outcomes.KINDS["binary"], outcomes.KINDS["classes"]
    np.testing.assert_allclose(runs.class_weights(labels, "weights", binary, 1), [4 / 6, 2.0])
    np.testing.assert_allclose(runs.class_weights(labels, "none", binary, 1), [1, 1])
    np.testing.assert_allclose(runs.class_weights(np.ones(3), "weights", binary, 1), [1, 1])
    # Three of which nobody has the second: the others share, and it counts as it is.
    np.testing.assert_allclose(runs.class_weights(np.array([2, 0, 0, 0]), "weights", classes, 3), [4 / 6, 1, 2.0])
    np.testing.assert_allclose(runs.class_weights(np.array([2, 1, 0, 0]), "weights", outcomes.KINDS["ordinal"], 2), [1, 1])


def test_oversampling_is_undone_in_the_logit(config, arrays, todo, schema):
    """The same network, trained with oversampling or not, differs in evaluation by the log-odds of the training prevalence."""
    run = todo[0]
    plain = runs.fitted(run, schema, arrays, config)
    with config.unlocked():
        config.train.imbalance = "oversample"
    moved = runs.fitted(run, schema, arrays, config)
    labels = runs.labels_of(run, arrays, "poor")
    odds = (labels == 1).sum() / (labels == 0).sum()
    engine = engines.build(config, arrays, plain)
    variables = engine.initial(0)["best"]
    a, b = (engine.predict(variables, numbers, run.val) for numbers in (plain, moved))
    np.testing.assert_allclose(b["logits"]["poor"] - a["logits"]["poor"], np.log(odds), atol=1e-5)
    np.testing.assert_allclose(b["parts"]["dwi"]["logits"]["poor"] - a["parts"]["dwi"]["logits"]["poor"], np.log(odds), atol=1e-5)
    mrs = runs.labels_of(run, arrays, "mrs")
    sizes = [(labels == 0).sum(), (labels == 1).sum()]
    weights = np.array([1 / max(sizes) if np.isnan(label) else 1 / sizes[int(label)] for label in labels])  # both classes count alike
    weights, reached = weights[~np.isnan(mrs), None], mrs[~np.isnan(mrs), None] > np.arange(6)
    seen = (weights * reached).sum(0) / (weights * ~reached).sum(0)
    shift = np.log(reached.sum(0) / (~reached).sum(0) / seen)
    np.testing.assert_allclose(b["logits"]["mrs"] - a["logits"]["mrs"], np.tile(shift, (len(run.val), 1)), atol=1e-4)


def test_oversampled_epochs_hold_both_classes_equally(config, arrays, todo):
    with config.unlocked():
        config.train.imbalance = "oversample"
    rows = runs.epoch_rows(todo[0], 0, arrays, config)
    used = rows[rows >= 0]
    labels = arrays["label/poor"][used][arrays["label_mask/poor"][used] > 0]
    assert (labels == 1).sum() == (labels == 0).sum()


def test_device_seeds_do_not_depend_on_the_other_runs(todo):
    assert len({run.device_seed for run in todo}) == len(todo)
    again = runs.Run(0, 1, None, 0, *[np.zeros(0, np.int32)] * 3)
    assert again.device_seed == todo[1].device_seed


@pytest.mark.parametrize(("inner", "expected"), [(None, "r1-f2-s3"), (0, "r1-f2-i0-s3")])
def test_ids(inner, expected):
    assert runs.Run(1, 2, inner, 3, *[np.zeros(0, np.int32)] * 3).id == expected
