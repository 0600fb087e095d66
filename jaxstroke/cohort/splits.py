"""Cross-validation: folds of unit ids, grouped by patient, stratified, written to `splits.json` where a person may edit them.

No patient is in two parts, whatever the kind; `checks` holds that for edited files too.
"""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
from absl import logging
from etils import epath

from jaxstroke.cohort import checks
from jaxstroke.cohort.dealing import Group, deal, join
from jaxstroke.cohort.outer import outer_parts
from jaxstroke.errors import InputError


@dataclass(frozen=True)
class InnerFold:
    """Unit ids of an inner fold: `train` is fitted, `val` stops it early, its predictions of `holdout` fit the fusion."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    holdout: tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """Unit ids of an outer fold; `inner` divides train and val, and never sees test."""

    repeat: int
    fold: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    inner: tuple[InnerFold, ...]


def make_splits(config, cohort) -> list[Fold]:
    """The folds that `config.split` asks for, the same for the same cohort and seed.

    kfold: patients dealt into folds, stratified. group: the same with whole centres, so that the centres of a test part are new to its
    network (validation and inner parts are by patient, as there are rarely centres enough). given: the column holds the fold. temporal: the
    last 1/folds of the patients by the column is the test part. official: the column holds train, val or test;
    without test rows those of val are tested.
    Raises InputError where the column does not fit the kind, or a part of a fold holds one class only of a binary task.
    """
    groups = join(cohort.units, strata(config, cohort), by_centre=config.split.kind == "group")
    folds = []
    for repeat, fold, train, val, test in outer_parts(config, cohort, groups):
        train = by_patient(config, cohort, ids(cohort, train))
        rng = np.random.default_rng([config.split.seed, repeat, fold, 1])
        if val is None:
            val, train = hold_back(config, train, rng)
        parts = [ids(cohort, part) for part in (train, val, test)]
        folds.append(Fold(repeat, fold, *parts, inner_folds(config, cohort, repeat, fold, parts[0] + parts[1])))
    checks.check(config, cohort, folds, "config.split")
    return folds


def load_or_make_splits(config, cohort, workdir) -> list[Fold]:
    """The folds of `<workdir>/splits.json`, checked; made and written where there is none. Inner folds taken out are made anew."""
    path = epath.Path(workdir) / "splits.json"
    if path.exists():
        folds = _read(config, cohort, path)
        checks.check(config, cohort, folds, str(path))
        used = {unit for fold in folds for part in (fold.train, fold.val, fold.test) for unit in part}
        unused = sum(unit.unit not in used for unit in cohort.units)
        if unused:
            logging.warning("%d units of the cohort are in no part of %s and are not used", unused, path)
        return folds
    folds = make_splits(config, cohort)
    _write(config, folds, path)
    return folds


def strata(config, cohort) -> list[float | None]:
    """A label a unit that the parts are balanced on: of `split.stratify`, else of `evaluate.primary`, else of the first task."""
    tasks = tuple(config.cohort.outcomes)
    task = config.split.stratify or config.evaluate.primary or (tasks[0] if tasks else "")
    if task and task not in tasks:
        raise InputError(f"config.split.stratify '{task}' is no task of config.cohort.outcomes. Known: {', '.join(tasks) or 'none'}.")
    return [unit.labels.get(task) for unit in cohort.units]


def by_patient(config, cohort, units) -> list[Group]:
    """Groups of one patient each, of some of the units."""
    return join(cohort.units, strata(config, cohort), only=set(units))


def hold_back(config, groups: list[Group], rng) -> tuple[list[Group], list[Group]]:
    """(val, train): `split.inner_share` of the groups, stratified, for early stopping, thresholds and recalibration."""
    share = config.split.inner_share
    if not 0 < share < 1:
        raise InputError(f"config.split.inner_share is {share}: it must lie between 0 and 1, for example 0.2.")
    val, train = deal(groups, (share, 1 - share), rng)
    return val, train


def inner_folds(config, cohort, repeat: int, fold: int, units) -> tuple[InnerFold, ...]:
    """`split.inner_folds` folds of an outer training part (unit ids of train and val), by patient, stratified."""
    count = config.split.inner_folds
    if count == 0:
        return ()
    if count < 2:
        raise InputError(f"config.split.inner_folds is {count}: it must be 0 (no fusion is fitted) or at least 2.")
    rng = np.random.default_rng([config.split.seed, repeat, fold, 2])
    parts = deal(by_patient(config, cohort, units), (1 / count,) * count, rng)
    found = []
    for number, holdout in enumerate(parts):
        rest = [group for other, part in enumerate(parts) if other != number for group in part]
        val, train = hold_back(config, rest, rng)
        found.append(InnerFold(*(ids(cohort, part) for part in (train, val, holdout))))
    return tuple(found)


def ids(cohort, groups: list[Group]) -> tuple[str, ...]:
    """Unit ids of groups, in the order of the table."""
    return tuple(cohort.units[row].unit for row in sorted(row for group in groups for row in group.rows))


def _read(config, cohort, path) -> list[Fold]:
    """The folds of a file, inner ones made where it has none."""
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is not readable json ({type(error).__name__}: {error}): {checks.REMEDY}.") from None
    outer = [_fold(f"{path}, fold {place + 1} of the file", entry) for place, entry in enumerate(_entries(path, content))]
    checks.check_ids(cohort, outer, str(path))
    checks.check_count(config, outer, str(path))
    made = [fold.inner or inner_folds(config, cohort, fold.repeat, fold.fold, fold.train + fold.val) for fold in outer]
    return [dataclasses.replace(fold, inner=inner) for fold, inner in zip(outer, made, strict=True)]


def _entries(path, content) -> list:
    """The list of folds of a file's content."""
    checks.check_keys(str(path), content, required=("folds",), known=("kind", "folds"))
    if not isinstance(content["folds"], list):
        raise InputError(f"{path}: 'folds' must be a list: {checks.REMEDY}.")
    return content["folds"]


