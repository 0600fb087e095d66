"""A file's voxels onto a fixed shape, whatever their size in mm.

resize: what the haemorrhage paper does with its scans (section 3.3). In order: window, 0 outside the brain mask if
there is one, pad the slices on both sides where there are fewer than wanted, mean over the share of the volume that falls to each
stored voxel.
pad: nothing is resampled; each axis is filled with zeros on both sides, or cut on both sides, to the stored length.

Voxels keep the file's own order of axes, so a stored volume is (s, h, w) = (z, y, x) as the file counts them; the paper's
quarter turn and flip come to the same.
"""

import numpy as np

from jaxstroke.preprocess import brain, normalise, volume

OF_THE_FILE = ("resize", "pad")  # values of images.<name>.sampling that go by voxels and not by mm


def resized(settings: dict, array: np.ndarray, affine: np.ndarray, foreground: brain.Foreground | None) -> dict:
    """Fields of a record. array: (x, y, z) as in the file; affine: its own, 4 x 4. Raises ReadError where it does not fit the window."""
    values = array.transpose(2, 1, 0).astype(np.float32)[..., None]
    inside = np.ones(values.shape, bool)
    if foreground is not None:
        inside = foreground.on(volume.Grid(array.shape, affine)).transpose(2, 1, 0)[..., None]
    values = normalise.normalise(settings["normalise"], values, inside, settings["window"])
    if foreground is not None:
        values = np.where(inside, values, np.float32(0))
    slices = max(settings["shape"][0], len(values))
    values, before = centred(values, settings["shape"] if settings["sampling"] == "pad" else (slices, *values.shape[1:3]))
    matrix = to_source(values.shape[:3], settings["shape"], before)
    stored, scale, offset = normalise.quantise(settings["normalise"], area(values, settings["shape"]), settings["dtype"])
    shape = list(settings["shape"])
    steps = [
        {"name": "resample", "matrix": matrix.tolist(), "shape": shape, "affine": (affine @ matrix).tolist()},
        {"name": "slices", "index": list(range(shape[0]))},
    ]
    return {
        "array": stored, "mask": np.ones(shape[0], np.float32), "scale": scale, "offset": offset,
        "affine": np.asarray(affine, np.float64), "shape": list(array.shape), "transforms": steps, "volume_ml": None, "reference": "",
    }  # fmt: skip


def centred(values: np.ndarray, shape) -> tuple[np.ndarray, tuple[int, ...]]:
    """Zeros added or voxels cut on both sides of each axis of (z, y, x, c), one more behind where odd, until it has this shape.

    Also returns how many were added before the first of each axis, negative where they were cut.
    """
    before = tuple(int(np.sign(length - n)) * (abs(length - n) // 2) for length, n in zip(shape, values.shape[:3], strict=True))
    values = values[tuple(slice(max(0, -b), max(0, -b) + length) for b, length in zip(before, shape, strict=True))]
    widths = [(max(0, b), length - n - max(0, b)) for b, length, n in zip(before, shape, values.shape[:3], strict=True)]
    return np.pad(values, [*widths, (0, 0)]), before


def area(values: np.ndarray, shape) -> np.ndarray:
    """Means over boxes, as PyTorch's `area` interpolation takes them: along each axis those voxels that a stored one touches, all alike."""
    for axis in sorted(range(3), key=lambda a: shape[a] / values.shape[a]):  # the one that shrinks most first
        if shape[axis] != values.shape[axis]:
            weights = box_weights(shape[axis], values.shape[axis])
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return values


def box_weights(length: int, source_length: int) -> np.ndarray:
    """(length, source_length): row i is the mean of the source from floor(i n / length) up to ceil((i + 1) n / length)."""
    place = np.arange(length)
    first = place * source_length // length
    behind = -(-(place + 1) * source_length // length)
    cell = np.arange(source_length)
    inside = (cell >= first[:, None]) & (cell < behind[:, None])
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)


def to_source(native, shape, before) -> np.ndarray:
    """4 x 4: stored index (s, h, w, 1) -> voxel index (x, y, z, 1) in the file. native: shape (z, y, x) after `centred`; before: its."""
    step = np.asarray(native, float) / np.asarray(shape)
    start = step / 2 - 0.5 - np.asarray(before)
    matrix = np.zeros((4, 4))
    for place in range(3):
        matrix[2 - place, place], matrix[2 - place, 3] = step[place], start[place]
    matrix[3, 3] = 1.0
    return matrix
