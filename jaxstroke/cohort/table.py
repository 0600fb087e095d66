"""The cohort table: one CSV row a (patient, study), to units with file paths, clinical values and labels.

Everything is read as text, so that ids stay verbatim; the config says which column is what. What a user can mend in the table is an
InputError that names patient and column but no value of a patient; what only one patient lacks is counted in `flow` and the cohort goes on.
"""

import collections
import hashlib
import json
from dataclasses import dataclass, field, replace

import pandas as pd
from absl import logging
from etils import epath

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke.cohort import cells, columns, picture_cells, recipes
from jaxstroke.cohort.csv_file import read_csv, write_csv
from jaxstroke.config_images import are_pictures
from jaxstroke.errors import InputError

LEFT_OUT = "left_out"  # column of a recipe's table: why a patient has no part in training, "" for the others


@dataclass(frozen=True)
class Unit:
    """One row of the table: a patient, or a (patient, study).

    unit      unique: the patient id, or `<patient>/<study>` where `cohort.study` is set
    patient   the table's id verbatim
    study     "" where `cohort.study` is not set
    group     centre, "" where `cohort.group` is not set or the cell is missing
    paths     image name -> files, () where the cell is missing; columns with brain masks are in here under their own name
    clinical  column -> number, level of a categorical one, or groups of diagnosis codes; None where missing or outside `cohort.ranges`
    labels    task -> 0 or 1, the ordinal level, or the place of the class; None where the outcome is missing
    columns   numbers of `evaluate.comparators.columns`, `evaluate.attainable` and `<attainable>_without_*`; None where missing
    text      report: the cell, or with `text.source` given the .txt file that it names
    split     cell of `split.column` verbatim, "" where not set
    subgroups columns of `evaluate.subgroups` and the centre: number, level or cell; None where missing
    follow_up task with a horizon -> (days from the start, whether the event ended them); no entry where not at risk or not known
    unlabelled task with a horizon -> why its label is missing, without a value of the patient
    """

    unit: str
    patient: str
    study: str
    group: str
    paths: dict[str, tuple[str, ...]]
    clinical: dict[str, float | str | tuple[str, ...] | None]
    labels: dict[str, float | None]
    columns: dict[str, float | None]
    text: str
    split: str = ""
    subgroups: dict[str, float | str | None] = field(default_factory=dict)
    follow_up: dict[str, tuple[float, bool]] = field(default_factory=dict)
    unlabelled: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    """Units in the order of the table.

    flow    (what, rows): rows in the table, those left out (negative) with the reason, rows used
    source  path of the table
    digest  sha256 of ids, paths as written, clinical values, labels, reports and follow-up: the same wherever the folder lies
    notes   (what, rows of the table) of values taken as missing because they are outside `cohort.ranges`, and of labels that are missing
            because of when something happened; of classes that nobody has
    unlabelled  units without outcome, of whom a network that can be pre-trained sees the images alone; in none of the above
    """

    units: tuple[Unit, ...]
    flow: tuple[tuple[str, int], ...]
    source: str
    digest: str
    notes: tuple[tuple[str, int], ...] = ()
    unlabelled: tuple[Unit, ...] = ()


def everyone(cohort: Cohort) -> Cohort:
    """The cohort with those without outcome among its units, behind the others."""
    return replace(cohort, units=(*cohort.units, *cohort.unlabelled), unlabelled=())


