"""Lesions for tests, and their numbers counted again by other means than the program's: pairs of neighbours, all distances, loops."""

import dataclasses
import functools

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from jaxstroke.cohort.readers import read_image
from jaxstroke.preprocess.report import atlas as atlases

IDS = (1000, 1007, 1019, 1021, 1049)  # of SOOP: left, right and both sides, 1 to 29 foci, 0.1 to 17 ml, 1 to 12 territories


@dataclasses.dataclass(frozen=True)
class Counted:
    """The numbers of a mask, not rounded. territories: number -> (share, ml)."""

    volume_ml: float
    left_ml: float
    right_ml: float
    lesions: int
    diameter_mm: float
    territories: dict[int, tuple[float, float]]
    outside_ml: float


def counted(lesion: np.ndarray, affine: np.ndarray, labels=None, labels_affine=None) -> Counted:
    """lesion (x, y, z) bool; labels (x, y, z) int on any grid."""
    each = abs(np.dot(np.cross(affine[:3, 0], affine[:3, 1]), affine[:3, 2])) / 1000
    places = np.stack(np.nonzero(lesion), axis=1)
    world = apply_affine(affine, places)
    left = sum(1.0 if x < -1e-3 else 0.5 if x <= 1e-3 else 0.0 for x in world[:, 0].tolist())
    pairs = KDTree(places).query_pairs(1.5, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(places), len(places)))
    lesions, component = connected_components(links, directed=False)
    diameter = max(_longest(world[component == one]) for one in range(lesions))
    territories, outside = {}, 0
    if labels is not None:
        index = apply_affine(np.linalg.inv(labels_affine), world)
        hit = ndimage.map_coordinates(labels, index.T, order=0, mode="grid-constant", cval=0)
        outside = (hit == 0).sum()
        own = abs(np.linalg.det(labels_affine[:3, :3])) / 1000
        for number in set(hit.tolist()) - {0}:
            ml = (hit == number).sum() * each
            territories[number] = (min(ml / ((labels == number).sum() * own), 1.0), ml)
    return Counted(len(places) * each, left * each, (len(places) - left) * each, lesions, diameter, territories, outside * each)


def _longest(points: np.ndarray) -> float:
    """Of all distances between points (n, 3), a block at a time."""
    return max(cdist(points[start : start + 2000], points).max() for start in range(0, len(points), 2000))


def blob(seed: int, shape=(24, 20, 18), share=0.06) -> np.ndarray:
    """A few smooth blobs, bool."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return field > np.quantile(field, 1 - share)


def blocks(shape=(24, 20, 18), count=12) -> np.ndarray:
    """(x, y, z) int: numbered blocks 1 to count and, between them, 0."""
    place = np.stack(np.meshgrid(*[np.arange(n) * 3 // n for n in shape], indexing="ij"))
    labels = place[0] * 9 + place[1] * 3 + place[2] + 1
    return np.where(labels <= count, labels, 0).astype(np.int32)


def affine_of(name: str, shape=(24, 20, 18)) -> np.ndarray:
    """An affine whose voxels lie on both sides of the plane x = 0."""
    steps = {
        "straight": np.eye(3),
        "as SOOP": np.diag([-1.0, 1.0, 1.0]),
        "anisotropic": np.diag([0.9, 1.7, 4.5]),
        "other order": np.array([[0, 0, -1.3], [2.0, 0, 0], [0, 0.7, 0]]),
        "rotated": _turned(20, 0) @ _turned(-35, 2) @ np.diag([1.1, 1.4, 3.0]),
        "sheared": np.array([[1.0, 0.3, 0.0], [0.0, 1.2, -0.4], [0.1, 0.0, 2.0]]),
    }[name]
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = -steps @ (np.array(shape) // 2)
    return affine


AFFINES = ("straight", "as SOOP", "anisotropic", "other order", "rotated", "sheared")


def _turned(degrees: float, axis: int) -> np.ndarray:
    """A rotation about an axis."""
    a = np.deg2rad(degrees)
    one, two = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[one, one] = matrix[two, two] = np.cos(a)
    matrix[one, two], matrix[two, one] = -np.sin(a), np.sin(a)
    return matrix


@functools.cache
def soop_atlas(data_root) -> atlases.Atlas:
    return atlases.read(data_root / "soop" / "atlas" / "ArterialAtlas136.nii.gz")


@functools.cache
def soop_lesion(data_root, patient: int):
    """The image of a real lesion mask."""
    return read_image(data_root / "soop" / "lesions" / f"bwsrsub-{patient}_lesion.nii.gz")
