"""A Heidelberg Engineering .vol: the B-scans of an OCT, or the infrared image that was taken with them, as a viewer shows them.

Little-endian: a header of 2048 bytes, the infrared image (a byte a pixel), and for each B-scan a header of its own and its reflectivity
(float32, 0 to 1, rows downwards). A thickness grid may follow. Of the headers only the version and the seven numbers of `LAYOUT` are read:
the patient's name, identifiers, dates and times of the exam are in them too, and none of these bytes is looked at.
"""

import struct

import numpy as np

from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.image import Image
from jaxstroke.cohort.picture import MOST_PIXELS

START = b"HSF-"  # by which the file is known
VERSIONS = (b"HSF-OCT-100", b"HSF-OCT-101", b"HSF-OCT-102", b"HSF-OCT-103")
HEADER = 2048
OF_A_SCAN = b"HSF-BS-"  # what a B-scan's header begins with: where it does not, some size in the header is wrong
LAYOUT = {  # name: its byte in the header, of an int32
    "B-scan width": 12, "B-scan count": 16, "B-scan height": 20, "infrared width": 48, "infrared height": 52, "B-scan header": 100,
}  # fmt: skip
MOST_SCANS = 10_000
WHITE = 65535  # a B-scan is stored as finely: 8 bits would merge what is dark
CURE = "export it anew as a raw file (.vol)"


def read(content: bytes, part: str) -> tuple[Image, ...]:
    """The bytes of a file to its pictures: B-scans (h, w, 1) uint16 for part "scans", one (h, w, 1) uint8 for "infrared".

    What the device left out (values above 1) is black. Raises ReadError on another version, sizes that cannot be, a file shorter than its
    header says, values that are no reflectivity, and where the wanted part is not there.
    """
    width, count, height, across, down, header = sizes(content)
    start = HEADER + across * down
    if part == "infrared":
        if not across:
            raise ReadError("it holds no infrared image: set part='scans' for its B-scans")
        return (grey(np.frombuffer(content, np.uint8, across * down, HEADER).reshape(down, across)),)
    if not count:
        raise ReadError("it holds no B-scan: set part='infrared' for its infrared image")
    starts = [start + number * (header + 4 * width * height) for number in range(count)]
    if not all(content.startswith(OF_A_SCAN, place, place + header) for place in starts):
        raise ReadError(f"its B-scans do not lie where its header says, which is damaged: {CURE}")
    stored = (np.frombuffer(content, "<f4", width * height, place + header).reshape(height, width) for place in starts)
    return tuple(grey(shown(reflectivity, number)) for number, reflectivity in enumerate(stored))


def sizes(content: bytes) -> tuple[int, int, int, int, int, int]:
    """The numbers of LAYOUT, held to what can be and to the file's own length before anything of that size is made."""
    version = content[:12].partition(b"\0")[0].rstrip()
    if version not in VERSIONS:
        known = version.startswith(START) and version[8:].isdigit()
        said = f"version {version[8:].decode()} of the format" if known else "another kind of file of the same maker"
        raise ReadError(f"it is {said}: HSF-OCT-100 to -103 are read; {CURE}")
    if len(content) < HEADER:
        raise ReadError(f"it is truncated: its header is not whole; copy it again, or {CURE}")
    found = tuple(struct.unpack_from("<i", content, place)[0] for place in LAYOUT.values())
    width, count, height, across, down, header = found
    for name, number in zip(LAYOUT, found, strict=True):
        if number < 0 or (name == "B-scan count" and number > MOST_SCANS):
            raise ReadError(f"its header is damaged: {name} {number}; {CURE}")
    if (count and not width * height) or bool(across) != bool(down) or not (count or across):
        raise ReadError(f"its header is damaged: B-scans of {width} x {height}, infrared image of {across} x {down} pixels; {CURE}")
    if max(width * height, across * down) > MOST_PIXELS:
        raise ReadError(f"its pictures have more than {MOST_PIXELS:,} pixels, by its header, which is damaged: {CURE}")
    if HEADER + across * down + count * (header + 4 * width * height) > len(content):
        raise ReadError(f"it is truncated: fewer B-scans or smaller ones than its header says; copy it again, or {CURE}")
    return found


def shown(reflectivity: np.ndarray, number: int) -> np.ndarray:
    """(h, w) float32 reflectivity to uint16 levels of grey: its fourth root, as viewers show it. number: of the B-scan, for a message."""
    if not reflectivity.min() >= 0:  # NaN is not either
        raise ReadError(f"its B-scan {number + 1} holds NaN or negative values, which no reflectivity has: {CURE}")
    seen = np.where(reflectivity > 1, np.float32(0), reflectivity).astype(np.float32)
    return np.rint(np.sqrt(np.sqrt(seen)) * np.float32(WHITE)).astype(np.uint16)  # the same on every machine, which a power is not


def grey(picture: np.ndarray) -> Image:
    return Image(picture[..., None], None, False)
