"""Pooling by reshapes, slices and maxima: no select-and-scatter, whose gradient is slow on CPU and not deterministic on GPU.

Arrays are `n *space c`. Where values tie for the maximum they share its gradient.
"""

import functools

import jax
import jax.numpy as jnp

from jaxstroke.models import taps


def max_pool(x: jax.Array, window: int, stride: int | None = None, padding: int = 0) -> jax.Array:
    """Maximum over windows of `window` places an axis, padded by minus infinity; places that fill no window are dropped."""
    stride = window if stride is None else stride
    if stride == window and padding == 0:
        return blocks(x, window).max(tuple(range(2, 2 * x.ndim - 3, 2)))
    low = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    for place in range(1, x.ndim - 1):
        axis = taps.Axis(x.shape[place], window, stride, padding, padding)
        x = functools.reduce(jnp.maximum, taps.shifts(x, place, axis, low))
    return x


def mean_pool(x: jax.Array, window: int) -> jax.Array:
    """Mean over blocks of `window` places an axis; an odd rest is dropped, as PyTorch's AvgPool does."""
    return blocks(x, window).mean(tuple(range(2, 2 * x.ndim - 3, 2)), dtype=jnp.float32).astype(x.dtype)


def blocks(x: jax.Array, window: int) -> jax.Array:
    """`n d h w c -> n d/2 2 h/2 2 w/2 2 c` for a window of 2, in any number of dimensions; the rest of an axis is cut off."""
    space = x.shape[1:-1]
    whole = x[(slice(None), *(slice(0, size // window * window) for size in space))]
    return whole.reshape(x.shape[0], *(part for size in space for part in (size // window, window)), x.shape[-1])
