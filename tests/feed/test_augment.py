"""Augmentation: geometry against SciPy, one draw for all slices, and nothing where nothing is asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxstroke import config as settings
from jaxstroke.feed import augment

SETTINGS = settings.base().train.augment


def blob(h=33, w=33):
    y, x = np.mgrid[:h, :w]
    return np.exp(-((y - 12) ** 2 + (x - 20) ** 2) / 12.0) + 0.5 * np.exp(-((y - 22) ** 2 + (x - 10) ** 2) / 20.0)


def volume_settings(**changes):
    config = settings.base().train.augment
    config.update({"axes": "volume", "flip": 0.0, "rotate": 0.0, "shift": 0.0, "intensity": 0.0} | changes)
    return config


def numbers(angle=(0.0,), shift=(0.0, 0.0), flip=(0.0,), intensity=1.0, zoomed=0.0, noise=0.0):
    found = {"flip": flip, "angle": angle, "shift": shift, "intensity": intensity, "zoomed": zoomed, "noise": noise}
    return {name: jnp.array([value]) for name, value in found.items()} | {"key": jax.random.split(jax.random.key(3), 1)}


@pytest.mark.parametrize("degrees", [-9.0, 4.0, 10.0])
def test_rotation_equals_interpolated_rotation(degrees):
    image = blob()
    ours = augment.apply(jnp.asarray(image, jnp.float32)[None, None, :, :, None], numbers((np.radians(degrees),)), SETTINGS)[0, 0, :, :, 0]
    errors = [np.abs(ours - ndimage.rotate(image, sign * degrees, reshape=False, order=1)).max() for sign in (1, -1)]
    assert min(errors) < 0.06  # three linear passes blur a little
    assert max(errors) > 3 * min(errors)


def test_shift_moves_by_whole_pixels_exactly():
    x = jax.random.normal(jax.random.key(0), (1, 2, 20, 40, 1))
    moved = augment.apply(x, numbers(shift=(0.05, -0.05)), SETTINGS)
    np.testing.assert_allclose(moved[:, :, 1:, :-2], x[:, :, :-1, 2:], atol=1e-5)
    np.testing.assert_allclose(moved[:, :, 0], 0.0, atol=1e-5)


def test_without_a_rotation_a_shift_mixes_no_values():
    x = jax.random.normal(jax.random.key(0), (1, 2, 20, 40, 1))
    moved = augment.apply(x, numbers((0.0, 0.0, 0.0), (0.08, -0.06)), volume_settings(shift=0.1))  # 1.6 and -2.4 voxels
    np.testing.assert_array_equal(moved[:, :, 2:, :-2], x[:, :, :-2, 2:])


def test_flip_and_intensity():
    x = jax.random.normal(jax.random.key(0), (1, 1, 5, 6, 2))
    np.testing.assert_allclose(augment.apply(x, numbers(flip=(1.0,), intensity=1.1), SETTINGS), 1.1 * x[:, :, :, ::-1], rtol=1e-5)
    np.testing.assert_allclose(augment.apply(x, numbers(flip=(1.0,), intensity=1.1), SETTINGS, ("flip", "intensity")), x, atol=1e-6)


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


@pytest.mark.parametrize(("place", "axes"), [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))])
def test_a_volume_turns_about_every_axis(place, axes):
    """Against SciPy's rotation in the same plane, on a smooth blob."""
    grid = np.mgrid[:25, :31, :29] - np.array([10, 18, 12])[:, None, None, None]
    image = np.exp(-(grid**2).sum(0) / 25.0)
    angle = np.zeros(3)
    angle[place] = np.radians(8.0)
    ours = augment.apply(jnp.asarray(image, jnp.float32)[None, ..., None], numbers(tuple(angle)), volume_settings(rotate=10.0))[0, ..., 0]
    errors = [np.abs(ours - ndimage.rotate(image, sign * 8.0, axes, reshape=False, order=1)).max() for sign in (1, -1)]
    assert min(errors) < 0.06 and max(errors) > 2 * min(errors)


def test_a_volume_flips_along_every_axis():
    x = jax.random.normal(jax.random.key(0), (1, 4, 5, 6, 1))
    found = augment.apply(x, numbers((0.0,) * 3, flip=(1.0, 0.0, 1.0)), volume_settings(flip=0.5))
    np.testing.assert_array_equal(found, x[:, ::-1, :, ::-1])


def test_zoom_is_linear_interpolation_about_the_centre():
    image = np.random.default_rng(0).normal(size=(11, 13, 15)).astype(np.float32)
    expected = ndimage.affine_transform(
        image, np.full(3, 1 / 1.1), (np.array(image.shape) - 1) / 2 * (1 - 1 / 1.1), order=1, mode="nearest"
    )
    x = jnp.asarray(image)[None, ..., None]
    found = augment.apply(x, numbers((0.0,) * 3, zoomed=1.0), volume_settings(zoom_share=0.5))
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-5)
    np.testing.assert_array_equal(augment.apply(x, numbers((0.0,) * 3), volume_settings(zoom_share=0.5)), x)


def test_noise_has_its_deviation_and_shares_are_kept():
    x = jnp.zeros((1, 20, 20, 20, 1))
    found = augment.apply(x, numbers((0.0,) * 3, noise=0.01), volume_settings(noise=0.01))
    assert 0.0097 < float(found.std()) < 0.0103
    chosen = volume_settings(rotate=5.0, rotate_share=0.5, zoom_share=0.25, noise=0.01, noise_share=0.75)
    drawn = jax.vmap(lambda key: augment.draw(key, chosen))(jax.random.split(jax.random.key(0), 800))
    for name, share in (("angle", 0.5), ("zoomed", 0.25), ("noise", 0.75)):
        there = np.asarray(drawn[name]).reshape(800, -1).any(1)
        assert abs(there.mean() - share) < 0.06, name


def test_more_draws_do_not_change_the_first():
    """A run's numbers stay what they were when another kind of augmentation is switched on."""
    key = jax.random.key(5)
    few, many = augment.draw(key, SETTINGS), augment.draw(key, volume_settings(**SETTINGS.to_dict() | {"axes": "volume", "noise": 0.1}))
    for name in ("flip", "angle"):
        assert float(few[name][0]) == float(many[name][0])
    np.testing.assert_array_equal(few["shift"], many["shift"])
