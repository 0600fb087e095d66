"""What the figures show, as numbers: mean ROC curve, calibration groups, net benefit, distributions, learning curves."""

import json

import numpy as np

from jaxstroke.evaluation import calibration, weighting
from jaxstroke.evaluation.auc import number
from jaxstroke.evaluation.parts import Part, aligned, averaged, mean_defined, pooled
from jaxstroke.evaluation.rates import confusion, rates_of
from jaxstroke.evaluation.subgroups import FEWEST

GRID = np.linspace(0, 1, 101)
THRESHOLDS = np.linspace(0.02, 0.9, 45)


def mean_roc(parts: list[Part], at: np.ndarray = GRID) -> np.ndarray:
    """g: sensitivity at g false positive rates, averaged as the AUC is: over folds, then repeats (Fawcett 2006)."""
    return averaged(parts, lambda part: roc(part, at))


def roc(part: Part, at: np.ndarray = GRID) -> np.ndarray:
    """g: one fold's sensitivity at g false positive rates, straight between its points; NaN where one class is absent."""
    positive = part.label > 0.5
    if not positive.any() or positive.all():
        return np.full(len(at), np.nan)
    order = np.argsort(-part.score, kind="stable")
    last = np.append(part.score[order][1:] != part.score[order][:-1], True)
    hits, alarms = (np.cumsum((side * part.weight)[order])[last] for side in (positive, ~positive))
    # Of several points at one rate np.interp takes the last: the upper end of a vertical stretch.
    return np.interp(at, np.append(0, alarms) / alarms[-1], np.append(0, hits) / hits[-1])


