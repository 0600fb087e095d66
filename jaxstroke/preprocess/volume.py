"""From a scanner's voxels to a patient's grid, through affines: geometry in world millimetres (RAS+), resampling, cropping.

Stored arrays are `(s, h, w)`: s axial slices from inferior to superior, h rows from anterior to posterior, w columns from the patient's
left to the patient's right. An affine here maps voxel indices of its array (in the order of its axes) to world millimetres.
"""

import dataclasses

import numpy as np
from nibabel import orientations
from scipy import ndimage

from jaxstroke.cohort.readers import ReadError

AXES = ("S", "P", "R")  # the direction in which each stored axis grows
MOST_SLICES = 2048  # of a volume: a whole body; more is a broken header, and the stored grid would have as many
STRAIGHT = 0.02  # source voxels a grid may drift off an axis and still count as parallel to it


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where stored voxels lie: `world = affine @ (s, h, w, 1)`."""

    shape: tuple[int, int, int]
    affine: np.ndarray  # 4 x 4

    def to_source(self, affine: np.ndarray) -> np.ndarray:
        """4 x 4: stored index (s, h, w, 1) -> voxel index in a source with this affine."""
        return np.linalg.solve(affine, self.affine)


def spacing(affine: np.ndarray) -> np.ndarray:
    """(3,) distance in mm between voxels along each axis."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def voxel_ml(affine: np.ndarray) -> float:
    """Volume of a voxel in millilitres."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000.0


def marked(mask: np.ndarray) -> np.ndarray:
    """The voxels a mask file marks: above 0 where it holds integers or booleans, above 0.5 where it holds fractions."""
    return mask > 0 if mask.dtype.kind in "biu" else mask > 0.5


def axial_geometry(affine: np.ndarray, shape) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels with axes permuted and flipped to (s, h, w): 4 x 4 affine and (3,) shape. No voxel is touched."""
    change = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(AXES))
    place = np.argsort(change[:, 0]).astype(int)
    return affine @ orientations.inv_ornt_aff(change, tuple(shape)), np.asarray(shape)[place]


def make_grid(affine: np.ndarray, native_shape, centre: np.ndarray, wanted_mm, shape) -> Grid:
    """A grid along the axes of an axial geometry (as from `axial_geometry`) around a centre.

    centre     (3,) index in the axial geometry
    wanted_mm  (3,) spacing; 0 keeps the geometry's own, on its very voxels
    shape      (3,) stored shape; where slices keep their own spacing and s > 1, all of the geometry's slices are taken, to be chosen from
    """
    shape, native = list(shape), spacing(affine)
    step, start = np.ones(3), np.zeros(3)
    for axis in range(3):
        if axis == 0 and wanted_mm[0] <= 0 and shape[0] > 1:
            shape[0] = int(native_shape[0])
            if shape[0] > MOST_SLICES:
                raise ReadError(f"it has {shape[0]} axial slices, at most {MOST_SLICES} are read")
            continue
        step[axis] = wanted_mm[axis] / native[axis] if wanted_mm[axis] > 0 else 1.0
        start[axis] = centre[axis] - step[axis] * (shape[axis] - 1) / 2
        if wanted_mm[axis] <= 0:
            start[axis] = np.ceil(start[axis] - 0.5)
    index = np.diag([*step, 1.0])
    index[:3, 3] = start
    return Grid(tuple(int(n) for n in shape), affine @ index)


