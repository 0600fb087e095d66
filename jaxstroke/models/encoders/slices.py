"""A small encoder of single slices, its weights shared over the slices of a sequence."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models import layers


def stages(x: jax.Array, widths: tuple[int, ...], form: str, dtype: jnp.dtype) -> jax.Array:
    """`n h w c -> n h' w' f`, with parameters in the module that calls it."""
    x = x.astype(dtype)
    for width in widths:
        x = layers.ConvPool(width, form, dtype)(x)
    return x


class SliceMaps(nn.Module):
    """`n h w c -> n h' w' f`: convolution 3 x 3, ReLU, 2 x 2 maximum a stage."""

    widths: tuple[int, ...]
    form: str = "auto"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return stages(x, self.widths, self.form, self.dtype)


class SliceEncoder(nn.Module):
    """`b s h w c -> b s f`: convolution 3 x 3, ReLU, 2 x 2 maximum a stage, then the global mean; weights shared over slices."""

    widths: tuple[int, ...]
    form: str = "auto"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, s, h, w, c = x.shape
        x = stages(x.reshape(b * s, h, w, c), self.widths, self.form, self.dtype)
        return x.mean((1, 2), dtype=jnp.float32).reshape(b, s, -1)
