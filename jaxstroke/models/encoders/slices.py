"""Small encoders of single slices, their weights shared over the slices of a sequence."""

from collections.abc import Callable

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


class Plain(nn.Module):
    """Named feature maps `n h w c` (stage1, stage2 ...) and `pooled`, `n f` float32: the mean over space of the last.

    A stage: convolution 3 x 3, 2 x 2 maximum, norm, ReLU. conv_pool, norm: see `encoders.make`.
    """

    widths: tuple[int, ...]
    conv_pool: Callable
    norm: Callable
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, keys: jax.Array | None = None, train: bool = False) -> dict:
        x, found = x.astype(self.dtype), {}
        for number, width in enumerate(self.widths, 1):
            x = found[f"stage{number}"] = self.conv_pool(width, norm=self.norm, name=f"stage{number}")(x, mask, train)
        return found | {"pooled": x.mean((1, 2), dtype=jnp.float32)}


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
