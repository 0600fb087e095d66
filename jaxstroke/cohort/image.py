"""What a reader returns, and what an affine must be."""

from dataclasses import dataclass

import numpy as np

from jaxstroke.cohort.files import ReadError

LONGEST_VOXEL = 1000.0  # mm; an axis that is longer, or a thousandth of a millimetre, is a broken header
SHORTEST_VOXEL = 0.001
FARTHEST = 1e6  # mm of a voxel from the scanner's centre
FLATTEST = 0.01  # of a voxel's volume to that of a box with its sides: below, two axes are one
LARGEST_VALUE = 1e15  # squares and sums of it are still numbers in single precision, and so are quotients of
SMALLEST_VALUE = 1e-15  # the largest value of an image


@dataclass(frozen=True)
class Image:
    """What a file holds.

    array   NIfTI, DICOM: (x, y, z) or (x, y, z, t); picture: (h, w, c), c = 1 or 3, unsigned; slice as a picture: (h, w, 1) in HU;
            archive: as in it. May be read-only
    affine  (4, 4) float64, voxel index to mm in RAS, or None for a picture; an archive says none: 1 mm
    time    the array has a time axis, the fourth
    notes   what was done to a file that could be used, for `prepare_report.csv`: a tilt corrected, slices resampled
    hounsfield   of a picture: its values are HU, not levels of grey
    """

    array: np.ndarray
    affine: np.ndarray | None
    time: bool
    notes: tuple[str, ...] = ()
    hounsfield: bool = False


def check_affine(affine: np.ndarray):
    """Refuse an affine that holds no lengths in mm, cannot be inverted, or has voxels of no possible size."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > FARTHEST:
        raise ReadError("its affine holds no lengths in mm: the header's orientation is broken")
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if sides.min() == 0 or abs(np.linalg.det(affine[:3, :3] / sides)) < FLATTEST:
        raise ReadError("its affine cannot be inverted: the header's orientation is broken")
    if sides.min() < SHORTEST_VOXEL or sides.max() > LONGEST_VOXEL:
        raise ReadError(f"its voxels measure {' x '.join(f'{side:g}' for side in sides)} mm: the header's spacing is broken")


def check_values(array: np.ndarray):
    """Refuse what arithmetic in single precision cannot hold. NaN and Inf show in the extremes, without an array of their own."""
    if array.dtype.kind != "f" and array.dtype.itemsize <= 4:
        return
    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        raise ReadError("it holds NaN or Inf")
    largest = max(-float(low), float(high))
    if largest > LARGEST_VALUE:
        raise ReadError(f"it holds values beyond {LARGEST_VALUE:g}: a mark for missing voxels? Set them to 0")
    if 0 < largest < SMALLEST_VALUE:
        raise ReadError(f"all its values are below {SMALLEST_VALUE:g}: is the header's slope right?")
