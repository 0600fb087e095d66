"""Files to arrays: NIfTI volumes, series of DICOM slices, rows of NumPy archives; and pictures, of which a file may hold several.

Whatever makes a file unusable is a ReadError that says why, without the patient.

Speed: a compressed file is read and decompressed whole and the voxels are a view of that memory (nibabel parses the header), which is
several times faster than reading through a compressed stream. Voxels keep the file's own type, unless the file asks for scaling.
"""

import math

import nibabel
import numpy as np

from jaxstroke.cohort import dicom, dicom_slice, heyex, npz, picture
from jaxstroke.cohort.dicom_parts import START, is_dicom
from jaxstroke.cohort.files import EYES, PICTURES, SLICES, SPARE, VOLUMES, ReadError, check_size, content_of, first_of, inflated, is_folder
from jaxstroke.cohort.image import Image, check_affine, check_values

__all__ = ["Image", "NoPicture", "ReadError", "read_image", "read_pictures"]

HEADERS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}  # by their first four bytes, in either byte order
MAGIC = {348: b"n+1\0", 540: b"n+2\0"}  # of one file that holds header and voxels
PAIR = {348: b"ni1\0", 540: b"ni2\0"}


class NoPicture(ReadError):
    """What lies in a folder of pictures without being one, nor called one: a list, a viewer's thumbnails."""


def read_image(path, rules: dicom.Rules = dicom.RULES) -> Image:
    """Read a .nii, .nii.gz, .png or .jpg file, the row of an archive that `FILE.npz#MEMBER/ROW` names, or else a DICOM series.

    rules: what may be done to a DICOM series, see `dicom.read_series` for what names one.
    Raises ReadError where the file is absent, empty, truncated or of another kind, where it holds no voxel, NaN or Inf, more than
    four axes or colour in a volume, where its affine cannot be inverted, and where it would take more than 2 GiB of memory.
    """
    name = str(path).lower()
    if npz.split(path):
        image = _row(path)
    elif name.endswith(PICTURES):
        image = picture.decoded(content_of(path))
    elif name.endswith(VOLUMES):
        image = _volume(content_of(path))
    elif name.endswith(EYES):
        raise ReadError("a .vol holds pictures and no volume in mm: set the image's sampling to 'picture'")
    else:
        image = dicom.read_series(path, rules)
    check_values(image.array)
    return image


def read_pictures(path, part: str = "scans") -> tuple[Image, ...]:
    """The pictures of a file, told by its first bytes and not by its name: PNG, JPG, a DICOM slice in HU, DICOM of an eye, or a .vol.

    part: of a .vol the B-scans ("scans") or the "infrared" image. Of several pictures some may be black everywhere.
    Raises NoPicture on a file that is none and is not called one either; ReadError where a picture is absent, empty, truncated, black
    everywhere, too large or of another format, and on DICOM files that are neither a single slice of a CT nor of an eye.
    """
    named = str(path).lower().endswith(PICTURES + SLICES + EYES)
    if is_folder(path):  # the files of others are named one by one
        raise ReadError("the folder holds no files, or cannot be opened")
    start = first_of(path, START)
    if start.startswith(picture.STARTS):
        images = (picture.decoded(content_of(path)),)
    elif start.startswith(heyex.START):
        images = heyex.read(content_of(path), part)
    elif is_dicom(start):
        images = dicom_slice.read_pictures(content_of(path), part)
    elif named and not start:
        raise ReadError("the file is empty (0 bytes)")
    else:
        raise (ReadError if named else NoPicture)("it is not a PNG, JPG, DICOM or .vol file")
    for image in images:
        check_values(image.array)
    if not any(image.array.any() for image in images):
        raise ReadError("it is zero everywhere")
    return images


def _row(path) -> Image:
    """A volume in a NumPy archive."""
    try:
        array = npz.read_row(path)
    except FileNotFoundError:
        raise ReadError("the file does not exist") from None
    except OSError as error:
        raise ReadError(f"the file cannot be opened ({type(error).__name__})") from None
    except IndexError:
        raise ReadError("its archive has fewer rows") from None
    except npz.DAMAGED as error:
        raise ReadError(f"its archive is damaged, or has no such array ({type(error).__name__})") from None
    if array.ndim != 3 or array.dtype.kind not in "uif" or not array.size:
        raise ReadError("its row in the archive is no volume: three axes and one number a voxel are expected")
    if array.dtype.kind == "f" or not array.dtype.isnative:
        array = array.astype(np.float32)
    return Image(array, np.eye(4), False)


