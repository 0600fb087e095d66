"""Back from stored voxels to the file they came from: the recorded transforms, inverted. Explanations end on the scanner's own grid."""

import hashlib
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from jaxstroke.errors import InputError


def _step(record: dict, name: str) -> dict:
    for step in record["transforms"]:
        if step["name"] == name:
            return step
    known = ", ".join(step["name"] for step in record["transforms"])
    raise InputError(f"unit {record['unit']}: its record has no step '{name}' (it has: {known}).")


def stored_to_source(record: dict, index: np.ndarray) -> np.ndarray:
    """(n, 3) stored (s, h, w) of a volume to (n, 3) voxel (x, y, z) of its file; NaN for padded slices. h and w may be fractions."""
    index = np.asarray(index, np.float64)
    chosen = np.asarray(_step(record, "slices")["index"])
    matrix = np.asarray(_step(record, "resample")["matrix"])
    slices = chosen[index[:, 0].astype(int)].astype(np.float64)
    grid = np.column_stack([slices, index[:, 1:], np.ones(len(index))])
    source = (grid @ matrix.T)[:, :3]
    source[slices < 0] = np.nan
    return source


def source_to_stored(record: dict, voxels: np.ndarray) -> np.ndarray:
    """(n, 3) voxel (x, y, z) of the file to (n, 3) stored (s, h, w), fractional; s is interpolated between the chosen slices."""
    matrix = np.asarray(_step(record, "resample")["matrix"])
    grid = np.column_stack([voxels, np.ones(len(voxels))]) @ np.linalg.inv(matrix).T
    chosen = np.asarray(_step(record, "slices")["index"])
    chosen = chosen[chosen >= 0]
    place = np.interp(grid[:, 0], chosen, np.arange(len(chosen)), left=np.nan, right=np.nan) if len(chosen) > 1 else grid[:, 0] - chosen[0]
    # beyond the outermost slices the last gap goes on, so that the border half-voxels of the grid map too
    if len(chosen) > 1:
        place = np.where(grid[:, 0] < chosen[0], (grid[:, 0] - chosen[0]) / (chosen[1] - chosen[0]), place)
        last = len(chosen) - 1 + (grid[:, 0] - chosen[-1]) / (chosen[-1] - chosen[-2])
        place = np.where(grid[:, 0] > chosen[-1], last, place)
    return np.column_stack([place, grid[:, 1:3]])


def to_source_grid(record: dict, values: np.ndarray) -> np.ndarray:
    """A stored map (s, h, w), say a saliency, interpolated linearly on the file's own (x, y, z) grid, float32; 0 outside the grid."""
    result = np.empty(tuple(record["shape"][:3]), np.float32)
    for z, stored in enumerate(planes(record)):
        result[..., z] = sampled(values, stored)
    return result


def planes(record: dict) -> Iterator[np.ndarray]:
    """Of each plane of the file, from z = 0: where its voxels are stored, (x, y, 3) fractional (s, h, w).

    A plane at a time: coordinates of a whole volume would take 24 bytes a voxel.
    """
    shape = tuple(record["shape"][:3])
    columns = np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), axis=-1).reshape(-1, 2)
    for z in range(shape[2]):
        yield source_to_stored(record, np.column_stack([columns, np.full(len(columns), z)])).reshape(*shape[:2], 3)


def sampled(values: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """A stored map (s, h, w) at the places of `planes`, (x, y) float32, linear; 0 outside the grid."""
    return ndimage.map_coordinates(values.astype(np.float32), np.moveaxis(stored, -1, 0), order=1, mode="grid-constant")


def path_hash(paths) -> str:
    """What a record holds of the files of its cell, in place of their names: the same wherever their folder lies; 16 hex digits."""
    return _digest(path.replace("\\", "/").rpartition("/")[2] for path in paths)


def _digest(names) -> str:
    return hashlib.sha256("|".join(names).encode()).hexdigest()[:16]


def files_of(record: dict, paths) -> list[str | None]:
    """Which file each element (s,) of a sequence of pictures comes from, None for padding. paths: those of the patient's cell.

    Raises InputError where the cell names other files than those the record was made of.
    """
    if record["path_hash"] not in (path_hash(paths), _digest(paths)):  # of whole paths in records of older versions
        raise InputError(
            f"unit {record['unit']}: its record was made of files of other names than the table's: delete its folder of records"
            " and --mode prepare makes them again."
        )
    return [paths[place] if place >= 0 else None for place in _step(record, "slices")["index"]]


def frames_of(record: dict) -> list[int]:
    """The number of each element (s,) of a sequence of pictures among those of its file, from 0; -1 of a file's only one, and padding.

    Records of older versions hold pictures of files with one each.
    """
    step = _step(record, "slices")
    return step.get("frames") or [-1] * len(step["index"])


def pick_of(record: dict) -> str:
    """The `pick` a sequence of pictures was made with."""
    return _step(record, "slices").get("pick", "even")
