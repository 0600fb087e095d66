"""Resampling of patients as integer weights: one set of weights serves every model, repeat, seed and cut-off of a task.

A patient drawn twice counts twice in each of their rows, so two eyes, visits or repeats of a patient are never taken for two patients.
"""

import numpy as np

from jaxstroke.evaluation.delong import auc

CELLS = 2_000_000  # elements of a temporary array (4 bytes each): what bounds the memory


def weights(stratum: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """`patients resamples` uint8: how often each patient is drawn, with replacement within its stratum (n integers)."""
    random = np.random.default_rng(seed)
    drawn = np.empty((len(stratum), resamples), np.uint8)
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        size = len(members)
        for start, stop in blocks(size, resamples):
            chosen = random.integers(size, size=(stop - start, size)) + size * np.arange(stop - start)[:, None]
            counts = np.bincount(chosen.ravel(), minlength=size * (stop - start))
            drawn[members, start:stop] = counts.reshape(-1, size).T
    return drawn


def blocks(rows: int, resamples: int) -> list[tuple[int, int]]:
    """Ranges of resamples whose temporary arrays of so many rows stay within `CELLS`."""
    step = max(1, CELLS // max(1, rows))
    return [(start, min(start + step, resamples)) for start in range(0, resamples, step)]


def resampled_auc(
    score: np.ndarray, label: np.ndarray, patient: np.ndarray, drawn: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """`resamples`: the AUC of n rows in every resample, NaN where a resample lacks a class. patient: n, index into `drawn`. weight: n.

    With the controls in order of score, the weight of those below a case is one cumulative sum: n log n once, then additions.
    Sums of counts are whole numbers, exact in float32 up to 2 ** 24 rows; with weights each row counts as often as drawn times its own.
    """
    positive = np.asarray(label) > 0.5
    if not positive.any() or positive.all():
        return np.full(drawn.shape[1], np.nan)
    controls = np.flatnonzero(~positive)
    controls = controls[np.argsort(score[controls], kind="stable")]
    low = np.searchsorted(score[controls], score[positive], "left")
    high = np.searchsorted(score[controls], score[positive], "right")
    found = np.empty(drawn.shape[1])
    for start, stop in blocks(len(score), drawn.shape[1]):
        cumulative = np.zeros((len(controls) + 1, stop - start), np.float32)
        np.cumsum(counted(drawn[patient[controls], start:stop], controls, weight), axis=0, dtype=np.float32, out=cumulative[1:])
        cases = counted(drawn[patient[positive], start:stop], positive, weight).astype(np.float32)
        below = cumulative[low]
        below += cumulative[high]
        below *= cases
        pairs = cases.sum(0, dtype=np.float64) * cumulative[-1]
        total = 0.5 * below.sum(0, dtype=np.float64)
        found[start:stop] = np.divide(total, pairs, out=np.full(stop - start, np.nan), where=pairs > 0)
    return found


def counted(drawn: np.ndarray, rows: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """`rows resamples`: how much each row counts, given how often its patient is drawn. rows: places or bool, into `weight`."""
    return drawn if weight is None or (weight == 1).all() else drawn * weight[rows, None].astype(np.float32)


def resampled_sensitivity(
    score: np.ndarray, label: np.ndarray, patient: np.ndarray, drawn: np.ndarray, rates: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """`c resamples`: the sensitivity of n rows, as `curves.roc` reads it, at c false positive rates that every resample has of its own.

    rates: c resamples. weight: n, default 1. NaN where a resample lacks a class.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(score[order][1:] != score[order][:-1], True))  # equal scores are called together
    positive = (np.asarray(label) > 0.5)[order][:, None]
    found = np.empty(rates.shape)
    for start, stop in blocks(len(score), drawn.shape[1]):
        often = counted(drawn[patient[order], start:stop], order, weight).astype(np.float64)
        hits, alarms = (np.vstack([np.zeros(stop - start), np.cumsum(often * side, 0)[last]]) for side in (positive, ~positive))
        undefined = (hits[-1] == 0) | (alarms[-1] == 0)
        hits, alarms = hits / np.where(undefined, 1, hits[-1]), alarms / np.where(undefined, 1, alarms[-1])
        every = np.arange(stop - start)
        for place, wanted in enumerate(rates[:, start:stop]):
            low = np.maximum((alarms <= wanted).sum(0) - 1, 0)
            high = np.minimum(low + 1, len(alarms) - 1)
            width = alarms[high, every] - alarms[low, every]
            share = np.divide(wanted - alarms[low, every], width, out=np.zeros(stop - start), where=width > 0)
            risen = hits[low, every] + share * (hits[high, every] - hits[low, every])
            found[place, start:stop] = np.where(undefined, np.nan, risen)
    return found


def interval(values: np.ndarray) -> list[float] | None:
    """[low, high] of the 95 % percentile interval; None where under half of the resamples are defined."""
    defined = values[np.isfinite(values)]
    if len(values) == 0 or 2 * len(defined) < len(values):
        return None
    return [float(bound) for bound in np.percentile(defined, [2.5, 97.5])]


def auc_interval(score: np.ndarray, label: np.ndarray, resamples: int = 2000, seed: int = 0) -> list[float] | None:
    """The interval of one AUC of n independent patients, resampled within each class."""
    score, label = np.asarray(score, np.float64), np.asarray(label)
    if not np.isfinite(auc(score, label)):
        return None
    drawn = weights((label > 0.5).astype(int), resamples, seed)
    return interval(resampled_auc(score, label, np.arange(len(score)), drawn))
