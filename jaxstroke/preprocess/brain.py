"""Where the head is: a mask file, or a foreground threshold with morphology at low resolution; and the geometry of a reference image.

The masks serve to centre the grid, to choose slices, to normalise, and to see whether two modules lie over each other. They are no skull
strip: papers.md 1.4 asks for a brain mask; give a mask column where a true one exists.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from jaxstroke.cohort.readers import ReadError
from jaxstroke.preprocess import volume

LONGEST = 64  # voxels an axis of the low-resolution mask may have
FEWEST = 0.005  # share of the field of view below which there is no head
HOUNSFIELD_AIR = -500.0  # a minimum below this is a CT; skin and everything inside lies above -300 HU
HOUNSFIELD_SKIN = -300.0


@dataclasses.dataclass(frozen=True)
class Foreground:
    """A boolean mask (x y z) and the affine of its voxels."""

    mask: np.ndarray
    affine: np.ndarray  # 4 x 4

    def on(self, grid: volume.Grid) -> np.ndarray:
        """The mask on a grid, (s, h, w) bool."""
        return volume.resample(self.mask, self.affine, grid, partial=True)[0] > 0.5


@dataclasses.dataclass(frozen=True)
class Geometry:
    """What other images take from a reference: axial geometry, head and its centre.

    affine, shape  of the axial geometry (volume.axial_geometry)
    centre         (3,) index in it: middle of the head's bounding box, of the field of view where there is no mask
    slices         (first, last) of its own slices that hold brain
    foreground     or None
    """

    affine: np.ndarray
    shape: np.ndarray
    centre: np.ndarray
    slices: tuple[float, float]
    foreground: Foreground | None


def geometry(affine: np.ndarray, shape, foreground: Foreground | None) -> Geometry:
    """The geometry of an image with this affine and (x, y, z) shape."""
    axial, axial_shape = volume.axial_geometry(affine, shape)
    low, high = np.zeros(3), axial_shape - 1.0
    if foreground is not None:
        matrix = np.linalg.solve(axial, foreground.affine)
        places = np.argwhere(foreground.mask) @ matrix[:3, :3].T + matrix[:3, 3]
        half = np.abs(matrix[:3, :3]).sum(1) / 2 - 0.5  # a low-resolution voxel stands for its neighbours too
        low, high = np.maximum(places.min(0) - half, low), np.minimum(places.max(0) + half, high)
        if (low > high).any():
            raise ReadError("its brain mask lies outside its field of view")
    return Geometry(axial, axial_shape, (low + high) / 2, (float(low[0]), float(high[0])), foreground)


def from_mask(array: np.ndarray, affine: np.ndarray) -> Foreground:
    """The foreground that a mask file marks."""
    thin, thin_affine = thinned(array, affine)
    mask = volume.marked(thin)
    if not mask.any():
        raise ReadError("its brain mask is empty")
    return Foreground(mask, thin_affine)


def find(array: np.ndarray, affine: np.ndarray) -> Foreground:
    """The head in an image: threshold, opening, largest component, closing, holes filled. Raises ReadError where there is none."""
    thin, affine = thinned(array, affine)
    axial = axial_axis(affine)
    mask = above_background(thin, axial)
    cube = ndimage.generate_binary_structure(3, 1)
    opened = ndimage.binary_opening(mask, cube)  # cuts bridges to the head rest; an image of two slices has nothing to open
    mask = opened if opened.any() else mask
    labels, count = ndimage.label(mask, cube)
    if count > 1:
        mask = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    mask = closed(mask, 2)
    in_plane = np.moveaxis(np.moveaxis(cube, axial, 0) & np.array([False, True, False])[:, None, None], 0, axial)
    mask = ndimage.binary_fill_holes(mask, in_plane)  # a plane at a time: sinuses and ears open the head from plane to plane
    if mask.mean() < FEWEST:
        raise ReadError("no head found in it: give a mask column in brain_mask, or brain_mask 'none'")
    return Foreground(mask, affine)


def thinned(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every k-th voxel along each axis, so that none is longer than LONGEST, and the affine of what is left."""
    steps = [-(-n // LONGEST) for n in array.shape]
    return array[:: steps[0], :: steps[1], :: steps[2]], affine @ np.diag([*steps, 1.0])


def closed(mask: np.ndarray, iterations: int) -> np.ndarray:
    """Binary closing that does not eat from the border of the array."""
    inner = (slice(iterations, -iterations),) * 3
    return ndimage.binary_closing(np.pad(mask, iterations), iterations=iterations)[inner]


def axial_axis(affine: np.ndarray) -> int:
    """The array axis that runs most along inferior-superior."""
    return int(np.argmax(np.abs(affine[2, :3]) / volume.spacing(affine)))


def above_background(array: np.ndarray, axial: int) -> np.ndarray:
    """Voxels that are not background, by the kind of background the image has.

    A CT is cut between air and skin. An image whose sides hold one value (stripped or masked, like perfusion maps, whose normal tissue
    is near zero too) is cut at that value. Any other has noise around the head and is cut between that noise and typical tissue.
    """
    low = array.min()
    if low < HOUNSFIELD_AIR:
        return array > HOUNSFIELD_SKIN
    sides = [np.moveaxis(array, axis, 0)[[0, -1]].ravel() for axis in range(3) if axis != axial]
    border = np.concatenate(sides)
    for value in (0, low):
        if np.mean(border == value) >= 0.9:
            return closed(array != value, 1)  # tissue may hold that value too, as a scatter of holes
    tissue = np.median(array[array > otsu(array)])
    return array > otsu(np.minimum(array, tissue))  # fat, liquor and lesions would pull the threshold into the tissue


def otsu(array: np.ndarray) -> float:
    """The threshold with the largest variance between classes (Otsu 1979), values clipped at the 99th percentile."""
    values = np.minimum(array, np.percentile(array, 99)).ravel().astype(np.float64)  # single precision has no 128 steps in some ranges
    counts, edges = np.histogram(values, bins=128)
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    total = np.cumsum(counts * middle)
    above = counts.sum() - below
    spread = (total[:-1] / np.maximum(below, 1) - (total[-1] - total[:-1]) / np.maximum(above, 1)) ** 2 * below * above
    return float(edges[1 + np.argmax(spread)])
