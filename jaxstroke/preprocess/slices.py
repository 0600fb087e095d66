"""Which slices, time points or pictures become the elements of a sequence, their values on the grid, and their mask."""

import numpy as np

from jaxstroke.cohort.readers import ReadError
from jaxstroke.preprocess import normalise, volume

HALF = 0.5  # share of a grid voxel that must lie in the field of view
LEAST_AREA = 0.1  # of the largest slice's head: a slice with less shows the tip of a skull and is not chosen


def choose(valid: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Elements of a sequence of fixed size.

    valid: (n,) bool. More than `size` valid ones: evenly spaced, first and last included; fewer: all, then padding.
    Returns index (size,) int, -1 for padding, and mask (size,) float32.
    """
    found = np.flatnonzero(valid)
    if len(found) > size:
        found = found[np.rint(np.linspace(0, len(found) - 1, size)).astype(int)] if size > 1 else found[[len(found) // 2]]
    index = np.full(size, -1)
    index[: len(found)] = found
    return index, (index >= 0).astype(np.float32)


def take(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(n, ...) -> (size, ...): the chosen elements, zeros where the index is -1."""
    chosen = array[np.maximum(index, 0)]
    chosen[index < 0] = 0
    return chosen


def letterbox(height: int, width: int, shape) -> np.ndarray:
    """3 x 3: (row, column, 1) in a frame of `shape` -> (row, column, 1) in a picture, whole picture in the frame, aspect kept, centred."""
    step = max(height / shape[0], width / shape[1])
    start = [(length - 1) / 2 - step * (target - 1) / 2 for length, target in ((height, shape[0]), (width, shape[1]))]
    return np.array([[step, 0, start[0]], [0, step, start[1]], [0, 0, 1.0]])


def to_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """(h, w, any) -> (h, w, channels): grey from colour by luma (ITU-R BT.601), colour from grey by repetition."""
    if picture.shape[-1] == channels:
        return picture
    if channels == 1:
        return (picture[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32))[..., None] if picture.shape[-1] >= 3 else picture[..., :1]
    return np.repeat(picture[..., :1], channels, axis=-1) if picture.shape[-1] < 3 else picture[..., :channels]


def axial_slices(settings: dict, frames: list, grid: volume.Grid, head, reference_head):
    """Values and inside (n h w 1), place and index and mask (s,) of a volume as a sequence of axial slices.

    place: of the chosen slices among the values, -1 for padding; index: the same among the slices of the grid.

    frames: [(array x y z, affine)]; head, reference_head: (n h w) bool on the grid, or None where there is no mask.
    Slices are chosen by the reference's head, so that slice i is the same place in all modules; the mask is the module's own.
    """
    array, affine = frames[0]
    is_mask = settings["normalise"] in normalise.MASKS
    values, coverage = volume.resample(volume.marked(array) if is_mask else array, affine, grid, partial=is_mask)
    seen = coverage > HALF
    shown = head if head is not None else reference_head
    holds = (seen if shown is None else shown & seen).any(axis=(1, 2))
    candidates = np.ones(grid.shape[0], bool)
    if settings["spacing"][0] <= 0 and reference_head is not None:
        area = reference_head.sum(axis=(1, 2))
        candidates = area >= LEAST_AREA * area.max()
    index, mask = choose(candidates, settings["shape"][0])
    mask = mask * holds[np.maximum(index, 0)]
    inside = seen if head is None else seen & head
    return values[..., None], inside[..., None], index, index, mask.astype(np.float32)


def time_points(settings: dict, frames: list, grid: volume.Grid, head, reference_head):
    """Values and inside (s h w 1), place, index and mask (s,) of a time series: the one slice through the middle of the head, over time.

    frames: [(array x y z, affine), ...] in order of time; the grid has one slice; head as in `axial_slices`. index is among the frames.
    """
    index, mask = choose(np.ones(len(frames), bool), settings["shape"][0])
    values = np.zeros((len(index), *grid.shape[1:]), np.float32)
    inside = np.zeros(values.shape, bool)
    shown = True if head is None else head[0]
    for place, frame in enumerate(index[index >= 0]):
        slab, coverage = volume.resample(*frames[frame], grid)
        values[place], inside[place] = slab[0], (coverage[0] > HALF) & shown
    return values[..., None], inside[..., None], places(index), index, mask


def places(index: np.ndarray) -> np.ndarray:
    """Where the elements of an index are in an array that holds the chosen ones alone: 0, 1, ..., -1 for padding."""
    return np.where(index >= 0, np.arange(len(index)), -1)


def pictures(settings: dict, images: list) -> dict:
    """Fields of the record of photographs or single slices: each file is an element of the sequence, letterboxed."""
    if settings["kind"] == "volume":
        raise ReadError("it is a picture, but its kind in the config is 'volume'")
    size, channels = settings["shape"], settings["channels"]
    index, mask = choose(np.ones(len(images), bool), size[0])
    values = np.zeros((len(index), size[1], size[2], channels), np.float32)
    inside = np.zeros(values.shape, bool)
    matrices = [letterbox(*image.array.shape[:2], size[1:]) for image in images]
    for place, number in enumerate(index[index >= 0]):
        array, matrix = images[number].array, matrices[number]
        full = np.iinfo(array.dtype).max if array.dtype.kind == "u" and settings["normalise"] == "photograph" else 1
        rows = volume.averaging_weights(size[1], array.shape[0], matrix[0, 0], matrix[0, 2])
        columns = volume.averaging_weights(size[2], array.shape[1], matrix[1, 1], matrix[1, 2])
        picture = array.astype(np.float32)
        picture /= full  # in place: a large photograph takes a gigabyte
        picture = to_channels(picture, channels)
        values[place] = np.einsum("hr,rcx,wc->hwx", rows, picture, columns, optimize=True)
        inside[place] = ((rows.sum(1)[:, None] * columns.sum(1)) > HALF)[..., None]
    steps = [{"name": "letterbox", "matrices": [m.tolist() for m in matrices]}, {"name": "slices", "index": index.tolist()}]
    return store(settings, values, inside, places(index), mask, strip=False) | {
        "affine": np.eye(4), "shape": list(images[0].array.shape), "transforms": steps, "volume_ml": None, "reference": "",
    }  # fmt: skip


def store(settings, values, inside, place, mask, strip: bool) -> dict:
    """Normalise, choose by `place` and quantise: `array` (s h w c), `mask` (s,), `scale`, `offset`. strip: 0 outside the head."""
    values = normalise.normalise(settings["normalise"], values, inside, settings["window"])
    values = np.where(inside, values, np.float32(0)) if strip else values
    chosen = take(values, place) * mask[:, None, None, None]
    array, scale, offset = normalise.quantise(settings["normalise"], chosen, settings["dtype"])
    if array.shape[-1] != settings["channels"]:
        array = np.repeat(array, settings["channels"], axis=-1)
    return {"array": array, "mask": mask.astype(np.float32), "scale": scale, "offset": offset}
