"""Damaged PNG and JPG files: every mode, their bytes changed, bombs, and what else goes under their names."""

import functools
import io
import pathlib
import random
import struct
import zlib

import mutations
import numpy as np
import PIL.Image

SIZES = ((65535, 65535), (2**31 - 1, 1), (1, 2**31 - 1), (12_000, 12_000), (0, 5), (2**32 - 1, 2**32 - 1), (20_000, 9000))
REAL = ("fundus-skimage/microaneurysms.png", "fundus-skimage/retina.jpg", "soop/views/*_axial.jpg")


def written(picture: PIL.Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache
def generated() -> dict[str, bytes]:
    """Name -> bytes of a whole picture of every mode."""
    colour = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    base = PIL.Image.fromarray(colour)
    found = {f"{mode}.png": written(base.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    found["I;16.png"] = written(PIL.Image.fromarray(colour[..., 0].astype(np.uint16) * 200), "PNG")
    found |= {f"{mode}.jpg": written(base.convert(mode), "JPEG") for mode in ("L", "RGB", "CMYK")}
    found["progressive.jpg"] = written(base, "JPEG", progressive=True)
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "turned"
    found["turned.jpg"] = written(base, "JPEG", exif=exif)
    found["transparent.png"] = written(base.convert("P"), "PNG", transparency=0)
    found["animated.png"] = written(base, "PNG", save_all=True, append_images=[base.rotate(90), base], duration=10)
    found["a GIF.png"] = written(base, "GIF")
    found["a TIFF.jpg"] = written(base, "TIFF")
    found["a PNG.jpg"] = found["RGB.png"]
    found["a line.png"] = written(PIL.Image.fromarray(colour[:1]), "PNG")
    return found


@functools.cache
def real(data: str) -> dict[str, bytes]:
    """Path -> bytes of a few real files; none where the folder is absent."""
    found = {}
    for pattern in REAL if data else ():
        for path in sorted(pathlib.Path(data).glob(pattern))[:1]:
            found[str(path.relative_to(data))] = path.read_bytes()
    return found


def make(seed: int, number: int, data: str = "") -> tuple[str, bytes, str]:
    """File name, bytes, and what was done, of one input."""
    draw = mutations.chance("pictures", seed, number)
    seeds = real(data) if draw.random() < 0.2 and real(data) else generated()
    name = draw.choice(sorted(seeds))
    content, words = seeds[name], "as it is"
    if content.startswith(b"\x89PNG") and draw.random() < 0.5:
        content, words = change_chunks(content, draw)
    elif draw.random() < 0.95:
        content, words = mutations.any_of(content, draw)
    return f"input{pathlib.Path(name).suffix}", content, f"{name}: {words}"


def change_chunks(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A PNG's chunks changed with their checksums right, so that what is in them is believed."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    what = draw.choice(("size", "depth", "data", "order", "gone", "twice", "text", "length"))
    if what == "size":
        size = draw.choice(SIZES)
        chunks[0] = (b"IHDR", struct.pack(">II", *size) + chunks[0][1][8:])
        words = f"claims {size[0]} x {size[1]} pixels"
    elif what == "depth":
        changed = bytearray(chunks[0][1])
        spot, value = draw.randrange(8, 13), draw.randrange(20)
        changed[spot] = value
        chunks[0], words = (b"IHDR", bytes(changed)), f"header byte {spot} = {value}"
    elif what == "data":
        spot = draw.randrange(len(chunks))
        changed, words = mutations.any_of(chunks[spot][1], draw)
        chunks[spot], words = (chunks[spot][0], changed), f"chunk {chunks[spot][0].decode()}: {words}"
    elif what == "order":
        draw.shuffle(chunks)
        words = "chunks shuffled"
    elif what == "gone":
        words = f"chunk {chunks.pop(draw.randrange(len(chunks)))[0].decode()} gone"
    elif what == "twice":
        spot = draw.randrange(len(chunks))
        chunks.insert(spot, chunks[spot])
        words = f"chunk {chunks[spot][0].decode()} twice"
    elif what == "text":
        chunks.insert(1, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8), 9)))
        words = "100 MB of text in a small chunk"
    else:
        return content[:8] + struct.pack(">I", draw.choice((0, 2**31, 2**32 - 1, 14))) + content[12:], "length of the first chunk changed"
    packed = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return content[:8] + b"".join(packed), words
