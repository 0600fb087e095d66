"""What a lesion mask shows, as numbers that a report tells; and all that a generator of reports may see.

Numbers are rounded where they are made, so that what a report tells is what is stored.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from jaxstroke.cohort.files import ReadError
from jaxstroke.errors import InputError
from jaxstroke.preprocess import volume
from jaxstroke.preprocess.report.atlas import Atlas, nearest, numbers_at

ONE_SIDED = 0.05  # share of the lesion on the other side below which it is of one side
ON_PLANE = 1e-3  # mm from the plane between the sides that are on it: affines are stored in single precision
SAME_GRID = 1e-4  # mm that affines of one grid may differ by
DIAGONALS = np.array([[1, a, b] for a in (-1, 1) for b in (-1, 1)])  # of a box
FEW = 64  # points that need no hull
FLAT = 1e-9  # share of the longest dimension below which there is none: a voxel off a plane of whole numbers makes far more


@dataclass(frozen=True)
class Territory:
    """A territory that the lesion touches. number, name: of the atlas; share: of it that is lesion, 0 to 1; ml: lesion in it."""

    number: int
    name: str
    share: float
    ml: float


@dataclass(frozen=True)
class Signal:
    """An image inside the lesion. ratio: median inside over the median of the brain outside."""

    image: str
    ratio: float


@dataclass(frozen=True)
class Findings:
    """A mask in numbers.

    side         left | right | both | none (an empty mask); of the patient, by the sign of the first world coordinate
    volume_ml, left_ml, right_ml   of all marked voxels, and of each side; voxels on the plane between them count half for each
    lesions      26-connected components
    diameter_mm  largest distance between two voxel centres of one component
    territories  those touched, the largest part of the lesion first; () without an atlas
    outside_ml   of the lesion in no territory
    signals      of the images that were asked for and are there
    """

    side: str
    volume_ml: float
    left_ml: float
    right_ml: float
    lesions: int
    diameter_mm: float
    territories: tuple[Territory, ...] = ()
    outside_ml: float = 0.0
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True)
class Seen:
    """All that a generator sees of a patient: no id, no outcome, no clinical column. findings: None without a mask; slices: PNG files."""

    findings: Findings | None
    slices: tuple[bytes, ...] = ()


def of_mask(mask: np.ndarray, affine: np.ndarray, atlas: Atlas | None, images: dict[str, tuple] | None = None) -> Findings:
    """What a mask shows.

    mask    (x, y, z), any real dtype; `volume.marked` says which voxels are lesion
    affine  (4, 4), voxel index to mm in RAS: the patient's left has negative first coordinates. Where 0 is not the middle of the head, as
            in a scanner's own space it need not be, sides are those of the scanner
    atlas   on the mask's grid or on another one, then looked up at the centre of each voxel; None = no territories
    images  name -> (array (x, y, z) or (x, y, z, t), affine), whose signal is told; each has a grid of its own
    Millilitres have 2 digits, shares 4, mm 1, ratios 2. Raises ReadError where the mask is no volume in mm.
    """
    if mask.ndim != 3 or affine is None:
        raise ReadError("the lesion mask is no volume in mm: three axes and a position in space are expected")
    lesion = volume.marked(mask)
    box = volume.nonzero_extent(lesion)
    if box is None:
        return Findings("none", 0.0, 0.0, 0.0, 0, 0.0)
    index = np.argwhere(lesion[box]) + [part.start for part in box]  # (n, 3)
    count, each = len(index), volume.voxel_ml(affine)
    across = index @ affine[0, :3] + affine[0, 3]  # mm from the plane between the sides
    left = float((across < -ON_PLANE).sum() + (np.abs(across) <= ON_PLANE).sum() / 2)
    right = count - left
    side = "left" if right < ONE_SIDED * count else "right" if left < ONE_SIDED * count else "both"
    lesions, diameter = _components(lesion[box], affine)
    territories, outside = _territories(index, mask.shape, affine, atlas)
    ratios = {name: _ratio(lesion, affine, index, array, own) for name, (array, own) in (images or {}).items() if own is not None}
    return Findings(
        side, round(count * each, 2), round(left * each, 2), round(right * each, 2), lesions, round(diameter, 1), territories,
        round(outside * each, 2), tuple(Signal(name, round(ratio, 2)) for name, ratio in ratios.items() if ratio is not None),
    )  # fmt: skip


def to_json(findings: Findings) -> dict:
    """As json values; `from_json` gives the same findings back."""
    return dataclasses.asdict(findings)


def from_json(values: dict) -> Findings:
    """The findings that `to_json` wrote. Raises InputError where these are none."""
    try:
        parts = {
            "territories": tuple(Territory(**one) for one in values["territories"]),
            "signals": tuple(Signal(**one) for one in values["signals"]),
        }
        return Findings(**values | parts)
    except (TypeError, KeyError):
        raise InputError("findings of a lesion mask are not as they were written: remove the file and make it again") from None


def _world(index: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(n, 3) index -> mm."""
    return index @ affine[:3, :3].T + affine[:3, 3]


