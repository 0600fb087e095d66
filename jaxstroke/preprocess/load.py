"""Records to arrays in memory, in the order of a list of units: what the feed puts on a device."""

import dataclasses

import numpy as np

from jaxstroke.errors import InputError
from jaxstroke.preprocess import clinical, records


@dataclasses.dataclass(frozen=True)
class Reports:
    """What `reports.attached` knows of a cohort's masks and reports.

    lines: unit -> its line of `reports.jsonl`. territories: the atlas's numbers and names, {} without one. vocabulary: a tokenizer as json
    text, "" where one is fitted on each fold.
    """

    lines: dict[str, dict]
    territories: dict[int, str]
    vocabulary: str = ""

    def shares(self, units) -> np.ndarray:
        """`n k`: the share of each territory that is lesion, NaN where a unit has no findings."""
        found = np.full((len(units), len(self.territories)), np.nan)
        places = {number: place for place, number in enumerate(self.territories)}
        for row, unit in enumerate(_ids(units)):
            findings = self.lines[unit]["findings"]
            if findings is not None:
                found[row] = 0
                for territory in findings["territories"]:
                    found[row, places[territory["number"]]] = territory["share"]
        return found


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a preparation left behind.

    folders   image -> folder of records;  table: folder of the clinical records;  schema: see `clinical`
    digests   image (and "table") -> 64 hex digits of its settings and cohort: equal on every machine
    contents  image -> hash of the stored values: differs when a source file was replaced
    failures  ((unit, image, path, reason), ...) of the units of the cohort; pictures that others stand in for among them
    left_out  units that list images but have none that can be read
    seconds, volumes_per_second   of this call: images made a second, 0 where everything was there
    notes     ((unit, image, path, remark), ...) of files that were used: a tilt corrected, slices resampled
    reports   of the cohort, None where nothing reads them
    """

    folders: dict[str, str]
    table: str
    schema: clinical.Schema
    digests: dict[str, str]
    contents: dict[str, str]
    failures: tuple[tuple[str, str, str, str], ...]
    left_out: tuple[str, ...]
    seconds: float
    volumes_per_second: float
    notes: tuple[tuple[str, str, str, str], ...] = ()
    reports: Reports | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Clinical records of n units: values and mask (n, k) raw; labels task -> (n,), columns name -> (n,), NaN where missing; n texts."""

    values: np.ndarray
    mask: np.ndarray
    labels: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    text: tuple[str, ...]


def _ids(units) -> list[str]:
    return [unit if isinstance(unit, str) else unit.unit for unit in units]


def _place(found: records.Records, unit: str) -> int:
    if unit not in found.index:
        raise InputError(f"unit '{unit}' is not in the records {found.folder}: prepare this cohort again (--mode prepare).")
    return found.index[unit]


def load_arrays(prepared: Prepared, image: str, units, pixels: bool = True) -> tuple:
    """An image of n units (ids or Unit objects) as stored. pixels: whether they are wanted; `array` is None otherwise.

    Returns array (n, s, h, w, c) int16 or uint8, mask (n, s) float32, scale (n,) and offset (n,) float32, volume_ml (n,) float32, NaN for
    images that are no masks. Value = array * scale + offset. A missing image: array, mask and offset 0, scale 1, volume NaN.
    """
    names = _ids(units)
    found = records.open_records(prepared.folders[image])
    settings = found.manifest["settings"]
    n, size = len(names), tuple(settings["shape"])
    array = np.zeros((n, *size, settings["channels"]), settings["dtype"]) if pixels else None
    mask, volume_ml = np.zeros((n, size[0]), np.float32), np.full(n, np.nan, np.float32)
    scale, offset = np.ones(n, np.float32), np.zeros(n, np.float32)
    for row, unit in enumerate(names):
        record = found[_place(found, unit)]
        if record["missing"]:
            continue
        mask[row], scale[row], offset[row] = record["mask"], record["scale"], record["offset"]
        if pixels:
            array[row] = record["array"]
        if record["volume_ml"] is not None:
            volume_ml[row] = record["volume_ml"]
    found.close()
    return array, mask, scale, offset, volume_ml


def places(prepared: Prepared, image: str, units) -> tuple[np.ndarray, tuple[int, ...], str]:
    """Where an image of n units is in its folder of records: (number of each record, shape s h w c and dtype of the stored array)."""
    found = records.open_records(prepared.folders[image])
    settings = found.manifest["settings"]
    numbers = np.array([_place(found, unit) for unit in _ids(units)], np.int64)
    return numbers, (*settings["shape"], settings["channels"]), settings["dtype"]


def load_table(prepared: Prepared, units) -> Table:
    """The clinical records of n units (ids or Unit objects)."""
    found = records.open_records(prepared.table)
    rows = [found[_place(found, unit)] for unit in _ids(units)]
    found.close()
    k = len(prepared.schema.columns)

    def numbers(field: str) -> dict[str, np.ndarray]:
        names = dict.fromkeys(name for row in rows for name in row[field])
        cells = {name: [row[field].get(name) for row in rows] for name in names}
        return {name: np.array([np.nan if cell is None else cell for cell in column], np.float64) for name, column in cells.items()}

    values = np.array([row["values"] for row in rows], np.float32).reshape(len(rows), k)
    mask = np.array([row["mask"] for row in rows], np.float32).reshape(len(rows), k)
    return Table(values, mask, numbers("labels"), numbers("columns"), tuple(row["text"] for row in rows))
