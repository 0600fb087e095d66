"""`metrics.json` from `predictions.csv`, by section "Statistics that hold" of the design.

AUC: mean over folds of the within-fold AUC, averaged over repeats and seeds; never of averaged or pooled probabilities. Interval:
patients are resampled within (fold, label) and carry all their rows. Rows count the `weight` of the file, but in `n`, `events`, and what
is of levels alone; rows of weight 0 count as without a label. Other numbers (`auc_pooled`, Brier score, calibration,
sensitivity, ...) join the folds of a (repeat, seed), and are averaged over those. Thresholds are Youden's, from the validation rows of
their own fold. `null` where undefined: a fold with one class is left out of the mean and counted in `skipped_folds`.
An ordinal task is scored at each cut-off; `auc`, `auc_pooled`, `auprc` and `brier` are means over them (its Brier score is the ranked
probability score divided by the number of cut-offs), `qwk`, `mae` and their like are of the median level: how many cut-offs have a
probability above 0.5. Of several classes each is scored against the rest, and `auc`, `auc_pooled` and `auprc` are means over them; the
file `classes` has what is of all together. `subgroups`, `interactions`, `readers` and `agreement`: see the files of these names, the last
in `readers`.
"""

import math

import numpy as np
import pandas as pd

from jaxstroke.evaluation import (
    bootstrap,
    calibration,
    classes,
    delong,
    in_the_large,
    interactions,
    ordinal,
    predictions,
    readers,
    spread,
    subgroups,
    weighting,
)
from jaxstroke.evaluation.auc import auc_of, compare_all, number, overall, with_interval
from jaxstroke.evaluation.parts import Part, Task, averaged, evaluated_split, events, mean_defined, pooled, tasks_of, units_of
from jaxstroke.evaluation.rates import RATES, confusion, rates_of


def compute(
    frame: pd.DataFrame,
    resamples: int = 2000,
    attainable: str = "",
    seed: int = 0,
    groups: dict[str, dict[str, set[str]]] | None = None,
    first: str = "network",
    thresholds: dict[str, dict[str, float]] | None = None,
) -> dict:
    """The content of `metrics.json`: {"models": {model: {task: numbers}}, "tasks": the network's part, "paired": [...], ...}.

    frame: as `predictions.read` gives it. attainable: the column whose model `column:<attainable>` is the best that could be reached.
    groups: as `subgroups.read` gives them. first: the model that all others are compared with.
    thresholds: {model: {task: threshold}} of patients without validation rows of their own: an external validation's.
    """
    scores = predictions.rank_only(frame)
    chosen = calibration.decisions(frame) if thresholds is None else calibration.given(thresholds)
    models: dict = {model: {} for model in frame["model"].unique()}
    paired, apart, differ, read, agreement = [], [], [], [], []
    for name, task in tasks_of(frame).items():
        drawn = bootstrap.weights(task.stratum, resamples, seed)
        aucs = {model: auc_of(cuts, drawn) for model, cuts in task.models.items()}
        for model, cuts in task.models.items():
            models[model][name] = describe(task.kind, cuts, aucs[model], model in scores, chosen.get(model, {}).get(name, []))
        if "network" in task.models:
            models["network"][name] |= of_network(task, drawn, evaluated_split(frame) == "external", resamples, seed)
        add_attainable(models, task, attainable)
        paired += compare_all(task, aucs, drawn, first)
        apart += subgroups.compute(task, groups or {}, drawn, scores)
        differ += interactions.compute(task, groups or {})
        found = readers.calls(task, attainable)
        read += readers.compute(task, found, drawn)
        agreement += readers.agreement(task, found, drawn)
    models = {model: tasks for model, tasks in models.items() if tasks}
    return {
        "split": evaluated_split(frame), "bootstrap": resamples, "attainable": attainable,
        "models": models, "tasks": models.get("network", {}), "paired": paired,
        "subgroups": apart, "interactions": differ, "readers": read, "agreement": agreement,
    }  # fmt: skip


def of_network(task: Task, drawn: np.ndarray, external: bool, resamples: int, seed: int) -> dict:
    """What is told of the network alone: `spread`, and of an external validation `in_the_large`."""
    found = {"spread": spread.compute(task.models["network"], drawn)}
    return found | ({"in_the_large": in_the_large.compute(task, "network", resamples, seed)} if external else {})


