"""Recalibration and decision thresholds, fitted on validation rows only, and measures of calibration.

Sources: Cox 1958 (slope and intercept of the logistic recalibration model), Platt 1999, Van Calster et al. 2019, BMC Medicine 17:230,
Youden 1950 (threshold).
"""

import math

import numpy as np
import pandas as pd

from jaxstroke.evaluation import predictions, weighting
from jaxstroke.evaluation.auc import number
from jaxstroke.evaluation.parts import Part, mean_defined

GROUP = ["model", "task", "repeat", "fold", "seed", "class"]


def fit_recalibration(logit: np.ndarray, label: np.ndarray, ridge: float = 1e-3, weight: np.ndarray | None = None) -> tuple[float, float]:
    """(intercept, slope) of the logistic regression of label (n, 0 or 1) on logit (n, log-odds), by Newton's method. weight: n, default 1.

    The ridge pulls towards the identity (0, 1): negligible against real data, it keeps separable data finite. With one class
    only there is nothing to learn and the identity is returned. Rows with NaN are left out.
    """
    known = np.isfinite(logit) & np.isfinite(label)
    x = np.stack([np.ones(known.sum()), np.asarray(logit, np.float64)[known]], 1)
    y, w = np.asarray(label, np.float64)[known], weighting.ones_or(weight, label)[known]
    start = np.array([0.0, 1.0])
    if len(np.unique(y)) < 2:
        return 0.0, 1.0
    point = start
    for _ in range(100):
        p = predictions.sigmoid(x @ point)
        gradient = x.T @ ((p - y) * w) + ridge * (point - start)
        curvature = (x * (p * (1 - p) * w)[:, None]).T @ x + ridge * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        point, moved = shortened(x, y, w, start, ridge, point, step)
        if moved < 1e-10:
            break
    return float(point[0]), float(point[1])


def shortened(x, y, w, start, ridge, point, step) -> tuple[np.ndarray, float]:
    """The point after a Newton step halved until the objective does not rise (plain Newton overshoots on separable data), and the step."""

    def objective(at):
        return (np.logaddexp(0, x @ at) * w).sum() - (y * w) @ (x @ at) + 0.5 * ridge * ((at - start) ** 2).sum()

    before = objective(point)
    for _ in range(40):
        if objective(point - step) <= before:
            return point - step, float(np.abs(step).max())
        step = step / 2
    return point, 0.0


def apply(logit: np.ndarray, intercept: float, slope: float) -> np.ndarray:
    """Recalibrated probability of log-odds."""
    return predictions.sigmoid(intercept + slope * np.asarray(logit, np.float64))


