"""Clinical columns into a network."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models import activation, layers


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
            x = activation.relu(nn.Dense(self.units, dtype=self.dtype)(x))
            x = layers.dropout(x, rate, keys, 100 + site)
        return x
