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
    """One linear layer a task, in float32."""

    sizes: dict[str, int]

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        return {task: nn.Dense(size, name=task)(x.astype(jnp.float32)) for task, size in self.sizes.items()}
