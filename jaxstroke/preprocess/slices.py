"""Which slices or time points become the elements of a sequence, their values on the grid, and their mask."""

import numpy as np

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


def store(settings, values, inside, place, mask, strip: bool) -> dict:
    """Normalise, choose by `place` and quantise: `array` (s h w c), `mask` (s,), `scale`, `offset`. strip: 0 outside the head."""
    values = normalise.normalise(settings["normalise"], values, inside, settings["window"])
    values = np.where(inside, values, np.float32(0)) if strip else values
    chosen = take(values, place) * mask[:, None, None, None]
    array, scale, offset = normalise.quantise(settings["normalise"], chosen, settings["dtype"])
    if array.shape[-1] != settings["channels"]:
        array = np.repeat(array, settings["channels"], axis=-1)
    return {"array": array, "mask": mask.astype(np.float32), "scale": scale, "offset": offset}
