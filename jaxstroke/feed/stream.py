"""The cohort on disk: grain reads the pixels of the next batches in threads while the device computes; everything small is resident.

Rows come from the same plan as the resident feed's, shuffled over the whole cohort, and go through the same jitted call, so both give the
same batches. A host reads only the rows of its own devices.
"""

import dataclasses
from collections.abc import Iterator

import grain
import jax
import numpy as np

from jaxstroke.feed import resident
from jaxstroke.preprocess import records

SPLIT = jax.P("run", None, "data")


@dataclasses.dataclass(frozen=True)
class Stored:
    """Pixels of an image that stay on disk. places: `n`, the record of each row in `folder`. shape: s h w c of one, stored as `dtype`."""

    folder: str
    places: np.ndarray
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Of all rows."""
        return len(self.places) * int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class Stream:
    """A feed: see `resident.Resident`. stored: by image; arrays: of everything else. ahead: batches read in advance."""

    def __init__(
        self, arrays: dict[str, np.ndarray], stored: dict[str, Stored], mesh: jax.sharding.Mesh, augment, ahead: int, buckets=None,
        paired=None,
    ):  # fmt: skip
        self.data = resident.place(arrays, mesh)
        self.stored, self.ahead, self.buckets = stored, ahead, buckets
        self.sharding = jax.NamedSharding(mesh, SPLIT)
        self.records = {name: records.open_records(one.folder) for name, one in stored.items()}
        self.takes = {train: resident.make_take(mesh, change) for train, change in resident.changes(augment, paired).items()}

    def batches(self, table: np.ndarray, seeds: np.ndarray, steps: np.ndarray, train: bool) -> Iterator[dict[str, jax.Array]]:
        options = grain.ReadOptions(num_threads=self.ahead, prefetch_buffer_size=self.ahead)
        source = grain.MapDataset.source(Pixels(self.stored, self.records, table, self.sharding))
        read = iter(source.to_iter_dataset(options))
        try:
            for rows, step, parts in zip(table, steps, read, strict=True):
                yield self.takes[train](self.data, self.placed(parts, rows.shape), rows, seeds, step, resident.cut(self.buckets, rows))
        finally:
            read.close()

    def placed(self, parts: dict, shape: tuple[int, ...]) -> dict[str, jax.Array]:
        """What `Pixels` read on this host as arrays over all devices."""
        found = {}
        for name, one in self.stored.items():
            whole = (*shape, *one.shape)
            found[f"images/{name}"] = jax.make_array_from_callback(
                whole, self.sharding, lambda index, name=name: parts[name][place(index, shape)]
            )
        return found

    def example(self, rows: np.ndarray, seeds: np.ndarray, steps: np.ndarray) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of a batch."""
        pixels = {
            f"images/{name}": jax.ShapeDtypeStruct((*rows.shape, *one.shape), one.dtype, sharding=self.sharding)
            for name, one in self.stored.items()
        }
        return jax.eval_shape(self.takes[False], self.data, pixels, rows, seeds, steps)


class Pixels:
    """Grain source: step -> {image: {part of the batch: its rows' pixels}}, for the parts of the batch that this host's devices hold."""

    def __init__(self, stored: dict[str, Stored], found: dict[str, records.Records], table: np.ndarray, sharding: jax.NamedSharding):
        self.stored, self.found, self.table = stored, found, table
        shape = table.shape[1:]
        indices = sharding.addressable_devices_indices_map(shape).values()
        self.parts = sorted({place(index, shape) for index in indices})

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Pixels({len(self)} steps of {', '.join(self.stored)})"

    def __getitem__(self, step: int) -> dict:
        return {name: {part: self.read(name, step, part) for part in self.parts} for name in self.stored}

    def read(self, name: str, step: int, part: tuple) -> np.ndarray:
        """Pixels of a part of a step's rows, zeros where a row is padding or has no such image."""
        one = self.stored[name]
        rows = self.table[step][tuple(slice(*ends) for ends in part)]
        pixels = np.zeros((rows.size, *one.shape), one.dtype)
        for number, row in enumerate(rows.reshape(-1)):
            if row >= 0:
                record = self.found[name][int(one.places[row])]
                if not record["missing"]:
                    pixels[number] = record["array"]
        return pixels.reshape(*rows.shape, *one.shape)


def place(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """A device's part of an array whose leading axes are `shape`, as (start, stop) of each of these."""
    return tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=False))
