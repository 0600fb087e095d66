"""The slices of an image that show most of a lesion, as PNG files that a model with eyes can read."""

import io

import numpy as np
import PIL.Image

WINDOW = (1.0, 99.0)  # percentiles of the values that are not 0: what is 0 lies outside the head


def pngs(array: np.ndarray, mask: np.ndarray | None, count: int, mirrored: bool = True) -> tuple[bytes, ...]:
    """`count` slices at most, as PNG files of 8 bits, in the order of slices; the same bytes for the same values.

    array     (s, h, w, c) of real numbers, as stored or in their own unit, c 1 or 3: grey, or red, green, blue
    mask      (s, h, w), more than 0 where a lesion is, or None. Those with most of it are taken, none without; where it is empty, or
              there is none, slices evenly spaced over the middle half of those that are not all 0
    mirrored  stored columns run from the patient's left to the right; radiologists have the patient's left at the right. False for
              pictures, which are stored as they were exported

    One window for all slices. A ValueError names shapes that do not fit.
    """
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or (mask is not None and mask.shape != array.shape[:3]):
        raise ValueError(f"array {array.shape} is no (s, h, w, 1 or 3), or mask {None if mask is None else mask.shape} is not of its shape")
    values = np.nan_to_num(np.asarray(array, np.float32), posinf=0.0, neginf=0.0)
    tissue = values[values != 0]
    if not tissue.size:
        return ()
    low, high = np.percentile(tissue, WINDOW)
    low = low if high > low else high - 1
    chosen = values[chosen_slices(values, mask, count)]
    grey = np.where(chosen != 0, np.rint(np.clip((chosen - low) / (high - low), 0, 1) * 255), 0).astype(np.uint8)
    grey = grey[:, :, ::-1] if mirrored else grey
    return tuple(png(np.ascontiguousarray(picture)) for picture in grey)


def chosen_slices(values: np.ndarray, mask: np.ndarray | None, count: int) -> np.ndarray:
    """Indices of slices, rising. values: (s, h, w, c); mask as in `pngs`."""
    area = np.zeros(len(values)) if mask is None else np.maximum(np.asarray(mask, np.float64), 0).sum(axis=(1, 2))
    if area.any():
        most = np.argsort(-area, kind="stable")[:count]
        return np.sort(most[area[most] > 0])
    held = np.flatnonzero(values.any(axis=(1, 2, 3)))
    quarter = len(held) // 4
    middle = held[quarter : len(held) - quarter]
    places = np.linspace(0, len(middle) - 1, count) if count > 1 else np.array([(len(middle) - 1) / 2])
    return middle[np.unique(np.rint(places).astype(int))]


def png(picture: np.ndarray) -> bytes:
    """(h, w, 1 or 3) uint8 as a file."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture if picture.shape[-1] == 3 else picture[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()
