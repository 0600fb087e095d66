"""The brain in an unstripped head CT, by Hounsfield units and morphology, for `images.<name>.brain_mask = ct_brain`.

Bone is what averages above 200 HU, tissue and blood what lies between -20 and 100 HU. The tissue is opened with a ball of 5 mm, so that
what hangs on the brain by nerves, vessels and sutures falls off (eyes, muscles, scalp); the largest piece is grown back, and its holes
(calcifications, clips, air) are filled. Where that is too large for a brain, something hangs on by more: the ball is taken wider, and at
last only what bone encloses in axial planes, gaps of 12 mm closed, is looked at. All on a grid of about 2 mm. The upper cord stays; at a
craniectomy the scalp over the gap does. Stripped scans need none of this (`none`); a mask of a tool made for it is better (a column).
"""

import numpy as np
from scipy import ndimage

from jaxstroke.cohort.readers import ReadError
from jaxstroke.preprocess import brain, volume

COARSE = 2.0  # mm, about, of a voxel that is worked on
AIR = -500.0  # HU: a head CT has some around it; an image without is in another unit, or stripped already
BONE = 200.0
TISSUE = (-20.0, 100.0)
GAP = 12.0  # mm, of a suture or canal that still counts as closed
BALLS = (5.0, 7.0)  # mm, radii of the opening
LEAST, MOST = 300.0, 2000.0  # ml; a smaller or larger piece is no brain


def find(array: np.ndarray, affine: np.ndarray) -> brain.Foreground:
    """The brain with its ventricles. array: (x, y, z) HU. Raises ReadError where none is found."""
    if array.min() > AIR:
        raise ReadError("no air is in it, but brain_mask is 'ct_brain': is it stripped already ('none'), or not in HU?")
    values, coarse = coarsened(array, affine)
    edges = volume.spacing(coarse)
    axial = brain.axial_axis(coarse)
    bone = values > BONE
    tissue = (values > TISSUE[0]) & (values < TISSUE[1])
    ml = 0.0
    for radius, bounded in ((BALLS[0], False), (BALLS[1], False), (BALLS[0], True)):
        found = largest_piece(tissue & enclosed(bone, edges, axial) if bounded else tissue, ball(radius, edges))
        ml = np.count_nonzero(found) * volume.voxel_ml(coarse)
        if LEAST <= ml <= MOST:
            return brain.Foreground(ndimage.binary_fill_holes(found), coarse)
    raise ReadError(f"no brain is found in it (the largest piece has {ml:.0f} ml): give a mask column in brain_mask, or 'none'")


def coarsened(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over boxes of whole voxels of about `COARSE`, and their affine; a rest behind the last box is dropped."""
    counts = np.maximum(1, np.rint(COARSE / volume.spacing(affine)).astype(int))
    counts = np.minimum(counts, array.shape)
    for axis, count in enumerate(counts):
        boxes = array.shape[axis] // count
        parted = np.moveaxis(array, axis, 0)[: boxes * count]
        array = np.moveaxis(parted.reshape(boxes, count, *parted.shape[1:]).mean(1, dtype=np.float32), 0, axis)
    index = np.diag([*counts, 1.0])
    index[:3, 3] = (counts - 1) / 2
    return array, affine @ index


def ball(radius: float, edges: np.ndarray) -> np.ndarray:
    """Boolean ball of a radius in mm on voxels of these edges in mm; a single voxel along an axis whose edge is longer."""
    reach = np.floor(radius / edges).astype(int)
    place = np.meshgrid(*[np.arange(-n, n + 1) * edge for n, edge in zip(reach, edges, strict=True)], indexing="ij")
    return sum(p**2 for p in place) <= radius**2


def enclosed(bone: np.ndarray, edges: np.ndarray, axial: int) -> np.ndarray:
    """What bone encloses within axial planes, gaps of `GAP` closed."""
    flat = ball(GAP / 2, np.where(np.arange(3) == axial, 2 * GAP, edges))  # one voxel thick
    widths = [(n // 2, n // 2) for n in flat.shape]
    shut = ndimage.binary_closing(np.pad(bone, widths), flat)
    shut = shut[tuple(slice(low, low + n) for (low, _), n in zip(widths, bone.shape, strict=True))]
    planes = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(shut, axial, 0)]
    return np.moveaxis(np.stack(planes), 0, axial) & ~bone


def largest_piece(mask: np.ndarray, element: np.ndarray) -> np.ndarray:
    """The largest piece of an opening, grown back within the mask by as much as the opening took off."""
    core = ndimage.binary_erosion(mask, element, border_value=1)  # the brain may go on beyond the last slice
    labels, count = ndimage.label(core)
    if not count:
        return np.zeros_like(mask)
    core = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return ndimage.binary_dilation(core, element) & mask