def calibration_groups(parts: list[Part], column: str, count: int | None = None) -> list[dict]:
    """Groups of equal size by predicted probability: {"predicted", "observed", "low", "high", "n"}; column: score | recalibrated.

    count: how many; None makes ten, fewer in a small cohort, as the share of under twenty patients says little.
    Rows of all repeats and seeds together; `low` and `high` are Wilson's 95 % interval for as many patients as the rows stand for, with
    weights as many as have the same variance.
    """
    joined = [part for part in pooled(parts) if np.isfinite(getattr(part, column)).all()]
    if not joined:
        return []
    predicted, label, unit, weight = (np.concatenate([getattr(p, name) for p in joined]) for name in (column, "label", "unit", "weight"))
    units = len(np.unique(unit))
    rows_a_unit = len(unit) / units
    found = []
    for rows in calibration.bins(predicted, count or min(10, max(3, units // 20))):
        expected, observed = (float(weighting.mean(values[rows], weight[rows])) for values in (predicted, label))
        low, high = wilson(observed, weighting.effective(weight[rows]) / rows_a_unit)
        found.append({"predicted": expected, "observed": observed, "low": low, "high": high, "n": len(rows)})
    return found


def histogram(parts: list[Part], column: str, bins: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(edges, patients without, with the outcome in each bin) of the probabilities, averaged over repeats and seeds.

    Patients as they are, without weights: a picture of who was predicted.
    """
    edges = np.linspace(0, 1, bins + 1)
    joined = [part for part in pooled(parts) if np.isfinite(getattr(part, column)).all()]
    sides = []
    for wanted in (0, 1):
        counts = [np.histogram(getattr(part, column)[part.label == wanted], edges)[0] for part in joined]
        sides.append(mean_defined(counts) if counts else np.zeros(bins))
    return edges, *sides


def by_outcome(cuts: dict[str, list[Part]], names: dict[int, str], score: bool, bins: int = 24) -> tuple[list[dict], np.ndarray] | None:
    """Where the predictions of each outcome lie: ([{"name", "n", "shares", "quartiles"}], edges), from the lowest outcome.

    A prediction is the probability or, with levels, the expected level. names: of the outcomes 0, 1, ... score: it only ranks, and the
    bins span its middle 98 %. None where the cut-offs are of different patients. Patients as they are, without weights.
    """
    found = aligned(cuts)
    if found is None:
        return None
    value = np.concatenate([sum(part.score for part in row) for row in found])
    level = np.concatenate([sum(part.label for part in row) for row in found])
    unit = np.concatenate([row[0].unit for row in found])
    low, high = np.percentile(value, [1, 99]) if score else (0.0, float(len(cuts)))
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    return grouped(value, level, unit, names, edges), edges


def of_true_class(cuts: dict[str, list[Part]], bins: int = 24) -> tuple[list[dict], np.ndarray] | None:
    """As `by_outcome`, of several classes: the probability that each patient's own class was given."""
    found = aligned(cuts)
    if found is None:
        return None
    value = np.concatenate([sum(part.score * part.label for part in row) for row in found])
    place = np.concatenate([np.stack([part.label for part in row]).argmax(0) for row in found])
    unit, edges = np.concatenate([row[0].unit for row in found]), np.linspace(0, 1, bins + 1)
    names = {number: name if len(name) < 12 else f"{name[:10]}…" for number, name in enumerate(cuts)}  # as many letters as there is room
    return grouped(value, place, unit, names, edges), edges


def grouped(value: np.ndarray, level: np.ndarray, unit: np.ndarray, names: dict[int, str], edges: np.ndarray) -> list[dict]:
    """{"name", "n", "shares", "quartiles"} of each outcome's n values; shares (b, of a sum of 1) and quartiles are None where fewer than
    `FEWEST` patients have the outcome.
    """
    groups = []
    for outcome, name in names.items():
        values, n = np.clip(value[level == outcome], edges[0], edges[-1]), len(np.unique(unit[level == outcome]))
        group = {"name": name, "n": n, "shares": None, "quartiles": None}
        if n >= FEWEST:
            group |= {"shares": np.histogram(values, edges)[0] / len(values), "quartiles": np.percentile(values, [25, 50, 75])}
        groups.append(group)
    return groups


def operating_points(parts: list[Part], column: str, at: tuple[float, ...]) -> list[dict] | None:
    """What calling everybody at or above each threshold gives: {"threshold", "called", "benefit"} and the rates; None where absent.

    Averaged over the (repeat, seed) of joined folds, as the rates at validation thresholds are.
    """
    joined = [part for part in pooled(parts) if np.isfinite(getattr(part, column)).all()]
    if not joined:
        return None
    found = []
    for threshold in at:
        lines = []
        for part in joined:
            called, total = getattr(part, column) >= threshold, part.weight.sum()
            hit, missed, alarm, quiet = confusion(called, part.label > 0.5, part.weight)
            line = rates_of(hit, missed, alarm, quiet) | {"called": (hit + alarm) / total}
            line["benefit"] = (hit - alarm * threshold / (1 - threshold)) / total
            lines.append(line)
        found.append({"threshold": threshold} | {name: number(mean_defined([line[name] for line in lines])) for name in lines[0]})
    return found


def wilson(share: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's interval of a share of n (Wilson 1927)."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def net_benefit(parts: list[Part], column: str) -> np.ndarray | None:
    """45: net benefit at `THRESHOLDS` (Vickers and Elkin 2006): true positives less false ones at the odds, a patient; None if absent."""
    joined = [part for part in pooled(parts) if np.isfinite(getattr(part, column)).all()]
    return mean_defined([benefit(getattr(part, column), part.label, part.weight) for part in joined]) if joined else None


def benefit(probability: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """45: net benefit of treating those at or above each of `THRESHOLDS`."""
    weight = weighting.ones_or(weight, label)
    called = probability[None] >= THRESHOLDS[:, None]
    odds = THRESHOLDS / (1 - THRESHOLDS)
    return ((called * (label * weight)).sum(1) - (called * ((1 - label) * weight)).sum(1) * odds) / weight.sum()


def treat_all(parts: list[Part]) -> np.ndarray:
    """45: net benefit of treating everybody."""
    return mean_defined([benefit(np.ones(len(part.label)), part.label, part.weight) for part in pooled(parts)])


def learning(text: str) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """{part: {"train" | "val": {run: epochs 2}}}, rows of (epoch, loss), of the outer runs in `metrics.jsonl`; a half line is left out.

    A loss is a number or one a part; inner runs (`-i` in their name) only serve the fusion and are not shown.
    """
    found: dict = {}
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(values, dict) or not isinstance(values.get("run"), str) or not is_number(values.get("epoch")):
            continue
        if "-i" in values["run"]:
            continue
        for kind, key in (("train", "train_loss"), ("val", "val_loss")):
            losses = values.get(key)
            losses = losses if isinstance(losses, dict) else {"all": losses}
            for part, loss in losses.items():
                if is_number(loss):
                    found.setdefault(part, {}).setdefault(kind, {}).setdefault(values["run"], []).append((values["epoch"], loss))
    return {p: {k: {run: np.array(rows, float) for run, rows in runs.items()} for k, runs in kinds.items()} for p, kinds in found.items()}


def is_number(value) -> bool:
    """Whether a value of a json file is a finite number."""
    return isinstance(value, int | float) and -1e300 < value < 1e300


def mean_curve(runs: dict[str, np.ndarray]) -> np.ndarray:
    """epochs 2: the mean loss at each epoch over the runs that reached it, as long as half of them did."""
    epochs = sorted({epoch for rows in runs.values() for epoch in rows[:, 0]})
    points = []
    for epoch in epochs:
        values = [rows[rows[:, 0] == epoch, 1].mean() for rows in runs.values() if (rows[:, 0] == epoch).any()]
        if 2 * len(values) >= len(runs):
            points.append((epoch, float(np.mean(values))))
    return np.array(points, float).reshape(-1, 2)
