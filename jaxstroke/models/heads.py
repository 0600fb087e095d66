"""Task heads, and what a logit means: `b f -> {task: b k}`."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def sizes(config) -> dict[str, int]:
    """Logits a task needs: 1 for a binary task, one a cut-off for an ordinal one (P(y >= cut-off))."""
    found = {}
    for task in config.loss:
        _, rule, value = config.cohort.outcomes[task]
        found[task] = len(value) if rule == "ordinal" else 1
    return found


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


def within(bound: float):
    """An initialiser: uniform in +-bound."""

    def draw(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


INITIAL = {"lecun": lecun, "pytorch": pytorch, "xavier": xavier}
