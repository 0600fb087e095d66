"""Synthetic patients' images: a brain of ellipsoids with one lesion, as DWI, ADC, FLAIR and Tmax in physical units, each on its own grid.

Everything is drawn from formulas in patient coordinates (mm, RAS, brain centre at 0), so that modules on different grids show the same
anatomy without any resampling, as co-registered scans do. The lesion is bright on DWI and dark on ADC from the start, brightens on FLAIR
over half a day, and Tmax is prolonged in it and in a rim around it.
"""

from dataclasses import dataclass

import numpy as np

MODULES = ("dwi", "adc", "flair", "tmax")
# Module: voxel size (z, y, x) relative to the configured one, signs of the array's (x, y, z) axes against RAS, shift of the grid in mm.
GRIDS = {
    "dwi": ((1.0, 1.0, 1.0), (1, 1, 1), (0.0, 0.0, 0.0)),
    "adc": ((1.0, 1.0, 1.0), (1, 1, 1), (0.0, 0.0, 0.0)),
    "flair": ((0.75, 0.8, 0.8), (-1, -1, 1), (2.0, -3.0, 1.5)),
    "tmax": ((1.0, 1.5, 1.5), (-1, 1, 1), (-1.0, 2.0, 0.0)),
    "ct": ((1.0, 1.0, 1.0), (-1, 1, 1), (0.0, 0.0, 0.0)),  # see head_ct
}
BRAIN = (68.0, 85.0, 56.0)  # mm, half axes (x, y, z) of an adult brain
LARGEST = 0.46  # of the field of view that a half axis may take, so that a small grid still holds the whole brain
# Tissue values: white matter, grey matter, ventricles, lesion core; arbitrary units, mm2/s, arbitrary units, seconds.
VALUES = {"dwi": (200, 255, 60, 560), "adc": (750e-6, 850e-6, 2800e-6, 420e-6), "flair": (300, 380, 50, 620), "tmax": (1.6, 2.2, 1.0, 14.0)}
NOISE = {"dwi": 14.0, "adc": 50e-6, "flair": 16.0, "tmax": 0.4}
SMALLEST = {"adc": 50e-6, "tmax": 0.2}  # of tissue in a map; outside the brain maps are 0
WITHIN = 0.97  # of the brain's radius: a lesion ends there
FLAIR_HOURS = 12.0  # until a lesion is fully bright on FLAIR


@dataclass(frozen=True)
class Lesion:
    """centre (x, y, z) and axes of the ellipsoid in mm, phases of its irregular edge, edge: level inside which tissue is lesioned."""

    centre: np.ndarray
    axes: np.ndarray
    phases: np.ndarray
    edge: float = 0.0


def grid(module: str, shape, spacing) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape (x, y, z) and affine (4, 4) of a module's array. shape, spacing: configured, (z, y, x), mm; the field of view is kept."""
    relative, signs, shift = GRIDS[module]
    size = np.array(spacing[::-1], float) * relative[::-1]
    lengths = np.maximum(2, np.rint(np.array(shape[::-1]) * spacing[::-1] / size)).astype(int)
    affine = np.diag([*(size * signs), 1.0])
    affine[:3, 3] = shift - affine[:3, :3] @ ((lengths - 1) / 2)
    return tuple(int(n) for n in lengths), affine


