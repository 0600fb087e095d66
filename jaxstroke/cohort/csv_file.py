"""CSV files as people have them, to a frame of strings: byte-order marks, ';' or tabs, blank lines, trailing empty columns."""

import csv
import io
import itertools
import re

import pandas as pd
from etils import epath

from jaxstroke.cohort.files import ReadError, content_of
from jaxstroke.errors import InputError

DELIMITERS = (",", ";", "\t")
SEPARATOR = re.compile('"?sep=([,;\t])"?[,;\t]*(?=\r|\n)', re.IGNORECASE)  # Excel's first line that names the delimiter
LOOKED_AT = 50  # lines that must fit a delimiter
LONGEST_CELL = 50_000_000  # characters: a cell may hold a report; the csv module's own limit is 131072


def read_csv(path, code_page: str = "") -> tuple[pd.DataFrame, str]:
    """Every cell as a stripped string (so "007" stays "007"), and the delimiter, found in the header.

    code_page: encoding of a published file that is not UTF-8, tried after it; "" = none.

    Raises InputError where the file is absent, is not a UTF-8 or UTF-16 table, is empty, or has a ragged row or a repeated column.
    """
    path = epath.Path(path).expanduser()
    rows, delimiter = _rows(path, _text(path, code_page))
    if not rows:
        raise InputError(f"table {path} is empty: it needs a header line and one line a patient.")
    header, lines = _header(path, rows)
    if not lines:
        raise InputError(f"table {path} has a header but no patients: it needs one line a patient.")
    return pd.DataFrame([cells[: len(header)] for _, cells in lines], columns=pd.Index(header, dtype="str"), dtype="str"), delimiter


def write_csv(frame: pd.DataFrame, path):
    """Write a frame whole or not at all (UTF-8, comma): a kill leaves the old file. A file of the same content is left alone."""
    path = epath.Path(path)
    content = frame.to_csv(index=False, lineterminator="\n")
    if path.exists() and path.read_bytes() == content.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.partial"
    temporary.write_bytes(content.encode())
    temporary.replace(path)


def _text(path: epath.Path, code_page: str) -> str:
    """The file's characters."""
    try:
        content = content_of(path)
    except ReadError as error:
        raise InputError(f"table {path}: {error}. Set --config.cohort.table to your CSV file.") from None
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"table {path} is a spreadsheet, not a CSV file: export it as 'CSV UTF-8'.")
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if code_page:
            return content.decode(code_page)
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"table {path} is not UTF-8 text (first at line {line}): export it as 'CSV UTF-8'.") from None
    if "\0" in text:
        raise InputError(f"table {path} is not a CSV file (it holds binary data): export it as 'CSV UTF-8'.")
    return text.lstrip("\ufeff")  # what was exported twice has two marks


def _rows(path: epath.Path, text: str) -> tuple[list[tuple[int, list[str]]], str]:
    """(line number, cells) of every line that is not blank, and the delimiter."""
    csv.field_size_limit(LONGEST_CELL)
    named = SEPARATOR.match(text)
    delimiter = named[1] if named else _delimiter(text)
    reader = _reader(text, delimiter)
    rows = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise InputError(f"table {path}, line {reader.line_num}: not a CSV file ({error}). Is a quote left open?") from None
    return rows[1:] if named else rows, delimiter


def _reader(text: str, delimiter: str):
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)


def _delimiter(text: str) -> str:
    """The delimiter that cuts the header into most columns; before those that leave a line of the first few shorter than the header."""
    widths = {one: _widths(text, one) for one in DELIMITERS}
    whole = [one for one, found in widths.items() if min(found) == found[0] > 1]
    return max(whole or DELIMITERS, key=lambda one: widths[one][0])


def _widths(text: str, delimiter: str) -> list[int]:
    """Cells of the first lines that are not blank; 0 at the end where a line cannot be cut, which reading says with its number."""
    found = []
    try:
        filled = (len(cells) for cells in _reader(text, delimiter) if any(cell.strip() for cell in cells))
        for width in itertools.islice(filled, LOOKED_AT):
            found.append(width)
    except csv.Error:
        found.append(0)
    return found or [0]


def _header(path: epath.Path, rows) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Column names and the other lines; unnamed columns at the end are dropped where they are empty."""
    header, lines = rows[0][1], rows[1:]
    width = len(header)
    while width and not header[width - 1]:
        width -= 1
    for number, cells in lines:
        if len(cells) < width or any(cells[width:]):
            raise InputError(
                f"table {path}, line {number}: {len(cells)} cells, but the header names {width} columns. Correct that line; "
                "a cell that holds the delimiter must be in double quotes."
            )
    header = header[:width]
    if "" in header:
        raise InputError(f"table {path}: column {header.index('') + 1} has no name. Name it in the first line.")
    repeated = [name for place, name in enumerate(header) if name in header[:place]]
    if repeated:
        raise InputError(f"table {path} has column '{repeated[0]}' twice: rename or remove one.")
    return header, lines
