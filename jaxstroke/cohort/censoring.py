"""Patients lost before the horizon of a `within` outcome: weights by which those who were followed stand in for them.

The chance of still being under observation is estimated by Kaplan and Meier's product over the times of loss. Whoever had the event within
the horizon weighs the inverse of that chance just before the event, whoever was followed to the horizon that just before the horizon, and
the lost weigh nothing; sums over weights then estimate sums over everybody, if being lost has nothing to do with the risk. On the patients
the estimate is fitted on, the weights add up to their number.

Sources: Graf et al. 1999, Stat Med 18:2529 (weights, Brier score); Uno et al. 2007, JASA 102:527 (sensitivity and specificity at a
horizon); Blanche, Dartigues and Jacqmin-Gadda 2013, Stat Med 32:5381 (AUC). They write the chance at the horizon itself, where ours is the
one just before: who is last seen on the day of the horizon has reached it, and studies that end there end there for everybody.
"""

import numpy as np

LEAST = 0.05  # chance of being under observation below which no weight is taken: few patients would speak for all


def follow_up(units, task: str) -> tuple[np.ndarray, np.ndarray]:
    """(days, whether the event ended them) of units, `n` each; days are NaN where a unit was not at risk or is not known."""
    found = [unit.follow_up.get(task, (np.nan, False)) for unit in units]
    return np.array([days for days, _ in found], np.float64), np.array([happened for _, happened in found], bool)


def fit(days: np.ndarray, happened: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(times m, chance m of still being under observation after each of them). days, happened: n, without NaN.

    At the same time events come before losses: who has the event then is no longer at risk of being lost. Rows of one patient count as
    patients: a start of their own each.
    """
    times, lost = np.unique(days[~happened], return_counts=True)
    every, events = np.sort(days), np.sort(days[happened])
    reached = len(every) - np.searchsorted(every, times, "left")
    at_risk = reached - (np.searchsorted(events, times, "right") - np.searchsorted(events, times, "left"))
    return times, np.cumprod(1 - lost / at_risk)


def chance_before(curve: tuple[np.ndarray, np.ndarray], days: np.ndarray) -> np.ndarray:
    """The chance of being under observation just before each of `days`, by a curve of `fit`."""
    times, chance = curve
    return np.append(1.0, chance)[np.searchsorted(times, days, "left")]


def weights(curve: tuple[np.ndarray, np.ndarray], days: np.ndarray, happened: np.ndarray, horizon: float) -> np.ndarray:
    """`n`: the weight of each row by a curve of `fit`, 0 where it was lost before the horizon or its days are NaN; at most 1 / LEAST."""
    known = (happened & (days <= horizon)) | (days >= horizon)
    chance = chance_before(curve, np.minimum(np.where(known, days, 0.0), horizon))
    return np.where(known, 1 / np.maximum(chance, LEAST), 0.0)


def row_weights(days: np.ndarray, happened: np.ndarray, horizon: float, rows: np.ndarray) -> np.ndarray:
    """`n`: the weight of every row by the chance that is fitted on some of them alone. days, happened: of `follow_up`; rows: indices.

    A run gives its training rows; a cohort that nothing was trained on gives all of its own.
    """
    rows = rows[~np.isnan(days[rows])]
    return weights(fit(days[rows], happened[rows]), days, happened, horizon)


def capped(found: np.ndarray) -> np.ndarray:
    """`n`: whether a weight is the largest that is taken."""
    return found >= 1 / LEAST