def points(shape, affine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates in mm of the voxels along each axis, shaped to broadcast to (x, y, z); grids here have no rotation."""
    axes = (affine[i, i] * np.arange(n) + affine[i, 3] for i, n in enumerate(shape))
    x, y, z = axes
    return x[:, None, None], y[None, :, None], z[None, None, :]


def half_axes(shape, spacing, largest: float = LARGEST) -> np.ndarray:
    """(x, y, z) of the brain in mm, smaller where the field of view is; largest: share of it that a half axis may take."""
    return np.minimum(BRAIN, largest * np.array(shape[::-1], float) * spacing[::-1])


def draw_lesion(rng, axes: np.ndarray) -> Lesion:
    """Place and form of a lesion in one hemisphere; its size is set by `grow`."""
    side = rng.choice([-1.0, 1.0])
    centre = np.array([side * rng.uniform(0.35, 0.55), rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.4)]) * axes
    return Lesion(centre, np.exp(rng.normal(0, 0.2, 3)), rng.uniform(0, 2 * np.pi, 3))


def level(lesion: Lesion, place) -> np.ndarray:
    """Distance in mm from the lesion's centre, in its axes and with an irregular edge; (x, y, z)."""
    offsets = [(p - c) / a for p, c, a in zip(place, lesion.centre, lesion.axes, strict=True)]
    ripple = sum(np.sin(offset / 7 + phase) for offset, phase in zip(offsets, lesion.phases, strict=True))
    return np.sqrt(sum(offset**2 for offset in offsets)) * (1 + 0.08 * ripple)


def grow(lesion: Lesion, volume_ml: float, place, axes, voxel_ml: float) -> tuple[Lesion, np.ndarray]:
    """The lesion with the edge that gives this volume within the brain, and its mask (x, y, z) uint8, at least two voxels."""
    radius = radius_of(place, axes)
    distance = np.where(radius < WITHIN, level(lesion, place), np.inf)
    count = int(np.clip(round(volume_ml / voxel_ml), 2, np.isfinite(distance).sum() - 1))
    ordered = np.partition(distance.ravel(), (count - 1, count))
    edge = (ordered[count - 1] + min(ordered[count], 1.1 * ordered[count - 1])) / 2
    return Lesion(lesion.centre, lesion.axes, lesion.phases, float(edge)), (distance < edge).astype(np.uint8)


def radius_of(place, axes) -> np.ndarray:
    """0 in the brain's centre, 1 at its surface."""
    return np.sqrt(sum((p / a) ** 2 for p, a in zip(place, axes, strict=True)))


def ventricles(place, axes) -> np.ndarray:
    """Share of a voxel that is ventricle, (x, y, z)."""
    x, y, z = place
    return soft(1 - radius_of((np.abs(x) - 0.16 * axes[0], y, z - 0.08 * axes[2]), axes * (0.1, 0.32, 0.2)), 0.15)


def draw(module: str, place, axes, lesion: Lesion, rng, hours: float, rim: float, texture=0.0) -> np.ndarray:
    """A module's voxels (x, y, z) float32.

    hours since onset (FLAIR); rim: width of the hypoperfused tissue around the lesion relative to its edge (Tmax); texture: (x, y, z), in
    the module's unit, of the tissue outside the lesion.
    """
    white, grey, fluid, core = VALUES[module]
    x, y, z = place
    radius = radius_of(place, axes)
    folds = 0.04 * np.sin(9 * np.arctan2(y / axes[1], x / axes[0])) + 0.03 * np.sin(z / 6)
    tissue = white + (grey - white) * soft(radius - 0.84 - folds, 0.03)
    tissue = tissue + (fluid - tissue) * ventricles(place, axes) + texture
    distance = level(lesion, place)
    inside = soft(lesion.edge - distance, 0.5)
    if module == "tmax":
        tissue = np.maximum(tissue, 8.0 * soft(lesion.edge * rim - distance, 2.0))
    if module == "flair":
        inside = inside * min(1.0, hours / FLAIR_HOURS)
    tissue = tissue + (core - tissue) * inside
    brain = radius < 1
    noise = rng.normal(0, NOISE[module], brain.shape)
    if module in SMALLEST:  # a calculated map: masked outside the brain
        return np.where(brain, np.maximum(tissue + noise, SMALLEST[module]), 0).astype(np.float32)
    bias = 1 + 0.1 * (x * rng.normal() / axes[0] + y * rng.normal() / axes[1]) / 2
    signal = np.where(brain, tissue * bias, 0)
    return (rng.uniform(0.7, 1.4) * np.hypot(signal + noise, rng.normal(0, NOISE[module], brain.shape))).astype(np.float32)


def soft(distance: np.ndarray, width: float) -> np.ndarray:
    """0 to 1 as a distance goes from negative to positive, half way at 0."""
    return 0.5 + 0.5 * np.tanh(distance / width)
