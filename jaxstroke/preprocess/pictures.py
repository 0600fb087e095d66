"""A patient's pictures as a sequence: each file alone is read and fitted into the frame, and one that cannot be is left out.

Unlike slices of a volume they have neither place nor size in mm: what an explanation can lead back to is the file and its pixels.
"""

import hashlib

import numpy as np
from scipy import ndimage

from jaxstroke.cohort.files import ReadError, check_size
from jaxstroke.cohort.image import Image
from jaxstroke.cohort.readers import NoPicture, read_picture
from jaxstroke.preprocess import normalise, slices, volume

PAINT = 30  # of 255, by which red exceeds green and blue in paint and, blurred by JPG, at its edge; grey has less
NEARLY_BLACK = 40  # of 255
FORMAT = 1  # part of the hash of images of pictures: raise it when the same settings would give other records


def sequence(settings: dict, paths: tuple[str, ...]) -> dict:
    """Fields of the record of a cell of pictures, see `patient.prepare_image`.

    Of equal pictures the first is kept; of more than the sequence holds evenly spaced ones. Remarks name other files by number: a record
    holds no file names. transforms: `letterbox` with a matrix from the frame to the picture's pixels and the picture's (h, w) for each
    that is kept, `slices` with its index among `paths`.
    """
    kept, unread, notes, seen = [], [], [], {}
    for place, path in enumerate(paths):
        try:
            image = read_picture(path)
            frame = framed(settings, image)
            first = seen.setdefault(identity(image), place)
            if first == place:
                check_size((len(kept) + 1) * frame.nbytes, "what this cell names")
                kept.append((place, image.array.shape[:2], frame))
            else:
                notes.append([place, f"left out: it shows the same as file {first + 1} of {len(paths)}"])
        except NoPicture as error:
            notes.append([place, f"passed over: {error}"])
        except ReadError as error:
            unread.append([place, str(error)])
    if not kept:
        place, reason = unread[0] if unread else (0, "no PNG, JPG or DICOM file is among what the cell names")
        return {"missing": True, "reason": reason, "file": place, "unread": unread[1:], "notes": notes}
    return {"unread": unread, "notes": notes} | chosen(settings, kept, notes)


def chosen(settings: dict, kept: list[tuple], notes: list) -> dict:
    """What a record holds of the pictures (place in the cell, (h, w), frame) of a sequence; a note is added where they are too many."""
    size = settings["shape"][0]
    index, mask = slices.choose(np.ones(len(kept), bool), size)
    if len(kept) > size:
        notes.append([kept[0][0], f"{size} of {len(kept)} pictures kept, evenly spaced"])
    shown = [kept[number] for number in index[index >= 0]]
    array = np.zeros((size, *shown[0][2].shape), settings["dtype"])
    array[: len(shown)] = [frame for _, _, frame in shown]
    _, scale, offset = normalise.quantise(settings["normalise"], np.zeros(0, np.float32), settings["dtype"])
    shapes = [list(shape) for _, shape, _ in shown]
    matrices = [letterbox(*shape, settings["shape"][1:]).tolist() for shape in shapes]
    places = [place for place, _, _ in shown] + [-1] * (size - len(shown))
    return {
        "array": array, "mask": mask, "scale": scale, "offset": offset, "affine": np.eye(4), "shape": shapes[0], "volume_ml": None,
        "transforms": [{"name": "letterbox", "matrices": matrices, "shapes": shapes}, {"name": "slices", "index": places}],
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