def _fold(where: str, entry) -> Fold:
    """A fold of a file, `inner` empty where it has none."""
    parts, numbers = ("train", "val", "test"), ("repeat", "fold")
    checks.check_keys(where, entry, required=(*numbers, *parts), known=(*numbers, *parts, "inner"))
    for name in numbers:
        if not isinstance(entry[name], int) or isinstance(entry[name], bool) or not 0 <= entry[name] < 2**31:
            raise InputError(f"{where}: '{name}' must be a whole number from 0: {checks.REMEDY}.")
    if not isinstance(entry.get("inner", []), list):
        raise InputError(f"{where}: 'inner' must be a list of inner folds: {checks.REMEDY}.")
    inner = []
    for number, one in enumerate(entry.get("inner", ())):
        held = ("train", "val", "holdout")
        checks.check_keys(f"{where}, inner {number}", one, required=held, known=held)
        inner.append(InnerFold(*(checks.check_part(f"{where}, inner {number}", name, one[name]) for name in held)))
    return Fold(entry["repeat"], entry["fold"], *(checks.check_part(where, name, entry[name]) for name in parts), tuple(inner))


def _write(config, folds: list[Fold], path):
    """`splits.json`, one part a line, whole or not at all."""
    lines = []
    for fold in folds:
        inner = ",\n".join("    " + _parts(one, ("train", "val", "holdout")) for one in fold.inner)
        inner = f"[\n{inner}\n   ]" if inner else "[]"
        outer = ",\n   ".join(f'"{name}": {json.dumps(getattr(fold, name), ensure_ascii=False)}' for name in ("train", "val", "test"))
        lines.append(f'  {{"repeat": {fold.repeat}, "fold": {fold.fold},\n   {outer},\n   "inner": {inner}}}')
    content = f'{{"kind": {json.dumps(config.split.kind)}, "folds": [\n' + ",\n".join(lines) + "\n]}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.partial"
    temporary.write_text(content)
    temporary.replace(path)


def _parts(fold: InnerFold, names) -> str:
    return json.dumps({name: getattr(fold, name) for name in names}, ensure_ascii=False)
