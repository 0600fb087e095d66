"""What must hold of any splits, made or edited: known ids, no patient in two parts, both classes in every part."""

from absl import logging

from jaxstroke import outcomes
from jaxstroke.cohort.labels import word
from jaxstroke.errors import InputError, nearest

REMEDY = "delete the file to make splits anew, or mend it"
CHANGED = f"If the table has changed, {REMEDY}"


def check(config, cohort, folds, source: str):
    """All checks; raises InputError naming the patient, or the fold, part and task. source: the file or config section in the message."""
    check_ids(cohort, folds, source)
    patients = {unit.unit: unit.patient for unit in cohort.units}
    for fold in folds:
        where = f"{source}, repeat {fold.repeat}, fold {fold.fold}"
        check_apart(where, patients, {"train": fold.train, "val": fold.val, "test": fold.test})
        own = {patients[unit] for unit in (*fold.train, *fold.val)}
        for number, inner in enumerate(fold.inner):
            parts = {"train": inner.train, "val": inner.val, "holdout": inner.holdout}
            check_apart(f"{where}, inner {number}", patients, parts)
            for unit in (unit for part in parts.values() for unit in part):
                if patients[unit] not in own:
                    raise InputError(
                        f"{where}, inner {number}: patient '{patients[unit]}' is not in train or val of that fold, so its fusion would see "
                        f'test patients. Delete that fold\'s "inner", it is then made anew; or {REMEDY}.'
                    )
    check_classes(config, cohort, folds, source)
    warn_of_untrained(config, cohort, folds, source)


def check_keys(where: str, entry, required, known):
    """An entry of an edited file has its keys, and no other: a misspelt one would be passed over in silence."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} must be an object with {', '.join(required)}: {REMEDY}.")
    for key in required:
        if key not in entry:
            raise InputError(f"{where} has no '{key}': {REMEDY}.")
    for key in entry:
        if key not in known:
            raise InputError(f"{where}: '{key}' is unknown.{nearest(key, known)}")


def check_part(where: str, name: str, units) -> tuple[str, ...]:
    """The unit ids of a part, as the table writes them; 7 stands for "7", not for "007"."""
    if not isinstance(units, list) or not all(isinstance(unit, (str, int)) and not isinstance(unit, bool) for unit in units):
        raise InputError(f"{where}: part '{name}' must be a list of ids: {REMEDY}.")
    return tuple(map(str, units))


def check_count(config, folds, source: str):
    """As many folds as the config asks for, where it is the config that says how many."""
    wanted = config.split.folds * config.split.repeats
    if config.split.kind in ("kfold", "group") and len(folds) != wanted:
        raise InputError(
            f"{source} has {len(folds)} folds, but config.split.folds = {config.split.folds} and config.split.repeats = "
            f"{config.split.repeats} make {wanted}: set those two to what the file has, or {REMEDY}."
        )


def check_ids(cohort, folds, source: str):
    """Every id is a unit of the cohort, and no (repeat, fold) is there twice."""
    if not folds:
        raise InputError(f"{source} has no folds: {REMEDY}.")
    known = {unit.unit for unit in cohort.units}
    seen = set()
    for fold in folds:
        if (fold.repeat, fold.fold) in seen:
            raise InputError(f"{source} has repeat {fold.repeat}, fold {fold.fold} twice: {REMEDY}.")
        seen.add((fold.repeat, fold.fold))
        for part in (fold.train, fold.val, fold.test, *(ids for one in fold.inner for ids in (one.train, one.val, one.holdout))):
            for unit in part:
                if unit not in known:
                    hint = nearest(unit, known) if len(known) < 2000 else ""
                    hint = hint if hint.startswith(" Did") else ""
                    raise InputError(f"{source}, fold {fold.fold}: '{unit}' is not in the cohort.{hint} {CHANGED}.")


def check_apart(where: str, patients: dict[str, str], parts: dict[str, tuple[str, ...]]):
    """No patient is in two parts, no unit twice in one, no part empty."""
    home: dict[str, str] = {}
    for name, units in parts.items():
        if not units:
            raise InputError(f"{where}: part '{name}' is empty. Set fewer config.split.folds or inner_folds, or another inner_share.")
        if len(set(units)) < len(units):
            twice = next(unit for unit in units if units.count(unit) > 1)
            raise InputError(f"{where}: '{twice}' is twice in part '{name}': {REMEDY}.")
        for unit in units:
            if home.setdefault(patients[unit], name) != name:
                raise InputError(
                    f"{where}: patient '{patients[unit]}' is in part '{home[patients[unit]]}' and in part '{name}'. A patient, with all "
                    f"studies, must be in one part: {REMEDY}."
                )


def check_classes(config, cohort, folds, source: str):
    """Two classes of every task without levels are in every part that is fitted or scored: both of a binary one."""
    tasks = [task for task, outcome in config.cohort.outcomes.items() if outcomes.of_rule(outcome[1]) != "ordinal"]
    labels = {unit.unit: unit.labels for unit in cohort.units}
    for fold in folds:
        parts = {"train": fold.train, "val": fold.val, "test": fold.test}
        for number, inner in enumerate(fold.inner):
            parts |= {f"inner {number} {name}": getattr(inner, name) for name in ("train", "val", "holdout")}
        for name, units in parts.items():
            for task in tasks:
                found = {labels[unit].get(task) for unit in units} - {None}
                if len(found) < 2:
                    where = f"{source}, repeat {fold.repeat}, fold {fold.fold}: part '{name}' ({len(units)} units)"
                    raise InputError(one_class(where, task, {word(config.cohort.outcomes[task], one) for one in found}))


def warn_of_untrained(config, cohort, folds, source: str):
    """Say which of several classes, though somebody has it, is in no training patient of a fold: that network cannot learn it."""
    labels = {unit.unit: unit.labels for unit in cohort.units}
    for task in config.cohort.outcomes:
        if outcomes.of_rule(config.cohort.outcomes[task][1]) != "classes":
            continue
        trained = [{labels[unit].get(task) for unit in fold.train} for fold in folds]
        for place in sorted({of[task] for of in labels.values() if of.get(task) is not None}):
            lacking = sum(place not in found for found in trained)
            if lacking:
                name = word(config.cohort.outcomes[task], place)
                logging.warning(
                    "%s: nobody with %s = %s is trained on in %d of %d folds, whose networks cannot learn it: set "
                    "config.split.stratify = '%s', fewer folds, or join it with another class",
                    source, task, name, lacking, len(folds), task,
                )  # fmt: skip


def one_class(where: str, task: str, found: set[str]) -> str:
    """The message for a part without two classes."""
    only = f"only class {found.pop()}" if found else "no label"
    return (
        f"{where} has {only} of task '{task}', so nothing can be fitted or scored there. Set fewer config.split.folds or inner_folds, "
        f"config.split.stratify = '{task}', or take the task out of config.cohort.outcomes and config.loss."
    )
