"""A patient's pictures as a sequence: each is fitted into the frame by itself, and a file that cannot be read is left out.

Unlike slices of a volume they have neither place nor size in mm: what an explanation can lead back to is the file and its pixels.
"""

import collections
import dataclasses
import hashlib
import math

import numpy as np
from scipy import ndimage

from jaxstroke.cohort.files import ReadError, check_size, kind_of
from jaxstroke.cohort.image import Image
from jaxstroke.cohort.readers import NoPicture, read_pictures
from jaxstroke.preprocess import normalise, slices, volume

PAINT = 30  # of 255, by which red exceeds green and blue in paint and, blurred by JPG, at its edge; grey has less
NEARLY_BLACK = 40  # of 255
ALONE = -1  # number of a picture that has its file for itself
FORMAT = 1  # part of the hash of images of pictures: raise it when the same settings would give other records


@dataclasses.dataclass(frozen=True)
class Picture:
    """One that is kept. place: of its file in the cell; number: among the pictures of its file, ALONE where it is the only one; shape: its
    (h, w); frame: (h, w, c) as it is stored, None of one that the sequence will not hold."""

    place: int
    number: int
    shape: tuple[int, int]
    frame: np.ndarray | None


def sequence(settings: dict, paths: tuple[str, ...]) -> dict:
    """Fields of the record of a cell of pictures, see `patient.prepare_image`.

    Of equal pictures the first is kept; of more than the sequence holds those that `pick` says. Remarks name other files by number: a
    record holds no file names. transforms: `letterbox` with a matrix from the frame to the picture's pixels and the picture's (h, w) for
    each that is kept, `slices` with its file's index among `paths` and its own number in that file (`frames`, see `Picture`).
    """
    kept, unread, notes, seen = [], [], [], {}
    for place in range(len(paths)):
        try:
            own, fresh, said = of_file(settings, paths, place, seen)
            check_size(sum(picture.frame.nbytes for picture in (*kept, *own) if picture.frame is not None), "what this cell names")
            kept += own
            seen |= fresh
            notes += [[place, remark] for remark in said]
        except NoPicture as error:
            notes.append([place, f"passed over: {error}"])
        except ReadError as error:
            unread.append([place, str(error)])
    if not kept:
        place, reason = unread[0] if unread else (0, "no PNG, JPG, DICOM or .vol file is among what the cell names")
        return {"missing": True, "reason": reason, "file": place, "unread": unread[1:], "notes": notes}
    chosen, dropped = choose(settings, kept, paths)
    return {"unread": unread, "notes": notes + dropped} | fields(settings, chosen)


def of_file(settings: dict, paths: tuple[str, ...], place: int, seen: dict) -> tuple[list[Picture], dict, list[str]]:
    """The pictures of a file that are kept, their identities with the place, and remarks on the others. seen: identities of others."""
    found, fresh, black, again = [], {}, [], collections.defaultdict(list)
    images = read_pictures(paths[place], settings["part"])
    size = math.prod((*settings["shape"][1:], settings["channels"])) * np.dtype(settings["dtype"]).itemsize
    check_size(len(images) * size, "what this cell names")
    for number, image in enumerate(images):
        key = identity(image)
        first = seen.get(key, fresh.get(key))
        if not image.array.any():
            black.append(number)
        elif first is not None:
            again[first].append(number)
        else:
            found.append((number if len(images) > 1 else ALONE, image))
            fresh[key] = place
    wanted, most = range(len(found)), settings["shape"][0]
    if len(found) > most and (settings["pick"] == "central" or len(paths) == 1):  # fitting the others would take most of the time
        wanted = PICK[settings["pick"]][0](np.zeros(len(found), int), most)
    kept = [
        Picture(place, number, image.array.shape[:2], framed(settings, image) if order in wanted else None)
        for order, (number, image) in enumerate(found)
    ]
    said = [f"{counted(paths[place], black)} left out: zero everywhere"] if black else []
    for first, numbers in again.items():
        other = f"file {first + 1} of {len(paths)}"
        if len(numbers) == len(images):
            said.append(f"left out: it shows the same as {other}")
        else:
            said.append(f"{counted(paths[place], numbers)} left out: the same as another of {'it' if first == place else other}")
    return kept, fresh, said


def counted(path: str, numbers: list[int]) -> str:
    """Pictures of a file by their numbers from 1 on: B-scans 1 to 3, 7."""
    edges = [number for number in numbers if number - 1 not in numbers]
    runs = []
    for low in edges:
        high = next(number for number in range(low, numbers[-1] + 1) if number + 1 not in numbers)
        runs.append(f"{low + 1}" if high == low else f"{low + 1} to {high + 1}")
    return f"{kind_of(path)}{'s' if len(numbers) > 1 else ''} {', '.join(runs)}"


def evenly(groups: np.ndarray, size: int) -> np.ndarray:
    """Evenly spaced ones, first and last included; of one the middle."""
    index, mask = slices.choose(np.ones(len(groups), bool), size)
    return index[mask > 0]


def central(groups: np.ndarray, size: int) -> np.ndarray:
    """Those nearest to the middle of their group, of two as near the later first; of several groups as many of each, earlier ones first."""
    rank = np.empty(len(groups), int)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        far = np.abs(2 * np.arange(len(own)) - len(own) + 1)
        rank[own[np.lexsort((-own, far))]] = np.arange(len(own))
    return np.sort(np.argsort(rank, kind="stable")[:size])


