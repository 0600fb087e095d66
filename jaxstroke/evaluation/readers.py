"""Columns of the table that are calls (a reader's yes or no, a grade, a short score) beside the network, and how far readers agree.

A call is what it is: no fold, repeat or seed changes it, so a unit counts once, however often `predictions.csv` repeats it.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from jaxstroke.evaluation import bootstrap, curves, kappa, weighting
from jaxstroke.evaluation.auc import number, with_interval
from jaxstroke.evaluation.ordinal import confusion
from jaxstroke.evaluation.parts import Part, Task, averaged, restrict
from jaxstroke.evaluation.subgroups import FEWEST

MOST_VALUES = 10  # different grades of a column that is a call


@dataclass(frozen=True)
class Reader:
    """One column on n units, each once, in their order. unit, patient: indices of the task; value: grades; label: 0 or 1; weight."""

    unit: np.ndarray
    patient: np.ndarray
    value: np.ndarray
    label: np.ndarray
    weight: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The grades that were given, rising."""
        return np.unique(self.value)

    def on(self, units: np.ndarray) -> "Reader":
        """The same on some units only."""
        kept = np.isin(self.unit, units)
        return Reader(*(getattr(self, name)[kept] for name in ("unit", "patient", "value", "label", "weight")))


def calls(task: Task, attainable: str) -> dict[str, Reader]:
    """{model: calls} of the columns with 2 to `MOST_VALUES` different values, all whole numbers; not of the true log-odds `attainable`."""
    found = {}
    for model, cuts in task.models.items():
        name = model.removeprefix("column:")
        if name == model or (attainable and (name == attainable or name.startswith(f"{attainable}_without_"))):
            continue
        reader = once(next(iter(cuts.values())))
        whole = (reader.value % 1 == 0) & (np.abs(reader.value) < 2**53)
        if 2 <= len(reader.values) <= MOST_VALUES and whole.all():
            found[model] = reader
    return found


def once(parts: list[Part]) -> Reader:
    """Every unit of the parts once."""
    unit, first = np.unique(np.concatenate([part.unit for part in parts]), return_index=True)
    names = ("patient", "score", "label", "weight")
    return Reader(unit, *(np.concatenate([getattr(part, name) for part in parts])[first] for name in names))


def compute(task: Task, found: dict[str, Reader], drawn: np.ndarray) -> list[dict]:
    """Lines of `readers` in `metrics.json`, of a binary task: each reader's own points on the ROC plane, and the network there.

    {"task", "model", "n", "patients", "events", "cuts": [{"cut", "sensitivity", "specificity", "network_sensitivity", "difference"}]}:
    grades of `cut` or more are called. sensitivity, specificity: {"value", "ci95"}, Wilson's interval for as many patients as there are.
    network_sensitivity: that of its mean curve at the reader's specificity, on the units both have; difference: less the reader's, its
    interval from the resamples, in which both the curve and the reader's point move. `cuts` is empty of fewer than `FEWEST` patients with
    or without the outcome.
    """
    network = task.models.get("network")
    lines = []
    for model, reader in found.items() if task.kind == "binary" else ():
        parts = None
        if network is not None:
            common = np.intersect1d(reader.unit, np.concatenate([part.unit for part in network[""]]))
            reader, parts = reader.on(common), restrict(network, set(common.tolist()))[""]
        positive = reader.label > 0.5
        line = {"task": task.name, "model": model, "n": len(reader.unit), "patients": len(np.unique(reader.patient))}
        line |= {"events": int(positive.sum()), "cuts": []}
        if min(len(np.unique(reader.patient[side])) for side in (positive, ~positive)) >= FEWEST:
            line["cuts"] = points(reader, parts, drawn)
        lines.append(line)
    return lines


def points(reader: Reader, parts: list[Part] | None, drawn: np.ndarray) -> list[dict]:
    """A line for each grade but the lowest."""
    cuts = reader.values[1:]
    called = (reader.value >= cuts[:, None]).astype(np.float32)  # c n
    positive = reader.label > 0.5
    hits, alarms = (called[:, side] @ reader.weight[side] / reader.weight[side].sum() for side in (positive, ~positive))
    patients = [stand_for(reader.patient[side], reader.weight[side]) for side in (positive, ~positive)]
    lines = [
        {"cut": int(cut), "sensitivity": with_wilson(hit, patients[0]), "specificity": with_wilson(1 - alarm, patients[1])}
        for cut, hit, alarm in zip(cuts, hits, alarms, strict=True)
    ]
    if parts is None:
        return [line | {"network_sensitivity": None, "difference": {"value": None, "ci95": None}} for line in lines]
    resampled_hits, resampled_alarms = (
        drawn_share(called[:, side], bootstrap.counted(drawn[reader.patient[side]], side, reader.weight)) for side in (positive, ~positive)
    )
    at = curves.mean_roc(parts, alarms)
    resampled = averaged(
        parts, lambda part: bootstrap.resampled_sensitivity(part.score, part.label, part.patient, drawn, resampled_alarms, part.weight)
    )
    differences = resampled - resampled_hits
    return [
        line | {"network_sensitivity": number(at[c]), "difference": with_interval(at[c] - hits[c], differences[c])}
        for c, line in enumerate(lines)
    ]


