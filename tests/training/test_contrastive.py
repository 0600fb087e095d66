"""NT-Xent: the published loss where every patient is there once, one device or eight, no negatives within a patient, nothing of padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxstroke.training import contrastive

TEMPERATURE = 0.2


def views(rows: int, patients: int, seed: int = 0):
    """Unit vectors of two views that are unlike on every row, patients with several rows, and some rows that are not there."""
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(rows, 12)).astype(np.float32) for _ in range(2))
    mask = (rng.random(rows) < 0.8).astype(np.float32)
    return first, second, rng.integers(0, patients, rows).astype(np.int32), mask


def unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def on_devices(count: int):
    """(loss, gradients of both views) with the rows over so many devices."""
    mesh = jax.make_mesh((count,), ("data",), devices=jax.devices()[:count], axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.P("data")

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(split,) * 4, out_specs=jax.P())
    def loss(first, second, patient, mask):
        found = contrastive.nt_xent(unit(first), unit(second), patient, mask, TEMPERATURE)
        numerator, denominator = jax.lax.psum(found, "data")
        return numerator / denominator

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def test_eight_devices_equal_one_in_loss_and_gradients():
    values = views(32, patients=9)
    assert len(np.unique(values[2])) < 32
    (one, of_one), (many, of_many) = on_devices(1)(*values), on_devices(8)(*values)
    assert abs(float(one) - float(many)) < 1e-6
    for a, b in zip(of_one, of_many, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert np.abs(a).max() > 1e-3


def test_equals_the_published_loss_where_each_patient_is_there_once():
    """The mean over 2N anchors of the cross-entropy of the 2N - 1 other views, the own one being right (Chen et al. 2020, equation 1)."""
    first, second, _, _ = views(16, 1)
    everyone = np.concatenate([unit(first), unit(second)])
    logits = everyone @ everyone.T / TEMPERATURE
    np.fill_diagonal(logits, -np.inf)
    right = (np.arange(32) + 16) % 32
    published = optax.softmax_cross_entropy_with_integer_labels(logits, right).mean()
    found, _ = on_devices(1)(first, second, np.arange(16, dtype=np.int32), np.ones(16, np.float32))
    np.testing.assert_allclose(found, published, rtol=1e-5)


def test_negatives_are_other_patients_that_are_there_alone():
    """Anchor by anchor, with several rows of a patient and rows that are not there."""
    first, second, patient, mask = views(20, patients=6)
    z, owner, there = np.concatenate([unit(first), unit(second)]), np.tile(patient, 2), np.tile(mask, 2)
    similar = np.exp(z @ z.T / TEMPERATURE)
    losses = []
    for anchor in np.flatnonzero(there):
        positive = similar[anchor, (anchor + 20) % 40]
        negatives = similar[anchor, (owner != owner[anchor]) & (there > 0)].sum()
        losses.append(-np.log(positive / (positive + negatives)))
    found, _ = on_devices(1)(first, second, patient, mask)
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-5)


def test_what_is_masked_may_hold_anything():
    first, second, patient, mask = views(24, 30)
    loss, (gradient, _) = on_devices(1)(first, second, patient, mask)
    absent = mask == 0
    assert absent.any()
    for x in (first, second):
        x[absent] = 7 * np.random.default_rng(1).normal(size=x[absent].shape)
    again, (changed, _) = on_devices(1)(first, second, patient, mask)
    np.testing.assert_allclose(loss, again, rtol=1e-6)
    np.testing.assert_allclose(gradient[~absent], changed[~absent], atol=1e-7)
    np.testing.assert_array_equal(changed[absent], 0)


@pytest.mark.parametrize("patient", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_an_anchor_without_a_negative_adds_nothing(patient):
    first, second, _, _ = views(4, 1)
    loss, gradients = on_devices(1)(first, second, np.array(patient, np.int32), np.array([1, 0, 0, 0], np.float32))
    assert loss == 0 and all(np.abs(g).max() == 0 for g in gradients)
