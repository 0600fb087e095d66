"""The area under the ROC curve with the variance of DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837).

Written with one influence value a patient, whose products sum to DeLong's covariance exactly. Sums of influence values also give
the variance of means over folds, seeds and cut-offs, and of patients with several rows (Obuchowski 1997, Biometrics 53:567).
"""

import math

import numpy as np

from jaxstroke.evaluation import weighting


def influence(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """(auc, influence n) of n scores against labels 0 or 1; ties count a half. weight: n above 0; a pair counts the product of its two.

    sum(influence ** 2) is DeLong's variance of the AUC, sum(a * b) the covariance of two models on the same rows. (NaN, NaNs)
    where one class is absent; the influence alone is NaN where a class has one row, which has no variance. The weights are taken as given.
    """
    weight = weighting.ones_or(weight, score)
    score, positive = np.asarray(score, np.float64), np.asarray(label) > 0.5
    values = np.full(len(score), np.nan)
    cases, controls = score[positive], score[~positive]
    if not len(cases) or not len(controls):
        return math.nan, values
    sides = weight[positive], weight[~positive]
    below, above = share_below(cases, controls, sides[1]), 1 - share_below(controls, cases, sides[0])
    auc = float(weighting.mean(below, sides[0]))
    if len(cases) > 1 and len(controls) > 1:
        values[positive] = (below - auc) * sides[0] / divisor(sides[0])
        values[~positive] = (above - auc) * sides[1] / divisor(sides[1])
    return auc, values


def share_below(of: np.ndarray, among: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """For each of `of`, the share of `among` that is lower, equal ones counted half."""
    return (weighting.below(of, among, weight, "left") + weighting.below(of, among, weight, "right")) / (2 * weight.sum())


def divisor(weight: np.ndarray) -> float:
    """What a class's weighted deviations are divided by: the sum of its n weights, and (n - 1) / n of an unbiased variance under a root."""
    total = weight.sum()
    return math.sqrt(total * (total - total / len(weight)))


def auc(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The AUC alone, NaN where one class is absent."""
    return influence(score, label, weight)[0]


def covariance(scores: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(aucs m, covariance m m) of m models (m n) on the same n rows."""
    found = [influence(score, label) for score in scores]
    values = np.stack([value for _, value in found])
    return np.array([auc for auc, _ in found]), values @ values.T


def p_value(difference: float, variance: float) -> float:
    """Two-sided p of a difference with that variance; 1 for no difference at all, NaN where a difference has no variance."""
    if difference == 0 and variance == 0:
        return 1.0
    if not variance > 0:
        return math.nan
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def compare(first: np.ndarray, second: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """{"auc_difference", "variance", "p"} of two models on the same n rows."""
    (a, b), matrix = covariance(np.stack([first, second]), label)
    variance = float(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    return {"auc_difference": float(a - b), "variance": variance, "p": p_value(float(a - b), variance)}


def holm(p_values: list[float | None]) -> list[float | None]:
    """The p-values of one family of tests, adjusted so that the chance of any false finding stays below the level (Holm 1979).

    None stands for a test that was not made: it stays None and does not count.
    """
    made = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(made):
        least = min(1.0, max(least, p * (len(made) - rank)))
        adjusted[place] = least
    return adjusted
