"""From where the slices of a series lie to an even grid without tilt, on which every point keeps its place in the world.

A gantry's tilt moves each slice within its plane against the one below it: such slices are moved back by linear interpolation, onto a grid
that is large enough for all of them. Uneven slices are interpolated linearly onto even ones. The grid of the result is the source of all
later steps.
"""

from dataclasses import dataclass

import numpy as np

from jaxstroke.cohort.dicom_header import Frame
from jaxstroke.cohort.dicom_series import heights_of
from jaxstroke.cohort.files import ReadError, check_size
from jaxstroke.cohort.image import check_affine

LARGEST_TILT = 45.0  # degrees; gantries tilt by 30, more are slices that do not lie behind each other
SLACK = 1.0  # mm by which neighbours may be moved besides
STRAIGHT = 0.1  # pixels by which slices may be moved within their plane and count as straight
LINE = 0.2  # of the farthest shift: slices that miss a line by less are tilted, others moved one by one
EVEN = 0.05  # steps by which a slice may miss its even place
THIN = 0.25  # share of the steps that are at most as long as the step of the result
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from DICOM's axes


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of the result lie, and from which slices they come.

    affine  4 x 4, (x, y, z) to mm in RAS
    shape   (x, y, z)
    moved   (z, 2) pixels in x and y by which what each plane shows lies beyond the grid's first pixel, None where all lie on it
    lower, weight   (z,) slice below each plane and share of the one above it, None where planes are slices
    notes   what is done
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    moved: np.ndarray | None
    lower: np.ndarray | None
    weight: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """The voxels are those of the file."""
        return self.moved is None and self.lower is None


def grid_of(frames: list[Frame], tilt: str, gap: float) -> Grid:
    """The grid of slices in order of place, at least two. tilt: correct | refuse; gap: most mm between neighbours.

    Raises ReadError where the slices are tilted and must not be, lie too far apart, or are no stack.
    """
    first, heights = frames[0], heights_of(frames)
    heights = heights - heights[0]
    offsets = (np.array([frame.position for frame in frames]) - first.position) @ first.rows.T / first.spacing
    check_gap(np.diff(heights), gap)
    straight = np.abs(offsets).max() <= STRAIGHT
    notes = () if straight else (tilt_note(offsets * first.spacing, heights, tilt),)
    step, planes, lower, weight, said = spread(heights)
    notes += said
    if lower is not None:
        offsets = offsets[lower] + weight[:, None] * (offsets[lower + 1] - offsets[lower])
    moved, size, start = (None, first.size, np.zeros(2)) if straight else room(offsets, first.size)
    check_size(4 * size[0] * size[1] * planes, "its corrected image")
    across = first.normal * step
    if straight and lower is None:  # the file's own direction, to the last digit
        across = (frames[-1].position - first.position) / (len(frames) - 1)
    affine = np.eye(4)
    affine[:3, :2] = first.rows.T * first.spacing
    affine[:3, 2], affine[:3, 3] = across, first.position + affine[:3, :2] @ start
    affine = RAS @ affine
    check_affine(affine)
    return Grid(affine, (*size, planes), moved, lower, weight, notes)


def check_gap(steps: np.ndarray, most: float):
    """Refuse slices with more than that many mm between two neighbours."""
    if steps.max() > most:
        far = f"{steps.max():.1f} mm lie between two of its slices"
        raise ReadError(f"{far}, more than config.cohort.dicom.gap = {most:g} allows: are some missing?")


def tilt_note(offsets: np.ndarray, heights: np.ndarray, tilt: str) -> str:
    """What is done to slices that are moved within their plane by offsets (n, 2) mm. Raises ReadError where it is not to be done."""
    far = np.linalg.norm(offsets, axis=1)
    angle = np.degrees(np.arctan2(far[-1], heights[-1]))
    off_line = np.linalg.norm(offsets - heights[:, None] / heights[-1] * offsets[-1], axis=1)
    leaning = off_line.max() <= LINE * far.max()
    what = f"tilt of {angle:.1f} degrees" if leaning else f"shift of slices by up to {far.max():.1f} mm"
    if (np.linalg.norm(np.diff(offsets, axis=0), axis=1) - SLACK > np.diff(heights) * np.tan(np.radians(LARGEST_TILT))).any():
        raise ReadError(f"its slices do not lie behind each other (a {what})")
    if tilt == "refuse":
        raise ReadError(f"its slices have a {what}, and config.cohort.dicom.tilt is 'refuse'")
    return f"{what} corrected"


