"""Arrays inside NumPy archives: `FILE.npz#MEMBER/ROW` names one row of a member, such as `adrenalmnist3d.npz#train_images/12`.

A member is read as a stream: rows that are asked for in rising order cost one pass over it, and a process holds the compressed file and
one row, not the member (a set at 64 voxels takes 311 MB unpacked).
"""

import functools
import io
import math
import os
import re
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
from etils import epath

from jaxstroke.cohort.files import check_size

NAMED = re.compile(r"(.+\.npz)#([^/#]+)/(\d+)", re.IGNORECASE)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError)  # what a broken archive raises


@dataclass(frozen=True)
class Member:
    """An array in an archive whose header is read: its stream, the first voxel's place in it, shape and dtype."""

    stream: zipfile.ZipExtFile
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype


def split(path) -> tuple[str, str, int] | None:
    """File, member and row that a path names, None where it names a whole file."""
    found = NAMED.fullmatch(str(path))
    return (found[1], found[2], int(found[3])) if found else None


def file_of(path) -> str:
    """The file on the disk behind a path."""
    named = split(path)
    return named[0] if named else str(path)


def open_member(content: bytes, name: str) -> Member:
    """A member by its name without `.npy`; raises one of DAMAGED where it is not there, is no plain array or cannot be read."""
    stream = _stream(content, name)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"format {version}")
    shape, rows_apart, dtype = HEADERS[version](stream)
    if rows_apart or dtype.hasobject:
        raise ValueError("no plain array of numbers")
    return Member(stream, stream.tell(), shape, dtype)


def names(content: bytes) -> list[str]:
    """The members of an archive without `.npy`; raises one of DAMAGED."""
    return [name.removesuffix(".npy") for name in zipfile.ZipFile(io.BytesIO(content)).namelist()]


def read_member(content: bytes, name: str) -> np.ndarray:
    """A whole member; raises one of DAMAGED."""
    return np.lib.format.read_array(_stream(content, name), allow_pickle=False)


def _stream(content: bytes, name: str) -> zipfile.ZipExtFile:
    """A member's bytes, unpacked as they are read."""
    return zipfile.ZipFile(io.BytesIO(content)).open(f"{name}.npy")


def read_row(path) -> np.ndarray:
    """The array that a path names; raises OSError, IndexError (no such row), ReadError (too large) or one of DAMAGED."""
    file, name, row = split(path)
    status = os.stat(file) if "://" not in file else None
    member = _last_member(file, name, status and (status.st_size, status.st_mtime_ns))
    if not member.shape or row >= member.shape[0]:
        raise IndexError(row)
    count = math.prod(member.shape[1:])
    size = count * member.dtype.itemsize
    check_size(size, "its row in the archive")
    member.stream.seek(member.start + row * size)
    content = member.stream.read(size)
    if len(content) < size:
        raise EOFError
    return np.frombuffer(content, member.dtype, count).reshape(member.shape[1:])


@functools.lru_cache(maxsize=2)  # a set's images, and another's beside them; rows come in the order of the table
def _last_member(file: str, name: str, version) -> Member:
    """An open member. version: changes with the file."""
    return open_member(epath.Path(file).read_bytes(), name)
