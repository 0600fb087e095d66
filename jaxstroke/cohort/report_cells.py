"""Cells with a report: the report itself, or the path of a .txt file that holds it."""

import os

from jaxstroke.cohort.files import ReadError, first_of
from jaxstroke.errors import InputError

FILE = ".txt"
LONGEST_PATH = 4096  # characters
LARGEST = 100_000  # bytes of a file: some thirty pages


def is_file(cell: str) -> bool:
    """Whether a cell is the path of a report and not the report: one line that ends in `.txt`."""
    return cell.lower().endswith(FILE) and len(cell) <= LONGEST_PATH and len(cell.splitlines()) == 1


def read(cell: str, base: str, where: str) -> str:
    """The report that a cell holds or names, stripped. Relative paths are from the table's folder, `base`.

    where: patient and column, for messages. A file that is not there, is empty, too large or no UTF-8 text is an InputError: unlike a scan
    that is damaged, a report that is not found is a wrong cell of the table.
    """
    if not is_file(cell):
        return cell
    path = cell if "://" in cell else os.path.join(base, os.path.expanduser(cell))  # an absolute one stays as it is
    try:
        return text_of(path)
    except ReadError as error:
        raise InputError(f"{where}: report {path}: {error}. Correct the cell or the file; leave the cell empty if there is none.") from None


def text_of(path: str) -> str:
    """The characters of a report's file, stripped; ReadError where it cannot be used."""
    content = first_of(path, LARGEST + 1)
    if len(content) > LARGEST:
        raise ReadError(f"the file has more than {LARGEST // 1000} kB, which no report has")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ReadError("the file is not UTF-8 text") from None
    if not text or "\0" in text:
        raise ReadError("the file is not text (it holds binary data)" if text else "the file is empty")
    return text
