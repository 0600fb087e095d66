"""How well predicted levels of an ordinal outcome agree with the true ones. Levels are whole numbers 0 to K - 1."""

import math

import numpy as np

from jaxstroke.evaluation import kappa
from jaxstroke.evaluation.auc import number, with_interval
from jaxstroke.evaluation.parts import Part, aligned, events, mean_defined

BETAS = np.linspace(0.0, 1.0, 1000)  # weights of the penalty that the index is averaged over, as in the haemorrhage paper's code


def numbers(cuts: dict[str, list[Part]], found: dict, score: bool) -> dict:
    """`auc_cuts`: the AUC at each cut-off; the others tell how the median level agrees with the true one: weighted kappa, mean and root
    mean squared error, balanced accuracy over levels, uniform ordinal classification index (0 is perfect). found: of `auc.auc_of`.
    """
    by_cut = {cut: with_interval(*found[cut]) | {"events": events(cuts[cut])} for cut in cuts}
    line: dict = {"auc_cuts": by_cut} | dict.fromkeys(LEVELS)
    joined = aligned(cuts)
    if score or joined is None:
        return line
    levels = [(sum(part.label for part in row), sum((part.score > 0.5).astype(float) for part in row)) for row in joined]
    return line | {name: number(mean_defined([rule(*pair, len(cuts) + 1) for pair in levels])) for name, rule in LEVELS.items()}


def confusion(true: np.ndarray, predicted: np.ndarray, levels: int) -> np.ndarray:
    """Counts, rows true and columns predicted."""
    found = np.zeros((levels, levels))
    np.add.at(found, (true.astype(int), predicted.astype(int)), 1)
    return found


def balanced_accuracy(counts: np.ndarray) -> float:
    """Mean over the levels that occur of the share of their patients that is predicted right; NaN without a patient."""
    totals = counts.sum(1)
    return float((np.diag(counts)[totals > 0] / totals[totals > 0]).mean()) if totals.any() else math.nan


def uoc_index(counts: np.ndarray) -> float:
    """Uniform ordinal classification index of a confusion matrix: 0 is perfect, larger is worse; NaN without a patient.

    Every level counts alike, however rare: rows are divided by their sums. Over monotone paths from the first cell to the last, the cost is
    1, less what lies on the path (as a share of all rows and their dispersion), plus beta a row times its distance from the diagonal; the
    least cost is averaged over beta from 0 to 1. Silva, Pinto and Cardoso 2018, IJCNN, with exponent 1; used in Cobo et al. 2024.
    """
    totals = counts.sum(1)
    present = int((totals > 0).sum())
    if not present:
        return math.nan
    shares = counts / np.maximum(totals, 1)[:, None]
    places = np.arange(len(counts))
    dispersion = shares * np.abs(places[:, None] - places)
    gain = shares / (dispersion.sum() + present)
    cost = (BETAS / present)[:, None, None] * dispersion - gain  # beta row column
    least = np.full((len(BETAS), len(counts) + 1, len(counts) + 1), np.inf)
    least[:, 0, 0] = 1.0
    for row, column in np.ndindex(counts.shape):
        before = np.minimum(np.minimum(least[:, row, column + 1], least[:, row + 1, column]), least[:, row, column])
        least[:, row + 1, column + 1] = before + cost[:, row, column]
    return float(np.trapezoid(least[:, -1, -1], BETAS))


LEVELS = {  # of (true, predicted, number of levels)
    "qwk": lambda true, predicted, levels: kappa.cohen(confusion(true, predicted, levels), kappa.apart(np.arange(levels), 2)),
    "mae": lambda true, predicted, _: np.abs(true - predicted).mean(),
    "rmse": lambda true, predicted, _: np.sqrt(np.mean((true - predicted) ** 2)),
    "level_balanced_accuracy": lambda true, predicted, levels: balanced_accuracy(confusion(true, predicted, levels)),
    "uoc": lambda true, predicted, levels: uoc_index(confusion(true, predicted, levels)),
}
