"""The rule `within`: whether an event came within so many days of a start, from a row's dates or numbers of days.

A patient whose event came on or before the start was not at risk. One who was lost before the horizon without the event is censored: what
became of them is not known, and the label is missing. A death without the event is what the table makes of it: with its date as the event's
it counts as one; as end of follow-up it censors, which overstates the risk where many die.
"""

import datetime
from dataclasses import dataclass

from jaxstroke.cohort import labels
from jaxstroke.cohort.columns import Layout
from jaxstroke.errors import InputError

COMPACT = 10_000_000  # a number of days from here on is a date written without dashes: 20210531


@dataclass(frozen=True)
class Told:
    """What a row says of a task. label: 0, 1 or None, then `why`. followed: (days from the start, whether by the event), or None."""

    label: float | None = None
    followed: tuple[float, bool] | None = None
    why: str = ""


def kind_of(layout: Layout, rows: list[dict[str, str]], task: str) -> type | None:
    """Whether the columns of a task hold dates or numbers, by the first cell that is either; None where none is."""
    names = labels.columns_of(layout.outcomes[task])
    values = (labels.moment(row[name], layout.decimal_comma) for row in rows for name in names if row[name] not in layout.missing)
    return next((type(value) for value in values if value is not None), None)


def read(layout: Layout, row: dict[str, str], task: str, kind: type | None) -> Told:
    """The label and the follow-up of a row. kind: of `kind_of`, the same in all rows. Raises InputError on dates that cannot be.

    At most `horizon` days to the event make a 1; more, or a follow-up that reaches the horizon without it, a 0.
    """
    column, _, (first, last, horizon) = layout.outcomes[task]
    event, start, end = (_day(layout, row, name, kind) for name in (column, first, last))
    for before, name in ((start, first), (event, column)):
        if end is not None and before is not None and end < before:
            raise InputError(
                f"table {layout.source}: patient '{row[layout.id]}', column '{last}' is before column '{name}'. Correct the cells, or "
                f"leave '{last}' empty where the end of follow-up is unknown."
            )
    if start is None:
        return Told(why=f"{task}: {first} is missing")
    if event is not None and event <= start:
        return Told(why=f"{task}: {column} on or before {first}")
    if event is None and end is None:
        return Told(why=f"{task}: neither {column} nor {last}")
    happened = event is not None
    days = round((event if happened else end) - start, 6)  # what differs by rounding alone is equal
    if happened and days <= horizon:
        return Told(1.0, (days, happened))
    if days >= horizon:
        return Told(0.0, (days, happened))
    return Told(None, (days, happened), f"{task}: followed for less than {horizon:g} days without {column}")


def _day(layout: Layout, row: dict[str, str], name: str, kind: type | None) -> float | None:
    """The day in a cell: a number as it is, of a date the calendar day, as most tables hold no time of day; None where missing."""
    if row[name] in layout.missing:
        return None
    value = labels.moment(row[name], layout.decimal_comma)
    where = f"table {layout.source}: patient '{row[layout.id]}', column '{name}'"
    if value is None or (isinstance(value, float) and abs(value) >= COMPACT):
        raise InputError(f"{where} is neither a date like 2021-05-31 nor a number of days. Correct the cell, or leave it empty.")
    if type(value) is not kind:
        raise InputError(
            f"{where} is {'a date' if kind is float else 'a number'}, unlike cells before it: use dates alone or numbers alone."
        )
    return float(value.toordinal()) if isinstance(value, datetime.datetime) else value
