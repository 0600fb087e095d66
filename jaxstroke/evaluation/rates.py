"""Sensitivity, specificity and the like, from counts of who was called and who has the outcome."""

import math

import numpy as np

RATES = ("sensitivity", "specificity", "balanced_accuracy", "accuracy", "ppv", "npv")


def confusion(called: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """4: how many of n are called and positive, missed, called and negative, neither; each row counts its weight."""
    return np.array([weight[a & b].sum() for b in (positive, ~positive) for a in (called, ~called)])


def rates_of(hit: float, missed: float, false_alarm: float, quiet: float) -> dict[str, float]:
    """The rates of one table of counts, NaN where the denominator is 0."""

    def share(part: float, rest: float) -> float:
        return part / (part + rest) if part + rest else math.nan

    sensitivity, specificity = share(hit, missed), share(quiet, false_alarm)
    return {
        "sensitivity": sensitivity, "specificity": specificity, "balanced_accuracy": (sensitivity + specificity) / 2,
        "accuracy": share(hit + quiet, missed + false_alarm), "ppv": share(hit, false_alarm), "npv": share(quiet, missed),
    }  # fmt: skip
