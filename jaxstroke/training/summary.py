"""Who the patients are, for the report: `cohort.json`, counts and quartiles of groups, and `subgroups.csv`, the groups of each unit.

Neither holds a clinical value of a patient: a number is written as the group it falls into.
"""

import collections
import dataclasses

import numpy as np
import pandas as pd
from etils import epath

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke import workdir as work
from jaxstroke.cohort.cells import natural
from jaxstroke.cohort.table import Cohort, Unit
from jaxstroke.preprocess.clinical import level_text

MOST_LEVELS = 12  # of a column in the table of patients; rarer ones are counted together
MOST_GROUPS = 10  # of a column's diagnosis codes, likewise
FLAG = {"0": "no", "1": "yes"}  # how the levels of a column that has these two are shown: a comorbidity, an event


def write(config, cohort: Cohort, loaded, inputs: dict, workdir: epath.Path):
    """`cohort.json` and `subgroups.csv` of the loaded units. inputs: as `drift.inputs` describes them."""
    work.write_json(workdir / "cohort.json", summary(config, cohort, loaded) | {"inputs": inputs})
    temporary = workdir / ".subgroups.csv.partial"
    with temporary.open("w") as file:
        subgroups(config, rows_scored(config, loaded.units)).to_csv(file, index=False, lineterminator="\n")
    temporary.replace(workdir / "subgroups.csv")


def summary(config, cohort: Cohort, loaded) -> dict:
    """{"flow": [[text, n], ...], "notes": the same, "missing": {name: n}, "n": units, "characteristics": [...]}."""
    arrays = loaded.arrays
    missing = {name: int((~arrays[f"images_mask/{name}"].any(1)).sum()) for name in settings.image_names(config)}
    if settings.reads(config):
        missing["report"] = sum(not unit.text for unit in loaded.units)
    known = arrays["clinical_mask"][:, list(loaded.schema.first)]
    missing |= dict(zip(loaded.schema.variables, (len(known) - known.sum(0)).astype(int).tolist(), strict=True))
    flow, notes = ([list(line) for line in lines] for lines in (cohort.flow, cohort.notes))
    return {
        "flow": flow,
        "notes": notes,
        "missing": missing,
        "n": len(cohort.units),
        "characteristics": characteristics(config, loaded.units),
    }


def characteristics(config, units: tuple[Unit, ...]) -> list[dict]:
    """A line for each clinical column and subgroup, of all units and of those without and with the primary outcome, or of each class.

    {"name", "numbers": {group: [known, first quartile, median, third quartile]}} or {"name", "levels": {level: {group: n}}, "known":
    {group: n}}; groups: all, without, with; or all, and `class:<name>` each. An outcome with levels has `all` alone. Of a column with
    diagnosis codes "levels" are their groups, of which a unit has any number, and "several" is how many groups there are.
    """
    primary = config.evaluate.primary
    label = np.array([np.nan if unit.labels.get(primary) is None else unit.labels[primary] for unit in units])
    groups = {"all": np.ones(len(units), bool)}
    groups |= GROUPS[outcomes.of_rule(config.cohort.outcomes[primary][1])](outcomes.columns_of(config, primary), label)
    found = []
    for name in dict.fromkeys((*settings.clinical_columns(config), *settings.subgroup_names(config))):
        values = [(unit.clinical | unit.subgroups).get(name) for unit in units]
        known = np.array([value is not None for value in values], bool)
        if known.any():
            kind = "codes" if name in config.clinical.codes else "numbers" if numeric([v for v in values if v is not None]) else "levels"
            found.append({"name": name} | COUNTED[kind](values, known, groups))
    return found


GROUPS = {  # of the names of a task's columns and the labels: whom the table of patients shows apart
    "binary": lambda names, label: {"without": label == 0, "with": label == 1},
    "ordinal": lambda names, label: {},
    "classes": lambda names, label: {f"class:{name}": label == place for place, name in enumerate(names)},
}


def numeric(values: list) -> bool:
    """Whether known values are numbers that are cut and have quartiles: not levels, nor a 0 or 1 that says no or yes."""
    return isinstance(values[0], float) and set(values) != {0.0, 1.0}


def shown(texts: list[str]) -> list[str]:
    """Levels as the page has them: no and yes where they are exactly 0 and 1."""
    return [FLAG[text] for text in texts] if set(texts) == set(FLAG) else texts