def resample(array: np.ndarray, affine: np.ndarray, grid: Grid, partial: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A source volume averaged onto a grid.

    Each grid voxel is the mean of the source over the grid voxel's own extent (at least one source voxel: linear interpolation), so that
    nothing aliases when voxels grow. Where the grid leaves the source, the mean is over the part inside; with `partial` (masks) it is
    over the whole voxel, the outside counting as 0, so that the integral is kept.

    array (3-D, any real dtype), affine of its axes. Returns values (s, h, w) float32 and coverage (s, h, w): the share of each voxel inside
    the source, 0 to 1. Raises ReadError where the field of view misses the grid altogether.
    """
    matrix = grid.to_source(affine)
    array, matrix = crop_to_grid(array, matrix, grid.shape)
    axes = parallel_axes(matrix, grid.shape)
    values, coverage = _separable(array, matrix, grid.shape, axes, partial) if axes is not None else _oblique(array, matrix, grid.shape)
    coverage = np.clip(coverage, 0.0, 1.0)
    if not partial:
        values = np.where(coverage > 1e-3, values / np.maximum(coverage, 1e-3), 0.0)
    return values.astype(np.float32), coverage.astype(np.float32)


def crop_to_grid(array: np.ndarray, matrix: np.ndarray, shape) -> tuple[np.ndarray, np.ndarray]:
    """The part of a source that a grid can see, and the matrix into it. Most of a head CT with neck is never touched."""
    corners = np.array([[s, h, w, 1.0] for s in (-0.5, shape[0] - 0.5) for h in (-0.5, shape[1] - 0.5) for w in (-0.5, shape[2] - 0.5)])
    seen = (matrix @ corners.T)[:3]
    margin = 2.0 + np.linalg.norm(matrix[:3, :3], axis=1)  # the oblique prefilter reaches beyond the outermost voxel
    low = np.maximum(np.floor(seen.min(1) - margin), 0).astype(int)
    high = np.minimum(np.ceil(seen.max(1) + margin) + 1, array.shape).astype(int)
    if (low >= high).any():
        raise ReadError("its field of view does not overlap the reference grid")
    moved = matrix.copy()
    moved[:3, 3] -= low
    return array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], moved


def parallel_axes(matrix: np.ndarray, shape) -> tuple[int, int, int] | None:
    """The source axis that each grid axis runs along, or None where the grid is oblique to the source."""
    drift = np.abs(matrix[:3, :3]) * (np.asarray(shape) - 1)
    axes = tuple(int(a) for a in np.abs(matrix[:3, :3]).argmax(0))
    if len(set(axes)) < 3:
        return None
    for grid_axis, source_axis in enumerate(axes):
        drift[source_axis, grid_axis] = 0.0
    return axes if drift.sum(1).max() <= STRAIGHT else None


def averaging_weights(length: int, source_length: int, step: float, start: float) -> np.ndarray:
    """(length, source_length): row i averages the source over a box of max(1, |step|) voxels around start + i * step.

    A box one voxel wide is linear interpolation, so the cases join without a jump. A row sums to the share of its box inside the source.
    """
    width = max(1.0, abs(step))
    centre = start + step * np.arange(length)[:, None]
    cell = np.arange(source_length)[None, :]
    overlap = np.minimum(centre + width / 2, cell + 0.5) - np.maximum(centre - width / 2, cell - 0.5)
    return (np.clip(overlap, 0.0, None) / width).astype(np.float32)


def _separable(array, matrix, shape, axes, partial) -> tuple[np.ndarray, np.ndarray]:
    """Grid parallel to the source: one matrix product an axis, the one that shrinks the volume most first. Flips are in the weights."""
    weights = [averaging_weights(n, array.shape[a], matrix[a, g], matrix[a, 3]) for g, (n, a) in enumerate(zip(shape, axes, strict=True))]
    shares = [w.sum(1) for w in weights]
    coverage = shares[0][:, None, None] * shares[1][None, :, None] * shares[2][None, None, :]
    values = array.transpose(axes)
    if partial:  # a mask is almost empty: only the box around what is marked is worth a product
        box = nonzero_extent(values)
        if box is None:
            return np.zeros(shape, np.float32), coverage
        values, weights = values[box], [w[:, part] for w, part in zip(weights, box, strict=True)]
    for axis in sorted(range(3), key=lambda a: shape[a] / values.shape[a]):
        moved = np.moveaxis(values, axis, 0).astype(np.float32, copy=False)
        values = np.moveaxis(np.tensordot(weights[axis], moved, axes=(1, 0)), 0, axis)
    return values, coverage


def _oblique(array, matrix, shape) -> tuple[np.ndarray, np.ndarray]:
    """Grid oblique to the source: Gaussian prefilter with the variance of the grid voxel's extent, then linear interpolation."""
    variance = (np.sum(matrix[:3, :3] ** 2, axis=1) - 1.0) / 12.0
    sigma = np.sqrt(np.maximum(variance, 0.0))
    sigma[sigma < 0.05] = 0.0
    padded = np.pad(array.astype(np.float32), 1)  # so that a voxel at the edge fades out over its own half, as in the separable path
    source = ndimage.gaussian_filter(padded, sigma, mode="constant", truncate=3.0)
    edges = [np.pad(np.ones(n, np.float32), 1) for n in array.shape]
    edges = [ndimage.gaussian_filter1d(e, s, mode="constant", truncate=3.0) if s else e for e, s in zip(edges, sigma, strict=True)]
    inside = edges[0][:, None, None] * edges[1][None, :, None] * edges[2][None, None, :]  # what the filter makes of a volume of ones
    offset = matrix[:3, 3] + 1.0
    values, coverage = (
        ndimage.affine_transform(volume, matrix[:3, :3], offset, tuple(shape), order=1, mode="constant", prefilter=False)
        for volume in (source, inside)
    )
    return values, coverage


def nonzero_extent(array: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Slices of the smallest box around the non-zero voxels; None where there are none."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(array.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(used):
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
        array = np.moveaxis(np.moveaxis(array, axis, 0)[box[-1]], 0, axis)  # the next axis looks at what is left
    return tuple(box)
