"""The outer parts of each kind of split: `(repeat, fold, train, val or None, test)` of groups; val None is held back from train later."""

import datetime

import numpy as np

from jaxstroke.cohort.cells import natural
from jaxstroke.cohort.dealing import Group, deal
from jaxstroke.cohort.labels import moment
from jaxstroke.errors import InputError, nearest

PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}


def outer_parts(config, cohort, groups: list[Group]):
    """Outer parts by `split.kind`; unknown kinds raise with the known ones."""
    kind = config.split.kind
    if kind not in KINDS:
        raise InputError(f"config.split.kind '{kind}' is unknown.{nearest(kind, KINDS)}")
    if KINDS[kind] is not dealt and not config.split.column:
        raise InputError(f"config.split.kind '{kind}' needs config.split.column: the column of the table that says who belongs where.")
    if kind == "group" and not config.cohort.group:
        raise InputError("config.split.kind 'group' needs config.cohort.group: the column with the centre.")
    key, column = ("cohort.group", config.cohort.group) if kind == "group" else ("split.column", config.split.column)
    if kind != "kfold" and not any(unit.group if kind == "group" else unit.split for unit in cohort.units):
        raise InputError(f"table {cohort.source} has no column '{column}', or nothing in it; config.{key} names it for kind '{kind}'.")
    return KINDS[kind](config, cohort, groups)


def dealt(config, cohort, groups: list[Group]):
    """Every group is in the test part of one fold a repeat; repeats differ by seed."""
    folds, what = config.split.folds, "centres" if config.split.kind == "group" else "patients"
    if folds < 2:
        raise InputError(f"config.split.folds is {folds}: at least 2 are needed.")
    if len(groups) < folds:
        raise InputError(f"config.split.folds is {folds}, but there are only {len(groups)} {what}: set fewer folds.")
    for repeat in range(config.split.repeats):
        parts = deal(groups, (1 / folds,) * folds, np.random.default_rng([config.split.seed, repeat]))
        for fold, test in enumerate(parts):
            yield repeat, fold, [group for other in parts if other is not test for group in other], None, test


def given(config, cohort, groups: list[Group]):
    """One fold a value of the column, in natural order. Repeats hold back another validation part."""
    values = [cell_of(config, cohort, group) for group in groups]
    names = sorted(set(values), key=natural)
    if len(names) < 2:
        raise InputError(f"config.split.column '{config.split.column}' holds one fold only ('{names[0]}'): at least 2 are needed.")
    for repeat in range(config.split.repeats):
        for fold, name in enumerate(names):
            train = [group for group, value in zip(groups, values, strict=True) if value != name]
            yield repeat, fold, train, None, [group for group, value in zip(groups, values, strict=True) if value == name]


def official(config, cohort, groups: list[Group]):
    """One fold, as published: the column says train, val or test; without val rows a part of train is held back.

    Where the published test part is elsewhere, to be predicted later, the val rows are tested: what stops a network early cannot judge it.
    """
    parts = {"train": [], "val": [], "test": []}
    for group in groups:
        cell = cell_of(config, cohort, group).lower()
        if cell not in PART_NAMES:
            raise InputError(
                f"patient '{cohort.units[group.rows[0]].patient}': column '{config.split.column}' must hold train, val or test for "
                "config.split.kind 'official'."
            )
        parts[PART_NAMES[cell]].append(group)
    if not parts["test"]:
        parts["val"], parts["test"] = [], parts["val"]
    for name in ("train", "test"):
        if not parts[name]:
            needs = "config.split.kind 'official' needs train, and test or val"
            raise InputError(f"column '{config.split.column}' has no row '{name}': {needs}.")
    for repeat in range(config.split.repeats):
        yield repeat, 0, parts["train"], parts["val"] or None, parts["test"]


def temporal(config, cohort, groups: list[Group]):
    """One fold: the last 1/folds of the patients by the column (numbers or ISO dates); a patient's time is that of the last study."""
    if config.split.folds < 2:
        raise InputError(f"config.split.folds is {config.split.folds}: kind 'temporal' tests on the last 1/folds, at least 2 are needed.")
    cells = {row: cell_of(config, cohort, Group((row,), ())) for group in groups for row in group.rows}
    times = {row: time_of(config, cohort.units[row].patient, cell) for row, cell in cells.items()}
    if len({type(time) for time in times.values()}) > 1:
        raise InputError(f"table {cohort.source}: column '{config.split.column}' mixes numbers and dates: use one of them.")
    last = sorted(groups, key=lambda group: (max(times[row] for row in group.rows), cohort.units[group.rows[0]].unit))
    start = len(last) - max(1, round(len(last) / config.split.folds))
    for repeat in range(config.split.repeats):
        yield repeat, 0, last[:start], None, last[start:]


def cell_of(config, cohort, group: Group) -> str:
    """The one value of the split column in a group; raises InputError where it is missing or differs between a patient's rows."""
    patient, column = cohort.units[group.rows[0]].patient, config.split.column
    cells = {cohort.units[row].split for row in group.rows}
    if len(cells) > 1:
        raise InputError(f"patient '{patient}' has rows with different values of column '{column}': a patient must be in one part.")
    (cell,) = cells
    if cell in config.cohort.missing:
        raise InputError(f"patient '{patient}': column '{column}' (config.split.column) is missing. Fill it in.")
    return cell


def time_of(config, patient: str, cell: str) -> float | datetime.datetime:
    """A number or an ISO date (2021-05-31, with or without a time of day)."""
    value = moment(cell)
    if value is None:
        raise InputError(f"patient '{patient}': column '{config.split.column}' is neither a number nor a date like 2021-05-31.")
    return value


KINDS = {"kfold": dealt, "group": dealt, "given": given, "official": official, "temporal": temporal}
