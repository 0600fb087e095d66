"""Clinical columns as numbers: a schema fixed without looking at outcomes, raw values with masks, and numbers fitted per fold.

An expanded column is a numeric variable, one level of a categorical variable, or one group of diagnosis codes, as an indicator; every
variable with indicators has a last one `other`, so an unseen level or group at prediction time has a place. Of levels one is there, of
groups any number. Shapes never depend on the fold.
"""

import dataclasses
import json
import math
import re

import numpy as np

from jaxstroke.cohort import labels
from jaxstroke.cohort.columns import check_one_kind
from jaxstroke.errors import InputError

OTHER = "other"
MOST_LEVELS = 64
WHOLE = re.compile(r"-?[0-9]{1,16}")


@dataclasses.dataclass(frozen=True)
class Schema:
    """Names and places of the expanded columns.

    numeric     names of the numeric variables
    categorical ((name, levels), ...) without `other`, which is always the last indicator
    codes       ((name, groups), ...) of ICD-10, see `cohort.icd10`, likewise: those that occur in the table
    """

    numeric: tuple[str, ...]
    categorical: tuple[tuple[str, tuple[str, ...]], ...]
    codes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """The source columns in order; each has one missing flag."""
        return (*self.numeric, *(name for name, _ in (*self.categorical, *self.codes)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The k expanded columns: `age`, ..., `sex=F`, `sex=M`, `sex=other`, ..., `diagnoses: I60-I69`, `diagnoses: other`."""
        levels = (f"{name}={level}" for name, levels in self.categorical for level in (*levels, OTHER))
        return (*self.numeric, *levels, *(f"{name}: {group}" for name, groups in self.codes for group in (*groups, OTHER)))

    @property
    def source(self) -> tuple[int, ...]:
        """(k,) index into `variables` of each expanded column."""
        counts = [1] * len(self.numeric) + [len(levels) + 1 for _, levels in (*self.categorical, *self.codes)]
        return tuple(variable for variable, count in enumerate(counts) for _ in range(count))

    @property
    def first(self) -> tuple[int, ...]:
        """First expanded column of each variable: `1 - mask[:, first]` are the missing flags."""
        source = self.source
        return tuple(source.index(variable) for variable in range(len(self.variables)))

    @property
    def indicator(self) -> tuple[bool, ...]:
        """(k,) True where the expanded column is a level of a categorical variable, or a group of codes."""
        return tuple(variable >= len(self.numeric) for variable in self.source)


def level_text(value) -> str:
    """A level as it is compared: '1.0', '01' and 1 are one level, as tables written by different programs disagree on them."""
    text = str(value).strip()
    number = labels.number(text)
    return str(int(number)) if number is not None and abs(number) < 2**53 and number == int(number) else text


def _levels(name: str, wanted, units) -> tuple[str, ...]:
    """Levels of a column: the config's, or those of the table in natural order."""
    if wanted:
        levels = [level_text(level) for level in wanted]
    else:
        found = {level_text(unit.clinical[name]) for unit in units if unit.clinical[name] is not None}
        numbers = all(WHOLE.fullmatch(level) for level in found)
        levels = sorted(found, key=int) if numbers else sorted(found)
    if len(levels) > MOST_LEVELS:
        raise InputError(
            f"clinical column '{name}' has {len(levels)} levels (at most {MOST_LEVELS}): move it to config.clinical.numeric,"
            f" or list the levels that matter in config.clinical.categorical.{name}; the rest becomes '{OTHER}'."
        )
    return tuple(level for level in dict.fromkeys(levels) if level != OTHER)


def schema(config, units) -> Schema:
    """The schema of a cohort: levels from the config, else from the table; outcomes are not looked at."""
    numeric = tuple(config.clinical.numeric)
    check_one_kind(config)
    categorical = tuple((name, _levels(name, levels, units)) for name, levels in sorted(config.clinical.categorical.items()))
    return Schema(numeric, categorical, tuple((name, _groups(name, units)) for name in sorted(config.clinical.codes)))


def _groups(name: str, units) -> tuple[str, ...]:
    """Groups of a column's codes that the table has: a group that nobody has would be a constant in every fold."""
    return tuple(sorted({group for unit in units for group in unit.clinical[name] or ()}))


def seen(schema: Schema, names) -> Schema:
    """The part of a schema with these columns."""
    categorical, codes = (tuple(item for item in items if item[0] in names) for items in (schema.categorical, schema.codes))
    return Schema(tuple(name for name in schema.numeric if name in names), categorical, codes)


def encode(schema: Schema, unit) -> tuple[np.ndarray, np.ndarray]:
    """Raw values (k,) and mask (k,), float32, of a unit; a missing variable has value 0 and mask 0 in all its columns."""
    values, mask = [], []
    for name in schema.numeric:
        value = unit.clinical[name]
        known = value is not None and math.isfinite(value)
        values.append(float(value) if known else 0.0)
        mask.append(float(known))
    for name, levels in schema.categorical:
        value = unit.clinical[name]
        text = None if value is None else level_text(value)
        place = len(levels) if text not in levels else levels.index(text)
        values += [float(text is not None and i == place) for i in range(len(levels) + 1)]
        mask += [float(text is not None)] * (len(levels) + 1)
    for name, groups in schema.codes:
        known = unit.clinical[name]
        found = set(known or ())
        values += [float(group in found) for group in groups] + [float(bool(found - set(groups)))]
        mask += [float(known is not None)] * (len(groups) + 1)
    return np.asarray(values, np.float32), np.asarray(mask, np.float32)


def encode_all(schema: Schema, units) -> tuple[np.ndarray, np.ndarray]:
    """Raw values (n, k) and mask (n, k) of several units."""
    rows = [encode(schema, unit) for unit in units]
    shape = (len(rows), len(schema.columns))
    return np.asarray([v for v, _ in rows], np.float32).reshape(shape), np.asarray([m for _, m in rows], np.float32).reshape(shape)


def fit(schema: Schema, values: np.ndarray, mask: np.ndarray, rows, scaling: str = "standard") -> dict[str, np.ndarray]:
    """Numbers of one fold from its training rows only: `median`, `mean`, `scale`, each (k,) float32.

    Apply as `x = where(mask, values, median); x = (x - mean) / scale`. A numeric column is imputed by the median of its known values, an
    indicator by 0 (no level, no such diagnosis); mean and scale are those of the imputed column. A column never seen has median 0, a
    constant one scale 1.
    rows: indices of training rows; negative ones (padding of a run) are left out.
    scaling: standard (to mean 0 and deviation 1) | minmax (to 0 to 1: mean is then the lowest value, scale the range).
    """
    rows = np.asarray(rows, np.int64)
    rows = rows[rows >= 0]
    values, known = values[rows].astype(np.float64), mask[rows] > 0
    median = np.zeros(values.shape[1])
    for column, indicator in enumerate(schema.indicator):
        if not indicator and known[:, column].any():
            median[column] = np.median(values[known[:, column], column])
    imputed = np.where(known, values, median)
    mean, scale = SCALINGS[scaling](imputed) if len(rows) else (np.zeros_like(median), np.ones_like(median))
    scale = np.where(scale > 1e-6 * np.maximum(1.0, np.abs(mean)), scale, 1.0)
    return {"median": median.astype(np.float32), "mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}


def standard(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values.mean(0), values.std(0)


def minmax(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values.min(0), np.ptp(values, 0)


SCALINGS = {"standard": standard, "minmax": minmax}


def to_json(schema: Schema) -> dict:
    """The schema as json values."""
    found = {"numeric": list(schema.numeric), "categorical": [[name, list(levels)] for name, levels in schema.categorical]}
    codes = [[name, list(groups)] for name, groups in schema.codes]
    return found | ({"codes": codes} if codes else {})  # without codes as it has always been: its hash is kept


def from_json(value) -> Schema:
    """The schema back from `to_json`, given as a dict or as text."""
    value = json.loads(value) if isinstance(value, str) else value
    categorical, codes = (tuple((name, tuple(one)) for name, one in value.get(kind, ())) for kind in ("categorical", "codes"))
    return Schema(tuple(value["numeric"]), categorical, codes)
