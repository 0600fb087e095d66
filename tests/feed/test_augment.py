"""Augmentation: geometry against SciPy, one draw for all slices, and nothing where nothing is asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import ndimage

from jaxstroke.feed import augment

SETTINGS = ConfigDict({"flip": 0.5, "rotate": 10.0, "shift": 0.05, "intensity": 0.1, "skip": {}})


def blob(h=33, w=33):
    y, x = np.mgrid[:h, :w]
    return np.exp(-((y - 12) ** 2 + (x - 20) ** 2) / 12.0) + 0.5 * np.exp(-((y - 22) ** 2 + (x - 10) ** 2) / 20.0)


def numbers(angle=0.0, shift=(0.0, 0.0), flip=0.0, intensity=1.0):
    return {"flip": jnp.array([flip]), "angle": jnp.array([angle]), "shift": jnp.array([shift]), "intensity": jnp.array([intensity])}


@pytest.mark.parametrize("degrees", [-9.0, 4.0, 10.0])
def test_rotation_equals_interpolated_rotation(degrees):
    image = blob()
    ours = augment.apply(jnp.asarray(image, jnp.float32)[None, None, :, :, None], numbers(np.radians(degrees)), SETTINGS)[0, 0, :, :, 0]
    errors = [np.abs(ours - ndimage.rotate(image, sign * degrees, reshape=False, order=1)).max() for sign in (1, -1)]
    assert min(errors) < 0.06  # three linear passes blur a little
    assert max(errors) > 3 * min(errors)


def test_shift_moves_by_whole_pixels_exactly():
    x = jax.random.normal(jax.random.key(0), (1, 2, 20, 40, 1))
    moved = augment.apply(x, numbers(shift=(0.05, -0.05)), SETTINGS)
    np.testing.assert_allclose(moved[:, :, 1:, :-2], x[:, :, :-1, 2:], atol=1e-5)
    np.testing.assert_allclose(moved[:, :, 0], 0.0, atol=1e-5)


def test_flip_and_intensity():
    x = jax.random.normal(jax.random.key(0), (1, 1, 5, 6, 2))
    np.testing.assert_allclose(augment.apply(x, numbers(flip=1.0, intensity=1.1), SETTINGS), 1.1 * x[:, :, :, ::-1], rtol=1e-5)
    np.testing.assert_allclose(augment.apply(x, numbers(flip=1.0, intensity=1.1), SETTINGS, ("flip", "intensity")), x, atol=1e-6)


def test_one_draw_for_all_slices():
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (3, 1, 16, 16, 1)), (3, 4, 16, 16, 1))
    drawn = jax.vmap(lambda key: augment.draw(key, SETTINGS))(jax.random.split(jax.random.key(1), 3))
    y = augment.apply(x, drawn, SETTINGS)
    np.testing.assert_array_equal(y, jnp.broadcast_to(y[:, :1], y.shape))
    assert not np.allclose(y[0], x[0], atol=1e-3)


def test_draws_stay_within_the_settings():
    drawn = jax.vmap(lambda key: augment.draw(key, SETTINGS))(jax.random.split(jax.random.key(0), 500))
    assert float(jnp.abs(drawn["angle"]).max()) <= np.radians(10.0)
    assert float(jnp.abs(drawn["shift"]).max()) <= 0.05
    assert float(jnp.abs(drawn["intensity"] - 1).max()) <= 0.1001
    assert 0.4 < float(drawn["flip"].mean()) < 0.6
