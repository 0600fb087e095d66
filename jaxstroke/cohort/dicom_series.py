"""Which slices of a folder are one series, and which of several series is read.

Rule of choice: axial before other planes, then the thinner slices, then the more voxels. Two that are equal in all of that are refused:
nothing says which is meant (a soft and a bone kernel, two phases).
"""

import collections
import math
from dataclasses import dataclass

import numpy as np

from jaxstroke.cohort.dicom_header import LOCALISER, Frame
from jaxstroke.cohort.files import ReadError

LEAST = 3  # slices of a volume; fewer are a localiser, or a level watched over time
MOST_DIRECTIONS = 16  # of slices of one series; more are a rotating view
PARALLEL = 0.002  # by which directions of one series may differ
TURNED = math.cos(math.radians(30))  # slices of one series turned by more are a localiser or a rotating view
SAME = 0.02  # mm between slices of one place
PLANES = ("sagittal", "coronal", "axial")  # by the axis that lies across them
FEW = f"series of fewer than {LEAST} slices"


@dataclass(frozen=True, eq=False)
class Series:
    """Slices that belong together, in order of place. places: distinct ones; step: mm between most of them."""

    frames: tuple[Frame, ...]
    places: int
    step: float

    @property
    def plane(self) -> str:
        """Axial, coronal or sagittal, whichever is nearest."""
        return PLANES[int(np.abs(self.frames[0].normal).argmax())]

    @property
    def thickness(self) -> float:
        """Of its slices in mm; their distance where the header does not say."""
        known = [frame.thickness for frame in self.frames if frame.thickness > 0]
        return round(float(np.median(known)) if known else self.step, 1)

    @property
    def words(self) -> str:
        """What may be said of it: no text of its header."""
        return f"{self.places} {self.plane} slices of {self.thickness:g} mm"

    @property
    def rank(self) -> tuple:
        """The smallest is read."""
        return self.plane != "axial", self.thickness, -self.places * math.prod(self.frames[0].size)


def chosen(frames: list[Frame], skipped: collections.Counter, rule: str) -> tuple[Series, tuple[str, ...]]:
    """The series that is read, and notes. skipped: files passed over, by kind; rule: choose | refuse, where there are several."""
    skipped = skipped.copy()
    series = [one for group in grouped(frames, skipped) for one in [in_order(group)] if is_volume(one, skipped)]
    if not series:
        reasons = ", ".join(f"{kind}: {count}" for kind, count in sorted(skipped.items()))
        raise ReadError(f"no series of slices was found ({reasons or 'no DICOM file'})")
    if len(series) == 1:
        return series[0], strays(frames, series[0])
    series.sort(key=lambda one: one.rank)
    listed = "; ".join(one.words for one in series[:9]) + ("; ..." if len(series) > 9 else "")
    cure = "name the folder or the files of one in the table"
    if rule == "refuse":
        raise ReadError(f"it holds {len(series)} series ({listed}): {cure}, or set config.cohort.dicom.series = 'choose'")
    if series[0].rank == series[1].rank:
        raise ReadError(f"it holds {len(series)} series, of which no rule prefers one ({listed}): {cure}")
    note = f"{len(series) - 1} of {len(series)} series left out; read: {series[0].words}"
    return series[0], (note, *strays(frames, series[0]))


def strays(frames: list[Frame], series: Series) -> tuple[str, ...]:
    """A note of slices that say that they are of the series, but have another size or direction."""
    count = sum(frame.key[0] == series.frames[0].key[0] for frame in frames) - len(series.frames)
    return (f"{count} of its slices left out, of another size or direction",) if count else ()


def grouped(frames: list[Frame], skipped: collections.Counter) -> list[list[Frame]]:
    """Frames with the same key, pixel spacing and orientation; those whose orientations differ as a localiser's do are passed over."""
    by_key = collections.defaultdict(list)
    for frame in frames:
        by_key[frame.key].append(frame)
    groups = []
    for members in by_key.values():
        alike: list[list[Frame]] = []
        for frame in members:
            home = next((group for group in alike if belongs(frame, group[0])), None)
            alike.append([frame]) if home is None else home.append(frame)
            if len(alike) > MOST_DIRECTIONS:
                break
        normals = np.array([group[0].normal for group in alike])
        if len(alike) > MOST_DIRECTIONS or (np.abs(normals @ normals.T) < TURNED).any():
            skipped[LOCALISER] += len(members)
        else:
            groups += alike
    return groups


def belongs(frame: Frame, other: Frame) -> bool:
    """Whether two slices of one key lie in the same direction and have pixels of the same size."""
    same_pixels = np.allclose(frame.spacing, other.spacing, rtol=1e-3, atol=0)
    return bool(same_pixels and np.abs(frame.rows - other.rows).max() < PARALLEL)


def in_order(frames: list[Frame]) -> Series:
    """The frames by their place along the direction across them: never by their number or name."""
    heights = heights_of(frames)
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order])
    steps = steps[steps > SAME]
    return Series(tuple(frames[place] for place in order), len(steps) + 1, float(np.median(steps)) if len(steps) else 0.0)


def heights_of(frames) -> np.ndarray:
    """(n,) mm of each frame along the normal of the first."""
    return np.array([frame.position for frame in frames]) @ frames[0].normal


def is_volume(series: Series, skipped: collections.Counter) -> bool:
    """Whether slices are enough for a volume; counts them where not."""
    if series.places < LEAST:
        skipped[FEW] += 1
    return series.places >= LEAST