# Name in `images.<name>.pick` -> (which of n pictures, in order; how a remark says it). groups: (n,) int, see `choose`.
PICK = {"even": (evenly, "evenly spaced"), "central": (central, "the central ones")}


def choose(settings: dict, kept: list[Picture], paths: tuple[str, ...]) -> tuple[list[Picture], list]:
    """What the sequence holds of the pictures, and remarks on how many it does not.

    Those of a file that holds several are a group of their own, all others are another.
    """
    size, (pick, words) = settings["shape"][0], PICK[settings["pick"]]
    if len(kept) <= size:
        return kept, []
    groups = np.array([ALONE if picture.number == ALONE else picture.place for picture in kept])
    index, notes = pick(groups, size), []
    for group in dict.fromkeys(groups.tolist()):
        own, there = np.flatnonzero(groups == group), index[groups[index] == group]
        if len(there) < len(own):
            first = kept[(*there, *own)[0]].place
            what = "picture" if group == ALONE else kind_of(paths[first])
            notes.append([first, f"{len(there)} of {len(own)} {what}s kept, {words}"])
    return [kept[number] for number in index], notes


def fields(settings: dict, chosen: list[Picture]) -> dict:
    """What a record holds of the pictures of a sequence, padded."""
    size = settings["shape"][0]
    padding = [-1] * (size - len(chosen))
    array = np.zeros((size, *chosen[0].frame.shape), settings["dtype"])
    array[: len(chosen)] = [picture.frame for picture in chosen]
    mask = (np.arange(size) < len(chosen)).astype(np.float32)
    _, scale, offset = normalise.quantise(settings["normalise"], np.zeros(0, np.float32), settings["dtype"])
    shapes = [list(picture.shape) for picture in chosen]
    matrices = [letterbox(*shape, settings["shape"][1:]).tolist() for shape in shapes]
    places = {"index": [picture.place for picture in chosen] + padding, "frames": [picture.number for picture in chosen] + padding}
    return {
        "array": array, "mask": mask, "scale": scale, "offset": offset, "affine": np.eye(4), "shape": shapes[0], "volume_ml": None,
        "transforms": [
            {"name": "letterbox", "matrices": matrices, "shapes": shapes}, {"name": "slices", **places, "pick": settings["pick"]},
        ],
        "reference": "",
    }  # fmt: skip


def identity(image: Image) -> tuple:
    """Equal for pictures that look the same to the last pixel, also where one stores grey as colour."""
    array = image.array
    if array.shape[-1] == 3 and (array == array[..., :1]).all():
        array = array[..., :1]
    return image.hounsfield, array.shape, array.dtype.str, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


def framed(settings: dict, image: Image) -> np.ndarray:
    """A picture in its frame (h, w, c), in the stored type; a pixel is the mean of the picture over its own extent."""
    (height, width), shape = image.array.shape[:2], settings["shape"][1:]
    matrix = letterbox(height, width, shape)
    rows = volume.averaging_weights(shape[0], height, matrix[0, 0], matrix[0, 2])
    columns = volume.averaging_weights(shape[1], width, matrix[1, 1], matrix[1, 2])
    shown = np.einsum("hr,rcx,wc->hwx", rows, levels(settings, image), columns, optimize=True)
    return normalise.quantise(settings["normalise"], shown, settings["dtype"])[0]


def levels(settings: dict, image: Image) -> np.ndarray:
    """(h, w, c) float32, black 0 and white 1. Raises ReadError on a slice in HU where no window is set."""
    values = image.array.astype(np.float32)
    if not image.hounsfield:
        values /= np.iinfo(image.array.dtype).max  # in place: a large photograph takes a gigabyte
        values = unpainted(values) if settings["normalise"] == "photograph_unpainted" else values
    elif settings["normalise"].startswith("photograph"):
        raise ReadError("it is a slice in HU, and nothing says which of them are to be seen: set its normalise to 'window' or 'ct_windows'")
    elif settings["normalise"] == "ct_windows":
        values = normalise.ct_windows(values, np.ones(values.shape, bool), settings["window"])
    else:
        values = normalise.scaled(values, np.ones(values.shape, bool), settings["window"])
    return to_channels(values, settings["channels"])


def unpainted(values: np.ndarray) -> np.ndarray:
    """(h, w, 1 or 3) 0 to 1 with red paint, and a pixel around it, in the median grey of what is neither painted nor black."""
    if values.shape[-1] == 1:
        return values
    paint = ndimage.binary_dilation(values[..., 0] - values[..., 1:].max(-1) > PAINT / 255, np.ones((3, 3)))
    tissue = values[~paint & (values.max(-1) > NEARLY_BLACK / 255)]
    return np.where(paint[..., None], np.median(tissue) if tissue.size else 0, values).astype(np.float32)


def letterbox(height: int, width: int, shape) -> np.ndarray:
    """3 x 3: (row, column, 1) in a frame of `shape` -> (row, column, 1) in a picture, whole picture in the frame, aspect kept, centred."""
    step = max(height / shape[0], width / shape[1])
    start = [(length - 1) / 2 - step * (target - 1) / 2 for length, target in ((height, shape[0]), (width, shape[1]))]
    return np.array([[step, 0, start[0]], [0, step, start[1]], [0, 0, 1.0]])


def to_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """(h, w, 1 or 3) -> (h, w, channels): grey from colour by luma (ITU-R BT.601), colour from grey by repetition."""
    if picture.shape[-1] == channels:
        return picture
    if channels == 1:
        return (picture @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    return np.repeat(picture, channels, axis=-1)
