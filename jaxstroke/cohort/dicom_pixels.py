"""Stored values of DICOM slices, decoded, and made physical ones: HU in computed tomography."""

import math

import numpy as np
from pydicom import encaps
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
    UID_dictionary,
)

from jaxstroke.cohort.dicom_header import Frame
from jaxstroke.cohort.dicom_parts import PIXELS, text, value, whole, whole_of
from jaxstroke.cohort.files import ReadError, check_size

LOWEST = -1024.0  # HU: what lies below is the filling around a round field of view
WIDTHS = (8, 16, 32, 64)  # bits of a stored value
# What decodes, best first. The last one ends the whole program over some damaged streams, others say that something is wrong.
PLUGINS = ("pyjpegls", "pylibjpeg", "pillow", "pydicom", "gdcm")
CURE = "pip install 'jaxstroke[dicom]'"
JPEG_SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})  # segments that hold a size
SCAN = 0xDA  # what the coded values follow
JPEG_2000 = b"\xff\x4f\xff\x51"


def decoded(content: bytes, frames: list[Frame]) -> list[np.ndarray]:
    """Stored values (rows, columns) of frames of one file; of colour (rows, columns, 3), red, green and blue.

    Raises ReadError where they are not there, damaged, or cannot be decoded.
    """
    columns, rows = frames[0].size
    shape = (rows, columns) if frames[0].samples == 1 else (rows, columns, frames[0].samples)
    dataset = whole_of(content, math.prod(shape) * frames[0].bits // 8 * (max(frame.number for frame in frames) + 1))
    kind = syntax_of(dataset)
    check_layout(dataset, frames[0], encapsulated=kind.is_encapsulated)
    decoder = decoder_of(kind, whole(dataset, "BitsStored"))
    if kind.is_encapsulated:
        check_encoded(dataset, kind, frames[0])
    try:
        plugin = next((name for name in PLUGINS if name in decoder.available_plugins), "")
        array, _ = decoder.as_array(dataset, raw=len(shape) == 2, allow_excess_frames=False, decoding_plugin=plugin)
    except Exception as error:
        raise ReadError(f"its pixels ({kind.name}) are truncated or damaged ({type(error).__name__})") from None
    array = array if array.ndim > len(shape) else array[None]
    if array.shape[1:] != shape or len(array) <= max(frame.number for frame in frames):
        raise ReadError("its pixels are not as many as its header says")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return [array[frame.number] for frame in frames]


def syntax_of(dataset) -> UID:
    """How the pixels are stored; where the file does not say, as the other elements are."""
    found = text(dataset.file_meta, "TransferSyntaxUID")
    if not found:
        implicit, little = dataset.original_encoding
        found = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = found
    if UID_dictionary.get(found, ("", ""))[1] != "Transfer Syntax":
        raise ReadError("its pixels are stored in a way (transfer syntax) that is not of the standard")
    return UID(found)


def decoder_of(kind: UID, bits: int | None):
    """What decodes a transfer syntax. Raises ReadError with its name where nothing does."""
    try:
        decoder = None if kind == JPEGExtended12Bit and bits != 8 else get_decoder(kind)  # of 12 bits: by none with a permissive licence
    except NotImplementedError:
        decoder = None
    if decoder is None:
        raise ReadError(f"its pixels are stored as {kind.name}, which is not read: store them as Explicit VR Little Endian")
    if not decoder.is_available:
        raise ReadError(f"its pixels are compressed as {kind.name}, for which no decoder is installed: {CURE}")
    return decoder


def check_layout(dataset, frame: Frame, encapsulated: bool):
    """Refuse pixels that are not there, fewer than the header says, or stored in a way that is not decoded right."""
    present = [name for name in PIXELS if name in dataset]
    if len(present) != 1:
        raise ReadError("it is truncated, or holds no pixels" if not present else "it holds several sets of pixels")
    bits, stored, high = (whole(dataset, name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    if bits not in WIDTHS or bits != frame.bits:
        raise ReadError(f"its pixels have {bits} bits, {', '.join(map(str, WIDTHS))} are read")
    if present == ["PixelData"] and (bits > 32 or stored is None or not 1 <= stored <= bits or high not in (None, stored - 1)):
        raise ReadError("its header says an impossible place of a pixel's bits")
    size = math.prod(frame.size) * frame.samples * (whole(dataset, "NumberOfFrames") or 1) * bits // 8
    check_size(size, "the image that its header describes")
    data = value(dataset, present[0])
    if not isinstance(data, bytes) or (not encapsulated and len(data) < size):
        raise ReadError("it is truncated: fewer pixels than its header says")


def check_encoded(dataset, kind: UID, frame: Frame):
    """Refuse compressed frames that would grow to more than the header says: their own header has another size, or they are too long."""
    columns, rows = frame.size
    count = whole(dataset, "NumberOfFrames") or 1
    try:
        encoded = list(encaps.generate_frames(dataset.PixelData, number_of_frames=count))
    except Exception as error:
        raise ReadError(f"its compressed pixels are truncated or damaged ({type(error).__name__})") from None
    for piece in encoded:
        short = len(piece) <= 2 * columns * rows * frame.samples * frame.bits // 8 + 1024
        if not (short if kind == RLELossless else coded_size(piece, frame.samples) == (columns, rows)):
            raise ReadError("its compressed pixels are damaged, or of another size than its header says")


def coded_size(piece: bytes, samples: int = 1) -> tuple[int, int] | None:
    """Columns and rows that a JPEG, JPEG-LS or JPEG 2000 stream of so many channels says; None where its own header is not whole."""
    start = piece.find(JPEG_2000, 0, 4096)
    if start == 0 or (start > 0 and piece[4:6] == b"jP"):
        width, height, left, top = (int.from_bytes(piece[start + place : start + place + 4], "big") for place in (8, 12, 16, 20))
        return width - left, height - top
    size, place = None, 2
    while piece[:2] == b"\xff\xd8" and place + 10 <= len(piece) and piece[place] == 0xFF:
        mark, length = piece[place + 1], int.from_bytes(piece[place + 2 : place + 4], "big")
        if mark == SCAN:
            return size
        if mark in JPEG_SIZES:
            fits = piece[place + 9] == samples
            rows, columns = (int.from_bytes(piece[place + there : place + there + 2], "big") for there in (5, 7))
            size = (columns, rows) if fits else None
        place += 1 if mark == 0xFF else 2 + length
    return None


def physical(stored: list[np.ndarray], frames: list[Frame]) -> np.ndarray:
    """(n, rows, columns) values = stored * slope + intercept: whole numbers where all are, else float32; HU not below LOWEST."""
    floor = LOWEST if frames[0].hounsfield else -math.inf
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is Inf, and refused
        pairs = list(zip(stored, frames, strict=True))
        limits = [float(end) * frame.slope + frame.intercept for array, frame in pairs for end in (array.min(), array.max())]
        kind = kind_of(stored, frames, max(min(limits), floor), max(limits))
        values = np.empty((len(stored), *stored[0].shape), kind)
        for place, (array, frame) in enumerate(pairs):
            exact = array.astype(np.float64)
            exact *= frame.slope
            exact += frame.intercept
            values[place] = np.maximum(exact, floor, out=exact)
    return values


def kind_of(stored: list[np.ndarray], frames: list[Frame], low: float, high: float) -> type:
    """The type that holds all values from low to high."""
    scales = [number for frame in frames for number in (frame.slope, frame.intercept)]
    if all(array.dtype.kind in "ui" for array in stored) and all(number.is_integer() for number in scales):
        for kind in (np.int16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return kind
    return np.float32
