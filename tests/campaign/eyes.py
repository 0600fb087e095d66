"""Damaged files of eyes: a Heidelberg .vol, its header set to anything, and DICOM of one frame and several, plain and compressed."""

import functools
import pathlib
import random
import struct
import sys

import frames
import mutations
import numpy as np
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import eyes_on_disk as on_disk  # noqa: E402
from picture_files import noise, picture_bytes  # noqa: E402

REAL = "oct-ir-heyex/valid_scrubbed.vol"
NUMBERS = (-(2**31), -1, 0, 1, 7, 255, 4096, 65535, 2**24, 2**31 - 1)


@functools.cache
def generated() -> dict[str, bytes]:
    """Name -> bytes of a whole file of every kind."""
    scans = on_disk.reflectivity(0, (4, 30, 40))
    scans[1], scans[2, :6] = 0, on_disk.NOTHING
    grey, colour = noise(1, (3, 30, 40)), noise(2, (1, 30, 40, 3))
    streams = [picture_bytes(one, "JPEG") for one in grey]
    exact = [picture_bytes(one, "JPEG2000", irreversible=False, no_jp2=True) for one in colour]
    return {
        "scans.vol": on_disk.vol_bytes(scans, noise(3)),
        "one scan.vol": on_disk.vol_bytes(scans[:1], noise(3), version=b"HSF-OCT-101", header=1000, behind=bytes(3000)),
        "oct.dcm": on_disk.eye_bytes(grey),
        "oct of 12 bits.dcm": on_disk.eye_bytes(grey.astype(np.uint16) * 16, stored=12),
        "run-length.dcm": on_disk.eye_bytes(grey, RLELossless),
        "fundus.dcm": on_disk.eye_bytes(colour, kind=on_disk.FUNDUS),
        "jpeg.dcm": on_disk.compressed_eye(grey, streams, JPEGBaseline8Bit),
        "jpeg 2000.dcm": on_disk.compressed_eye(colour, exact, JPEG2000Lossless, kind=on_disk.FUNDUS, colours="YBR_RCT"),
    }


@functools.cache
def real(data: str) -> dict[str, bytes]:
    """The real .vol; none where the folder is absent."""
    path = pathlib.Path(data) / REAL
    return {REAL: path.read_bytes()} if data and path.is_file() else {}


def make(seed: int, number: int, data: str = "") -> tuple[str, bytes, str]:
    """File name, bytes, and what was done, of one input."""
    draw = mutations.chance("eyes", seed, number)
    seeds = real(data) if draw.random() < 0.1 and real(data) else generated()
    name = draw.choice(sorted(seeds))
    content, words = seeds[name], "as it is"
    if draw.random() < 0.5:
        content, words = change_number(content, draw) if name.endswith(".vol") else frames.change_element(content, draw)
    elif draw.random() < 0.95:
        content, words = mutations.any_of(content, draw)
    return f"input{pathlib.Path(name).suffix}", content, f"{name}: {words}"


def change_number(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A size in the header of a .vol is another, or a value of its pictures."""
    changed, name = bytearray(content), draw.choice((*on_disk.PLACES, "value"))
    if name == "value":
        value, place = draw.choice((np.nan, np.inf, -np.inf, -1.0, 1e-40, 2.0)), draw.randrange(4100, len(content) - 4)
        struct.pack_into("<f", changed, place, value)
        return bytes(changed), f"{value} at {place}"
    (right,) = struct.unpack_from("<i", content, on_disk.PLACES[name])
    value = draw.choice((*NUMBERS, right - 1, right + 1, 2 * right, right // 2))
    struct.pack_into("<i", changed, on_disk.PLACES[name], value)
    return bytes(changed), f"{name} = {value}"
