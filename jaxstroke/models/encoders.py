"""Encoders: arrays of one kind to features. `sequence` images and clinical columns so far."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models import layers


class SliceEncoder(nn.Module):
    """`b s h w c -> b s f`: convolution 3 x 3, ReLU, 2 x 2 maximum a stage, then the global mean; weights shared over slices."""

    widths: tuple[int, ...]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, s, h, w, c = x.shape
        x = x.reshape(b * s, h, w, c).astype(self.dtype)
        for width in self.widths:
            x = layers.ConvPool(width, self.dtype)(x)
        return x.mean((1, 2), dtype=jnp.float32).reshape(b, s, -1)


def clinical_input(batch: dict, fitted: dict) -> jax.Array:
    """`b k -> b 2k`: columns imputed and standardised by numbers fitted on the fold's training patients, and missing flags."""
    mask = batch["clinical_mask"]
    values = jnp.where(mask > 0, batch["clinical"], fitted["clinical_median"])
    return jnp.concatenate([(values - fitted["clinical_mean"]) / fitted["clinical_scale"], 1 - mask], -1)


class ClinicalEncoder(nn.Module):
    """`b k -> b f`: two hidden layers over standardised columns."""

    units: int
    dropout: tuple[float, float]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        for site, rate in enumerate(self.dropout):
            x = nn.relu(nn.Dense(self.units, dtype=self.dtype)(x))
            x = layers.dropout(x, rate, keys, 100 + site)
        return x
