"""Pictures made up for tests, as bytes."""

import io

import numpy as np
import PIL.Image


def picture_bytes(picture, kind="PNG", **options) -> bytes:
    """A picture or an array as a file of a kind."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, PIL.Image.Image) else PIL.Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, shape=(24, 18), dtype=np.uint8) -> np.ndarray:
    """A picture that is no other's."""
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max, shape, dtype)
