"""Paper 4's network: what is absent changes nothing, a probe is linear, and its pre-training gives pairs of unit length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke import models
from jaxstroke.config_json import copied
from jaxstroke.training import pretraining, subtrees


def small(retina_file, **changes):
    config = copied(retina_file.get_config("smoke"))
    with config.unlocked(), config.ignore_type():
        for key, value in changes.items():
            section, name = key.split("__")
            config[section][name] = value
    return config


def batch_of(rows: int = 3, pictures: int = 2):
    """Of row 1 one picture is missing, of row 2 the whole infrared image."""
    random = np.random.default_rng(0)
    mask = np.ones((rows, pictures), np.float32)
    mask[1, 1] = 0
    seen = mask.copy()
    seen[2] = 0
    batch = {"weight": jnp.ones(rows), "patient": jnp.arange(rows), "key": jax.random.split(jax.random.key(0), rows)}
    for name, shown in (("oct", mask), ("ir", seen)):
        images = random.normal(size=(rows, pictures, 16, 16, 1)) * shown[..., None, None, None]
        batch |= {f"images/{name}": jnp.asarray(images, jnp.float32), f"images_mask/{name}": jnp.asarray(shown)}
    values = jnp.asarray(random.normal(size=(rows, 5)), jnp.float32)
    fitted = {name: jnp.full(5, value) for name, value in (("clinical_median", 0.0), ("clinical_mean", 0.0), ("clinical_scale", 1.0))}
    return batch | {"clinical": values, "clinical_mask": jnp.ones((rows, 5))}, fitted


def made(config):
    module, (batch, fitted) = models.build(config), batch_of()
    return module, module.init(jax.random.key(0), batch, fitted, train=False), batch, fitted


@pytest.mark.parametrize("hidden", [8, 0])
def test_what_is_absent_may_hold_anything(retina_file, hidden):
    module, variables, batch, fitted = made(small(retina_file, model__hidden=hidden))
    other = dict(batch)
    for name in ("oct", "ir"):
        absent = batch[f"images_mask/{name}"][..., None, None, None] == 0
        other[f"images/{name}"] = jnp.where(absent, 100.0, batch[f"images/{name}"])
    plain, noise = (module.apply(variables, one, fitted)["features"]["patient"] for one in (batch, other))
    np.testing.assert_allclose(plain, noise, atol=1e-6)
    assert np.ptp(plain) > 1e-3


def test_a_row_without_an_image_is_judged_by_the_rest(retina_file):
    """Its prediction is finite and moves with the image that is there."""
    module, variables, batch, fitted = made(small(retina_file))
    changed = batch | {"images/oct": batch["images/oct"].at[2].multiply(-1.0)}
    plain, moved = (module.apply(variables, one, fitted)["logits"]["stroke"] for one in (batch, changed))
    assert np.isfinite(plain).all() and abs(float(plain[2, 0] - moved[2, 0])) > 1e-5
    np.testing.assert_allclose(plain[:2], moved[:2], atol=1e-6)


def test_a_probe_is_linear_in_its_features(retina_file):
    """Encoders, a norm and one layer: no other parameters."""
    _, variables, _, _ = made(small(retina_file, model__hidden=0))
    rest = subtrees.without(variables["params"], "encoder")
    assert {name for name, value in rest.items() if value} == {"ir_norm", "oct_norm", "heads"}


def test_images_alone_do_not_read_the_records(retina_file):
    module, variables, batch, fitted = made(small(retina_file, model__fusion="none"))
    found = [module.apply(variables, batch | {"clinical": batch["clinical"] + extra}, fitted)["logits"]["stroke"] for extra in (0.0, 5.0)]
    np.testing.assert_array_equal(*found)


def test_pre_training_pairs_views_of_a_picture(retina_file):
    """Views lie behind each other along a sequence; a pair is a picture's, in both; encoders lie where fine-tuning has them."""
    config = pretraining.config_of(small(retina_file, pretrain__cross_modal=True))
    module, (batch, fitted) = models.build(config), batch_of(pictures=4)  # two pictures, two views
    for name in ("oct", "ir"):
        batch[f"images_mask/{name}"] = jnp.tile(batch[f"images_mask/{name}"][:, :2], (1, 2))
    variables = module.init(jax.random.key(0), batch, fitted, train=False)
    pairs = module.apply(variables, batch, fitted)["pairs"]
    assert pairs.keys() == {"oct", "ir", "ir-oct"}
    first, second, patient, mask = pairs["oct"]
    assert first.shape == second.shape == (6, 8) and list(patient) == [0, 0, 1, 1, 2, 2] and list(mask) == [1, 1, 1, 0, 1, 1]
    np.testing.assert_allclose(jnp.linalg.norm(first[mask > 0], axis=-1), 1, atol=1e-5)
    swapped = batch | {"images/oct": jnp.roll(batch["images/oct"], 2, 1)}
    again = module.apply(variables, swapped, fitted)["pairs"]["oct"]
    np.testing.assert_allclose(again[0], second, atol=1e-5)
    np.testing.assert_allclose(again[1], first, atol=1e-5)
    assert list(pairs["ir-oct"][3]) == [1, 1, 0]  # of the last row there is no infrared image
    fine = jax.eval_shape(lambda: made(small(retina_file))[1])
    for path in subtrees.places(fine["params"], "encoder"):
        shapes = [jax.tree.map(lambda x: x.shape, subtrees.at(tree["params"], path)) for tree in (fine, variables)]
        assert shapes[0] == shapes[1]