def stand_for(patient: np.ndarray, weight: np.ndarray) -> float:
    """As how many patients of equal weight they count in a variance."""
    return len(np.unique(patient)) * weighting.effective(weight) / len(weight)


def with_wilson(share: float, patients: float) -> dict:
    return {"value": float(share), "ci95": list(curves.wilson(float(share), patients))}


def drawn_share(called: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`c r`: the share called (c n) in resamples of weights n r, NaN where nobody was drawn."""
    weight = weight.astype(np.float32)
    total = weight.sum(0, dtype=np.float64)
    return np.divide(called @ weight, total, out=np.full((len(called), len(total)), np.nan), where=total > 0)


def agreement(task: Task, found: dict[str, Reader], drawn: np.ndarray) -> list[dict]:
    """Lines of `agreement` in `metrics.json`: Cohen's kappa of every two readers on one scale, Fleiss' of three or more with equal grades.

    {"task", "statistic": cohen | fleiss, "models", "weights": none | quadratic, "n", "patients", "kappa": {"value", "ci95"}}, on the units
    that all of them read; the interval resamples patients. Grades (more than two values) have quadratic weights, Fleiss' kappa never any.
    """
    pairs = [pair for pair in itertools.combinations(found, 2) if one_scale(*(found[model].values for model in pair))]
    scales: dict[tuple, list[str]] = {}
    for model, reader in found.items():
        scales.setdefault(tuple(reader.values), []).append(model)
    several = [tuple(models) for models in scales.values() if len(models) > 2]
    lines = []
    for statistic, models in [*(("cohen", pair) for pair in pairs), *(("fleiss", group) for group in several)]:
        units = set.intersection(*(set(found[model].unit.tolist()) for model in models))
        readers = [found[model].on(np.array(sorted(units))) for model in models]
        patients = len(np.unique(readers[0].patient))
        if patients >= FEWEST:
            values = np.unique(np.concatenate([reader.value for reader in readers]))
            weights = "quadratic" if statistic == "cohen" and len(values) > 2 else "none"
            line = {"task": task.name, "statistic": statistic, "models": list(models), "weights": weights, "n": len(units)}
            lines.append(line | {"patients": patients, "kappa": with_interval(*STATISTICS[statistic](readers, values, drawn))})
    return lines


def one_scale(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two sets of grades may be of one scale: both are the same two, or both are more, and one holds the other's.

    A reader may never give the highest grade; a yes or no is no grade of a score.
    """
    fewer, more = sorted((set(first.tolist()), set(second.tolist())), key=len)
    return fewer <= more and (len(fewer) > 2 or fewer == more)


def cohen(readers: list[Reader], values: np.ndarray, drawn: np.ndarray) -> tuple[float, np.ndarray]:
    """(kappa, its resampled values) of two readers on the same units."""
    first, second = (np.searchsorted(values, reader.value) for reader in readers)
    apart = kappa.apart(values, 2 if len(values) > 2 else 0)
    cells = np.eye(len(values) ** 2, dtype=np.float32)[first * len(values) + second]  # n K*K
    resampled = (cells.T @ drawn[readers[0].patient].astype(np.float32)).astype(np.float64)
    resampled = resampled.reshape(len(values), len(values), drawn.shape[1])
    return kappa.cohen(confusion(first, second, len(values)), apart), kappa.cohen(resampled, apart)


def fleiss(readers: list[Reader], values: np.ndarray, drawn: np.ndarray) -> tuple[float, np.ndarray]:
    """(kappa, its resampled values) of three or more readers on the same units."""
    given = np.stack([reader.value for reader in readers])
    counts = np.stack([(given == value).sum(0) for value in values], 1)
    return kappa.fleiss(counts), kappa.fleiss(counts, drawn[readers[0].patient])


STATISTICS = {"cohen": cohen, "fleiss": fleiss}