def read_cohort(config, workdir, labelled: bool = True) -> Cohort:
    """The cohort that the config describes; a recipe other than "table" first writes `<workdir>/cohort.csv`.

    labelled: units without any label or without one of `cohort.complete` are left out and counted; with `evaluate.censoring` weights
    those whose follow-up is known stay, as weights are fitted on them. False (prediction): outcome columns may be absent and every unit
    is kept.
    Raises InputError on a table that cannot be read, missing columns, duplicate (patient, study), text in a numeric column, an outcome
    out of range, dates that contradict each other, or when no unit is left.
    """
    source = epath.Path(recipes.table_of(config, workdir)).expanduser()
    frame, delimiter = read_csv(source)
    layout = columns.layout(config, frame.columns, str(source), labelled, decimal_comma=delimiter == ";")
    rows = frame.to_dict("records")
    cells.check_ids(layout, rows)
    values = cells.parse(layout, rows)
    base, root = str(source.parent), str(config.cohort.root)
    files = dict.fromkeys(layout.paths, cells.files)
    files |= {name: picture_cells.files for name, image in config.images.items() if are_pictures(image)}
    units, written = [], []
    for row, value in zip(rows, values, strict=True):
        paths = {name: files[name](row.get(column, ""), base, layout.missing) for name, column in layout.paths.items()}
        units.append(Unit(paths=paths, **value))
        written.append({name: cells.written(row.get(column, ""), root, layout.missing) for name, column in layout.paths.items()})
    said = [row.get(LEFT_OUT, "") if config.cohort.recipe != "table" else "" for row in rows]
    keep, flow = _choose(config, units, said, labelled)
    rest = [labelled and not kept and _only_seen(config, unit) for unit, kept in zip(units, keep, strict=True)]
    if not any(keep) and not any(rest):
        steps = ", ".join(f"{text}: {count}" for text, count in flow)
        raise InputError(f"no patient of {source} is left ({steps}). Check config.cohort.outcomes, .complete and .missing against it.")
    notes = tuple((f"{name} outside its range, taken as missing", count) for name, count in layout.outside.items() if count)
    notes += tuple(collections.Counter(text for unit in units for text in unit.unlabelled.values() if labelled).items())
    notes += _classes_without_patients(config, [unit for unit, kept in zip(units, keep, strict=True) if kept]) if labelled else ()
    notes += (("without outcome, seen in pre-training alone", sum(rest)),) if any(rest) and settings.pretrains(config) else ()
    for text, count in notes:
        logging.warning("%s: %d rows", text, count)
    notes += _unread_codes(layout, units)
    used, unlabelled = (tuple(unit for unit, yes in zip(units, chosen, strict=True) if yes) for chosen in (keep, rest))
    if labelled and config.evaluate.per == "patient":
        _check_one_class(config, used, str(source))
    paths = [paths for chosen in (keep, rest) for paths, yes in zip(written, chosen, strict=True) if yes]
    return Cohort(used, tuple(flow), str(source), _digest((*used, *unlabelled), paths), notes, unlabelled)


def write_table(cohort_frame: pd.DataFrame, path):
    """Write a cohort table as recipes do: UTF-8 CSV, missing cells empty, atomic."""
    write_csv(cohort_frame, path)


def _choose(config, units: list[Unit], said: list[str], labelled: bool) -> tuple[list[bool], list[tuple[str, int]]]:
    """Which units are used, and the flow that says why the others are not; a unit is counted at the first reason. said: the recipe's."""
    keep, flow = [True] * len(units), [("rows in the table", len(units))]
    of_recipe = dict(zip((unit.unit for unit in units), said, strict=True)) if labelled else {}
    reasons = [(text, lambda unit, text=text: of_recipe[unit.unit] == text) for text in dict.fromkeys(of_recipe.values()) if text]
    if labelled and len(config.cohort.outcomes):
        for why in dict.fromkeys(text for unit in units for text in unit.unlabelled.values()):
            reasons.append((why, lambda unit, why=why: why in unit.unlabelled.values() and _tells_nothing(config, unit, unit.labels)))
        reasons.append(("without outcome", lambda unit: _tells_nothing(config, unit, unit.labels)))
    for name in config.cohort.complete if labelled else ():
        reasons.append((f"incomplete: {name}", lambda unit, name=name: _lacks(config, unit, name)))
    for text, lacks in reasons:
        out = [place for place, unit in enumerate(units) if keep[place] and lacks(unit)]
        for place in out:
            keep[place] = False
        if out:
            flow.append((text, -len(out)))
    flow.append(("used", sum(keep)))
    return keep, flow