def youden(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> float | None:
    """The threshold t that maximises sensitivity + specificity of `score >= t`: midway between neighbouring scores, so that it does not
    hang on one patient's exact value. The lowest one of equals; None where one class is absent or all scores are equal."""
    known = np.isfinite(score) & np.isfinite(label)
    weight = weighting.ones_or(weight, label)[known]
    score, label = np.asarray(score, np.float64)[known], np.asarray(label, np.float64)[known]
    values = np.unique(score)
    if len(np.unique(label)) < 2 or len(values) < 2:
        return None
    cuts = (values[1:] + values[:-1]) / 2
    cuts = np.where(cuts > values[:-1], cuts, values[1:])  # neighbouring floats have no middle
    missed, quiet = (weighting.below(cuts, score[side], weight[side], "left") / weight[side].sum() for side in (label > 0.5, label < 0.5))
    return float(cuts[np.argmax(np.round(1 - missed + quiet, 12))])


def decisions(frame: pd.DataFrame) -> dict:
    """{model: {task: [{"repeat", "fold", "seed", "intercept", "slope", "threshold"}]}} of tasks without levels, from the val rows alone.

    The threshold is on the raw number in `probability`; None where a validation part has one class. intercept and slope are None
    for scores, which are no probabilities. Of several classes a line each, with its name as `class`, against the rest and without a
    threshold: the most probable class is the one that is predicted.
    """
    scores = predictions.rank_only(frame)
    known = frame["label"].notna() & frame["probability"].notna() & (frame["weight"] > 0)
    rows = frame[(frame["split"] == "val") & known]
    kinds = {task: predictions.kind_of(part) for task, part in rows.groupby("task")}
    rows = rows[(rows["class"] == "") | (rows["task"].map(kinds) == "classes")]
    found: dict = {}
    for (model, task, repeat, fold, seed, name), group in rows.groupby(GROUP, sort=True):
        label, weight = group["label"].to_numpy(), group["weight"].to_numpy()
        logit = group["logit"].to_numpy()
        intercept, slope = (None, None) if model in scores else fit_recalibration(logit, label, weight=weight)
        line = {"repeat": int(repeat), "fold": int(fold), "seed": int(seed), "intercept": intercept, "slope": slope}
        line["threshold"] = None if name else youden(group["probability"].to_numpy(), label, weight)
        line |= {"class": name} if name else {}
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
        (model, task, line["repeat"], line["fold"], line["seed"], line.get("class", ""), line["intercept"], line["slope"])
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
    of_class = np.isfinite(values) & (frame["class"] != "").to_numpy()
    if of_class.any():
        patient = [name for name in predictions.KEY if name != "class"]
        values[of_class] /= frame[patient].assign(value=values)[of_class].groupby(patient)["value"].transform("sum").to_numpy()
    return frame.assign(recalibrated=np.where(np.isfinite(values), values, frame["recalibrated"].to_numpy()))


def measures(probability: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> dict:
    """{"slope", "intercept", "in_the_large", "ece"} of n probabilities, None each where one class is absent. weight: n, default 1.

    slope and intercept: the logistic regression of the label on the log-odds (1 and 0 when calibrated; a slope below 1 means too
    extreme). in_the_large: the intercept with the slope held at 1. ece: see `expected_error`.
    """
    if len(np.unique(label)) < 2:
        return {"slope": None, "intercept": None, "in_the_large": None, "ece": None}
    logit, weight = predictions.log_odds(probability), weighting.ones_or(weight, label)
    intercept, slope = fit_recalibration(logit, label, 1e-6, weight)
    found = {"slope": slope, "intercept": intercept, "in_the_large": in_the_large(logit, label, weight)}
    return found | {"ece": expected_error(probability, label, weight)}


def averaged(joined: list[Part], column: str) -> dict:
    """`measures` of a column of joined parts, averaged over them."""
    found = [measures(getattr(part, column), part.label, part.weight) for part in joined]
    names = ("slope", "intercept", "in_the_large", "ece")
    return {name: number(mean_defined([math.nan if one[name] is None else one[name] for one in found])) for name in names}


def in_the_large(logit: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The shift of the log-odds at which the mean probability equals the observed share, by bisection."""
    weight = weighting.ones_or(weight, label)
    low, high, observed = -40.0, 40.0, weighting.mean(label, weight)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if weighting.mean(predictions.sigmoid(logit + middle), weight) < observed else (low, middle)
    return (low + high) / 2


def bins(probability: np.ndarray, count: int) -> list[np.ndarray]:
    """Row indices of `count` groups of equal size, by rising probability; fewer where there are fewer rows."""
    order = np.argsort(probability, kind="stable")
    return [part for part in np.array_split(order, count) if len(part)]


def expected_error(probability: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None, count: int = 10) -> float:
    """Expected calibration error: mean |predicted - observed| over groups of equally many rows, weighted by the weight of their rows."""
    weight = weighting.ones_or(weight, label)

    def distance(part: np.ndarray) -> float:
        predicted, observed = (weighting.mean(values[part], weight[part]) for values in (probability, label))
        return weight[part].sum() * abs(predicted - observed)

    return float(sum(distance(part) for part in bins(probability, count)) / weight.sum())
