"""A series of DICOM slices as one volume.

Slices are brought in order by where they lie, tilt and uneven distances are corrected (see `dicom_geometry`), stored values become
physical ones. What is done stands in the image's notes. Of a header only geometry, rescale and layout of the pixels are looked at, and
identifiers to tell series apart; none of its texts goes into a message.
"""

import collections
import dataclasses
import hashlib

import numpy as np

from jaxstroke.cohort import dicom_geometry, dicom_pixels, dicom_series
from jaxstroke.cohort.dicom_header import APART, Frame, frames_of
from jaxstroke.cohort.dicom_parts import START, header_of, is_dicom, quiet
from jaxstroke.cohort.files import JOINED, PICTURES, VOLUMES, ReadError, check_size, content_of, first_of, is_folder, listed
from jaxstroke.cohort.image import Image

AIR = -1000.0  # HU
STRANGE = f"not a format that is read here ({', '.join(PICTURES + VOLUMES)}, DICOM)"


@dataclasses.dataclass(frozen=True)
class Rules:
    """What may be done to a series, as `config.cohort.dicom` says.

    series  choose (axial, then thin, then large) | refuse a folder of several
    tilt    correct | refuse
    gap     most mm between neighbouring slices
    """

    series: str = "choose"
    tilt: str = "correct"
    gap: float = 15.0


RULES = Rules()


def read_series(path, rules: Rules = RULES) -> Image:
    """The series that a path names: a file, several joined by '|', or a folder with its sub-folders. (x, y, z), or (x, y, z, t).

    Raises ReadError, which names no text of a header, where files are damaged, there is no series or none that the rules prefer, slices
    of one place differ and nothing tells them apart, or the rules refuse what would have to be corrected.
    """
    try:
        with quiet():
            return _image(path, rules)
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(f"it could not be read as a DICOM series ({type(error).__name__})") from None


def _image(path, rules: Rules) -> Image:
    files = _files(path)
    frames, skipped = _headers(files, alone=not is_several(path))
    if JOINED in str(path):  # named one by one they are one series, even where a program that takes names away numbered them anew
        frames = [dataclasses.replace(frame, key=frame.key[1:]) for frame in frames]
    series, notes = dicom_series.chosen(frames, skipped, rules.series)
    columns, rows = series.frames[0].size
    size = columns * rows * max(4, series.frames[0].bits // 8)
    check_size(size * len(series.frames), "the image that its headers describe")
    stored = _stored(files, series.frames)
    stacks, said = _stacks(series.frames, stored)
    grid = dicom_geometry.grid_of([series.frames[place] for place in stacks[0]], rules.tilt, rules.gap)
    fill = AIR if series.frames[0].hounsfield else 0.0
    check_size(len(stacks) * 4 * int(np.prod(grid.shape, dtype=object)), "its corrected image")
    volumes = [
        dicom_geometry.placed(dicom_pixels.physical([stored[p] for p in stack], [series.frames[p] for p in stack]), grid, fill)
        for stack in stacks
    ]
    array = volumes[0] if len(volumes) == 1 else np.stack(volumes, axis=-1)
    return Image(array, grid.affine, len(volumes) > 1, (*notes, *said, *grid.notes))


def is_several(path) -> bool:
    """Whether a path names more than a file."""
    return JOINED in str(path) or is_folder(path)


def _files(path) -> tuple[str, ...]:
    """The files behind a path."""
    try:
        files = listed(path)
    except ReadError:
        raise
    except Exception as error:  # OSError; of a bucket, whatever its library raises
        raise ReadError(f"the folder cannot be opened ({type(error).__name__})") from None
    if not files:
        raise ReadError("the folder is empty")
    return files


def _headers(files: tuple[str, ...], alone: bool) -> tuple[list[Frame], collections.Counter]:
    """Frames of all files, and how many files were passed over, by kind."""
    frames, skipped = [], collections.Counter()
    for number, file in enumerate(files):
        try:
            found, kind = _header(file, number, alone)
        except ReadError as error:
            raise error if alone else ReadError(f"file {number + 1} of {len(files)}, by name: {error}") from None
        frames += found
        if kind:
            skipped[kind] += 1
    return frames, skipped


def _header(file: str, number: int, alone: bool) -> tuple[tuple[Frame, ...], str]:
    """Frames of a file, or the kind of what is passed over. What is no DICOM file is passed over unless its name says that it is one."""
    if not is_dicom(first_of(file, START)):
        if alone:
            content_of(file)  # says what is wrong with an empty one
            raise ReadError(STRANGE)
        if file.lower().endswith(".dcm"):
            raise ReadError("it is not a DICOM file")
        return (), "other files"
    return frames_of(header_of(content_of(file)), number)


def _stored(files: tuple[str, ...], frames: tuple[Frame, ...]) -> list[np.ndarray]:
    """Stored values (rows, columns) of each frame."""
    wanted = collections.defaultdict(list)
    for place, frame in enumerate(frames):
        wanted[frame.file].append(place)
    found: list[np.ndarray | None] = [None] * len(frames)
    for number, places in wanted.items():
        try:
            arrays = dicom_pixels.decoded(content_of(files[number]), [frames[place] for place in places])
        except ReadError as error:
            raise error if len(files) == 1 else ReadError(f"file {number + 1} of {len(files)}, by name: {error}") from None
        for place, array in zip(places, arrays, strict=True):
            found[place] = array
    return found


def _stacks(frames: tuple[Frame, ...], stored: list[np.ndarray]) -> tuple[list[list[int]], tuple[str, ...]]:
    """The frames of each volume in order of place, by number, and notes: one volume, or where each place has several slices, as many.

    Raises ReadError where a place has several that differ and nothing tells them apart.
    """
    heights = dicom_series.heights_of(frames)
    cuts = np.flatnonzero(np.diff(heights) > dicom_series.SAME) + 1
    places = [_different(list(place), frames, stored) for place in np.split(np.arange(len(frames)), cuts)]
    twice = len(frames) - sum(map(len, places))
    notes = (f"{twice} {'slices that are' if twice > 1 else 'slice that is'} there twice left out",) if twice else ()
    count = max(map(len, places))
    if count == 1:
        return [[place[0] for place in places]], notes
    if min(map(len, places)) == count:
        for number, name in enumerate(APART):
            values = [[frames[member].times[number] for member in place] for place in places]
            if all(None not in value and len(set(value)) == count for value in values):
                ordered = [sorted(place, key=lambda member, number=number: frames[member].times[number]) for place in places]
                return [list(stack) for stack in zip(*ordered, strict=True)], (*notes, f"{count} volumes told apart by {name}")
    several = sum(len(place) > 1 for place in places)
    raise ReadError(f"{several} of {len(places)} places have slices that differ, and nothing tells them apart: several series in one?")


def _different(place: list[int], frames: tuple[Frame, ...], stored: list[np.ndarray]) -> list[int]:
    """Of frames of one place, those whose values are no others'. Raises ReadError where they lie side by side."""
    if len(place) == 1:
        return place
    kept: dict[tuple, int] = {}
    for member in place:
        frame = frames[member]
        if np.abs(frame.position - frames[place[0]].position).max() > frame.spacing[0]:
            raise ReadError("slices of its series lie side by side: several series in one?")
        kept.setdefault((frame.slope, frame.intercept, hashlib.sha256(stored[member].tobytes()).digest()), member)
    return list(kept.values())
