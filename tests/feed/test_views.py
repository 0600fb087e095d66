"""Two views: crops against SciPy, draws within what is asked, unlike for every picture, the same whatever the devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxstroke import config as settings
from jaxstroke.feed import views


def asked(**changes):
    config = settings.base().pretrain
    config.update({"flip": 0.0, "rotate": 0.0, "brightness": 0.0, "contrast": 0.0} | changes)
    return config


def numbers(**changes):
    plain = {"size": (1.0, 1.0), "start": (0.0, 0.0), "flip": 0.0, "angle": 0.0, "brightness": 0.0, "contrast": 1.0}
    return {name: jnp.asarray([value], jnp.float32) for name, value in (plain | changes).items()}


def picture(h=20, w=28, c=1):
    return jax.random.uniform(jax.random.key(0), (1, h, w, c))


def test_the_whole_picture_is_the_picture():
    x = picture()
    np.testing.assert_allclose(views.apply(x, numbers(), asked()), x, atol=1e-5)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_crop_equals_interpolation_at_its_pixels_centres(flip):
    x, size, start = picture(), (0.6, 0.5), (0.25, 0.4)
    found = views.apply(x, numbers(size=size, start=start, flip=flip), asked())[0, :, :, 0]
    places = [(start[axis] + size[axis] * (np.arange(length) + 0.5) / length) * length - 0.5 for axis, length in enumerate(x.shape[1:3])]
    right = ndimage.map_coordinates(np.asarray(x[0, :, :, 0]), np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(found, right[:, ::-1] if flip else right, atol=1e-5)


def test_brightness_adds_and_contrast_is_about_the_mean():
    x = picture()
    found = views.apply(x, numbers(brightness=0.2, contrast=1.5), asked())
    np.testing.assert_allclose(found.mean(), x.mean() + 0.2, atol=1e-5)
    np.testing.assert_allclose(found.std(), 1.5 * x.std(), rtol=1e-4)


def test_draws_stay_within_what_is_asked():
    config = settings.base().pretrain
    config.update({"crop": (0.3, 0.8), "ratio": 1.5, "rotate": 12.0, "brightness": 0.1, "contrast": 0.3})
    found = jax.vmap(lambda key: views.draw(key, config))(jax.random.split(jax.random.key(1), 4000))
    size, start = np.asarray(found["size"]), np.asarray(found["start"])
    area, ratio = size.prod(1), size[:, 1] / size[:, 0]
    assert size.max() <= 1 and start.min() >= 0 and (start + size).max() <= 1 + 1e-6
    assert area.max() <= 0.8 + 1e-6 and area.min() >= 0.3 / 1.5 and 0.5 < area.mean() < 0.6
    assert 1 / 1.5 - 1e-5 <= ratio.min() < 0.75 and 1.35 < ratio.max() <= 1.5 + 1e-5
    for name, most in (("angle", np.radians(12.0)), ("brightness", 0.1)):
        values = np.asarray(found[name])
        assert -most <= values.min() < -0.95 * most and 0.95 * most < values.max() <= most
    assert 0.45 < np.asarray(found["flip"]).mean() < 0.55


def test_every_picture_of_every_view_has_a_draw_of_its_own():
    x = jnp.broadcast_to(picture()[:, None], (3, 2, 20, 28, 1))
    mask = jnp.asarray([[1, 1], [1, 0], [0, 0]], jnp.float32)
    batch = {"images/oct": x * mask[..., None, None, None], "images_mask/oct": mask, "weight": jnp.ones(3)}
    found = views.two(batch, jax.random.split(jax.random.key(2), 3), settings.base().pretrain)
    assert found["images/oct"].shape == (3, 4, 20, 28, 1) and (found["images_mask/oct"] == jnp.tile(mask, (1, 2))).all()
    shown = np.asarray(found["images/oct"])[np.asarray(found["images_mask/oct"]) > 0].reshape(6, -1)
    assert len(np.unique(shown.round(5), axis=0)) == 6
    assert (np.asarray(found["images/oct"])[np.asarray(found["images_mask/oct"]) == 0] == 0).all()


@pytest.mark.slow
def test_views_of_a_row_do_not_depend_on_the_other_rows():
    x, keys = jax.random.uniform(jax.random.key(0), (4, 1, 16, 16, 1)), jax.random.split(jax.random.key(3), 4)
    batch = {"images/ir": x, "images_mask/ir": jnp.ones((4, 1))}
    whole = views.two(batch, keys, settings.base().pretrain)
    part = views.two({name: value[2:] for name, value in batch.items()}, keys[2:], settings.base().pretrain)
    np.testing.assert_allclose(whole["images/ir"][2:], part["images/ir"], atol=1e-6)
