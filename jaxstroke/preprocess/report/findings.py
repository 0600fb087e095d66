"""What a lesion mask shows, as numbers that a report tells; and all that a generator of reports may see."""

from dataclasses import dataclass


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
    volume_ml, left_ml, right_ml   of all marked voxels, and of each side
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
