"""What went into a network, as counts and means of a whole cohort: `inputs` of `cohort.json`, so that new patients can be set beside it.

Means and deviations of groups only; of fewer than five patients nothing is kept.
"""

import collections

import numpy as np

from jaxstroke import config as settings
from jaxstroke.evaluation.subgroups import FEWEST
from jaxstroke.preprocess import prepare
from jaxstroke.preprocess.clinical import level_text

MOST = 500  # patients whose pixels are looked at, evenly over the table
AT_ONCE = 32  # of them in memory


def inputs(config, loaded, prepared) -> dict:
    """{"n", "numbers": {name: {"known", "mean", "sd"}}, "levels": {name: {"known", "counts": {level: n}}}, "codes", "looked_at"} of loaded
    units.

    codes: as levels, of columns with diagnosis codes, of whose groups a unit has any number.
    numbers: clinical columns, the logarithm of the lesion's volume in ml, and of every image mean and deviation of a patient's stored
    values, and the share of them that is not zero. looked_at: patients whose pixels were read.
    """
    units = loaded.units
    numbers = {name: [unit.clinical.get(name) for unit in units] for name in config.clinical.numeric}
    if loaded.volume_ml is not None:
        numbers["log volume of the lesion, ml"] = np.log(np.maximum(loaded.volume_ml, 0) + 0.01)
    found = {name: described(values, len(units)) for name, values in numbers.items()}
    chosen = np.unique(np.linspace(0, len(units) - 1, min(MOST, len(units))).astype(int))
    for name in settings.image_names(config):
        table = pixels(prepared, name, [units[row] for row in chosen])
        for title, column in zip(("mean", "deviation", "share not zero"), table.T, strict=True):
            found[f"{name}: {title}"] = described(column, len(chosen))
    levels = {name: counted([unit.clinical.get(name) for unit in units]) for name in config.clinical.categorical}
    codes = {name: grouped([unit.clinical.get(name) for unit in units]) for name in config.clinical.codes}
    return {"n": len(units), "numbers": found, "levels": levels, "codes": codes, "looked_at": len(chosen)}


def described(values, of: int) -> dict:
    """{"known", "of", "mean", "sd"} of n numbers, None or NaN where missing."""
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    known = array[np.isfinite(array)]
    few = len(known) < FEWEST
    return {"known": len(known), "of": of, "mean": None if few else float(known.mean()), "sd": None if few else float(known.std())}


def counted(values: list) -> dict:
    """{"known", "of", "counts"} of n levels, None where missing; levels of fewer than five patients are counted together."""
    texts = [level_text(value) for value in values if value is not None]
    names, counts = np.unique(texts, return_counts=True)
    kept = {str(name): int(count) for name, count in zip(names, counts, strict=True) if count >= FEWEST}
    rest = len(texts) - sum(kept.values())
    if rest >= FEWEST:
        kept["others"] = kept.get("others", 0) + rest  # also where a level of the table has this name
    return {"known": len(texts), "of": len(values), "counts": kept}


def grouped(values: list) -> dict:
    """As `counted`, of n tuples of groups; those of fewer than five patients are left out."""
    known = [value for value in values if value is not None]
    counts = collections.Counter(group for value in known for group in value)
    kept = {name: counts[name] for name in sorted(counts) if counts[name] >= FEWEST}
    return {"known": len(known), "of": len(values), "counts": kept}


def pixels(prepared, name: str, units: list) -> np.ndarray:
    """`n 3`: mean, deviation and share not zero of the stored values of each unit's image, over its slices; NaN where it has none."""
    found = np.full((len(units), 3), np.nan)
    for start in range(0, len(units), AT_ONCE):
        array, mask, scale, offset, _ = prepare.load_arrays(prepared, name, units[start : start + AT_ONCE])
        for row in range(len(array)):
            values = array[row][mask[row] > 0].astype(np.float32) * scale[row] + offset[row]
            if values.size:
                found[start + row] = values.mean(), values.std(), (values != 0).mean()
    return found
