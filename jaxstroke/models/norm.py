"""Normalisation with a mask a row: statistics in float32, over all devices that share the batch, of valid rows only.

Flax's BatchNorm averages the local means of its devices, so that a device with padding alone gives NaN, and takes the variance as
E[x^2] - E[x]^2, which loses digits; hence our own.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


def moments(x: jax.Array, mask: jax.Array | None, axis: str | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean `c`, biased variance `c` and count of elements of `n ... c` over valid rows, two passes, float32.

    mask: `n`, 1 for a valid row, None = all. axis: mesh axis over which rows are spread, None = none. Nothing valid: 0, 0, 0.
    """
    x = x.astype(jnp.float32)
    elements = math.prod(x.shape[1:-1])
    count = jnp.float32(x.shape[0] * elements) if mask is None else mask.astype(jnp.float32).sum() * elements
    count = total(jnp.zeros_like(x, shape=()) + count, axis)
    share = 1 / jnp.maximum(count, 1)
    wide = None if mask is None else mask.astype(jnp.float32).reshape(-1, *(1,) * (x.ndim - 1))

    def mean(values):
        values = values if wide is None else values * wide
        return total(values.sum(tuple(range(x.ndim - 1))), axis) * share

    centre = mean(x)
    return centre, mean(jnp.square(x - centre)), count


def total(x: jax.Array, axis: str | None) -> jax.Array:
    return x if axis is None else jax.lax.psum(x, axis)


class BatchNorm(nn.Module):
    """Batch normalisation over valid rows: `n ... c -> n ... c`.

    Running statistics as PyTorch keeps them: momentum 0.9 here is its 0.1, and the running variance is the unbiased one. A step without a
    valid row leaves them alone. axis: the mesh axis that shares the batch; it is used in training only. frozen: training is as evaluation,
    by the running statistics, which stay.
    """

    axis: str | None = None
    frozen: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False, known: tuple | None = None) -> jax.Array:
        """known: `moments` of x where the caller has them already (a DenseNet's features are normalised by every later layer)."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        if self.frozen or not train:
            mean, variance = running_mean.value, running_var.value
        else:
            mean, variance, count = moments(x, mask, self.axis) if known is None else known
            unbiased = variance * (count / jnp.maximum(count - 1, 1))
            for running, new in ((running_mean, mean), (running_var, unbiased)):
                moved = self.momentum * running.value + (1 - self.momentum) * jax.lax.stop_gradient(new)
                running.value = jnp.where(count > 0, moved, running.value)
        factor = scale * jax.lax.rsqrt(variance + self.epsilon)
        varying = jnp.zeros_like(x, shape=(), dtype=jnp.float32)  # the gradient below needs all to vary over devices as x does
        return affine(x, mean + varying, factor + varying, bias + varying).astype(self.dtype)


@jax.custom_vjp
def affine(x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    """`(x - mean) factor + bias` in float32, per channel. Its gradient keeps and reads x alone, instead of storing x - mean.

    One multiplication and addition an element; digits are lost only where a mean is thousands of deviations from 0.
    """
    return x.astype(jnp.float32) * factor + (bias - mean * factor)


def affine_forward(x, mean, factor, bias):
    return affine(x, mean, factor, bias), (x, mean, factor)


def affine_backward(saved, g):
    x, mean, factor = saved
    axes = tuple(range(x.ndim - 1))
    to_bias = g.sum(axes)
    to_factor = (g * (x.astype(jnp.float32) - mean)).sum(axes)
    return (g * factor).astype(x.dtype), -factor * to_bias, to_factor, to_bias


affine.defvjp(affine_forward, affine_backward)


class GroupNorm(nn.Module):
    """Group normalisation of every row by itself, `n ... c -> n ... c`; called as `BatchNorm`, needs neither mask nor devices."""

    groups: int = 32
    epsilon: float = 1e-5
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> jax.Array:
        c = x.shape[-1]
        if c % self.groups:
            raise ValueError(f"{c} channels do not divide into {self.groups} groups")
        scale = self.param("scale", nn.initializers.ones, (c,))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        grouped = x.astype(jnp.float32).reshape(x.shape[0], -1, self.groups, c // self.groups)
        centred = grouped - grouped.mean((1, 3), keepdims=True)
        variance = jnp.square(centred).mean((1, 3), keepdims=True)
        normal = (centred * jax.lax.rsqrt(variance + self.epsilon)).reshape(x.shape)
        return (normal * scale + bias).astype(self.dtype)
