"""Damaged NIfTI files: generated and real ones, their headers and bytes changed, and what else goes under their names."""

import functools
import gzip
import pathlib
import random

import mutations
import nibabel
import numpy as np

AFFINE = np.array([[-3.0, 0.1, 0, 45], [0, 3, 0, -45], [0, 0.2, 6, -30], [0, 0, 0, 1.0]])
SHAPE = (30, 30, 10)
REAL = (
    "clinical-t2-lesion/lesionT2.nii.gz", "clinical-t2-lesion/scct.nii.gz", "soop/lesions/*_lesion.nii.gz", "motor-multimodal/*.nii.gz",
)  # fmt: skip
REFUSED = {"complex", "colour", "pair", "Analyze"}  # of the generated ones
NUMBERS = (0, -1, 1, 2, 3, 7, 8, 16, 255, 256, 348, 512, 1536, 1792, 2048, 2304, 32767, -32768, 2**31 - 1, -(2**31), 2**62)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e-9, 0.5, 255.0, 352.0, 353.5, 1e6, 1e30, -1e38, 3e38, np.nan, np.inf, -np.inf)
DIMENSIONS = {
    "10^9 voxels": (3, 1000, 1000, 1000, 1, 1, 1, 1), "10^9 voxels in one plane": (3, 32000, 32000, 1, 1, 1, 1, 1),
    "10^18 voxels": (4, 32767, 32767, 32767, 32767, 1, 1, 1), "10^31 voxels": (7, *[32767] * 7),
    "32767 slices": (3, 1, 1, 32767, 1, 1, 1, 1),
    "9000 time points": (4, 1, 1, 1, 9000, 1, 1, 1), "seven axes": (7, 30, 30, 10, 1, 1, 1, 1), "five axes": (5, 30, 30, 5, 1, 2, 1, 1),
    "one voxel": (3, 1, 1, 1, 1, 1, 1, 1), "a line": (3, 9000, 1, 1, 1, 1, 1, 1), "no voxel": (3, 30, 0, 10, 1, 1, 1, 1),
    "a negative axis": (3, 30, -30, 10, 1, 1, 1, 1), "no axes": (0, 30, 30, 10, 1, 1, 1, 1), "two axes": (2, 30, 30, 1, 1, 1, 1, 1),
    "a surface": (3, -1, 1, 1, 1, 1, 1, 1),
}  # fmt: skip


def head(dtype) -> np.ndarray:
    """An ellipsoid of tissue in empty background."""
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    inside = ((place / np.array([0.7, 0.85, 0.8])[:, None, None, None]) ** 2).sum(0) < 1
    return np.where(inside, np.random.default_rng(0).uniform(80, 120, SHAPE), 0).astype(dtype)


def written(array, kind=nibabel.Nifti1Image, slope: float | None = None, note: bytes = b"", endian: str = "<") -> bytes:
    image = kind(array, AFFINE, header=kind.header_class(endianness=endian))
    image.header.set_data_dtype(array.dtype)
    image.header.set_xyzt_units("mm")
    if slope is not None:
        image.header.set_slope_inter(slope, 3.0)
    if note:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", note))
    return image.to_bytes()


@functools.cache
def generated() -> dict[str, bytes]:
    """Name -> bytes of a whole file of every kind that is read, and of some that are not."""
    colour = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    plain = written(head(np.int16))
    return {
        "int16": plain, "float32": written(head(np.float32)), "mask": written((head(np.uint8) > 100).astype(np.uint8)),
        "big-endian float64": written(head(np.float64).astype(">f8"), endian=">"), "int64": written(head(np.int64)),
        "NIfTI-2": written(head(np.int16), nibabel.Nifti2Image), "scaled": written(head(np.int16), slope=0.01),
        "with a note": written(head(np.uint16), note=b"a note " * 9), "time series": written(np.stack([head(np.int16)] * 3, -1)),
        "complex": written(head(np.complex64)), "colour": written(colour), "HU": written(head(np.int16) * 10 - 1000),
        "pair": plain[:344] + b"ni1\0" + plain[348:], "Analyze": plain[:344] + bytes(4) + plain[348:],
        "plane": written(head(np.int16)[:, :, 4]),
    }  # fmt: skip


@functools.cache
def real(data: str) -> dict[str, bytes]:
    """Path -> bytes, decompressed, of a few real files; none where the folder is absent."""
    found = {}
    for pattern in REAL if data else ():
        for path in sorted(pathlib.Path(data).glob(pattern))[:1]:
            found[str(path.relative_to(data))] = gzip.decompress(path.read_bytes())
    return found


def make(seed: int, number: int, data: str = "") -> tuple[str, bytes, str]:
    """File name, bytes, and what was done, of one input."""
    draw = mutations.chance("volumes", seed, number)
    seeds = real(data) if draw.random() < 0.15 and real(data) else generated()
    name = draw.choice(sorted(set(seeds) - REFUSED) if draw.random() < 0.95 else sorted(seeds))
    content, words = seeds[name], []
    if draw.random() < 0.6:
        content, word = change_header(content, draw)
        words.append(word)
    inside = draw.random() < (0.3 if words else 0.6)
    if inside:
        content, word = mutations.any_of(content, draw)
        words.append(word)
    compressed = draw.random() < 0.5
    if compressed:
        content = gzip.compress(content, 1, mtime=0)
        if not words or draw.random() < 0.2:
            content, word = mutations.any_of(content, draw)
            words.append(f"compressed, then {word}")
    suffix = ".nii.gz" if compressed == (draw.random() < 0.95) else ".nii"
    return f"input{suffix}", content, f"{name}: {'; '.join(words) or 'as it is'}"


def change_header(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One to three fields of the header set to something extreme, in the byte order of the file."""
    order = "<" if content[1] else ">"  # 348 and 540 have their second byte set in one order alone
    size = int.from_bytes(content[:4], "little" if order == "<" else "big")
    dtype = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}[size].template_dtype.newbyteorder(order)
    header = np.frombuffer(content[: dtype.itemsize], dtype).copy()
    words = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        words.append(change_field(header, draw))
    return header.tobytes() + content[dtype.itemsize :], ", ".join(words)


def change_field(header: np.ndarray, draw: random.Random) -> str:
    """Set one field, or all its numbers; dimensions, orientation and the place of the voxels more often than others."""
    if draw.random() < 0.3:
        words = draw.choice(sorted(DIMENSIONS))
        header["dim"][0] = DIMENSIONS[words]
        return words
    often = ("dim", "pixdim", "datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter", "sform_code", "qform_code", "quatern_b")
    name = draw.choice((*often, "srow_x", "srow_y", "srow_z", "qoffset_x", "magic", "sizeof_hdr", *header.dtype.names))
    field = header[name][0]
    if field.dtype.kind == "S":
        header[name][0] = draw.choice((b"", b"n+1", b"ni1", b"n+2", b"\xff" * 80))
        return f"{name} = {header[name][0]}"
    value = draw.choice(REALS if field.dtype.kind == "f" else NUMBERS)
    if field.dtype.kind in "iu":
        limits = np.iinfo(field.dtype)
        value = min(max(value, limits.min), limits.max)
    if field.ndim and draw.random() < 0.7:
        place = draw.randrange(field.size)
        header[name][0][place] = value
        return f"{name}[{place}] = {value}"
    header[name][0] = value
    return f"{name} = {value}"
