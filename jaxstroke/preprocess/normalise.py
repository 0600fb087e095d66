"""Values of a resampled image, by modality (papers.md 1.4), and how they are stored.

Every function takes values (`... 1` of a volume, float32) and `inside` (same shape, bool: brain and field of view) and returns float32
of the same shape, `... 3` of `ct_windows`. Statistics come from inside only.
"""

import numpy as np

from jaxstroke.cohort.readers import ReadError
from jaxstroke.errors import InputError, nearest

CLIP = 5.0
MOST_OUTSIDE = 0.5
LEAST_SEEN = 0.001
PERCENTILE = 99.5
MASKS = ("mask", "mask_log")  # names below for what a mask file marks
CT_WINDOWS = (
    (0.0, 80.0),
    (-20.0, 180.0),
    (-800.0, 2000.0),
)  # HU: brain, subdural, bone, as radiologists set them (80/40, 200/80, 2800/600)


def zscore(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """Mean 0 and deviation 1 inside, clipped at +-5."""
    seen = values[inside].astype(np.float64)
    if seen.std() <= 1e-6 * max(1e-12, np.abs(seen).max()):
        raise ReadError("it has one value everywhere inside the head")
    return np.clip((values - seen.mean()) / seen.std(), -CLIP, CLIP).astype(np.float32)


def windowed(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """(low, high) in the file's own unit to 0..1. Refuses an image that does not fit the window: most likely another unit."""
    low, high = window
    if not high > low:
        raise InputError(f"window ({low}, {high}): the second value must be the larger one.")
    seen = values[inside]
    outside = np.mean((seen < low) | (seen > high))
    if outside > MOST_OUTSIDE:
        raise ReadError(f"{outside:.0%} of the head lies outside the window {low:g} to {high:g}: is it in another unit?")
    if np.percentile(seen, PERCENTILE) < low + 0.01 * (high - low):
        raise ReadError(f"the head fills less than a hundredth of the window {low:g} to {high:g}: is it in another unit?")
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)


def erased(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """(low, high) to 0..1, and 0 for what lies outside on either side: above 100 HU a scan shows bone and calcified vessels (paper 3)."""
    low, high = window
    if not high > low:
        raise InputError(f"window ({low}, {high}): the second value must be the larger one.")
    share = (values - np.float32(low)) / np.float32(high - low)
    seen = (share > 0) & (share < 1)
    if np.mean(seen[inside]) < LEAST_SEEN:
        raise ReadError(f"less than a thousandth of it lies in the window {low:g} to {high:g}: is it in another unit?")
    return np.where(seen, share, np.float32(0))


def ct_windows(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """Three channels for one, the last axis: the `CT_WINDOWS`, each 0..1. Refuses what has no brain tissue's HU."""
    low, high = CT_WINDOWS[0]
    if np.mean(((values > low) & (values < high))[inside]) < LEAST_SEEN:
        raise ReadError(f"less than a thousandth of it lies between {low:g} and {high:g}: is it a CT in HU?")
    return np.concatenate([scaled(values, inside, one) for one in CT_WINDOWS], -1)


def scaled(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """(low, high) to 0..1, clipped, and nothing refused: for values known to be in that unit, such as 0 to 255 of a published array."""
    low, high = window
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)


def percentile(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """Minimum to 99.5th percentile, both from inside, to 0..1."""
    seen = values[inside]
    low, high = float(seen.min()), float(np.percentile(seen, PERCENTILE))
    if not high > low:
        raise ReadError("it has one value everywhere inside the head")
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)


def fraction(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """A mask already resampled as a fraction: 0..1."""
    return np.clip(values, 0.0, 1.0).astype(np.float32)


def log_fraction(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """The same as log(1 + 100 share) / log 101: lesions differ in volume by factors, and a regression on them takes logarithms too."""
    return np.log1p(100 * fraction(values, inside, window)) / np.float32(np.log(101))


def unchanged(values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    return values.astype(np.float32, copy=False)


# Name in the config -> (function, range of its result or None where the data decide).
NORMALISE = {
    "zscore": (zscore, (-CLIP, CLIP)),
    "window": (windowed, (0.0, 1.0)),
    "window_erased": (erased, (0.0, 1.0)),
    "ct_windows": (ct_windows, (0.0, 1.0)),
    "scale": (scaled, (0.0, 1.0)),
    "percentile": (percentile, (0.0, 1.0)),
    "mask": (fraction, (0.0, 1.0)),
    "mask_log": (log_fraction, (0.0, 1.0)),
    "photograph": (fraction, (0.0, 1.0)),
    "photograph_unpainted": (fraction, (0.0, 1.0)),
    "none": (unchanged, None),
}


def normalise(name: str, values: np.ndarray, inside: np.ndarray, window) -> np.ndarray:
    """Values normalised by name; raises ReadError where nothing is inside or the image does not fit, InputError on unknown names."""
    if name not in NORMALISE:
        raise InputError(f"images.<name>.normalise '{name}' is not known.{nearest(name, NORMALISE)}")
    if not inside.any():
        raise ReadError("nothing of the head lies inside its grid")
    return NORMALISE[name][0](values, inside, window)


def quantise(name: str, values: np.ndarray, dtype: str) -> tuple[np.ndarray, float, float]:
    """Stored integers, scale and offset: `value = stored * scale + offset`. A value of 0 comes back as exactly 0.

    dtype: int16 (32767 steps to each side, offset 0) or uint8 (255 steps; a range with negative values has its 0 at 128).
    """
    bounds = NORMALISE[name][1] or (float(values.min(initial=0.0)), float(values.max(initial=0.0)))
    largest = max(abs(bounds[0]), abs(bounds[1])) or 1.0
    if dtype == "int16":
        scale, zero, low, high = largest / 32767, 0, -32767, 32767
    elif dtype == "uint8":
        scale, zero, low, high = (largest / 255, 0, 0, 255) if bounds[0] >= 0 else (largest / 127, 128, 0, 255)
    else:
        raise InputError(f"images.<name>.dtype '{dtype}' is not known.{nearest(dtype, ('int16', 'uint8'))}")
    stored = np.clip(np.rint(values / np.float32(scale)) + zero, low, high).astype(dtype)
    return stored, scale, -zero * scale
