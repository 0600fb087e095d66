"""Cells of the cohort table to values: ids, numbers, levels, labels, file paths."""

import contextlib
import os
import posixpath
import re

from etils import epath

from jaxstroke import outcomes
from jaxstroke.cohort import follow_up, icd10, labels, npz, report_cells
from jaxstroke.cohort.columns import Layout
from jaxstroke.cohort.files import JOINED, PICTURES, SLICES, VOLUMES, entries, is_folder
from jaxstroke.errors import InputError

IMAGES = (*PICTURES, *VOLUMES, ".vol")  # of which a file is an image


def check_ids(layout: Layout, rows: list[dict[str, str]]):
    """Every row has an id, no two rows the same (patient, study)."""
    seen = {}
    for place, row in enumerate(rows):
        patient, study = row[layout.id], row[layout.study] if layout.study else ""
        if not patient:
            raise InputError(f"table {layout.source}, row {place + 1} below the header: column '{layout.id}' is empty. Give it an id.")
        unit = unit_name(patient, study)
        if unit in seen:
            cure = "remove one" if layout.study else "remove one, or set config.cohort.study to the column that tells their studies apart"
            what = f"patient '{patient}'" + (f", study '{study}'" if study else "")
            raise InputError(f"table {layout.source}: {what} is in rows {seen[unit] + 1} and {place + 1} below the header: {cure}.")
        seen[unit] = place


def unit_name(patient: str, study: str) -> str:
    """`<patient>/<study>`, or the patient alone where there is no study."""
    return f"{patient}/{study}" if study else patient


def parse(layout: Layout, rows: list[dict[str, str]]) -> list[dict]:
    """All fields of each row's unit but its paths."""
    layout.outside.update(dict.fromkeys((*layout.numeric, *layout.columns, *layout.cut), 0))
    absent = dict.fromkeys(layout.unread, "")
    kinds = {task: follow_up.kind_of(layout, rows, task) for task, outcome in layout.outcomes.items() if outcome[1] == "within"}
    return [_parse_row(layout, absent | row, kinds) for row in rows]


def _parse_row(layout: Layout, row: dict[str, str], kinds: dict[str, type | None]) -> dict:
    patient = row[layout.id]
    clinical: dict[str, float | str | tuple[str, ...] | None] = {name: _ranged(layout, row, name) for name in layout.numeric}
    for name in layout.categorical:
        clinical[name] = None if row[name] in layout.missing else row[name]
    clinical |= {name: _coded(layout, row, name, kind) for name, kind in layout.codes.items()}
    group = row[layout.group] if layout.group else ""
    told = {task: _followed(layout, row, task, kind) for task, kind in kinds.items()}
    known = {task: _label(layout, row, *outcome) for task, outcome in layout.outcomes.items() if task not in told}
    return {
        "unit": unit_name(patient, row[layout.study] if layout.study else ""),
        "patient": patient,
        "study": row[layout.study] if layout.study else "",
        "group": "" if group in layout.missing else group,
        "clinical": clinical,
        "labels": dict.fromkeys(layout.tasks) | known | {task: one.label for task, one in told.items()},
        "columns": {name: _ranged(layout, row, name) for name in layout.columns},
        "text": _report(layout, row),
        "split": row[layout.split] if layout.split else "",
        "subgroups": {name: clinical[name] if name in clinical else _told(layout, row, name) for name in layout.subgroups},
        "follow_up": {task: one.followed for task, one in told.items() if one.followed},
        "unlabelled": {task: one.why for task, one in told.items() if one.why},
    }  # fmt: skip


def _report(layout: Layout, row: dict[str, str]) -> str:
    """The report of a row, of its file where the cell names one; "" where missing."""
    cell = row[layout.text] if layout.text else ""
    if cell in layout.missing or not layout.text_files:
        return "" if cell in layout.missing else cell
    base = str(epath.Path(layout.source).parent)
    return report_cells.read(cell, base, f"table {layout.source}: patient '{row[layout.id]}', column '{layout.text}'")


def _told(layout: Layout, row: dict[str, str], column: str) -> float | str | None:
    """What a column that is no clinical one says of a subgroup: a number where it is cut, else the cell; None where missing."""
    if column in layout.cut:
        return _ranged(layout, row, column)
    return None if row[column] in layout.missing else row[column]


def _coded(layout: Layout, row: dict[str, str], column: str, kind: str) -> tuple[str, ...] | None:
    """The groups of a cell's diagnosis codes. One that cannot be read is a typing error: it is passed over and told, and the patient
    stays."""
    if row[column] in layout.missing:
        return None
    groups, unread = icd10.read(row[column], kind)
    if unread:
        layout.unread_codes.setdefault(column, []).append(row[layout.id])
    return groups


def _number(layout: Layout, row: dict[str, str], column: str) -> float | None:
    """The number in a cell, None where missing; raises InputError on text."""
    if row[column] in layout.missing:
        return None
    value = labels.number(row[column], layout.decimal_comma)
    if value is None:
        raise InputError(
            f"table {layout.source}: patient '{row[layout.id]}', column '{column}' is not a number. Correct the cell, or add its text to "
            "config.cohort.missing if it means missing."
        )
    return value


