"""How an outcome becomes a label, and how a cell becomes a number or a moment."""

import datetime
import operator
import re

from jaxstroke import outcomes
from jaxstroke.errors import InputError, nearest

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # in time linear in the cell's length
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
LARGEST = 1e30  # of a number: sums and quotients of it still fit single precision
COMPARING = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq}
RULES = (*COMPARING, "in", "ordinal", "within", "classes", "contains")
JOINED = "|"  # between the names in a cell that rule `contains` reads


def number(cell: str, decimal_comma: bool = False) -> float | None:
    """A number up to `LARGEST`, or None where the cell is none. decimal_comma: `22,84` is 22.84 (tables delimited by ';')."""
    if decimal_comma and DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    if not NUMBER.fullmatch(cell):
        return None
    value = float(cell)
    return value if abs(value) <= LARGEST else None


def moment(cell: str, decimal_comma: bool = False) -> float | datetime.datetime | None:
    """A number, or an ISO date (2021-05-31, with or without a time of day); None where the cell is neither."""
    value = number(cell, decimal_comma)
    if value is not None:
        return value
    try:
        return datetime.datetime.fromisoformat(cell).replace(tzinfo=None)
    except ValueError:
        return None


def check_rule(task: str, outcome) -> tuple[str, str, object]:
    """(column, rule, value) of a task, checked; raises InputError naming the config key."""
    key = f"config.cohort.outcomes.{task}"
    if not isinstance(outcome, (tuple, list)) or len(outcome) != 3:
        raise InputError(f"{key} must be (column, rule, value), for example ('mrs', '>', 2).")
    column, rule, value = outcome
    if not isinstance(column, str) or not column:
        raise InputError(f"{key}: its first entry is the name of a column, not {column!r}.")
    if not isinstance(rule, str) or rule not in RULES:
        raise InputError(f"{key}: unknown rule '{rule}'.{nearest(rule, RULES)}")
    if rule in ("in", "ordinal") and (not isinstance(value, (tuple, list)) or not value):
        raise InputError(f"{key}: rule '{rule}' needs a tuple of values, for example (1, 2, 3).")
    if rule in CHECKS:
        CHECKS[rule](key, column, value)
        return column, rule, value
    numbers = value if rule == "ordinal" else (value,)
    if rule in ("in", "=="):
        if not all(is_number(one) or isinstance(one, str) for one in (value if rule == "in" else (value,))):
            raise InputError(f"{key}: rule '{rule}' compares with numbers or words, not with {value!r}.")
    elif not all(is_number(one) for one in numbers):
        raise InputError(f"{key}: rule '{rule}' needs a number, or for 'ordinal' a tuple of numbers.")
    if rule == "ordinal" and list(value) not in (sorted(set(value)), sorted(set(value), reverse=True)):
        raise InputError(f"{key}: the cut-offs of 'ordinal' must rise, for example (1, 2, 3, 4, 5, 6), or fall where less is worse.")
    return column, rule, value


def check_within(key: str, column: str, value):
    """(start, end of follow-up, horizon) of a rule `within`: two more columns, and days."""
    whole = isinstance(value, (tuple, list)) and len(value) == 3 and all(isinstance(name, str) and name for name in value[:2])
    if not whole or not is_number(value[2]) or isinstance(value[2], bool) or value[2] <= 0:
        raise InputError(
            f"{key}: rule 'within' needs (column with the start, column with the end of follow-up, horizon in days), for example "
            "('stroke_date', 'within', ('scan_date', 'last_seen', 365))."
        )
    if len({column, *value[:2]}) < 3:
        raise InputError(f"{key}: rule 'within' needs three columns: the event's date, the start and the end of follow-up.")


def check_classes(key: str, column: str, value):
    """(class, class, ...) of a rule `classes`: words or numbers, each once."""
    listed = isinstance(value, (tuple, list)) and len(value) > 1 and all(is_word(one) or is_number(one) for one in value)
    if not listed or any(isinstance(one, bool) for one in value):
        raise InputError(f"{key}: rule 'classes' needs two classes or more, for example ('normal', 'infarct', 'bleeding') or (0, 1, 2).")
    names = [outcomes.class_name(one) for one in value]
    if len(set(names)) < len(names):
        raise InputError(f"{key}: class '{max(names, key=names.count)}' is named twice.")


def check_contains(key: str, column: str, value):
    """The name that a rule `contains` looks for."""
    if not is_word(value) or JOINED in value:
        raise InputError(f"{key}: rule 'contains' needs one name, for example 'bleeding' for cells such as 'bleeding|infarct'.")


def is_word(value) -> bool:
    """Whether a value of the config is text that a cell could hold."""
    return isinstance(value, str) and value.isprintable() and value == value.strip() != ""


CHECKS = {"within": check_within, "classes": check_classes, "contains": check_contains}  # of rules whose value has a form of its own


def columns_of(outcome) -> tuple[str, ...]:
    """The columns that a checked rule reads, its own first."""
    column, rule, value = outcome
    return (column, *value[:2]) if rule == "within" else (column,)


def is_number(value) -> bool:
    """Whether a value of the config is a finite number."""
    return isinstance(value, (int, float)) and -1e300 < value < 1e300  # no infinity, not NaN, and no integer beyond what a float holds


def compares_text(rule: str, value) -> bool:
    """Whether a rule compares words ("dead") and not numbers."""
    return rule in ("==", "in", "classes") and any(isinstance(one, str) for one in ((value,) if rule == "==" else value))


def place_of(cell: str, classes, decimal_comma: bool) -> int | None:
    """Which of the classes a cell holds: the same words, or where all classes are numbers the same number; None where it is no class."""
    value = cell if compares_text("classes", classes) else number(cell, decimal_comma)
    known = [outcomes.class_name(one) for one in classes] if isinstance(value, str) else list(classes)
    return known.index(value) if value in known else None


def word(outcome, found: float) -> str:
    """A label of a task as the config calls it."""
    _, rule, value = outcome
    return outcomes.KINDS["classes"].names(value)[int(found)] if outcomes.of_rule(rule) == "classes" else f"{found:g}"


def contains(cell: str, name: str) -> float:
    """Whether a cell names it, alone or among others joined by `|`."""
    return float(name in [part.strip() for part in cell.split(JOINED)])


def label(value: float | str, rule: str, reference) -> float:
    """0 or 1 by a binary rule; by `ordinal` the number of rising cut-offs that `value` reaches, or of falling ones that it is below."""
    if rule == "ordinal":
        falling = reference[0] > reference[-1]
        return float(sum(value < cut if falling else cut <= value for cut in reference))
    if rule == "in":
        return float(value in tuple(reference))
    return float(COMPARING[rule](value, reference))
