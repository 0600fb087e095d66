"""What an outcome can be: one event, levels in order, or one of several classes. All that differs between them is in `KINDS`.

A task has k columns: the logits of its head, and the rows of `predictions.csv` that differ in `class`. One event has one column, an
ordinal outcome one a cut-off (P(level >= cut)), classes one each. Losses are in `training/losses.py`, by the same names.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


def namespace(values):
    """The library whose array this is: NumPy, or that of an accelerator's array while a network is exported (the array API standard)."""
    return values.__array_namespace__() if hasattr(values, "__array_namespace__") else np


@dataclass(frozen=True)
class Kind:
    """One kind of outcome, of n rows and k columns; a label is a number from 0, NaN where it is unknown.

    names     value of the rule -> k names of the columns, as in `class` of `predictions.csv`
    levels    k -> how many different labels there are
    reached   label n, k -> n k: which columns' events are there
    written   label n, k -> n k: what stands in `label` of `predictions.csv`
    log_odds  logits ... k -> ... k, of each column's event
    tidy      probabilities ... k, each of its column alone -> ... k that can be of one patient
    strength  (reached n k, weights n) -> k: what the prevalence among these rows adds to the logits; infinite or NaN where nobody is
    weighted  whether class weights are used (`train.imbalance`)
    """

    names: Callable
    levels: Callable
    reached: Callable
    written: Callable
    log_odds: Callable
    tidy: Callable
    strength: Callable
    weighted: bool

    def probability(self, logits):
        """Logits `... k` to probabilities, in the library of their array."""
        xp = namespace(logits)
        return self.tidy(1 / (1 + xp.exp(-self.log_odds(xp.asarray(logits, dtype=float)))))


def above(label: np.ndarray, k: int) -> np.ndarray:
    """A label is the number of columns that are reached."""
    return label[:, None] > np.arange(k)


def equal(label: np.ndarray, k: int) -> np.ndarray:
    """A label is the place of the one column that is there."""
    return label[:, None] == np.arange(k)


def repeated(label: np.ndarray, k: int) -> np.ndarray:
    return np.repeat(label[:, None], k, 1)


def one_of(label: np.ndarray, k: int) -> np.ndarray:
    return np.where(np.isnan(label)[:, None], np.nan, equal(label, k))


def same(logits):
    return logits


def against_rest(logits):
    """Log-odds of each class where the probabilities are a softmax: its logit less the logarithm of the others' summed exponentials."""
    xp = namespace(logits)
    others = xp.where(xp.eye(logits.shape[-1], dtype=bool), -xp.inf, logits[..., None, :])  # ... k k, without the class itself
    highest = others.max(-1)
    return logits - highest - xp.log(xp.exp(others - highest[..., None]).sum(-1))


def falling(probability):
    """No level is more probable than a lower one."""
    return namespace(probability).minimum.accumulate(probability, -1)


def normalised(probability):
    """Of a sum of 1; all alike where every class was ruled out."""
    xp = namespace(probability)
    total = probability.sum(-1, keepdims=True)
    return xp.where(total == 0, 1 / probability.shape[-1], probability / xp.where(total == 0, 1, total))


def log_odds_of(reached: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights @ reached) - np.log(weights @ ~reached)


def log_count_of(reached: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(weights @ reached)


def class_name(value: str | float) -> str:
    """A class as it is called everywhere: a word as it is, a number with as many digits as it has."""
    return value if isinstance(value, str) else f"{value:.15g}"


def cut_names(cuts) -> tuple[str, ...]:
    return tuple(str(place + 1) for place in range(len(cuts)))


KINDS = {
    "binary": Kind(
        names=lambda value: ("",), levels=lambda k: 2, reached=above, written=repeated, log_odds=same, tidy=falling, strength=log_odds_of,
        weighted=True,
    ),
    "ordinal": Kind(
        names=cut_names, levels=lambda k: k + 1, reached=above, written=repeated, log_odds=same, tidy=falling, strength=log_odds_of,
        weighted=False,
    ),
    "classes": Kind(
        names=lambda classes: tuple(map(class_name, classes)), levels=lambda k: k, reached=equal, written=one_of, log_odds=against_rest,
        tidy=normalised, strength=log_count_of, weighted=True,
    ),
}  # fmt: skip
OF_ONE_EVENT = ("poe", "scalar")  # rules of `model.fusion` that weigh the probability of an event, and mean nothing for classes
OF_RULE = {"ordinal": "ordinal", "classes": "classes"}  # of `cohort.outcomes`; every other rule says whether there is one event


def of_rule(rule: str) -> str:
    """The name in `KINDS` of what a rule makes."""
    return OF_RULE.get(rule, "binary")


def of_task(config, task: str) -> Kind:
    """The kind of a task of the config."""
    return KINDS[of_rule(config.cohort.outcomes[task][1])]


def has_classes(config) -> bool:
    """Whether a task of the config has classes."""
    return any(of_rule(config.cohort.outcomes[task][1]) == "classes" for task in config.loss)


def columns_of(config, task: str) -> tuple[str, ...]:
    """The names of a task's columns."""
    return of_task(config, task).names(config.cohort.outcomes[task][2])
