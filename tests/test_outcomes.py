"""The three kinds of outcome: what a label reaches, and what logits mean, against scipy and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from jaxstroke import check, outcomes
from jaxstroke.compare import ablations
from jaxstroke.errors import InputError
from jaxstroke.models import heads

BINARY, ORDINAL, CLASSES = (outcomes.KINDS[name] for name in ("binary", "ordinal", "classes"))


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(size=(50, 4)) * 3


def test_what_a_label_reaches_and_what_is_written_of_it():
    label = np.array([0.0, 2, np.nan, 1])
    np.testing.assert_array_equal(ORDINAL.reached(label, 2), [[False, False], [True, True], [False, False], [True, False]])
    np.testing.assert_array_equal(CLASSES.reached(label, 3).astype(int), [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(ORDINAL.written(label, 2), np.repeat(label[:, None], 2, 1))
    np.testing.assert_array_equal(CLASSES.written(label, 3), [[1, 0, 0], [0, 0, 1], [np.nan] * 3, [0, 1, 0]])
    np.testing.assert_array_equal(BINARY.reached(np.array([0.0, 1]), 1), [[False], [True]])
    assert (BINARY.levels(1), ORDINAL.levels(6), CLASSES.levels(6)) == (2, 7, 6)


def test_names_of_columns():
    assert BINARY.names(2) == ("",) and ORDINAL.names((13, 9)) == ("1", "2")
    assert CLASSES.names(("normal", 2, 0.5, 1000001)) == ("normal", "2", "0.5", "1000001")


def test_probabilities_are_those_of_scipy(logits):
    np.testing.assert_allclose(CLASSES.probability(logits), softmax(logits, -1), rtol=1e-12)
    np.testing.assert_allclose(CLASSES.log_odds(logits), logit(softmax(logits, -1)), rtol=1e-8)
    np.testing.assert_allclose(BINARY.probability(logits[:, :1]), expit(logits[:, :1]), rtol=1e-12)
    assert (np.diff(ORDINAL.probability(logits), axis=-1) <= 0).all()


def test_any_constant_may_be_added_to_the_logits_of_classes_and_their_order_is_free(logits):
    moved = CLASSES.probability(logits + np.linspace(-300, 300, 50)[:, None])
    np.testing.assert_allclose(moved, CLASSES.probability(logits), rtol=1e-9)
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(CLASSES.probability(logits[:, order]), CLASSES.probability(logits)[:, order], rtol=1e-12)


def test_two_classes_are_one_event(logits):
    """The log-odds of the second are the difference of the logits, to the last bit."""
    two = logits[:, :2]
    np.testing.assert_array_equal(CLASSES.log_odds(two)[:, 1], two[:, 1] - two[:, 0])
    np.testing.assert_allclose(CLASSES.probability(two)[:, 1], BINARY.probability(two[:, 1:] - two[:, :1])[:, 0], rtol=1e-12)


def test_on_a_device_too_and_gradients_are_finite(logits):
    at_ends = jnp.asarray(np.vstack([logits, [[90, 0, -90, 0]]]), jnp.float32)
    np.testing.assert_allclose(CLASSES.probability(at_ends), softmax(np.asarray(at_ends), -1), atol=1e-6)
    gradient = jax.grad(lambda x: outcomes.against_rest(x)[:, 1].sum())(at_ends)
    # d (x_1 - log sum of the others' exponentials): 1, and minus the share of each other one
    wanted = -softmax(np.where(np.arange(4) == 1, -np.inf, at_ends), -1)
    wanted[:, 1] = 1
    np.testing.assert_allclose(gradient, wanted, atol=1e-6)


def test_merged_probabilities_become_those_of_a_patient():
    np.testing.assert_allclose(
        CLASSES.tidy(np.array([[0.2, 0.6, 0.2], [0.5, 0.5, 1.0], [0, 0, 0]])), [[0.2, 0.6, 0.2], [0.25, 0.25, 0.5], [1 / 3] * 3]
    )
    np.testing.assert_array_equal(ORDINAL.tidy(np.array([[0.5, 0.7, 0.1]])), [[0.5, 0.5, 0.1]])
    assert np.isnan(CLASSES.tidy(np.full((1, 3), np.nan))).all()


def test_a_change_of_prevalence_moves_the_logits_as_bayes_rule_does(logits):
    """Networks of a sample with other shares of classes: adding what `strength` differs by is multiplying by the ratio of the shares."""
    reached, often = np.eye(4, dtype=bool), np.array([10.0, 5, 3, 2])
    shift = CLASSES.strength(reached, often) - CLASSES.strength(reached, np.ones(4))
    p = softmax(logits, -1) * often
    np.testing.assert_allclose(CLASSES.probability(logits + shift), p / p.sum(-1, keepdims=True), rtol=1e-10)
    two = CLASSES.strength(reached[:2, :2], often[:2])
    assert two[1] - two[0] == pytest.approx(BINARY.strength(np.array([[False], [True]]), often[:2])[0])


@pytest.mark.parametrize("kind", list(outcomes.KINDS))
def test_logits_of_a_merge_mean_its_probabilities(kind):
    p = outcomes.KINDS[kind].tidy(np.random.default_rng(1).uniform(0.05, 0.95, (20, 3)))
    np.testing.assert_allclose(heads.PROBABILITY[kind](heads.LOGIT[kind](jnp.asarray(p))), p, atol=1e-6)
    np.testing.assert_allclose(outcomes.KINDS[kind].probability(np.asarray(heads.LOGIT[kind](jnp.asarray(p)))), p, atol=1e-6)


def with_classes(config, **changes):
    with config.unlocked():
        config.cohort.outcomes.poor = ("sex", "classes", ("F", "M", "X"))
        config.loss.poor.kind = "classes"
        for key, value in changes.items():
            config.model[key] = value
    return config


def test_a_rule_of_one_event_cannot_merge_classes(config_file):
    with pytest.raises(InputError, match="fusion = 'poe' weighs the probability of one event, but config.loss.poor has classes"):
        check.check(with_classes(config_file.get_config("smoke"), fusion="poe", fusion_column="nihss"))
    config = with_classes(config_file.get_config("smoke"))
    check.check(config)
    kinds = {changes.get("model.fusion") for changes in ablations.rules(config).values()}
    assert kinds == {"mean", "learned"}  # stacked is the config's own
    for value in (3, "ab", (), ("a", None)):
        with config.unlocked():
            config.cohort.outcomes.poor = ("sex", "classes", value)
        with pytest.raises(InputError, match="config.cohort.outcomes.poor: rule 'classes' needs a tuple"):
            check.check(config)
    config = with_classes(config)
    with config.unlocked():
        config.loss.poor.kind = "binary"
    with pytest.raises(InputError, match="needs 'classes'"):
        check.check(config)
