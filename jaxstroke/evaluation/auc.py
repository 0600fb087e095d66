"""AUCs of models with their intervals, and one of them against every other: bootstrap and DeLong on the same means over folds."""

import math

import numpy as np

from jaxstroke.evaluation import bootstrap, delong
from jaxstroke.evaluation.parts import Part, Task, averaged, mean_defined, restrict, units_of


def number(value) -> float | None:
    """A plain float, None where undefined."""
    return None if value is None or not math.isfinite(value) else float(value)


def auc_of(cuts: dict[str, list[Part]], drawn: np.ndarray) -> dict[str, tuple[float, np.ndarray]]:
    """{cut: (AUC, its resampled values)}."""
    return {
        cut: (
            averaged(parts, lambda part: delong.auc(part.score, part.label, part.weight)),
            averaged(parts, lambda part: bootstrap.resampled_auc(part.score, part.label, part.patient, drawn, part.weight)),
        )
        for cut, parts in cuts.items()
    }


def with_interval(value: float, resampled: np.ndarray) -> dict:
    value = number(value)
    return {"value": value, "ci95": None if value is None else bootstrap.interval(resampled)}


def overall(found: dict[str, tuple[float, np.ndarray]]) -> tuple[float, np.ndarray]:
    """The mean over cut-offs; of a binary task, its one."""
    return mean_defined([value for value, _ in found.values()]), mean_defined([resampled for _, resampled in found.values()])


def compare_all(task: Task, aucs: dict, drawn: np.ndarray, first: str = "network") -> list[dict]:
    """One model against every other of the task, on the units both have, in the same resamples. `p_holm`: they are one family.

    Where a study's first variant lacks the task, its place is taken by the first that has it; a missing network is replaced by nothing.
    """
    if first not in task.models:
        if first == "network":
            return []
        first = next(iter(task.models))
    lines = [compare(task, first, model, aucs, drawn) for model in task.models if model != first]
    adjusted = delong.holm([line["p_delong"] for line in lines])
    return [line | {"p_holm": p} for line, p in zip(lines, adjusted, strict=True)]


def compare(task: Task, name_a: str, name_b: str, aucs: dict, drawn: np.ndarray) -> dict:
    """One line of `paired`: the AUC of the first model minus that of the second."""
    first, second = task.models[name_a], task.models[name_b]
    line = {"task": task.name, "a": name_a, "b": name_b, "auc_difference": None, "ci95": None, "p_delong": None, "n": 0}
    common, cuts = units_of(first) & units_of(second), [cut for cut in first if cut in second]
    if not common or not cuts:
        return line
    sides = []
    for name, parts in ((name_a, first), (name_b, second)):
        same = common == units_of(parts) and len(cuts) == len(parts)
        parts = parts if same else restrict({cut: parts[cut] for cut in cuts}, common)
        sides.append((parts, *overall(aucs[name] if same else auc_of(parts, drawn))))
    (a, value_a, resampled_a), (b, value_b, resampled_b) = sides
    interval = with_interval(value_a - value_b, resampled_a - resampled_b)
    return line | {"auc_difference": interval["value"], "ci95": interval["ci95"], "p_delong": delong_p(a, b, len(drawn)), "n": len(common)}


def delong_p(a: dict[str, list[Part]], b: dict[str, list[Part]], patients: int) -> float | None:
    """Median over repeats of DeLong's p of the difference of two means over folds; conditional on the fitted models.

    Folds are other patients, so that their variances add; the rows of one patient add up before they are squared.
    """
    repeats = sorted({part.repeat for part in next(iter(a.values()))} & {part.repeat for part in next(iter(b.values()))})
    found = []
    for repeat in repeats:
        (auc_a, values_a), (auc_b, values_b) = (mean_influence(side, repeat, patients) for side in (a, b))
        found.append(delong.p_value(auc_a - auc_b, float(((values_a - values_b) ** 2).sum())))
    found = [p for p in found if math.isfinite(p)]
    return float(np.median(found)) if found else None


def mean_influence(cuts: dict[str, list[Part]], repeat: int, patients: int) -> tuple[float, np.ndarray]:
    """(AUC, influence of each patient) of the mean over cut-offs, seeds and folds of one repeat."""
    total, values, used = 0.0, np.zeros(patients), 0
    for parts in cuts.values():
        found = [(delong.influence(part.score, part.label, part.weight), part.patient) for part in parts if part.repeat == repeat]
        found = [(pair, patient) for pair, patient in found if math.isfinite(pair[0])]
        for (auc, effect), patient in found:
            total += auc / len(found)
            np.add.at(values, patient, effect / len(found))
        used += bool(found)
    return (total / used, values / used) if used else (math.nan, np.full(patients, np.nan))
