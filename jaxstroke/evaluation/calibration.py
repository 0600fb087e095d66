"""Recalibration and decision thresholds, fitted on validation rows only, and measures of calibration.

Sources: Cox 1958 (slope and intercept of the logistic recalibration model), Platt 1999, Van Calster et al. 2019, BMC Medicine 17:230,
Youden 1950 (threshold).
"""

import numpy as np
import pandas as pd

from jaxstroke.evaluation import predictions

GROUP = ["model", "task", "repeat", "fold", "seed"]


def fit_recalibration(logit: np.ndarray, label: np.ndarray, ridge: float = 1e-3) -> tuple[float, float]:
    """(intercept, slope) of the logistic regression of label (n, 0 or 1) on logit (n, log-odds), by Newton's method.

    The ridge pulls towards the identity (0, 1): negligible against real data, it keeps separable data finite. With one class
    only there is nothing to learn and the identity is returned. Rows with NaN are left out.
    """
    known = np.isfinite(logit) & np.isfinite(label)
    x = np.stack([np.ones(known.sum()), np.asarray(logit, np.float64)[known]], 1)
    y = np.asarray(label, np.float64)[known]
    start = np.array([0.0, 1.0])
    if len(np.unique(y)) < 2:
        return 0.0, 1.0
    point = start
    for _ in range(100):
        p = predictions.sigmoid(x @ point)
        gradient = x.T @ (p - y) + ridge * (point - start)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        point, moved = shortened(x, y, start, ridge, point, step)
        if moved < 1e-10:
            break
    return float(point[0]), float(point[1])


def shortened(x, y, start, ridge, point, step) -> tuple[np.ndarray, float]:
    """The point after a Newton step halved until the objective does not rise (plain Newton overshoots on separable data), and the step."""

    def objective(at):
        return np.logaddexp(0, x @ at).sum() - y @ (x @ at) + 0.5 * ridge * ((at - start) ** 2).sum()

    before = objective(point)
    for _ in range(40):
        if objective(point - step) <= before:
            return point - step, float(np.abs(step).max())
        step = step / 2
    return point, 0.0


def apply(logit: np.ndarray, intercept: float, slope: float) -> np.ndarray:
    """Recalibrated probability of log-odds."""
    return predictions.sigmoid(intercept + slope * np.asarray(logit, np.float64))


def youden(score: np.ndarray, label: np.ndarray) -> float | None:
    """The threshold t that maximises sensitivity + specificity of `score >= t`: midway between neighbouring scores, so that it does not
    hang on one patient's exact value. The lowest one of equals; None where one class is absent or all scores are equal."""
    known = np.isfinite(score) & np.isfinite(label)
    score, label = np.asarray(score, np.float64)[known], np.asarray(label, np.float64)[known]
    values = np.unique(score)
    if len(np.unique(label)) < 2 or len(values) < 2:
        return None
    positive, negative = np.sort(score[label > 0.5]), np.sort(score[label < 0.5])
    cuts = (values[1:] + values[:-1]) / 2
    cuts = np.where(cuts > values[:-1], cuts, values[1:])  # neighbouring floats have no middle
    sensitivity = 1 - np.searchsorted(positive, cuts, "left") / len(positive)
    specificity = np.searchsorted(negative, cuts, "left") / len(negative)
    return float(cuts[np.argmax(np.round(sensitivity + specificity, 12))])


def decisions(frame: pd.DataFrame) -> dict:
    """{model: {task: [{"repeat", "fold", "seed", "intercept", "slope", "threshold"}]}} of binary tasks, from the val rows alone.

    The threshold is on the raw number in `probability`; None where a validation part has one class. intercept and slope are None
    for scores, which are no probabilities.
    """
    scores = predictions.rank_only(frame)
    rows = frame[(frame["split"] == "val") & (frame["class"] == "") & frame["label"].notna() & frame["probability"].notna()]
    found: dict = {}
    for (model, task, repeat, fold, seed), group in rows.groupby(GROUP, sort=True):
        label = group["label"].to_numpy()
        logit = group["logit"].to_numpy()
        intercept, slope = (None, None) if model in scores else fit_recalibration(logit, label)
        line = {"repeat": int(repeat), "fold": int(fold), "seed": int(seed), "intercept": intercept, "slope": slope}
        line["threshold"] = youden(group["probability"].to_numpy(), label)
        found.setdefault(model, {}).setdefault(task, []).append(line)
    return found


def given(thresholds: dict[str, dict[str, float]]) -> dict:
    """{model: {task: threshold}} in the form of `decisions`, for the one ensemble that `predict` makes."""
    line = {"repeat": 0, "fold": -1, "seed": -1, "intercept": None, "slope": None}
    return {model: {task: [line | {"threshold": value}] for task, value in tasks.items()} for model, tasks in thresholds.items()}


def add_recalibrated(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `recalibrated` filled where the (model, task, repeat, fold, seed) has labelled val rows; the rest as it was."""
    return apply_decisions(frame, decisions(frame))


def apply_decisions(frame: pd.DataFrame, chosen: dict) -> pd.DataFrame:
    """The frame with `recalibrated` filled by numbers of `decisions`, also those of a trained workdir on new patients."""
    fitted = [
        (model, task, line["repeat"], line["fold"], line["seed"], line["intercept"], line["slope"])
        for model, tasks in chosen.items()
        for task, lines in tasks.items()
        for line in lines
        if line["intercept"] is not None
    ]
    if not fitted:
        return frame.copy()
    numbers = pd.DataFrame(fitted, columns=[*GROUP, "intercept", "slope"])
    joined = frame[GROUP].merge(numbers, on=GROUP, how="left")
    values = apply(frame["logit"].to_numpy(), joined["intercept"].to_numpy(), joined["slope"].to_numpy())
    use = np.isfinite(values) & (frame["class"] == "").to_numpy()
    return frame.assign(recalibrated=np.where(use, values, frame["recalibrated"].to_numpy()))


def measures(probability: np.ndarray, label: np.ndarray) -> dict:
    """{"slope", "intercept", "in_the_large", "ece"} of n probabilities, None each where one class is absent.

    slope and intercept: the logistic regression of the label on the log-odds (1 and 0 when calibrated; a slope below 1 means too
    extreme). in_the_large: the intercept with the slope held at 1. ece: see `expected_error`.
    """
    if len(np.unique(label)) < 2:
        return {"slope": None, "intercept": None, "in_the_large": None, "ece": None}
    logit = predictions.log_odds(probability)
    intercept, slope = fit_recalibration(logit, label, ridge=1e-6)
    return {"slope": slope, "intercept": intercept, "in_the_large": in_the_large(logit, label), "ece": expected_error(probability, label)}


def in_the_large(logit: np.ndarray, label: np.ndarray) -> float:
    """The shift of the log-odds at which the mean probability equals the observed share, by bisection."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if predictions.sigmoid(logit + middle).mean() < label.mean() else (low, middle)
    return (low + high) / 2


def bins(probability: np.ndarray, count: int) -> list[np.ndarray]:
    """Row indices of `count` groups of equal size, by rising probability; fewer where there are fewer rows."""
    order = np.argsort(probability, kind="stable")
    return [part for part in np.array_split(order, count) if len(part)]


def expected_error(probability: np.ndarray, label: np.ndarray, count: int = 10) -> float:
    """Expected calibration error: mean |predicted - observed| over groups of equal size, weighted by size."""
    parts = bins(probability, count)
    return float(sum(len(part) * abs(probability[part].mean() - label[part].mean()) for part in parts) / len(probability))
