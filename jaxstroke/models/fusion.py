"""How module probabilities become one: the rules of paper 1 (section 1.4). Pure functions of arrays, used inside a network
(joint training) and on a fold's finished modules (two-stage training)."""

import jax
import jax.numpy as jnp

RULES = ("poe", "scalar", "learned", "mean", "stacked")
WEIGHTED = ("poe", "scalar", "learned")  # those that read a clinical column
FITTED = ("learned", "stacked")  # those with coefficients


def weight(values: jax.Array, upper: float, clip: tuple[float, float]) -> jax.Array:
    """`b -> b`: a clinical value as a probability. Without the clip a NIHSS of 0 would make every prediction exactly 0."""
    return jnp.clip(values / upper, *clip)


def mean(probabilities: jax.Array, present: jax.Array, prior: float) -> jax.Array:
    """`b m k, b m -> b k`: mean over the modules a patient has; `prior` for a patient without any."""
    present = present[..., None]
    count = present.sum(-2)
    return jnp.where(count > 0, (probabilities * present).sum(-2) / jnp.maximum(count, 1), prior)


def poe(probability: jax.Array, c: jax.Array) -> jax.Array:
    """`b k, b -> b k`: product of experts, c p / (c p + (1 - c)(1 - p))."""
    c = c[..., None]
    return c * probability / (c * probability + (1 - c) * (1 - probability))


def scalar(probability: jax.Array, c: jax.Array) -> jax.Array:
    """`b k, b -> b k`: c times the mean. A score that ranks, not a probability."""
    return c[..., None] * probability


def logit(probability: jax.Array) -> jax.Array:
    """Log-odds, finite for probabilities of exactly 0 and 1."""
    probability = jnp.clip(probability, 1e-7, 1 - 1e-7)
    return jnp.log(probability) - jnp.log1p(-probability)


def logarithm(probability: jax.Array) -> jax.Array:
    """Logits whose softmax are these probabilities, finite for 0."""
    return jnp.log(jnp.clip(probability, 1e-7, 1))


def parameter_free(rule: str, probabilities: jax.Array, present: jax.Array, c: jax.Array | None, prior: float) -> jax.Array:
    """`b m k, b m, b -> b k` by `mean`, `poe` or `scalar`."""
    averaged = mean(probabilities, present, prior)
    if rule == "mean":
        return averaged
    return {"poe": poe, "scalar": scalar}[rule](averaged, c)
