"""Bytes of image files: never more of them than an image may have, whatever a header claims or a compressed file would grow to."""

import os
import stat
import zlib

from etils import epath

from jaxstroke.errors import InputError

LARGEST = 2**31  # bytes of a file, and of what an image takes in memory: 64 frames of 512 x 512 x 32 voxels
SPARE = 2**24  # bytes that may follow the voxels


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


def content_of(path) -> bytes:
    """The bytes of a file."""
    try:
        check_kind(path)
        size, _ = size_and_time(path)
        check_size(size, "the file")
        content = epath.Path(path).read_bytes() if size else b""
    except ReadError:
        raise
    except FileNotFoundError:
        raise ReadError("the file does not exist") from None
    except Exception as error:  # OSError; of a bucket, whatever its library raises
        raise ReadError(f"the file cannot be opened ({type(error).__name__})") from None
    if not content:
        raise ReadError("the file is empty (0 bytes)")
    return content


def check_size(size: int, what: str):
    """Refuse what would fill the memory; a small file may claim it."""
    if size > LARGEST:
        raise ReadError(f"{what} has {size / 2**30:.1f} GiB, at most {LARGEST >> 30} are read: crop or resample it")


def inflated(content: bytes, most: int) -> bytes:
    """At most `most` bytes of what a gzip file holds, of all its members. Raises ReadError where it ends before its time or is damaged."""
    parts = []
    while content and most > 0:
        stream = zlib.decompressobj(wbits=31)  # with gzip's header and checksum
        try:
            parts.append(stream.decompress(content, most))
        except zlib.error:
            raise ReadError("its compressed data is truncated or damaged") from None
        most -= len(parts[-1])
        if not stream.eof and most > 0:
            raise ReadError("its compressed data is truncated or damaged")
        content = stream.unused_data.lstrip(b"\0")  # padding, as on tapes
    return parts[0] if len(parts) == 1 else b"".join(parts)