def _ranged(layout: Layout, row: dict[str, str], column: str) -> float | None:
    """A number that may be used: outside `cohort.ranges` it is a typing error, taken as missing and counted, and the patient stays."""
    value = _number(layout, row, column)
    if value is not None and column in layout.ranges:
        low, high = layout.ranges[column]
        if not low <= value <= high:
            layout.outside[column] += 1
            return None
    return value


def _label(layout: Layout, row: dict[str, str], column: str, rule: str, reference) -> float | None:
    """The label of a task, None where missing, and in tables to be predicted also where it is wrong."""
    try:
        return _checked_label(layout, row, column, rule, reference)
    except InputError:
        if layout.labelled:
            raise
        return None


def _followed(layout: Layout, row: dict[str, str], task: str, kind: type | None) -> follow_up.Told:
    """What a row says of a task with a horizon; nothing where its dates are wrong in a table to be predicted."""
    try:
        return follow_up.read(layout, row, task, kind)
    except InputError:
        if layout.labelled:
            raise
        return follow_up.Told()


def _checked_label(layout: Layout, row: dict[str, str], column: str, rule: str, reference) -> float | None:
    """The label of a task. An outcome out of range stops: it says that the column means something else than the config believes."""
    if row[column] in layout.missing:
        return None
    if rule == "contains":
        return labels.contains(row[column], reference)
    if rule == "classes":
        return _class(layout, row, column, reference)
    if labels.compares_text(rule, reference):
        return labels.label(row[column], rule, tuple(map(str, reference)) if rule == "in" else reference)
    value = _number(layout, row, column)
    if column in layout.ranges:
        low, high = layout.ranges[column]
        if not low <= value <= high:
            raise InputError(
                f"table {layout.source}: patient '{row[layout.id]}', column '{column}' is outside {low:g} to {high:g}. Correct the cell, "
                f"or config.cohort.ranges.{column}; leave the cell empty if the outcome is unknown."
            )
    return labels.label(value, rule, reference)


def _class(layout: Layout, row: dict[str, str], column: str, classes) -> float:
    """The place of the class in a cell; a cell that is none of them stops: the config does not know what the column holds."""
    place = labels.place_of(row[column], classes, layout.decimal_comma)
    if place is None:
        known = ", ".join(map(outcomes.class_name, classes))
        raise InputError(
            f"table {layout.source}: patient '{row[layout.id]}', column '{column}' is none of the classes {known}. Correct the cell, leave "
            "it empty if the class is unknown, or add it to the classes in config.cohort.outcomes."
        )
    return float(place)


def files(cell: str, base: str, missing: frozenset[str]) -> tuple[str, ...]:
    """The images a cell names, one or several joined by '|'; relative paths are from the table's folder.

    A file is an image, and so is a folder of DICOM slices, with sub-folders or without. Of a folder of other images, each is one, in
    natural order. Single files that may be DICOM are slices of one image: their paths are joined again.
    A path that does not exist is kept: whoever reads it reports it with patient and image.
    """
    found, slices = [], []
    for part in (part.strip() for part in cell.split("|")):
        if part and part not in missing:
            path = part if "://" in part else os.path.join(base, os.path.expanduser(part))  # an absolute one stays as it is
            whole = part.lower().endswith(IMAGES) or npz.split(part)
            inside = None if whole or part.lower().endswith(SLICES) else _inside(path)
            if whole or inside is not None:
                found, slices = [*found, *_joined(slices), *([path] if whole else inside)], []
            else:
                slices.append(path)
    return (*found, *_joined(slices))


def _joined(slices: list[str]) -> list[str]:
    """Slices as one image."""
    return [JOINED.join(slices)] if slices else []


def _inside(path: str) -> list[str] | None:
    """The images of a folder in natural order, hidden ones left out: the folder itself where they are slices. None where it is no folder.

    A closed or empty folder is itself an image: who reads it says what is wrong.
    """
    inside = []
    with contextlib.suppress(Exception):  # OSError; of a bucket, whatever its library raises
        if not is_folder(path):
            return None
        inside = [entry for entry in entries(path) if not entry.is_dir()]
    names = [entry.name.lower() for entry in inside]
    if any(name.endswith(SLICES) for name in names) or not any(name.endswith(IMAGES) for name in names):
        return [path]
    return [str(entry) for entry in sorted(inside, key=lambda entry: natural(entry.name))]


def natural(name: str) -> list:
    """Sort key under which `slice10` follows `slice9`. Of two numbers without leading zeros the longer one is larger."""
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split(r"([0-9]+)", name) if part]
    return [(len(part), part) if part.isdecimal() or not part else (-1, part.lower()) for part in parts] + [(-2, name)]


def written(cell: str, root: str, missing: frozenset[str]) -> str:
    """A cell with paths as it goes into the digest: those below `cohort.root` without it, so that the folder may lie elsewhere."""
    parts = [part.strip().replace("\\", "/") for part in cell.split("|") if part.strip() and part.strip() not in missing]
    if not root:
        return "|".join(parts)
    inside = str(epath.Path(root).expanduser().resolve()).replace("\\", "/").rstrip("/") + "/"
    return "|".join(posixpath.normpath(part).removeprefix(inside) if "://" not in part else part for part in parts)
