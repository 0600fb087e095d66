"""A synthetic patient's head CT in Hounsfield units: scalp, skull, fluid around the brain, grey and white matter, ventricles, a haematoma.

Drawn from formulas in patient coordinates (mm, RAS, brain centre at 0), as `phantom` draws its modules. Edges are soft over half a voxel,
as a scanner averages within voxels. What the outcome depends on is in the picture: the haematoma, blood in the ventricles, the shift of
the ventricles away from it, and atrophy, by which ventricles, furrows and the fluid around the brain widen.
"""

from dataclasses import dataclass

import numpy as np

from jaxstroke.cohort import phantom

AIR, SCALP, SKULL, FLUID = -1000.0, 45.0, 1000.0, 8.0
WHITE, GREY, OEDEMA, HAEMATOMA, VENTRICULAR_BLOOD = 29.0, 38.0, 20.0, 65.0, 58.0
NOISE = 3.0  # HU, deviation within the skull
TEXTURE = 4.0  # HU, slow changes within the haematoma
SKULL_EDGE, SCALP_EDGE = 1.10, 1.18  # of the inner table's radius
LARGEST = 0.39  # of the field of view that a half axis may take, so that the scalp is inside
FLUID_WIDTH, FLUID_GROWTH = 0.05, 0.016  # of the radius: width of the fluid around the brain, and its growth a deviation of atrophy
VENTRICLES, VENTRICLE_GROWTH = np.array([0.12, 0.36, 0.22]), 0.18  # half axes, of the brain's; share a deviation of atrophy
NUCLEI = {"place": np.array([0.32, 0.02, 0.05]), "axes": np.array([0.14, 0.26, 0.24])}  # deep grey matter of a side, of the brain's


@dataclass(frozen=True)
class Head:
    """One patient's anatomy.

    axes         (x, y, z) half axes of the inside of the skull in mm
    atrophy      deviations from the mean of all patients
    haematoma    with its edge as grown
    rim          outer edge of the oedema relative to the haematoma's
    blood        share of the ventricles' length that is filled from behind, 0 where no blood broke into them
    shift_mm     by which the midline is pushed away from the haematoma
    """

    axes: np.ndarray
    atrophy: float
    haematoma: phantom.Lesion
    rim: float
    blood: float
    shift_mm: float


def brain_edge(atrophy: float) -> float:
    """Radius of the brain's surface, of that of the skull's inside."""
    return 1 - np.clip(FLUID_WIDTH + FLUID_GROWTH * atrophy, 0.015, 0.1)


def draw_haematoma(rng, axes: np.ndarray, deep: bool) -> phantom.Lesion:
    """Place and form: deep in the nuclei, or lobar under the cortex; its size is set by `phantom.grow`."""
    side = rng.choice([-1.0, 1.0])
    if deep:
        place = np.array([rng.uniform(0.26, 0.38), rng.uniform(-0.15, 0.15), rng.uniform(-0.05, 0.15)])
    else:
        angle = rng.uniform(-0.4, 0.4) * np.pi  # from the side towards forehead and occiput
        place = 0.62 * np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.1, 0.6)])
    return phantom.Lesion(place * (side, 1, 1) * axes, np.exp(rng.normal(0, 0.2, 3)), rng.uniform(0, 2 * np.pi, 3))


def draw(head: Head, place, voxel_mm: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """The head and the skull-stripped brain, (x, y, z) int16 in HU; outside the skull's inside the latter is 0.

    place: coordinates as from `phantom.points`; voxel_mm: mean edge of a voxel.
    """
    radius = phantom.radius_of(place, head.axes)
    soft = 0.5 * voxel_mm / head.axes.mean()  # half a voxel, in radii
    values = brain(head, place, radius, soft, rng)
    stripped = np.where(radius < 1, values, 0)
    whole = values + (SKULL - values) * phantom.soft(radius - 1, soft)
    whole = whole + (SCALP - whole) * phantom.soft(radius - SKULL_EDGE, soft)
    whole = whole + (AIR - whole) * phantom.soft(radius - SCALP_EDGE, soft)
    return np.rint(whole).astype(np.int16), np.rint(stripped).astype(np.int16)


def brain(head: Head, place, radius: np.ndarray, soft: float, rng) -> np.ndarray:
    """What lies within the skull, in HU with noise, for every voxel (x, y, z)."""
    x, y, z = place
    around = np.arctan2(y / head.axes[1], x / head.axes[0])
    edge = brain_edge(head.atrophy)
    folds = 0.5 * np.sin(11 * around + z / 9) + 0.5 * np.sin(7 * around - z / 5)
    values = WHITE + (GREY - WHITE) * phantom.soft(radius - 0.84 - 0.04 * folds, soft)
    for side in (-1, 1):
        centre = NUCLEI["place"] * (side, 1, 1) * head.axes
        values = values + (GREY - values) * phantom.soft(1 - ellipsoid(place, centre, NUCLEI["axes"] * head.axes), soft * 3)
    furrows = (1 - edge) * 1.5 * np.clip(folds, 0, None) ** 4  # fluid reaches deeper between the folds
    values = values + (FLUID - values) * phantom.soft(radius - edge + furrows, soft)
    values = ventricles(head, place, values)
    distance = phantom.level(head.haematoma, place)
    inside = phantom.soft(head.haematoma.edge - distance, 0.5)
    swollen = phantom.soft(head.haematoma.edge * head.rim - distance, 1.0) * (radius < edge)
    values = values + (np.minimum(values, OEDEMA) - values) * swollen
    clot = HAEMATOMA + TEXTURE * np.sin(x / 6 + head.haematoma.phases[0]) * np.sin(y / 7 + head.haematoma.phases[1]) * np.cos(z / 8)
    return values + (clot - values) * inside + rng.normal(0, NOISE, radius.shape)


def ventricles(head: Head, place, values: np.ndarray) -> np.ndarray:
    """Both lateral ventricles drawn over `values`, pushed aside, with blood that has sunk to their back."""
    push = -np.sign(head.haematoma.centre[0]) * head.shift_mm
    axes = VENTRICLES * head.axes * np.clip(1 + VENTRICLE_GROWTH * head.atrophy, 0.5, 1.8)
    for side in (-1, 1):
        centre = np.array([side * 0.14 * head.axes[0] + push, -0.02 * head.axes[1], 0.12 * head.axes[2]])
        inside = phantom.soft(1 - ellipsoid(place, centre, axes), 0.15)
        depth = (place[1] - centre[1]) / axes[1]  # -1 at the occipital end
        content = FLUID + (VENTRICULAR_BLOOD - FLUID) * phantom.soft(2 * head.blood - 1 - depth, 0.1) * (head.blood > 0)
        values = values + (content - values) * inside
    return values


def ellipsoid(place, centre: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """1 on the surface, 0 in the centre."""
    return phantom.radius_of([p - c for p, c in zip(place, centre, strict=True)], axes)
