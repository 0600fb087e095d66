"""The network of contrastive pre-training: each image's encoder with a projector on top (Chen et al. 2020; papers' section 4.4).

Encoders lie where the network that is fine-tuned has its own: `<image>/encoder`. What comes after is left behind.
"""

import functools
import itertools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke import config as settings
from jaxstroke.models import activation, encoders, layers, standardise
from jaxstroke.models import norm as norms

SMALLEST = 1e-12  # of an embedding's length: one that is 0 stays 0


class Projected(nn.Module):
    """Embeddings of one image's pictures: `n h w c, n -> n f` float32 of length 1. norm: a batch normalisation, partially applied."""

    encoder: nn.Module
    units: tuple[int, int]
    standard: str
    norm: Callable
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, keys: jax.Array | None, train: bool) -> jax.Array:
        x = self.encoder(standardise.standardised(x, self.standard), mask, keys, train)["pooled"]
        x = nn.Dense(self.units[0], use_bias=False, dtype=self.dtype, name="projector1")(x)
        x = activation.relu(self.norm(name="projector_norm")(x, mask, train))
        x = nn.Dense(self.units[1], dtype=self.dtype, name="projector2")(x).astype(jnp.float32)
        return layers.unit(x, SMALLEST)


class Contrast(nn.Module):
    """Pairs of views by name: `{"pairs": {name: (first n f, second n f, patient n, mask n)}}`; the rest of the output is empty.

    The batch is of `feed.views.two`: of the 2s pictures of an image the first s are one view, the others the other. networks: by image, a
    `Projected` but for its name. crossed: of the images of a row, means over its pictures, each view of the one and of the other is a pair.
    """

    networks: dict[str, Callable]
    crossed: bool

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        pairs, whole = {}, {}
        for name, network in self.networks.items():
            x, mask = batch[f"images/{name}"], batch[f"images_mask/{name}"]  # b 2s h w c, b 2s
            b, double, *space = x.shape
            shown = (mask * batch["weight"][:, None]) if train else mask
            keys = layers.keys_of_pictures(batch["key"] if train else None, double)
            z = network(name=name)(x.reshape(b * double, *space), shown.reshape(-1), keys, train).reshape(b, 2, double // 2, -1)
            mask = shown.reshape(b, 2, -1)[:, 0]
            patient = jnp.repeat(batch["patient"], double // 2)
            pairs[name] = (*(z[:, view].reshape(b * double // 2, -1) for view in (0, 1)), patient, mask.reshape(-1))
            whole[name] = (mean(z, mask), (mask.sum(-1) > 0).astype(jnp.float32))
        if self.crossed:
            for one, other in itertools.combinations(sorted(whole), 2):
                (a, of_a), (b, of_b) = whole[one], whole[other]
                pairs[f"{one}-{other}"] = (a[:, 0], b[:, 1], batch["patient"], of_a * of_b)
        return {"logits": {}, "features": {name: z[:, 0] for name, (z, _) in whole.items()}, "parts": {}, "pairs": pairs}


def mean(z: jax.Array, mask: jax.Array) -> jax.Array:
    """`b 2 s f, b s -> b 2 f` of length 1: the mean over a row's pictures."""
    x = (z * mask[:, None, :, None]).sum(2)
    return layers.unit(x, SMALLEST)


def build(config, dtype) -> Contrast:
    """config: of the stage (`training.stages.config_of`), whose network sees the images to be pre-trained on."""
    norm = functools.partial(norms.BatchNorm, axis="data", dtype=dtype)

    def network() -> Callable:
        encoder = encoders.of_config(config, dtype)
        return functools.partial(Projected, encoder, tuple(config.pretrain.projector), config.model.standardise, norm, dtype)

    return Contrast({name: network() for name in settings.image_names(config)}, config.pretrain.cross_modal)