def numbers_of(values: list, known: np.ndarray, groups: dict[str, np.ndarray]) -> dict:
    """Count and quartiles of the known numbers of each group."""
    array = np.array([np.nan if value is None else value for value in values], float)
    return {"numbers": {group: quartiles(array[chosen & known]) for group, chosen in groups.items()}}


def quartiles(values: np.ndarray) -> list[float]:
    return [len(values), *(np.percentile(values, [25, 50, 75]).tolist() if len(values) else ())]


def levels_of(values: list, known: np.ndarray, groups: dict[str, np.ndarray]) -> dict:
    """Units of each group with each level, in natural order, the rarest ones last and together."""
    texts = np.array(["" if value is None else level_text(value) for value in values], object)
    names, counts = np.unique(texts[known].astype(str), return_counts=True)
    rare = set(names[np.argsort(-counts, kind="stable")][MOST_LEVELS - 1 :]) if len(names) > MOST_LEVELS else set()
    order = sorted(set(names) - rare, key=natural)
    kept = {name: texts == level for level, name in zip(order, shown(order), strict=True)}
    if rare:
        kept[f"{len(rare)} others"] = np.isin(texts.astype(str), list(rare))
    return {
        "levels": {name: {group: int((rows & chosen).sum()) for group, chosen in groups.items()} for name, rows in kept.items()},
        "known": {group: int((known & chosen).sum()) for group, chosen in groups.items()},
    }


def codes_of(values: list, known: np.ndarray, groups: dict[str, np.ndarray]) -> dict:
    """Units of each group with each group of diagnoses, the commonest ones in order, the others together."""
    counts = collections.Counter(one for value in values for one in value or ())
    common = [one for one, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_GROUPS]]
    kept = {one: np.array([one in (value or ()) for value in values], bool) for one in sorted(common)}
    rare = set(counts) - set(common)
    if rare:
        kept[f"{len(rare)} other groups"] = np.array([not rare.isdisjoint(value or ()) for value in values], bool)
    return {
        "levels": {name: {group: int((rows & chosen).sum()) for group, chosen in groups.items()} for name, rows in kept.items()},
        "known": {group: int((known & chosen).sum()) for group, chosen in groups.items()},
        "several": len(counts),
    }


COUNTED = {"numbers": numbers_of, "levels": levels_of, "codes": codes_of}


def rows_scored(config, units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """The units by whose columns the report scores apart: all, or each patient's first one, under the patient's id (`evaluate.per`)."""
    if config.evaluate.per == "study":
        return units
    first = {unit.patient: unit for unit in reversed(units)}
    return tuple(dataclasses.replace(unit, unit=unit.patient) for unit in units if first[unit.patient] is unit)


def subgroups(config, units: tuple[Unit, ...]) -> pd.DataFrame:
    """Columns unit_id, column, group: a row for each unit and each column in which it has a value; groups in the order to be shown."""
    blocks = []
    for name in settings.subgroup_names(config):
        known = [unit for unit in units if unit.subgroups.get(name) is not None]
        values = [unit.subgroups[name] for unit in known]
        if values:
            apart = numeric(values) or name in config.evaluate.subgroup_bounds
            groups = cut(np.array(values), bounds(config, name, values)) if apart else leveled(values)
            block = pd.DataFrame({"unit_id": [unit.unit for unit in known], "column": name, "group": [text for _, text in groups]})
            blocks.append(block.iloc[np.argsort([place for place, _ in groups], kind="stable")])
    return pd.concat(blocks) if blocks else pd.DataFrame(columns=["unit_id", "column", "group"])


def bounds(config, name: str, values: list[float]) -> tuple[float, ...]:
    """Where a column's numbers are cut: as the config says, else at their median."""
    given = config.evaluate.subgroup_bounds
    return tuple(given[name]) if name in given else (float(np.median(values)),)


def cut(values: np.ndarray, limits: tuple[float, ...]) -> list[tuple[int, str]]:
    """(place, text) of each value's group: below the first limit, from one to below the next, from the last up."""
    between = [f"{low:g} to < {high:g}" for low, high in zip(limits, limits[1:], strict=False)]
    names = [f"< {limits[0]:g}", *between, f"≥ {limits[-1]:g}"]
    return [(int(place), names[place]) for place in np.searchsorted(limits, values, "right")]


def leveled(values: list[str]) -> list[tuple[int, str]]:
    """(place, text) of each value's level, levels in natural order."""
    texts = [level_text(value) for value in values]
    order = sorted(set(texts), key=natural)
    places = {text: (place, name) for place, (text, name) in enumerate(zip(order, shown(order), strict=True))}
    return [places[text] for text in texts]
