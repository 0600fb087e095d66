"""ImageNet's standardisation as a network's first step: torchvision's formula, grey in place of each colour, padding as before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke import models
from jaxstroke.config_json import copied
from jaxstroke.models import layers, norm, standardise
from jaxstroke.models.encoders import resnet


def test_the_formula_of_torchvision():
    """`(x - mean) / std` of `torchvision.transforms.Normalize` with ImageNet's numbers."""
    x = np.random.default_rng(0).uniform(size=(2, 3, 4, 3)).astype(np.float32)
    red, green, blue = (x[..., 0] - 0.485) / 0.229, (x[..., 1] - 0.456) / 0.224, (x[..., 2] - 0.406) / 0.225
    np.testing.assert_allclose(standardise.standardised(jnp.asarray(x), "imagenet"), np.stack([red, green, blue], -1), atol=1e-6)
    np.testing.assert_array_equal(standardise.standardised(x, "none"), x)


def test_a_grey_image_is_one_of_three_equal_colours():
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 3, 4, 1)), jnp.float32)
    np.testing.assert_array_equal(standardise.standardised(x, "imagenet"), standardise.standardised(jnp.repeat(x, 3, -1), "imagenet"))


def test_kernels_summed_over_colours_equal_a_grey_image_three_times():
    """Of the whole encoder: what `Begin` does to a file's first convolution where images have one channel."""
    encoder = resnet.ResNet(2, (1, 1), False, layers.Conv, norm.BatchNorm, (8, 16))
    grey = jax.random.normal(jax.random.key(0), (2, 32, 32, 1))
    variables = encoder.init(jax.random.key(1), jnp.repeat(grey, 3, -1))
    params = variables["params"]
    summed = params | {"stem_conv": {"kernel": params["stem_conv"]["kernel"].sum(2, keepdims=True)}}
    colour = jax.jit(encoder.apply)(variables, jnp.repeat(grey, 3, -1))["pooled"]
    np.testing.assert_allclose(jax.jit(encoder.apply)(variables | {"params": summed}, grey)["pooled"], colour, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_more_padding_changes_no_prediction_of_standardised_images(sequence_file, channels):
    """Pictures that are not there are 0, which is no longer 0 once standardised."""
    config = copied(sequence_file.get_config("smoke"))
    with config.unlocked():
        config.model.standardise, config.model.sequence = "imagenet", "mean"
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 3, 16, 16, channels)), jnp.float32)
    batch = {"images/images": images, "images_mask/images": jnp.ones((2, 3)), "weight": jnp.ones(2), "clinical": jnp.zeros((2, 0))}
    module = models.build(config)
    variables = module.init(jax.random.key(0), batch, {}, train=False)
    assert variables["params"]["encoder"]["ConvPool_0"]["kernel"].shape[-2] == 3
    longer = batch | {
        "images/images": jnp.pad(images, ((0, 0), (0, 2), (0, 0), (0, 0), (0, 0))),
        "images_mask/images": jnp.pad(batch["images_mask/images"], ((0, 0), (0, 2))),
    }
    plain, padded = (module.apply(variables, one, {}, train=False)["logits"]["diagnosis"] for one in (batch, longer))
    np.testing.assert_allclose(plain, padded, atol=1e-6)
