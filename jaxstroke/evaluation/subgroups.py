"""The network on groups of patients apart: who is it worse for? Exploratory: groups are small (whether they differ: `interactions`).

`subgroups.csv` (optional): unit_id, column, group; a row for each unit and column, groups in the order in which they are shown.
"""

import numpy as np
import pandas as pd
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation import weighting
from jaxstroke.evaluation.auc import auc_of, number, overall, with_interval
from jaxstroke.evaluation.parts import Part, Task, averaged, pooled, restrict

COLUMNS = ["unit_id", "column", "group"]
FEWEST = 5  # patients of a group that is named, and with and without the outcome of one that is scored
MOST = 12  # groups of a column; smaller ones are taken together
UNKNOWN = "not known"


def read(path: epath.Path) -> dict[str, dict[str, set[str]]]:
    """{column: {group: unit ids}} of `subgroups.csv`, in the order of the file; empty where there is none."""
    if not path.exists():
        return {}
    try:
        with path.open("r") as file:
            frame = pd.read_csv(file, dtype="str", keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable CSV ({error}): run --mode evaluate again") from None
    if list(frame.columns) != COLUMNS:
        raise InputError(f"{path} must have the columns {', '.join(COLUMNS)}: run --mode evaluate again")
    found: dict = {}
    for (column, group), rows in frame.groupby(["column", "group"], sort=False):
        found.setdefault(column, {})[group] = set(rows["unit_id"])
    return found


def compute(task: Task, groups: dict[str, dict[str, set[str]]], drawn: np.ndarray, scores: set[str]) -> list[dict]:
    """Lines of `metrics.json` for all patients and for each column and group, of the network or, without one, the first model.

    {"task", "model", "column", "group", "n", "patients", "events", "auc", "observed", "predicted"}. The AUC and its interval are those
    of the whole task, with its folds and resamples, on the group's patients. scores: models that give no probability.
    """
    model = judged(task)
    sets = [(column, group, units) for column, named in groups.items() for group, units in gathered(task, named).items()]
    whole = [("", "all patients", set(range(len(task.units))))] if sets else []
    return [
        {"task": task.name, "model": model, "column": column, "group": group} | describe(task.models[model], units, drawn, model in scores)
        for column, group, units in whole + sets
    ]


def judged(task: Task) -> str:
    """The model whose groups are looked at: the network, or the first one."""
    return "network" if "network" in task.models else next(iter(task.models))


def gathered(task: Task, named: dict[str, set[str]]) -> dict[str, set[int]]:
    """{group: unit indices}: the small and the many taken together at the end, then the units of no group."""
    places = {unit: place for place, unit in enumerate(task.units)}
    found = {group: {places[unit] for unit in units if unit in places} for group, units in named.items()}
    order = sorted(found, key=lambda group: -len(found[group]))
    few = {group for group in found if len(found[group]) < FEWEST} | set(order[MOST - 1 :] if len(order) > MOST else ())
    rest = {place for group in few for place in found[group]}
    unknown = set(places.values()) - {place for units in found.values() for place in units}
    kept = {group: units for group, units in found.items() if group not in few}
    return kept | ({f"{len(few)} smaller groups": rest} if rest else {}) | ({UNKNOWN: unknown} if unknown else {})


def describe(cuts: dict[str, list[Part]], units: set[int], drawn: np.ndarray, score: bool) -> dict:
    """The numbers of one group. An AUC needs `FEWEST` patients on either side of a cut-off; `auc.value` is None where there are fewer."""
    inside = restrict(cuts, units)
    scored = enough(inside)
    first = next(iter(inside.values()))
    line = {
        "n": len(np.unique(np.concatenate([part.unit for part in first]))),
        "patients": len(np.unique(np.concatenate([part.patient for part in first]))),
        "events": None, "auc": with_interval(*overall(auc_of(scored, drawn))) if scored else {"value": None, "ci95": None},
        "observed": None, "predicted": None,
    }  # fmt: skip
    if "" not in inside:
        return line
    shares = {"observed": number(averaged(pooled(first), observed)), "predicted": None if score else predicted(first)}
    return line | {"events": sides(first)[1]} | shares


def enough(cuts: dict[str, list[Part]]) -> dict[str, list[Part]]:
    """The cut-offs with `FEWEST` patients on either side."""
    return {cut: parts for cut, parts in cuts.items() if min(sides(parts)) >= FEWEST}


def sides(parts: list[Part]) -> tuple[int, int]:
    """Patients without and with the outcome."""
    patient = np.concatenate([part.patient for part in parts])
    positive = np.concatenate([part.label for part in parts]) > 0.5
    return len(np.unique(patient[~positive])), len(np.unique(patient[positive]))


def observed(part: Part) -> float:
    """The share with the outcome."""
    return weighting.mean(part.label, part.weight)


def predicted(parts: list[Part]) -> float | None:
    """The mean probability, recalibrated where that is there."""
    column = "recalibrated" if all(np.isfinite(part.recalibrated).all() for part in parts) else "score"
    return number(averaged(pooled(parts), lambda part: weighting.mean(getattr(part, column), part.weight)))
