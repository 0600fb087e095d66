"""A PNG or JPG file to its pixels, as a viewer shows them: upright, transparent parts over black, inks as light."""

import io
import warnings

import numpy as np
import PIL.Image
import PIL.ImageOps

from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.image import Image

MOST_PIXELS = 10**8  # of a picture: the largest cameras have that many
STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # by which a PNG and a JPG are known, whatever their name
WIDE_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def decoded(content: bytes) -> Image:
    """Grey (h, w, 1) uint8 or uint16, colour (h, w, 3) uint8. Raises ReadError on what is neither, too large, truncated or damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF blocks and palettes
            with PIL.Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise ReadError(f"the picture has {opened.width} x {opened.height} pixels, at most {MOST_PIXELS:,} are read: shrink it")
                picture = PIL.ImageOps.exif_transpose(opened)
                picture.load()
            array = pixels(picture)
    except ReadError:
        raise
    except PIL.UnidentifiedImageError:
        raise ReadError("it is not a PNG or JPG picture") from None
    except PIL.Image.DecompressionBombError:
        raise ReadError(f"the picture has far more pixels than are read (at most {MOST_PIXELS:,}): shrink it") from None
    except Exception as error:
        raise ReadError(f"the picture is truncated or damaged ({type(error).__name__})") from None
    return Image(array[..., None] if array.ndim == 2 else array, None, False)


def pixels(picture: PIL.Image.Image) -> np.ndarray:
    """(h, w) or (h, w, 3): grey of two bytes as uint16, every other mode as uint8; what is transparent is as dark as it is transparent."""
    if picture.mode in WIDE_GREY:  # where such a file names a transparent grey, Pillow passes over it, as most viewers do
        return np.asarray(picture).astype(np.uint16)
    grey = picture.mode in ("1", "L", "LA", "La")
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("L" if grey else "RGB"))
    shown = np.asarray(picture.convert("LA" if grey else "RGBA")).astype(np.uint16)
    shown = ((shown[..., :-1] * shown[..., -1:] + 127) // 255).astype(np.uint8)
    return shown[..., 0] if grey else shown