def _components(lesion: np.ndarray, affine: np.ndarray) -> tuple[int, float]:
    """How many components voxels make that touch by face, edge or corner; and the longest distance within one, in mm."""
    labels, count = ndimage.label(lesion, np.ones((3, 3, 3), int))
    boxes = ndimage.find_objects(labels)
    lengths = np.array([[part.stop - part.start - 1 for part in box] for box in boxes])
    bounds = np.linalg.norm((lengths[:, None] * DIAGONALS) @ affine[:3, :3].T, axis=2).max(axis=1)  # (n,) none is longer than its box
    longest = 0.0
    for place in np.argsort(-bounds):
        if bounds[place] <= longest:
            break
        longest = max(longest, _diameter(labels[boxes[place]] == place + 1, affine))
    return count, longest


def _diameter(lesion: np.ndarray, affine: np.ndarray) -> float:
    """The longest distance in mm between marked voxels (x, y, z), of which there is at least one.

    Its ends are corners of the convex hull, and a corner is the first or last of its row. The hull is taken of indices: they are whole
    numbers, and an affine keeps corners. Voxels in a plane or on a line have no hull in space, but one in their own dimensions.
    """
    rows = np.argwhere(lesion.any(axis=0))
    first = lesion.argmax(axis=0)[tuple(rows.T)]
    last = len(lesion) - 1 - lesion[::-1].argmax(axis=0)[tuple(rows.T)]
    index = np.concatenate([np.column_stack([first, rows]), np.column_stack([last, rows])])
    if len(index) > FEW:
        centred = index - index.mean(axis=0)
        _, scale, axes = np.linalg.svd(centred, full_matrices=False)
        flat = centred @ axes[scale > FLAT * scale[0]].T  # (n, 3), (n, 2) or (n, 1)
        dimensions = flat.shape[1]
        corners = [flat.argmin(), flat.argmax()] if dimensions == 1 else ConvexHull(index if dimensions == 3 else flat).vertices
        index = index[corners]
    return float(pdist(_world(index, affine)).max(initial=0.0))


def _territories(index, shape, affine, atlas: Atlas | None) -> tuple[tuple[Territory, ...], int]:
    """The territories of voxels (n, 3) of a grid, and how many voxels are in none."""
    if atlas is None:
        return (), 0
    same = atlas.labels.shape == tuple(shape) and np.allclose(atlas.affine, affine, rtol=0, atol=SAME_GRID)
    hit = atlas.labels[tuple(index.T)] if same else numbers_at(atlas, _world(index, affine))
    numbers, counts = np.unique(hit[hit != 0], return_counts=True)
    found = []
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        ml = count * volume.voxel_ml(affine)
        share = min(ml / atlas.sizes[number], 1.0)  # beyond 1 where the grids differ
        found.append(Territory(number, atlas.name_of(number), round(share, 4), round(ml, 2)))
    return tuple(sorted(found, key=lambda one: (-one.ml, one.number))), int((hit == 0).sum())


def _ratio(lesion, affine, index, array, own) -> float | None:
    """Median of an image inside the lesion over that of what is not 0 outside. None where they do not overlap, or that is not above 0.

    lesion (x, y, z) bool, affine; index (n, 3) of its voxels; array, own: the image and its affine. Inside is what lies at the centres of
    the lesion's voxels, so that the smallest lesion has a signal; outside are the image's voxels whose centres are not in the lesion.
    """
    array = array if array.ndim == 3 else array.mean(axis=3)
    places, there = nearest(own, array.shape, _world(index, affine))
    if not there.any():
        return None
    to_mask = np.linalg.solve(affine, own)
    covered = ndimage.affine_transform(lesion.view(np.uint8), to_mask, output_shape=array.shape, order=0, mode="grid-constant")
    beside = array[(array != 0) & (covered == 0)]
    middle = float(np.median(beside)) if beside.size else 0.0
    return float(np.median(array[tuple(places[there].T)])) / middle if middle > 0 else None
