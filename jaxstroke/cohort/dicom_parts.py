"""The bytes of a DICOM file to the few elements that are looked at, through pydicom, which is kept from saying anything of the others.

Nothing that pydicom says is passed on: its warnings, log and errors quote values of headers.
"""

import contextlib
import io
import logging
import math
import warnings
import zlib

import pydicom
from pydicom import config
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from jaxstroke.cohort.files import DAMAGED, SPARE, ReadError

START = 132  # bytes by which a DICOM file is known
GROUPS = (b"\x08\0", b"\x02\0", b"\0\x08")  # what files without the customary start begin with
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
LAYOUT = (
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PlanarConfiguration",
)  # fmt: skip
MEASURES = ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient", "RescaleIntercept", "RescaleSlope")
APART = (
    "TemporalPositionIdentifier", "DiffusionBValue", "EchoTime", "TriggerTime", "AcquisitionNumber", "AcquisitionTime", "ContentTime",
)  # fmt: skip
KINDS = ("ImageType", "SOPClassUID", "Modality", "RescaleType", "SeriesInstanceUID", "FrameOfReferenceUID")  # for grouping alone
FRAMES = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")  # what describes a frame, before the dataset does
TABLE = "ModalityLUTSequence"  # that gives stored values their meaning, in place of slope and intercept
WANTED = [*KINDS, *LAYOUT, *MEASURES, *APART, *FRAMES, TABLE]


@contextlib.contextmanager
def quiet():
    """pydicom without a word: no warnings, no log, no checks of what values look like."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils")]
    before, mode = [logger.disabled for logger in loggers], config.settings.reading_validation_mode
    try:
        config.settings.reading_validation_mode = config.IGNORE
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins like this is worth a look."""
    return start[128:START] == b"DICM" or start[:2] in GROUPS


def header_of(content: bytes) -> pydicom.Dataset:
    """The elements of WANTED before the pixels."""
    return _parsed(content, SPARE, pixels=False)


def whole_of(content: bytes, size: int) -> pydicom.Dataset:
    """The elements of WANTED and the pixels, which take `size` bytes at most where the whole file is deflated."""
    return _parsed(content, SPARE + size, pixels=True)


def _parsed(content: bytes, most: int, pixels: bool) -> pydicom.Dataset:
    try:
        stream = io.BytesIO(_inflated(content, most))
        return pydicom.dcmread(stream, stop_before_pixels=not pixels, force=True, specific_tags=WANTED + [*PIXELS, *OFFSETS] * pixels)
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(f"its header is damaged ({type(error).__name__})") from None


def _inflated(content: bytes, most: int) -> bytes:
    """A file whose elements are deflated, with at most so many bytes of them, as one of plain elements; others as they are."""
    if content[128:START] != b"DICM":
        return content
    stream = io.BytesIO(content)
    stream.seek(START)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, kind, length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return content
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(stream.read(), most)
    except zlib.error:
        raise ReadError(DAMAGED) from None
    if not inflater.eof and len(plain) < most:
        raise ReadError(DAMAGED)
    return bytes(128) + b"DICM" + plain


def value(dataset, name: str):
    """A value, None where it is absent or empty. Raises ReadError where it cannot be read."""
    try:
        found = dataset.get(name)
    except Exception as error:
        raise ReadError(f"its {name} cannot be read ({type(error).__name__})") from None
    return None if found is None or found == "" else found


def numbers(dataset, name: str, count: int) -> list[float] | None:
    """So many finite numbers, None where there are none. Raises ReadError where there are others."""
    found = value(dataset, name)
    if found is None:
        return None
    try:
        found = [float(number) for number in (found if count > 1 else [found])]
    except (TypeError, ValueError, OverflowError):
        raise ReadError(f"its {name} holds no numbers") from None
    if not found:
        return None
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ReadError(f"its {name} must hold {count} finite numbers")
    return found


def whole(dataset, name: str) -> int | None:
    """A whole number, None where there is none."""
    found = numbers(dataset, name, 1)
    if found is None:
        return None
    if found[0] != int(found[0]):
        raise ReadError(f"its {name} is no whole number")
    return int(found[0])


def text(dataset, name: str) -> str:
    """A value as text, several joined by a backslash as in the file; "" where there is none. Never for a message."""
    found = value(dataset, name)
    if found is None:
        return ""
    return found if isinstance(found, str) else "\\".join(map(str, found)) if hasattr(found, "__iter__") else str(found)


def items(dataset, name: str) -> list:
    """The items of a sequence."""
    found = value(dataset, name)
    if found is None:
        return []
    if not all(isinstance(item, pydicom.Dataset) for item in (found if isinstance(found, pydicom.Sequence) else [found])):
        raise ReadError(f"its {name} is no sequence")
    return list(found)
