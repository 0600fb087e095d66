"""DICOM of an eye as pictures: fundus photographs and OCT, grey or in colour, one frame or several, as bright as a viewer shows them.

Unlike a slice in HU they say themselves what is black and what is white: 0 and the largest value of the bits that are stored. Of a header
only kind and layout are looked at.
"""

import dataclasses

import numpy as np

from jaxstroke.cohort.dicom_header import GREY, class_of, flat_frame
from jaxstroke.cohort.dicom_parts import text, whole
from jaxstroke.cohort.dicom_pixels import decoded
from jaxstroke.cohort.files import MOST_FILES, ReadError
from jaxstroke.cohort.image import Image
from jaxstroke.cohort.picture import MOST_PIXELS

TOMOGRAPHY = "Ophthalmic Tomography Image Storage"  # B-scans alone: the infrared image is a file of its own
CLASSES = (  # how the standard's names of the others begin
    "Ophthalmic Photography", "Wide Field Ophthalmic Photography", "Ophthalmic Optical Coherence Tomography En Face Image",
)  # fmt: skip
MODALITIES = ("OP", "OPT")  # of copies (secondary captures) and photographs without a kind of their own
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
BITS = (8, 16)  # that a value takes


def is_eye(dataset) -> bool:
    """Whether a file holds pictures of an eye."""
    _, name = class_of(dataset)
    if name == TOMOGRAPHY or name.startswith(CLASSES):
        return True
    other = "Secondary Capture" in name or name.startswith("VL ")
    return other and "Image Storage" in name and text(dataset, "Modality") in MODALITIES


def read(content: bytes, dataset, part: str) -> tuple[Image, ...]:
    """The frames of a file (h, w, 1 or 3), uint8 or uint16 as they are stored. dataset: its header; part: as in `config_images.image`.

    Raises ReadError where the pixels are absent, damaged, signed, of another width, by a palette, or compressed so that nothing decodes
    them, and on B-scans where the infrared image is wanted.
    """
    if part == "infrared" and class_of(dataset)[1] == TOMOGRAPHY:
        raise ReadError("it holds B-scans and no infrared image: name the file of that, or set part='scans'")
    samples, colours = whole(dataset, "SamplesPerPixel") or 1, text(dataset, "PhotometricInterpretation")
    if samples not in (1, 3) or colours not in (GREY if samples == 1 else COLOUR):
        raise ReadError("its colours are stored by a palette, or in a way that is not read: store them as RGB")
    if None in (whole(dataset, "Rows"), whole(dataset, "Columns")):
        raise ReadError("it is truncated or damaged: its header says no size")
    frame = dataclasses.replace(flat_frame(dataset), samples=samples)
    if frame.bits not in BITS or whole(dataset, "PixelRepresentation"):
        raise ReadError("its pixels are signed, or have other bits than 8 or 16: nothing says how bright they are meant to be")
    if frame.size[0] * frame.size[1] > MOST_PIXELS:
        raise ReadError(f"the picture has {frame.size[0]} x {frame.size[1]} pixels, at most {MOST_PIXELS:,} are read: shrink it")
    count = whole(dataset, "NumberOfFrames") or 1
    if not 1 <= count <= MOST_FILES:
        raise ReadError(f"its header says no possible number of frames: 1 to {MOST_FILES:,} are read")
    frames = decoded(content, [dataclasses.replace(frame, number=number) for number in range(count)])
    stored, dark = whole(dataset, "BitsStored"), colours == "MONOCHROME1"
    return tuple(Image(np.atleast_3d(levels(array, stored, dark)), None, False) for array in frames)


def levels(array: np.ndarray, stored: int, dark: bool) -> np.ndarray:
    """Values of so many bits over the whole range of their type; dark: the largest is black."""
    largest, top = np.iinfo(array.dtype).max, 2**stored - 1
    if top < largest:  # what lies in the other bits is an overlay
        array = np.rint((array & array.dtype.type(top)) * (largest / top)).astype(array.dtype)
    return largest - array if dark else array