def _only_seen(config, unit: Unit) -> bool:
    """Whether a unit that is left out for want of an outcome may be pre-trained on: an encoder needs no more than its images."""
    return settings.staged(config) and _tells_nothing(config, unit, unit.labels) and any(unit.paths[name] for name in config.images)


def _lacks(config, unit: Unit, name: str) -> bool:
    """Whether a unit has no value for an image, a clinical column or the column of an outcome."""
    if name in config.images:
        return not unit.paths[name]
    if name in unit.clinical:
        return unit.clinical[name] is None
    if name in unit.columns:
        return unit.columns[name] is None
    return _tells_nothing(config, unit, [task for task, outcome in config.cohort.outcomes.items() if outcome[0] == name])


def _tells_nothing(config, unit: Unit, tasks) -> bool:
    """Whether a unit has no label for any of the tasks, and no follow-up on which weights are fitted."""
    weighted = config.evaluate.censoring == "weights"
    return all(unit.labels[task] is None and not (weighted and task in unit.follow_up) for task in tasks)


def _classes_without_patients(config, units: list[Unit]) -> tuple[tuple[str, int], ...]:
    """A note for each class of the config that none of the units used has: it may be misspelt, and no network can learn it."""
    found = []
    for task, outcome in config.cohort.outcomes.items():
        if outcomes.of_rule(outcome[1]) == "classes":
            seen = {unit.labels[task] for unit in units}
            names = outcomes.columns_of(config, task)
            found += [(f"{task} = {name}, used", 0) for place, name in enumerate(names) if place not in seen]
    return tuple(found)


def _unread_codes(layout: columns.Layout, units: list[Unit]) -> tuple[tuple[str, int], ...]:
    """A note for each column with diagnosis codes that are none; InputError where it holds no others."""
    found = []
    for column, patients in layout.unread_codes.items():
        if layout.labelled and not any(unit.clinical[column] for unit in units):
            raise InputError(
                f"table {layout.source}: column '{column}' holds no ICD-10 code, such as I10|E11.9, in any row (the first with something "
                f"else: patient '{patients[0]}'). Take it out of config.clinical.codes; words are levels of config.clinical.categorical."
            )
        text = f"{column} holds a code that is in no ICD-10 group ({layout.codes[column]}), passed over"
        first = f"the first of patient '{patients[0]}'"
        logging.warning("%s: %d rows, %s: correct the cells if they are typing errors", text, len(patients), first)
        found.append((text, len(patients)))
    return tuple(found)


def _check_one_class(config, units: tuple[Unit, ...], source: str):
    """Rows of a patient that are scored as one are of one class: of several there is no highest, as there is of levels."""
    for task, (column, rule, _) in config.cohort.outcomes.items():
        seen: dict[str, float] = {}
        for unit in units if outcomes.of_rule(rule) == "classes" else ():
            label = unit.labels[task]
            if label is not None and seen.setdefault(unit.patient, label) != label:
                raise InputError(
                    f"table {source}: patient '{unit.patient}' has rows of two classes in column '{column}', but config.evaluate.per = "
                    "'patient' scores the rows of a patient as one: correct the cells, or set config.evaluate.per = 'study'."
                )


def _digest(units: tuple[Unit, ...], paths: list[dict]) -> str:
    """sha256 hex over what the table says of the units used."""
    content = hashlib.sha256()
    for unit, written in zip(units, paths, strict=True):
        parts = [unit.unit, unit.patient, unit.study, unit.group, written, unit.clinical, unit.labels, unit.text]
        parts += [unit.follow_up] if unit.follow_up else []  # a cohort without dates keeps the digest it has always had
        content.update(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return content.hexdigest()
