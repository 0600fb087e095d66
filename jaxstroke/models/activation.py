"""ReLU, and the rule by which gradients pass it."""

import contextlib
import contextvars

import flax.linen as nn
import jax
import jax.numpy as jnp

GUIDED = contextvars.ContextVar("guided", default=False)


@contextlib.contextmanager
def guided():
    """What is traced within passes gradients by the rule of guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806)."""
    token = GUIDED.set(True)
    try:
        yield
    finally:
        GUIDED.reset(token)


def relu(x: jax.Array) -> jax.Array:
    return guided_relu(x) if GUIDED.get() else nn.relu(x)


@jax.custom_vjp
def guided_relu(x: jax.Array) -> jax.Array:
    """ReLU whose gradient passes only where the input and the gradient itself are positive."""
    return nn.relu(x)


def forward(x):
    return nn.relu(x), x


def backward(x, g):
    return (jnp.where((x > 0) & (g > 0), g, 0),)


guided_relu.defvjp(forward, backward)