def _volume(content: bytes) -> Image:
    """A NIfTI-1 or NIfTI-2 single file, compressed or not (told by its first bytes: many are misnamed)."""
    compressed = content.startswith(b"\x1f\x8b")
    header = _header(inflated(content, max(HEADERS)) if compressed else content[: max(HEADERS)])
    kind, start = _kind(header), _start(header)
    shape, time = _shape(header)
    count = math.prod(shape)
    check_size(count * max(4, kind.itemsize), "the image that its header describes")
    end = start + count * kind.itemsize
    if compressed:
        content = inflated(content, end + SPARE)
        if len(content) == end + SPARE:
            raise ReadError("its compressed data goes on after the voxels that its header describes")
    if end > len(content):
        raise ReadError("it is truncated: fewer voxels than its header says")
    affine = _affine(header)
    return Image(_scaled(np.frombuffer(content, kind, count, start).reshape(shape, order="F"), header), affine, time)


def _header(content: bytes):
    """The parsed header, through nibabel; extensions between header and voxels are not looked at."""
    first = content[:4]
    size = next((size for order in ("little", "big") if (size := int.from_bytes(first, order)) in HEADERS), None)
    if size is None:
        raise ReadError("it is not a NIfTI file")
    if len(content) < size:
        raise ReadError("it is truncated: its header is not whole")
    try:
        header = HEADERS[size](content[:size], check=False)
    except Exception as error:
        raise ReadError(f"its header cannot be read ({type(error).__name__})") from None
    magic = header["magic"].item()[:3] + b"\0"
    if magic == PAIR[size]:
        raise ReadError("its voxels lie in another file (.hdr and .img): save it as one .nii")
    if magic != MAGIC[size]:
        raise ReadError("it is not a NIfTI file, but perhaps one of its forerunner Analyze, which knows no left and right")
    return header


def _shape(header) -> tuple[tuple[int, ...], bool]:
    """(x, y, z) or (x, y, z, t) of the voxels, and whether there is a time axis."""
    try:
        shape = tuple(int(length) for length in header.get_data_shape())
    except Exception as error:
        raise ReadError(f"its header is damaged ({type(error).__name__})") from None
    if not shape or min(shape) < 1:
        raise ReadError("its header says that it has no voxels")
    spatial = (*shape, 1, 1)[:3]
    frames = [length for length in shape[3:] if length > 1]
    if len(frames) > 1 or (frames and shape[3] == 1):
        raise ReadError("it has more than four axes")
    return (*spatial, *frames), bool(frames)


def _kind(header) -> np.dtype:
    """The type of a voxel."""
    try:
        kind = header.get_data_dtype()
    except Exception:
        raise ReadError("its header names an unknown type of voxel") from None
    if kind.kind not in "uif":
        raise ReadError("its voxels are colours or complex numbers: one number a voxel is expected")
    return kind


def _start(header) -> int:
    """Bytes before the voxels: the header and its extensions."""
    offset = float(header["vox_offset"])
    if not header.sizeof_hdr <= offset <= SPARE:
        raise ReadError(f"its header is damaged: voxels from byte {offset:g} on")
    return int(offset)


def _scaled(array: np.ndarray, header) -> np.ndarray:
    """The voxels in the file's type and the machine's byte order, scaled to float32 where the header asks for it."""
    kind = array.dtype
    slope, intercept = (float(header[field]) for field in ("scl_slope", "scl_inter"))
    scaled = np.isfinite([slope, intercept]).all() and slope != 0 and (slope, intercept) != (1, 0)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is Inf, and refused
        if scaled:
            array = array.astype(np.float32)
            array *= np.float32(slope)
            array += np.float32(intercept)
        elif kind.kind == "f" and kind.itemsize != 4:
            array = array.astype(np.float32)
    return array if array.dtype.isnative else array.astype(kind.newbyteorder("="))


def _affine(header) -> np.ndarray:
    """The affine by nibabel's order of preference: sform, qform, spacing alone."""
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except Exception:
        raise ReadError("its orientation (quaternion) cannot be read") from None
    check_affine(affine)
    return affine
