"""How much of the network's AUC is luck of a run: what another seed and another split would change, and what averaging the seeds gives."""

import math

import numpy as np

from jaxstroke.evaluation import delong
from jaxstroke.evaluation.auc import auc_of, number, overall, with_interval
from jaxstroke.evaluation.parts import Part, mean_defined


def compute(cuts: dict[str, list[Part]], drawn: np.ndarray) -> dict:
    """{"repeats", "seeds", "sd_seed", "sd_split", "auc_ensemble": {"value", "ci95"}}: counts, and what `components` and `ensemble` say.

    `auc_ensemble` is scored as the AUC of the task is, by folds and then repeats, in the same resamples; None where there is one seed.
    """
    values = by_run(cuts)
    seeds = len({seed for _, seed in values})
    repeats: dict[int, list[float]] = {}
    for (repeat, _), value in values.items():
        repeats.setdefault(repeat, []).append(value)
    sd_seed, sd_split = components(list(repeats.values()))
    merged = with_interval(*overall(auc_of(ensemble(cuts), drawn))) if seeds > 1 else {"value": None, "ci95": None}
    return {"repeats": len(repeats), "seeds": seeds, "sd_seed": sd_seed, "sd_split": sd_split, "auc_ensemble": merged}


def by_run(cuts: dict[str, list[Part]]) -> dict[tuple[int, int], float]:
    """{(repeat, seed): AUC}, means over folds, then over cut-offs; without those that have none."""
    found: dict[tuple[int, int], list] = {}
    for parts in cuts.values():
        folds: dict[tuple[int, int], list[float]] = {}
        for part in parts:
            folds.setdefault((part.repeat, part.seed), []).append(delong.auc(part.score, part.label, part.weight))
        for run, aucs in folds.items():
            found.setdefault(run, []).append(mean_defined(aucs))
    values = {run: float(mean_defined(aucs)) for run, aucs in found.items()}
    return {run: value for run, value in values.items() if math.isfinite(value)}


def components(repeats: list[list[float]]) -> tuple[float | None, float | None]:
    """(sd of the seed, sd of the split) of the AUCs of each repeat's seeds, by the moments of a one-way analysis of variance.

    The seed's is that within repeats, None where no repeat has two seeds. The split's is that between the repeats' means, less what the
    seeds add to it (0 where that is more); None of one repeat. With one seed nothing can be taken off: it is of split and seed together.
    """
    repeats = [np.asarray(values, np.float64) for values in repeats]
    freedom = sum(len(values) - 1 for values in repeats)
    within = sum(((values - values.mean()) ** 2).sum() for values in repeats) / freedom if freedom else None
    between = None
    if len(repeats) > 1:
        added = (within or 0.0) * np.mean([1 / len(values) for values in repeats])
        between = max(0.0, np.var([values.mean() for values in repeats], ddof=1) - added)
    return tuple(None if variance is None else number(math.sqrt(variance)) for variance in (within, between))


def ensemble(cuts: dict[str, list[Part]]) -> dict[str, list[Part]]:
    """The probabilities averaged over the seeds of each (repeat, fold); never over repeats, whose networks saw each other's patients."""
    found = {}
    for cut, parts in cuts.items():
        folds: dict[tuple[int, int], list[Part]] = {}
        for part in parts:
            folds.setdefault((part.repeat, part.fold), []).append(part)
        found[cut] = [mean_part(group) for group in folds.values()]
    return found


def mean_part(group: list[Part]) -> Part:
    """The seeds of one fold as one part, on the units that all have."""
    units = group[0].unit
    for part in group[1:]:
        units = np.intersect1d(units, part.unit)
    rows = [np.searchsorted(part.unit, units) for part in group]
    pairs, first = list(zip(group, rows, strict=True)), group[0]
    score, again = (np.mean([getattr(part, name)[kept] for part, kept in pairs], 0) for name in ("score", "recalibrated"))
    patient, label, weight = (getattr(first, name)[rows[0]] for name in ("patient", "label", "weight"))
    return Part(first.repeat, first.seed, first.fold, units, patient, score, label, again, weight)
