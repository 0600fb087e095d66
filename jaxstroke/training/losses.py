"""Losses a row, and the objective: a sum over parts and tasks of weighted masked means, named in the config."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxstroke import outcomes

Terms = Callable[[dict, dict, dict], dict[str, tuple[jax.Array, jax.Array]]]  # outputs, batch, fitted -> {name: (numerator, denominator)}
ROW_WEIGHT = "row_weight/"  # of `runs.fitted`: what the cohort's rows count for a task, `n`; most tasks and all new patients have none


def binary(logits: jax.Array, label: jax.Array, class_weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`b 1, b, 2 -> b, b`: cross-entropy and the weight of the row's class."""
    loss = optax.sigmoid_binary_cross_entropy(logits[:, 0], label)
    return loss, jnp.where(label > 0.5, class_weight[1], class_weight[0])


def ordinal(logits: jax.Array, label: jax.Array, class_weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`b k, b, 2 -> b, b`: mean cross-entropy of the k cut-offs, label = number of cut-offs reached (cumulative code)."""
    reached = (label[:, None] > jnp.arange(logits.shape[-1])).astype(logits.dtype)
    loss = optax.sigmoid_binary_cross_entropy(logits, reached).mean(-1)
    return loss, jnp.ones_like(loss)


def classes(logits: jax.Array, label: jax.Array, class_weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`b k, b, k -> b, b`: cross-entropy of the softmax and the weight of the row's class, label = place of the class."""
    place = label.astype(jnp.int32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, place), class_weight[place]


LOSSES = {"binary": binary, "ordinal": ordinal, "classes": classes}


def levels_above(logits: jax.Array) -> jax.Array:
    """`b k -> b`: how many logits are above 0, as the haemorrhage paper decodes levels."""
    return (logits > 0).sum(-1)


def largest(logits: jax.Array) -> jax.Array:
    """`b k -> b`: the place of the largest."""
    return logits.argmax(-1)


PREDICTED = {"binary": levels_above, "ordinal": levels_above, "classes": largest}


def row_weights(batch: dict, fitted: dict, task: str, present: jax.Array) -> jax.Array:
    """`b`: 1 where the row is real, its label known and the part's image there; times the run's own weight of the row where it has one."""
    known = batch["weight"] * batch[f"label_mask/{task}"] * present
    own = fitted.get(f"{ROW_WEIGHT}{task}")
    return known if own is None else known * own[jnp.maximum(batch["row"], 0)]


def parts_of(outputs: dict, joint: bool) -> dict[str, dict]:
    """The parts whose loss is minimised: a network's own parts, or its merged logits as the one part `network`."""
    if outputs["parts"] and not joint:
        return outputs["parts"]
    first = next(iter(outputs["logits"].values()))
    return {"network": {"logits": outputs["logits"], "present": jnp.ones_like(first[:, 0])}}


def make_terms(config) -> Terms:
    """`terms` of the config's tasks."""
    joint = config.train.stages == "joint"
    return lambda outputs, batch, fitted: terms(outputs, batch, fitted, config.loss, joint)


def terms(outputs: dict, batch: dict, fitted: dict, loss, joint: bool) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Sums a part and task, `{"<part>/<task>": (numerator, denominator)}`; the caller adds them over devices and micro-batches.

    loss: `config.loss`, {task: {kind, weight}}. The task's weight is in the numerator.
    """
    found = {}
    for part, values in parts_of(outputs, joint).items():
        for task in loss:
            kind = LOSSES[loss[task].kind]
            each, class_weight = kind(values["logits"][task], batch[f"label/{task}"], fitted[f"class_weight/{task}"])
            weight = row_weights(batch, fitted, task, values["present"]) * class_weight
            found[f"{part}/{task}"] = (loss[task].weight * (weight * each).sum(), weight.sum())
    return found


def recalls(outputs: dict, batch: dict, fitted: dict, loss, task: str, joint: bool) -> dict[str, tuple[jax.Array, jax.Array]]:
    """`{part: (right, all)}`, each `levels`: rows of every true level (0 and 1 of a binary task), and those of them predicted right.

    loss: `config.loss`.
    """
    kind = loss[task].kind
    found = {}
    for part, values in parts_of(outputs, joint).items():
        logits = values["logits"][task]
        levels = jnp.arange(outcomes.KINDS[kind].levels(logits.shape[-1]))
        true = (batch[f"label/{task}"][:, None] == levels) * row_weights(batch, fitted, task, values["present"])[:, None]
        predicted = PREDICTED[kind](logits)[:, None] == levels
        found[part] = ((true * predicted).sum(0), true.sum(0))
    return found


def ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """Their quotient, 0 where nothing was counted."""
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1.0), 0.0)
