"""Pooling by reshapes, slices and comparisons: no select-and-scatter, whose gradient is slow on CPU and not deterministic on GPU.

Arrays are `n *space c`. Of equal values the first takes the gradient, as in PyTorch. A maximum's own gradient in JAX asks which values
equal it; where the compiler computes them a second time with another rounding none does, and the gradient is lost, or 0 / 0.
"""

import functools

import jax
import jax.numpy as jnp

from jaxstroke.models import taps


def max_pool(x: jax.Array, window: int, stride: int | None = None, padding: int = 0) -> jax.Array:
    """Maximum over windows of `window` places an axis, padded by minus infinity; places that fill no window are dropped."""
    stride = window if stride is None else stride
    low = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    for place in range(1, x.ndim - 1):
        axis = taps.Axis(x.shape[place], window, stride, padding, padding)
        x = functools.reduce(larger, taps.shifts(x, place, axis, low))
    return x


@jax.custom_vjp
def larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger of each pair; b takes the gradient where it is larger, else a."""
    return jnp.maximum(a, b)


def larger_forward(a, b):
    return jnp.maximum(a, b), b > a


def larger_backward(second, g):
    return jnp.where(second, 0, g), jnp.where(second, g, 0)


larger.defvjp(larger_forward, larger_backward)


@jax.custom_vjp
def global_max(x: jax.Array) -> jax.Array:
    """`n *space c -> n c`: the maximum over space."""
    return x.max(tuple(range(1, x.ndim - 1)))


def global_max_forward(x):
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    place = flat.argmax(1)
    return jnp.take_along_axis(flat, place[:, None], 1)[:, 0], (place, x)


def global_max_backward(saved, g):
    place, x = saved  # of x the shape alone
    flat = jnp.arange(x[0, ..., 0].size)[:, None] == place[:, None]  # n places c
    return (jnp.where(flat, g[:, None], 0).reshape(x.shape),)


global_max.defvjp(global_max_forward, global_max_backward)


def mean_pool(x: jax.Array, window: int) -> jax.Array:
    """Mean over blocks of `window` places an axis; an odd rest is dropped, as PyTorch's AvgPool does."""
    return blocks(x, window).mean(tuple(range(2, 2 * x.ndim - 3, 2)), dtype=jnp.float32).astype(x.dtype)


def blocks(x: jax.Array, window: int) -> jax.Array:
    """`n d h w c -> n d/2 2 h/2 2 w/2 2 c` for a window of 2, in any number of dimensions; the rest of an axis is cut off."""
    space = x.shape[1:-1]
    whole = x[(slice(None), *(slice(0, size // window * window) for size in space))]
    return whole.reshape(x.shape[0], *(part for size in space for part in (size // window, window)), x.shape[-1])
