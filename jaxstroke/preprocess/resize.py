"""All of a file's voxels onto a fixed shape, whatever their size in mm: what the haemorrhage paper does with its scans (section 3.3).

In order: window, pad the slices on both sides where there are fewer than wanted, mean over the share of the volume that falls to each
stored voxel. Voxels keep the file's own order of axes, so a stored volume is (s, h, w) = (z, y, x) as the file counts them; the paper's
quarter turn and flip come to the same.
"""

import numpy as np

from jaxstroke.preprocess import normalise


def resized(settings: dict, array: np.ndarray, affine: np.ndarray) -> dict:
    """Fields of a record. array: (x, y, z) as in the file; affine: its own, 4 x 4. Raises ReadError where it does not fit the window."""
    values = array.transpose(2, 1, 0).astype(np.float32)
    values = normalise.normalise(settings["normalise"], values, np.ones(values.shape, bool), settings["window"])
    values, before = padded(values, settings["shape"][0])
    matrix = to_source(values.shape, settings["shape"], before)
    stored, scale, offset = normalise.quantise(settings["normalise"], area(values, settings["shape"]), settings["dtype"])
    shape = list(settings["shape"])
    steps = [
        {"name": "resample", "matrix": matrix.tolist(), "shape": shape, "affine": (affine @ matrix).tolist()},
        {"name": "slices", "index": list(range(shape[0]))},
    ]
    return {
        "array": stored[..., None], "mask": np.ones(shape[0], np.float32), "scale": scale, "offset": offset,
        "affine": np.asarray(affine, np.float64), "shape": list(array.shape), "transforms": steps, "volume_ml": None, "reference": "",
    }  # fmt: skip


def padded(values: np.ndarray, slices: int) -> tuple[np.ndarray, int]:
    """At least so many slices, zeros on both sides, one more behind where their number is odd; and how many stand before the first."""
    lacking = max(0, slices - len(values))
    return np.pad(values, ((lacking // 2, lacking - lacking // 2), (0, 0), (0, 0))), lacking // 2


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


def to_source(native, shape, before: int) -> np.ndarray:
    """4 x 4: stored index (s, h, w, 1) -> voxel index (x, y, z, 1) in the file. native: shape (z, y, x) after padding."""
    step = np.asarray(native, float) / np.asarray(shape)
    start = step / 2 - 0.5 - np.array([before, 0, 0])
    matrix = np.zeros((4, 4))
    for place in range(3):
        matrix[2 - place, place], matrix[2 - place, 3] = step[place], start[place]
    matrix[3, 3] = 1.0
    return matrix
