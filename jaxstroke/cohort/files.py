"""Bytes of image files: never more of them than an image may have, whatever a header claims or a compressed file would grow to."""

import contextlib
import os
import stat
import zlib

from etils import epath

from jaxstroke.errors import InputError

PICTURES = (".png", ".jpg", ".jpeg")
VOLUMES = (".nii", ".nii.gz")
SLICES = (".dcm",)  # of which several make an image
EYES = (".vol",)  # B-scans of an eye and its infrared image
JOINED = "|"  # between the files of one series, in a path as in a cell of the table
MOST_FILES = 50_000  # of a folder
LARGEST = 2**31  # bytes of a file, and of what an image takes in memory: 64 frames of 512 x 512 x 32 voxels
SPARE = 2**24  # bytes that may follow the voxels
PIECE = 2**16  # bytes of a compressed file
MOST_MEMBERS = 100_000  # of a gzip file: bgzip makes one of 64 kB each
DAMAGED = "its compressed data is truncated or damaged"


class ReadError(InputError):
    """A file that cannot be used; the message is the reason alone, for `prepare_report.csv`."""


def size_and_time(path) -> tuple[int, float]:
    """Bytes of a file, local or in a bucket, and when it was last changed, in seconds.

    epath's own `stat` asks for the name of a local file's owner, who in a container often has none.
    """
    if "://" in str(path):
        status = epath.Path(path).stat()
        return status.length, float(status.mtime)
    status = os.stat(path)
    return status.st_size, status.st_mtime


def check_kind(path):
    """Refuse what is no plain file: a folder, a device, a pipe that would never end."""
    mode = stat.S_IFREG if "://" in str(path) else os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise ReadError("it is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise ReadError("it is a device or a pipe, not a file")


def may_be_dicom(path: str) -> bool:
    """Whether a path names a DICOM series, by what else it does not name."""
    return not path.lower().endswith(PICTURES + VOLUMES + EYES) and ".npz#" not in path.lower()


def is_folder(path) -> bool:
    """Whether a path, local or in a bucket, is that of a folder."""
    return epath.Path(path).is_dir() if "://" in str(path) else os.path.isdir(path)


def listed(path) -> tuple[str, ...]:
    """The files of a series: the one a path names, those it joins, or all in a folder and its sub-folders, by name, hidden ones left out.

    Raises OSError, or what the library of a bucket raises, and ReadError where they are too many.
    """
    if JOINED in str(path):
        return tuple(str(path).split(JOINED))
    if not is_folder(path):
        return (str(path),)
    found = []
    for entry in entries(path):
        found += [inner for inner in entries(entry) if not inner.is_dir()] if entry.is_dir() else [entry]
    if len(found) > MOST_FILES:
        raise ReadError(f"the folder holds more than {MOST_FILES:,} files")
    return tuple(sorted(map(str, found)))


def entries(folder) -> list:
    """What a folder holds, hidden entries left out."""
    return [entry for entry in epath.Path(folder).iterdir() if not entry.name.startswith(".")]


def called(name: str, number: int) -> str:
    """A picture of a file as reports name it. number: among the file's pictures, from 0; -1 where it is the only one."""
    return name if number < 0 else f"{name}, {kind_of(name)} {number + 1}"


def kind_of(name: str) -> str:
    """What the pictures of a file that holds several are called."""
    return "B-scan" if name.lower().endswith(EYES) else "frame"


def shortened(path: str) -> str:
    """A path as a report shows it: of joined files the first and the number of the others."""
    first, *others = path.split(JOINED)
    return f"{first} and {len(others)} more" if others else path


@contextlib.contextmanager
def opening():
    """What goes wrong while a file is opened and read, as ReadError."""
    try:
        yield
    except ReadError:
        raise
    except FileNotFoundError:
        raise ReadError("the file does not exist") from None
    except Exception as error:  # OSError; of a bucket, whatever its library raises
        raise ReadError(f"the file cannot be opened ({type(error).__name__})") from None


def content_of(path) -> bytes:
    """The bytes of a file."""
    with opening():
        check_kind(path)
        size, _ = size_and_time(path)
        check_size(size, "the file")
        content = epath.Path(path).read_bytes() if size else b""
    if not content:
        raise ReadError("the file is empty (0 bytes)")
    return content


def first_of(path, count: int) -> bytes:
    """The first bytes of a file."""
    with opening():
        check_kind(path)
        with epath.Path(path).open("rb") as opened:
            return opened.read(count)


def check_size(size: int, what: str):
    """Refuse what would fill the memory; a small file may claim it."""
    if size > LARGEST:
        raise ReadError(f"{what} has {size / 2**30:.1f} GiB, at most {LARGEST >> 30} are read: crop or resample it")


def inflated(content: bytes, most: int) -> bytes:
    """At most `most` bytes of what a gzip file holds, of all its members. Raises ReadError where it ends before its time or is damaged.

    The first member is nearly always the only one, and taken at once; of others (as bgzip writes) a piece at a time is handed over, since
    what follows a member's end is copied.
    """
    parts, view, place = [], memoryview(content), 0
    for _ in range(MOST_MEMBERS):
        stream = zlib.decompressobj(wbits=31)  # with gzip's header and checksum
        while place < len(view) and most > 0 and not stream.eof:
            piece = view[place : place + PIECE] if place else view
            try:
                parts.append(stream.decompress(piece, most))
            except zlib.error:
                raise ReadError(DAMAGED) from None
            place += len(piece) - len(stream.unused_data) - len(stream.unconsumed_tail)
            most -= len(parts[-1])
        if most > 0 and not stream.eof:
            raise ReadError(DAMAGED)
        place = after_zeros(view, place)
        if most <= 0 or place == len(view):
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise ReadError(f"it is compressed in more than {MOST_MEMBERS} parts")


def after_zeros(view: memoryview, place: int) -> int:
    """The place behind padding, as on tapes."""
    while place < len(view) and view[place] == 0:
        piece = bytes(view[place : place + PIECE])
        place += len(piece) - len(piece.lstrip(b"\0"))
    return place
