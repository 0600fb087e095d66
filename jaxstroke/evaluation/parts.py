"""The frame cut into parts: the rows of one model on one test fold. Every metric is a mean over parts."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jaxstroke.errors import InputError
from jaxstroke.evaluation.predictions import kind_of

ROWS = ("unit", "patient", "score", "label", "recalibrated", "weight")  # what a part holds of each row


@dataclass(frozen=True)
class Part:
    """One model's n rows of one (repeat, seed, fold), for one cut-off or class, in the order of `unit`.

    unit, patient: indices into the task's units and patients. score: the probability. label: 0 or 1. recalibrated: NaN where absent.
    weight: above 0.
    """

    repeat: int
    seed: int
    fold: int
    unit: np.ndarray
    patient: np.ndarray
    score: np.ndarray
    label: np.ndarray
    recalibrated: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Task:
    """All models on one task. models: {model: {cut: parts}}, the cut of a binary task is "", of classes the name. units: ids, by index.

    kind: of `predictions.kind_of`.
    stratum: a number for each patient, those of one (fold of the first repeat, label) share it: what the bootstrap resamples within.
    """

    name: str
    kind: str
    models: dict[str, dict[str, list[Part]]]
    stratum: np.ndarray
    units: np.ndarray


def evaluated_split(frame: pd.DataFrame) -> str:
    """The split that is judged: `test` of a cross-validation, or `external`."""
    present = set(frame["split"])
    for split in ("test", "external"):
        if split in present:
            return split
    raise InputError("predictions: no row of split 'test' or 'external': there is nothing to judge. Run --mode evaluate")


def tasks_of(frame: pd.DataFrame) -> dict[str, Task]:
    """Every task with its labelled rows of the evaluated split that have a weight, in the order of the file."""
    known = frame["label"].notna() & frame["probability"].notna() & (frame["weight"] > 0)
    rows = frame[(frame["split"] == evaluated_split(frame)) & known]
    if rows.empty:
        raise InputError("predictions: no patient with a known outcome: metrics need the outcome columns")
    return {str(name): task_of(str(name), part) for name, part in rows.groupby("task", sort=False)}


def task_of(name: str, rows: pd.DataFrame) -> Task:
    """The parts of one task's rows; cut-offs rise, classes are in the order of the file."""
    kind, place = kind_of(rows), {name: number for number, name in enumerate(rows["class"].unique())}
    unit, units = pd.factorize(rows["unit_id"], sort=True)
    patient, patients = pd.factorize(rows["patient_id"], sort=True)
    rows = rows.assign(unit=unit, patient=patient).sort_values(["unit"], kind="stable")
    models: dict = {}
    for (model, cut, repeat, seed, fold), group in rows.groupby(["model", "class", "repeat", "seed", "fold"], sort=True):
        label = group["label"].to_numpy()
        columns = [group[column].to_numpy() for column in ("unit", "patient", "probability")]
        beside = [group[column].to_numpy() for column in ("recalibrated", "weight")]
        label = label if kind == "classes" else reached(label, cut, name)
        part = Part(int(repeat), int(seed), int(fold), *columns, label, *beside)
        models.setdefault(str(model), {}).setdefault(str(cut), []).append(part)
    order = place.get if kind == "classes" else lambda cut: int(cut or 0)
    models = {model: {cut: cuts[cut] for cut in sorted(cuts, key=order)} for model, cuts in models.items()}
    ordered = {str(model): models[str(model)] for model in rows.sort_index()["model"].unique()}
    if kind == "classes":  # the one row with the 1 says which
        rows = rows[rows["label"] > 0.5].assign(label=rows["class"].map(place))
    return Task(name, kind, ordered, strata(rows, len(patients), kind), np.asarray(units, object))


def reached(label: np.ndarray, cut: str, task: str) -> np.ndarray:
    """The labels as 0 or 1: an ordinal level reaches the cut k when it is k or more."""
    if cut == "":
        return label
    if not cut.isdecimal():
        raise InputError(f"predictions: class '{cut}' of task '{task}' is no cut-off: an ordinal task has the classes 1, 2, ...")
    return (label >= int(cut)).astype(np.float64)


def strata(rows: pd.DataFrame, patients: int, kind: str) -> np.ndarray:
    """A stratum for each patient: its fold in its first repeat, and its label, of classes the place.

    An ordinal label is cut in two where the halves are most equal: a stratum of one patient would never vary and make the interval
    too narrow. A patient with several units counts with the highest label.
    """
    first = rows[rows["repeat"] == rows.groupby("patient")["repeat"].transform("min")]
    fold = first.groupby("patient")["fold"].min()
    level = rows.groupby("patient")["label"].max()
    if kind != "classes":
        cuts = np.arange(1, max(1, int(level.max())) + 1)
        level = level >= cuts[np.argmin([abs((level >= cut).mean() - 0.5) for cut in cuts])]
    codes = pd.factorize(pd.Series(list(zip(fold, level, strict=True))))[0]
    assert len(codes) == patients
    return codes


def averaged(parts: list[Part], statistic: Callable[[Part], np.ndarray | float]) -> np.ndarray:
    """Mean over the parts of each repeat, then over repeats; NaN results (one class in a fold) are left out."""
    by_repeat: dict[int, list] = {}
    for part in parts:
        by_repeat.setdefault(part.repeat, []).append(statistic(part))
    return mean_defined([mean_defined(values) for values in by_repeat.values()])


def mean_defined(values: list) -> np.ndarray:
    """Mean over a list of numbers or equal arrays, without the NaN among them; NaN where all are."""
    stacked = np.array(values, np.float64)
    if not len(stacked):
        return np.float64(math.nan)
    known = np.isfinite(stacked)
    count = known.sum(0)
    total = np.where(known, stacked, 0).sum(0)
    return np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)[()]


def pooled(parts: list[Part]) -> list[Part]:
    """The folds of each (repeat, seed) joined into one part."""
    found: dict[tuple[int, int], list[Part]] = {}
    for part in parts:
        found.setdefault((part.repeat, part.seed), []).append(part)
    return [join(group) for group in found.values()]


def join(group: list[Part]) -> Part:
    """Parts of one (repeat, seed) as one."""
    return Part(group[0].repeat, group[0].seed, -1, *(np.concatenate([getattr(part, name) for part in group]) for name in ROWS))


def aligned(cuts: dict[str, list[Part]]) -> list[tuple[Part, ...]] | None:
    """The folds joined, one tuple a (repeat, seed) with a part a cut-off or class; None where those are of different units."""
    found = list(zip(*(pooled(parts) for parts in cuts.values()), strict=False))
    return found if all(np.array_equal(part.unit, row[0].unit) for row in found for part in row) else None


def events(parts: list[Part]) -> int:
    """Units with the outcome."""
    return len({unit for part in parts for unit in part.unit[part.label > 0.5].tolist()})


def units_of(cuts: dict[str, list[Part]]) -> set[int]:
    """The units that a model has rows for."""
    return set(np.concatenate([part.unit for parts in cuts.values() for part in parts]).tolist())


def restrict(cuts: dict[str, list[Part]], units: set[int]) -> dict[str, list[Part]]:
    """The same parts on some units only."""
    wanted = np.array(sorted(units))

    def cut_down(part: Part) -> Part:
        kept = np.isin(part.unit, wanted)
        return Part(part.repeat, part.seed, part.fold, *(getattr(part, name)[kept] for name in ROWS))

    return {cut: [cut_down(part) for part in parts] for cut, parts in cuts.items()}