def room(offsets: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int], np.ndarray]:
    """A grid that holds planes with these offsets (z, 2) in pixels: place of each on it, columns and rows, place of the grid itself."""
    start = np.floor(offsets.min(axis=0))
    more = np.ceil(offsets.max(axis=0)) - start
    return offsets - start, (size[0] + int(more[0]), size[1] + int(more[1])), start


def spread(heights: np.ndarray) -> tuple[float, int, np.ndarray | None, np.ndarray | None, tuple[str, ...]]:
    """Step in mm and number of even planes, from which slices they come, and what is done, in words.

    Where slices are uneven, the step is the one that a quarter of the steps do not exceed: a thin part that is a quarter of the stack
    keeps its slices, and one odd step where two parts meet does not make a thousand planes.
    """
    steps, count = np.diff(heights), len(heights)
    mean = heights[-1] / (count - 1)
    if np.abs(heights - mean * np.arange(count)).max() <= EVEN * mean:
        return mean, count, None, None, ()
    step = float(np.quantile(steps, THIN, method="lower"))
    multiples = np.rint(steps / step)
    missing = int(multiples.sum()) - len(steps)
    if multiples.min() >= 1 and missing and np.abs(steps - multiples * step).max() <= EVEN * step:
        step = heights[-1] / multiples.sum()
        note = f"{missing} missing slice{'s' * (missing > 1)} interpolated (a gap of {steps.max():.1f} mm)"
    else:
        note = f"uneven steps of {steps.min():.1f} to {steps.max():.1f} mm across the slices resampled to {step:.1f} mm"
    planes = int(np.rint(heights[-1] / step)) + 1
    check_size(4 * planes, "its image with even slices")
    wanted = np.minimum(step * np.arange(planes), heights[-1])
    lower = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, count - 2)
    weight = (wanted - heights[lower]) / steps[lower]
    return step, planes, lower, weight, (note,)


def placed(values: np.ndarray, grid: Grid, fill: float) -> np.ndarray:
    """(n, rows, columns) of slices to (x, y, z) on the grid, float32 unless its voxels are those of the file; `fill` beyond the slices.

    Between two slices their pixels of one number are interpolated, along the line on which the slices lie: so the edge of a tilted stack
    stays sharp.
    """
    if grid.exact:
        return values.transpose(2, 1, 0)
    columns, rows, planes = grid.shape
    result = np.empty((planes, rows, columns), np.float32)
    for number in range(planes):
        plane = values[number] if grid.lower is None else between(values, int(grid.lower[number]), float(grid.weight[number]))
        result[number] = plane if grid.moved is None else shifted(plane, grid.moved[number], (rows, columns), fill)
    return result.transpose(2, 1, 0)


def between(values: np.ndarray, lower: int, weight: float) -> np.ndarray:
    """What lies between a slice and the next, at this share of the way; float32."""
    return np.float32(1 - weight) * values[lower] + np.float32(weight) * values[lower + 1]


def shifted(plane: np.ndarray, move: np.ndarray, shape: tuple[int, int], fill: float) -> np.ndarray:
    """(rows, columns) in a frame of `shape`, moved by pixels in x and y with linear interpolation, `fill` around it; float32."""
    right, down = (int(pixels) for pixels in np.floor(move + 1e-9))
    share_x, share_y = max(float(move[0]) - right, 0.0), max(float(move[1]) - down, 0.0)
    canvas = np.full((shape[0] + 1, shape[1] + 1), fill, np.float32)
    canvas[1 + down : 1 + down + plane.shape[0], 1 + right : 1 + right + plane.shape[1]] = plane
    canvas = (1 - share_x) * canvas[:, 1:] + share_x * canvas[:, :-1]
    return (1 - share_y) * canvas[1:] + share_y * canvas[:-1]