def describe(kind: str, cuts: dict[str, list[Part]], found: dict, score: bool, thresholds: list[dict]) -> dict:
    """All numbers of one model on one task. kind: of the task."""
    every = [part for parts in cuts.values() for part in parts]
    first = next(iter(cuts.values()))
    leveled = "" not in cuts
    numbers = {
        "n": len(units_of(cuts)),
        "patients": len(set(np.concatenate([part.patient for part in first]).tolist())),
        "events": None if leveled else events(first),
        "auc": with_interval(*overall(found)),
        "auc_pooled": number(
            mean_defined([averaged(pooled(parts), lambda p: delong.auc(p.score, p.label, p.weight)) for parts in cuts.values()])
        ),
        "auprc": number(mean_defined([averaged(parts, average_precision) for parts in cuts.values()])),
        "skipped_folds": sum(not math.isfinite(delong.auc(part.score, part.label)) for part in every),
        "score_only": score,
        "brier": None if score else brier(cuts, "score"),
        "mae": None,
        "calibration": calibration.averaged([] if score or leveled else pooled(first), "score"),
        "recalibrated": None,
        "thresholds": [],
        **dict.fromkeys(RATES),
    }
    if leveled:
        return numbers | LEVELED[kind](cuts, found, score)
    names = ("repeat", "fold", "seed")
    numbers["thresholds"] = [
        {name: line[name] for name in names} | {"value": line["threshold"], "source": "validation"} for line in thresholds
    ]
    numbers |= rates(first, thresholds)
    if not score:
        numbers["mae"] = number(averaged(pooled(first), lambda part: weighting.mean(np.abs(part.label - part.score), part.weight)))
        numbers["recalibrated"] = recalibrated(first)
    return numbers


LEVELED = {"ordinal": ordinal.numbers, "classes": classes.numbers}


def average_precision(part: Part) -> float:
    """Area under the precision-recall curve in steps, NaN without both classes.

    The same sum as scikit-learn's, whose checks of the input took most of the time of a report.
    """
    positive = part.label > 0.5
    if not positive.any() or positive.all():
        return math.nan
    order = np.argsort(-part.score, kind="stable")
    score, hits, called = part.score[order], np.cumsum((positive * part.weight)[order]), np.cumsum(part.weight[order])
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # equal scores are called together
    found = hits[last]
    return float((np.diff(found, prepend=0) / hits[-1] * found / called[last]).sum())


def brier(cuts: dict[str, list[Part]], column: str) -> float | None:
    """Mean squared difference of probability and label, over the cut-offs."""

    def squared(part: Part) -> float:
        return float(weighting.mean((getattr(part, column) - part.label) ** 2, part.weight))

    return number(mean_defined([averaged(pooled(parts), squared) for parts in cuts.values()]))


def recalibrated(parts: list[Part]) -> dict | None:
    """Brier score and calibration of the recalibrated probabilities, None where they are absent."""
    joined = [part for part in pooled(parts) if np.isfinite(part.recalibrated).all()]
    if not joined:
        return None
    return {"brier": brier({"": joined}, "recalibrated"), "calibration": calibration.averaged(joined, "recalibrated")}


def rates(parts: list[Part], thresholds: list[dict]) -> dict:
    """Sensitivity, specificity and the like at the thresholds of each part's own validation rows.

    Counts are added over the folds of a (repeat, seed): a fold with no positive call has no predictive value of its own.
    """
    by_fold = {(line["repeat"], line["fold"], line["seed"]): line["threshold"] for line in thresholds}
    counts: dict[tuple[int, int], np.ndarray] = {}
    for part in parts:
        threshold = by_fold.get((part.repeat, part.fold, part.seed))
        if threshold is not None:
            key = (part.repeat, part.seed)
            counts[key] = counts.get(key, np.zeros(4)) + confusion(part.score >= threshold, part.label > 0.5, part.weight)
    found = [rates_of(*cells) for cells in counts.values()]
    return {name: number(mean_defined([one[name] for one in found])) for name in RATES}


def add_attainable(models: dict, task: Task, attainable: str):
    """`attainable_auc` of every model: the same statistic for the true log-odds. `ablations` of the network: what each part is worth."""
    best = models.get(f"column:{attainable}", {}).get(task.name, {}).get("auc", {}).get("value") if attainable else None
    for model in task.models:
        models[model][task.name]["attainable_auc"] = best
    if best is not None and "network" in task.models:
        prefix = f"column:{attainable}_without_"
        without = {model: models[model][task.name]["auc"]["value"] for model in task.models if model.startswith(prefix)}
        models["network"][task.name]["ablations"] = {
            f"without_{model.removeprefix(prefix)}": None if value is None else best - value for model, value in without.items()
        }
