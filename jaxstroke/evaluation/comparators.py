"""The plain models a network must beat: logistic regression on clinical columns, and with the lesion volume added (scikit-learn).

Median imputation with a flag a column, standardised, L2 penalty stated as scikit-learn's C. Everything is fitted on the rows that
are given, and kept as plain numbers, so that a trained workdir scores new patients without scikit-learn objects.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

from jaxstroke.evaluation import predictions, weighting
from jaxstroke.outcomes import namespace


def fit(
    values: np.ndarray, mask: np.ndarray, label: np.ndarray, rows: np.ndarray, penalty: float, weight: np.ndarray | None = None
) -> dict:
    """Coefficients of an L2 logistic regression as a json-able dict, for `apply`.

    values, mask: n k, what is at mask 0 is never read. label: n, 0 or 1, NaN left out. rows: indices to fit on. penalty: C.
    weight: n, of each row in the likelihood, default 1; imputation and scaling are of the patients as they are.
    With one class among the rows the result is a constant, their share with half a patient added to each class.
    """
    label = np.asarray(label, np.float64)
    rows = np.asarray(rows)
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    rows = rows[np.isfinite(label[rows])]
    values, known = np.asarray(values, np.float64)[rows], np.asarray(mask)[rows] > 0
    median = [float(np.median(column[seen])) if seen.any() else 0.0 for column, seen in zip(values.T, known.T, strict=True)]
    filled = np.where(known, values, median) if len(median) else values
    mean, scale = filled.mean(0), filled.std(0)
    scale = np.where(scale > 1e-9 * np.maximum(1, np.abs(mean)), scale, 1.0)
    numbers = {"median": median, "mean": mean.tolist(), "scale": scale.tolist()}
    y, weight = label[rows], None if weight is None else np.asarray(weight, np.float64)[rows]
    if len(np.unique(y)) < 2:
        counted = weighting.ones_or(weight, y)
        constant = float(predictions.log_odds(((y * counted).sum() + 0.5) / (counted.sum() + 1)))
        return numbers | {"coefficients": [0.0] * (2 * len(median)), "intercept": constant}
    model = LogisticRegression(C=float(penalty), solver="newton-cholesky", tol=1e-7, max_iter=200)
    model.fit(design(numbers, values, known), y > 0.5, weight)
    return numbers | {"coefficients": model.coef_[0].tolist(), "intercept": float(model.intercept_[0])}


def apply(numbers: dict, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Probabilities `n` of patients by fitted numbers; values and mask: n k as in `fit`, of NumPy or another library of arrays."""
    xp = namespace(values)
    x = design(numbers, xp.asarray(values, dtype=float), xp.asarray(mask) > 0)
    return predictions.sigmoid(x @ xp.asarray(numbers["coefficients"]) + numbers["intercept"])


def design(numbers: dict, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """n 2k: imputed and standardised columns, then a flag for each that is missing.

    Flags stay 0 and 1: standardising the flag of the one patient without a value would give that patient a weight of twenty.
    """
    xp = namespace(values)
    filled = xp.where(known, values, xp.asarray(numbers["median"]))
    standard = (filled - xp.asarray(numbers["mean"])) / xp.asarray(numbers["scale"])
    return xp.hstack([standard, (~known).astype(float)])


def with_volume(values: np.ndarray, mask: np.ndarray, volume_ml: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values and mask (n k+1) with a last column log(ml + 0.01); volume_ml: n, NaN where a patient has no lesion mask."""
    volume_ml = np.asarray(volume_ml, np.float64)
    known = np.isfinite(volume_ml)
    column = np.log(np.where(known, np.maximum(volume_ml, 0), 0) + 0.01)
    return np.column_stack([values, column]), np.column_stack([mask, known])


def with_territories(values: np.ndarray, mask: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values and mask (n k+m) with columns log(1 + 100 share), of m territories; shares: n m, NaN where a patient has no lesion mask."""
    shares = np.asarray(shares, np.float64)
    known = np.isfinite(shares)
    return np.column_stack([values, np.log1p(100 * np.where(known, shares, 0))]), np.column_stack([mask, known])
