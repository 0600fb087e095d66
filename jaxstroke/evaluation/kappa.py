"""Agreement of readers beyond chance: Cohen's kappa of two (Cohen 1960; weighted 1968), Fleiss' kappa of several (Fleiss 1971)."""

import numpy as np


def apart(values: np.ndarray, power: int) -> np.ndarray:
    """K K: what each pair of K grades counts as disagreement. power: 0 any difference alike, 1 linear weights, 2 quadratic weights."""
    distance = np.abs(np.subtract.outer(values, values)).astype(np.float64)
    return (distance > 0).astype(np.float64) if power == 0 else distance**power


def cohen(counts: np.ndarray, disagreement: np.ndarray) -> np.ndarray:
    """Kappa of two readers. counts: K K ..., units by grade of the first and of the second; disagreement: of `apart`.

    The shape is what follows K K, of resamples or nothing. NaN where chance alone would agree fully: both gave all units one grade.
    """
    first, second = counts.sum(1), counts.sum(0)
    observed = np.tensordot(disagreement, counts, ([0, 1], [0, 1]))
    expected = (first * np.tensordot(disagreement, second, (1, 0))).sum(0) / np.maximum(counts.sum((0, 1)), 1)
    return 1 - np.divide(observed, expected, out=np.full(np.shape(expected), np.nan), where=expected > 0)[()]


def fleiss(counts: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """Kappa of m readers. counts: n K, how many of them gave each unit each grade, rows of the sum m; drawn: n r, weights of resamples.

    One number, or `r` of them. The grades' order does not count. NaN where all gave all units one grade, or a resample drew none.
    """
    drawn = np.ones(len(counts)) if drawn is None else drawn.astype(np.float64)
    readers = counts[0].sum()
    agreeing = ((counts**2).sum(1) - readers) / (readers * (readers - 1))
    units = drawn.sum(0)
    observed = agreeing @ drawn / np.maximum(units, 1)
    chance = ((counts.T @ drawn / np.maximum(units * readers, 1)) ** 2).sum(0)
    defined = (units > 0) & (chance < 1 - 1e-12)
    return np.divide(observed - chance, 1 - chance, out=np.full(np.shape(chance), np.nan), where=defined)[()]
