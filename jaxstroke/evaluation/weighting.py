"""Sums over rows that stand for more than themselves: patients whose weight makes up for others who were lost before the horizon.

Weights are taken as given: what is added by estimating them is in no interval. Where all are 1, every result is that of plain counts.
"""

import numpy as np


def ones_or(weight: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    """The weights as float64, 1 for each row of `like` where there are none."""
    return np.ones(len(like)) if weight is None else np.asarray(weight, np.float64)


def mean(values: np.ndarray, weight: np.ndarray) -> np.float64:
    """Weighted mean of n values."""
    return (values * weight).sum() / weight.sum()


def below(of: np.ndarray, among: np.ndarray, weight: np.ndarray, side: str) -> np.ndarray:
    """For each of `of`, the weight of those of `among` that are lower (`left`), or lower or equal (`right`)."""
    order = np.argsort(among, kind="stable")
    return np.append(0.0, np.cumsum(weight[order]))[np.searchsorted(among[order], of, side)]


def effective(weight: np.ndarray) -> float:
    """As how many rows of equal weight these count in a variance (Kish 1965)."""
    return float(weight.sum() ** 2 / (weight**2).sum())
