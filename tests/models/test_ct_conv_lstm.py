"""Any number of images, one prediction: images that are not there change nothing, whatever the encoder and the memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke import models
from jaxstroke.config_json import copied
from jaxstroke.models import encoders, sequence


def made(sequence_file, name: str, encoder: str = ""):
    """(network, its variables, a batch of three patients with 4, 2 and no images)."""
    config = copied(sequence_file.get_config("smoke"))
    with config.unlocked():
        config.model.sequence, config.model.encoder = name, encoder
    random = np.random.default_rng(0)
    mask = jnp.asarray([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], jnp.float32)
    images = jnp.asarray(random.normal(size=(3, 4, 16, 16, 1)), jnp.float32) * mask[..., None, None, None]
    batch = {"images/images": images, "images_mask/images": mask, "weight": jnp.ones(3), "clinical": jnp.zeros((3, 0))}
    module = models.build(config)
    return module, jax.jit(lambda batch: module.init(jax.random.key(0), batch, {}, train=False))(batch), batch


def logits(module, variables, batch):
    return jax.jit(module.apply)(variables, batch, {})["logits"]["diagnosis"]


@pytest.mark.parametrize(("name", "encoder"), [*((name, "") for name in sequence.SEQUENCES), ("mean", "resnet18_2d"), ("mean", "vit_s_2d")])
def test_more_padding_changes_no_prediction(sequence_file, name, encoder):
    module, variables, batch = made(sequence_file, name, encoder)
    longer = batch | {
        "images/images": jnp.pad(batch["images/images"], ((0, 0), (0, 3), (0, 0), (0, 0), (0, 0))),
        "images_mask/images": jnp.pad(batch["images_mask/images"], ((0, 0), (0, 3))),
    }
    plain, padded = (logits(module, variables, one) for one in (batch, longer))
    np.testing.assert_allclose(plain, padded, atol=1e-6)


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_padded_images_get_no_gradient(sequence_file, name):
    module, variables, batch = made(sequence_file, name)

    def loss(images):
        return (logits(module, variables, batch | {"images/images": images}) ** 2).sum()

    gradient = np.asarray(jax.jit(jax.grad(loss))(batch["images/images"]))
    there = np.asarray(batch["images_mask/images"]) > 0
    assert (gradient[~there] == 0).all() and (np.abs(gradient[there]).sum((1, 2, 3)) > 0).any()


def test_a_transformer_gives_what_it_pools_and_not_the_mean_of_its_last_map(sequence_file, monkeypatch):
    """So its last norm learns; a convolutional memory reads the map itself."""
    takes = encoders.ENCODER_INPUTS["vit_s_2d"]
    monkeypatch.setitem(encoders.ENCODERS, "vit_s_2d", encoders.Encoder(takes, lambda parts: encoders.transformer(parts, 24, 2, 3)))
    for name, reads in (("mean", True), ("convlstm", False)):
        module, variables, batch = made(sequence_file, name, "vit_s_2d")

        def loss(params, module=module, batch=batch):
            return (module.apply({"params": params}, batch, {}, train=False)["logits"]["diagnosis"] ** 2).sum()

        gradient = jax.jit(jax.grad(loss))(variables["params"])["encoder"]
        assert bool(jnp.abs(gradient["norm"]["scale"]).max() > 0) == reads and jnp.abs(gradient["layer2"]["down"]["kernel"]).max() > 0


def test_parameters_of_the_paper(sequence_file):
    """Convolutions 3 x 3 of 32, 64, 128 and 128 channels, 128 units an image, an LSTM of 128, one logit."""
    module = models.build(sequence_file.get_config("paper"))
    batch = {"images/images": jnp.zeros((1, 2, 128, 128, 1)), "images_mask/images": jnp.ones((1, 2)), "weight": jnp.ones(1)}
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), batch, {}, train=False))["params"]
    convolutions = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 128) + 32 + 64 + 128 + 128
    rest = 128 * 128 + 128 + 128 * 512 + 512 + 128 * 512 + 128 + 1
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == convolutions + rest


def test_a_merge_leaves_the_network_as_it_is(sequence_file):
    """Merged with clinical columns, its parameters lie under the image's name, its logits are the same, who has no image is absent."""
    module, variables, batch = made(sequence_file, "lstm")
    config = copied(sequence_file.get_config("smoke"))
    config.model.fusion, config.model.sequence = "stacked", "lstm"
    merged = models.build(config).apply({"params": {"images": variables["params"]}}, batch, {}, train=False)
    np.testing.assert_array_equal(merged["logits"]["diagnosis"], logits(module, variables, batch))
    np.testing.assert_array_equal(merged["parts"]["images"]["present"], [1, 1, 0])
    np.testing.assert_array_equal(merged["parts"]["images"]["logits"]["diagnosis"], merged["logits"]["diagnosis"])
