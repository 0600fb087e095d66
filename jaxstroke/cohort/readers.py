"""Files to arrays: NIfTI volumes, PNG or JPG pictures, rows of NumPy archives.

Whatever makes a file unusable is a ReadError that says why, without the patient.

Speed: a compressed file is read and decompressed whole and the voxels are a view of that memory (nibabel parses the header), which is
several times faster than reading through a compressed stream. Voxels keep the file's own type, unless the file asks for scaling.
"""

import gzip
import io
import math
import warnings
import zlib
from dataclasses import dataclass

import nibabel
import numpy as np
import PIL.Image
import PIL.ImageOps
from etils import epath

from jaxstroke.cohort import npz
from jaxstroke.errors import InputError

PICTURES = (".png", ".jpg", ".jpeg")
VOLUMES = (".nii", ".nii.gz")
HEADERS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}  # by their first four bytes, in either byte order
SMALLEST_VOXEL = 1e-9  # mm3; a smaller determinant of the affine is a broken header
WIDE_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


class ReadError(InputError):
    """A file that cannot be used; the message is the reason alone, for `prepare_report.csv`."""


@dataclass(frozen=True)
class Image:
    """What a file holds.

    array   NIfTI: (x, y, z) or (x, y, z, t) in the file's axes; picture: (h, w, c), c = 1 or 3; archive: as in it. May be read-only
    affine  (4, 4) float64, voxel index to mm in RAS, or None for a picture; an archive says none: 1 mm
    time    the array has a time axis, the fourth
    """

    array: np.ndarray
    affine: np.ndarray | None
    time: bool


def read_image(path) -> Image:
    """Read a .nii, .nii.gz, .png or .jpg file, or the row of an archive that `FILE.npz#MEMBER/ROW` names.

    Raises ReadError where the file is absent, empty, truncated or of another kind, where it holds no voxel, NaN or Inf, more than
    four axes or colour in a volume, or where its affine cannot be inverted.
    """
    name = str(path).lower()
    if npz.split(path):
        image = _row(path)
    elif not name.endswith(PICTURES + VOLUMES):
        raise ReadError(f"not a format that is read here ({', '.join(PICTURES + VOLUMES)}), or an empty folder")
    else:
        content = _content(path)
        image = _picture(content) if name.endswith(PICTURES) else _volume(content)
    if image.array.dtype.kind == "f" and not np.isfinite(image.array).all():
        raise ReadError("it holds NaN or Inf")
    return image


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


def _content(path) -> bytes:
    """The bytes of a file."""
    try:
        content = epath.Path(path).read_bytes()
    except FileNotFoundError:
        raise ReadError("the file does not exist") from None
    except OSError as error:
        raise ReadError(f"the file cannot be opened ({type(error).__name__})") from None
    if not content:
        raise ReadError("the file is empty (0 bytes)")
    return content


def _volume(content: bytes) -> Image:
    """A NIfTI-1 or NIfTI-2 single file, compressed or not (told by its first bytes: many are misnamed)."""
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise ReadError("its compressed data is truncated or damaged") from None
    header = _header(content)
    try:
        shape, start = header.get_data_shape(), int(header["vox_offset"])
    except Exception as error:
        raise ReadError(f"its header is damaged ({type(error).__name__})") from None
    if not shape or min(shape) < 1:
        raise ReadError("its header says that it has no voxels")
    spatial = (*shape, 1, 1)[:3] if len(shape) < 3 else shape[:3]
    frames = [length for length in shape[3:] if length > 1]
    if len(frames) > 1 or (frames and shape[3] == 1):
        raise ReadError("it has more than four axes")
    array = _voxels(content, header, start, (*spatial, *frames))
    return Image(array, _affine(header), bool(frames))


def _header(content: bytes):
    """The parsed header, through nibabel."""
    first = content[:4]
    kind = HEADERS.get(int.from_bytes(first, "little")) or HEADERS.get(int.from_bytes(first, "big"))
    if kind is None:
        raise ReadError("it is not a NIfTI file")
    if len(content) < kind.sizeof_hdr:
        raise ReadError("it is truncated: its header is not whole")
    try:
        return kind.from_fileobj(io.BytesIO(content), check=False)
    except Exception as error:
        raise ReadError(f"its header cannot be read ({type(error).__name__})") from None


def _voxels(content: bytes, header, start: int, shape: tuple[int, ...]) -> np.ndarray:
    """The voxels in the file's type and the machine's byte order, scaled to float32 where the header asks for it."""
    try:
        kind = header.get_data_dtype()
    except Exception:
        raise ReadError("its header names an unknown type of voxel") from None
    if kind.kind not in "uif":
        raise ReadError("its voxels are colours or complex numbers: one number a voxel is expected")
    count = math.prod(shape)
    if start < header.sizeof_hdr:
        raise ReadError("its voxels lie in another file (.hdr and .img): save it as one .nii")
    if start + count * kind.itemsize > len(content):
        raise ReadError("it is truncated: fewer voxels than its header says")
    array = np.frombuffer(content, kind, count, start).reshape(shape, order="F")
    slope, intercept = (float(header[field]) for field in ("scl_slope", "scl_inter"))
    scaled = np.isfinite([slope, intercept]).all() and slope != 0 and (slope, intercept) != (1, 0)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is Inf, and refused
        if scaled:
            return array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        if kind.kind == "f" and kind.itemsize != 4:
            return array.astype(np.float32)
    return array if kind.isnative else array.astype(kind.newbyteorder("="))


def _affine(header) -> np.ndarray:
    """The affine by nibabel's order of preference: sform, qform, spacing alone."""
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except Exception:
        raise ReadError("its orientation (quaternion) cannot be read") from None
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < SMALLEST_VOXEL:
        raise ReadError("its affine cannot be inverted: the header's orientation is broken")
    return affine


def _picture(content: bytes) -> Image:
    """A picture, upright by its EXIF orientation: grey (h, w, 1) uint8 or uint16, colour (h, w, 3) uint8; transparency is dropped."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF blocks, large pictures
            with PIL.Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
                picture = PIL.ImageOps.exif_transpose(opened)
                picture.load()
    except PIL.UnidentifiedImageError:
        raise ReadError("it is not a PNG or JPG picture") from None
    except Exception as error:
        raise ReadError(f"the picture is truncated or damaged ({type(error).__name__})") from None
    if picture.mode in WIDE_GREY:
        array = np.asarray(picture)
        array = array.astype(np.uint16) if array.dtype.kind in "ui" else array.astype(np.float32)
    else:
        array = np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA", "La") else "RGB"))
    return Image(array[..., None] if array.ndim == 2 else array, None, False)
