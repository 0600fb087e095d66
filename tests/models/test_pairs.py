"""Pairs against others: with one other patient in the batch nothing is left to chance, and the losses are what they say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from jaxstroke.models import pairs

IMAGES, WORDS = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]], np.float32), np.array([[0.2, 0.4], [-1.0, 0.3], [0.1, 0.9]], np.float32)
SCALE = 3.0


def score(image, words):
    return (image * words).sum(-1)


@functools.cache
def program(function):
    """`function` of three rows on one device."""
    made = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1], axis_types=(jax.sharding.AxisType.Auto,))

    @functools.partial(jax.shard_map, mesh=made, in_specs=(jax.P("data"),) * 6, out_specs=jax.P("data"))
    def apart(image, words, patient, pair, keys, alike):
        batch = {"patient": patient, "key": keys, "weight": jnp.ones_like(pair)}
        return function(score, (image,), (words,), batch, {"report": (alike, alike, pair), "scale": jnp.float32(SCALE)})

    return jax.jit(apart)


def losses(function, patient, pair, seed: int = 0, alike=((1, 0), (0, 1), (-1, 0))):
    keys = jax.random.split(jax.random.key(seed), 3)
    return program(function)(IMAGES, WORDS, np.int32(patient), np.float32(pair), keys, np.float32(alike))


def softplus(x):
    return np.log1p(np.exp(x))


def every_score():
    return IMAGES @ WORDS.T  # of image i with words j


def test_words_are_contrasted_with_the_one_other():
    """Row 1 is of row 0's patient, so both have row 2 alone."""
    s = every_score()
    found, weight = losses(pairs.contrast, [0, 0, 1], [1, 1, 1])
    for row in (0, 1):
        expected = (softplus(SCALE * (s[row, 2] - s[row, row])) + softplus(SCALE * (s[2, row] - s[row, row]))) / 2
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)
    np.testing.assert_array_equal(weight, 1)


def test_matching_is_the_cross_entropy_of_three_pairs():
    s = every_score()
    found = losses(pairs.matching, [0, 0, 1], [1, 1, 1])
    for row in (0, 1):
        np.testing.assert_allclose(found[row], (softplus(-s[row, row]) + softplus(s[row, 2]) + softplus(s[2, row])) / 3, rtol=1e-5)


@pytest.mark.parametrize("patient, pair", [([4, 4, 4], [1, 1, 1]), ([0, 0, 1], [1, 1, 0])])
def test_a_row_without_another_has_its_own_pair_alone(patient, pair):
    """All of one patient; or the other patient lacks a modality."""
    _, weight = losses(pairs.contrast, patient, pair)
    np.testing.assert_array_equal(weight[:2], 0)
    np.testing.assert_allclose(losses(pairs.matching, patient, pair)[:2], softplus(-np.diag(every_score()))[:2], rtol=1e-5)


def test_others_are_drawn_by_how_alike_they_are():
    """Of two others the one that is alike as often as the softmax of their similarity says."""
    alike = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]], np.float32)
    found = np.array([losses(pairs.contrast, [0, 1, 2], [1, 1, 1], seed, alike)[0][0] for seed in range(300)])
    s = every_score()
    of_words, of_images = ([softplus(SCALE * (x - s[0, 0])) for x in others] for others in ((s[0, 1], s[0, 2]), (s[1, 0], s[2, 0])))
    chance = softmax(SCALE * alike[1:] @ alike[0])
    expected = (chance @ np.array(of_words) + chance @ np.array(of_images)) / 2
    spread = np.hypot(np.ptp(of_words), np.ptp(of_images)) / 2 / np.sqrt(len(found))
    assert abs(found.mean() - expected) < 4 * spread and np.ptp(found) > 0


def test_words_that_are_what_they_look_at_score_one():
    words = jax.random.normal(jax.random.key(0), (2, 3, 4))
    mask = jnp.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    looked = jnp.where(mask[..., None] > 0, 2.5 * words, -words)
    np.testing.assert_allclose(pairs.found_again(words, looked, mask), [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(pairs.found_again(words, -looked, mask), [-1.0, 0.0], atol=1e-6)


def test_some_words_are_drawn_of_those_that_are_there():
    """Each as often as another, none that is masked while one that is there is left; all of a report that is short enough."""
    words, mask = jnp.arange(12.0).reshape(1, 12, 1).repeat(2000, 0), jnp.tile(jnp.arange(12) % 4 != 3, (2000, 1)).astype(jnp.float32)
    drawn, there = pairs.some(words, mask, jax.random.split(jax.random.key(0), 2000), 5)
    assert drawn.shape == (2000, 5, 1) and (there == 1).all()
    assert (np.diff(np.sort(drawn[..., 0]), axis=1) > 0).all()  # none twice
    count = np.bincount(np.asarray(drawn, int).ravel(), minlength=12)
    np.testing.assert_array_equal(count[3::4], 0)
    np.testing.assert_allclose(np.delete(count, [3, 7, 11]), 2000 * 5 / 9, rtol=0.1)
    drawn, there = pairs.some(words, mask, jax.random.split(jax.random.key(0), 2000), 10)
    np.testing.assert_array_equal(np.sort(drawn[there > 0].reshape(2000, 9)), np.tile([0, 1, 2, 4, 5, 6, 8, 9, 10], (2000, 1)))
    same, masks = pairs.some(words, mask, None, 12)
    assert same is words and masks is mask
