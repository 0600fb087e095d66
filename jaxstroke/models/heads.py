"""Task heads, and what a logit means: `b f -> {task: b k}`."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke import outcomes
from jaxstroke.models import fusion


def sizes(config) -> dict[str, int]:
    """Logits a task needs: 1 for a binary task, one a cut-off for an ordinal one (P(y >= cut-off)), one a class."""
    return {task: len(outcomes.columns_of(config, task)) for task in config.loss}


def kinds(config) -> dict[str, str]:
    """{task: name in `outcomes.KINDS`}, by which `PROBABILITY` and `LOGIT` go."""
    return {task: outcomes.of_rule(config.cohort.outcomes[task][1]) for task in config.loss}


class Heads(nn.Module):
    """One linear layer a task, in float32. initial: a name of `INITIAL`, how kernel and bias begin."""

    sizes: dict[str, int]
    initial: str = "lecun"

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        kernel, bias = INITIAL[self.initial](x.shape[-1])
        return {
            task: nn.Dense(size, kernel_init=kernel, bias_init=bias, name=task)(x.astype(jnp.float32)) for task, size in self.sizes.items()
        }


def lecun(features: int) -> tuple:
    """Initialisers of kernel and bias: LeCun's normal and 0."""
    return nn.initializers.lecun_normal(), nn.initializers.zeros


def pytorch(features: int) -> tuple:
    """As PyTorch's Linear begins: both uniform in +-1/sqrt(features)."""
    return nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"), within(features**-0.5)


def xavier(features: int) -> tuple:
    """Xavier's uniform and 0."""
    return nn.initializers.xavier_uniform(), nn.initializers.zeros


def zeros(features: int) -> tuple:
    """Both 0, so that a regression begins at nobody's odds rather than at chance's."""
    return nn.initializers.zeros, nn.initializers.zeros


def within(bound: float):
    """An initialiser: uniform in +-bound."""

    def draw(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


# `b ... k` logits to probabilities, and back, where a network merges those of its modules itself.
PROBABILITY = {"binary": nn.sigmoid, "ordinal": nn.sigmoid, "classes": nn.softmax}
LOGIT = {"binary": fusion.logit, "ordinal": fusion.logit, "classes": fusion.logarithm}
INITIAL = {"lecun": lecun, "pytorch": pytorch, "xavier": xavier, "zeros": zeros}
