"""Damaged cohort tables: cells, headers and rows that people write, in every dialect that programs save, and their bytes changed."""

import csv
import io
import random

import mutations

HEADER = (
    "patient_id", "dwi", "adc", "flair", "tmax", "age", "nihss", "glucose", "sex", "mrs", "fold", "date", "part", "centre", "report",
)  # fmt: skip
CELLS = (
    "", "n/a", "NA", "-", "?", "inf", "-inf", "nan", "NaN", "1e400", "-1e400", "1e-400", "1e308", "1e39", "0x10", "1_000", "1 000",
    "１２", "²",
    "--5", "+5", "5.", ".5", "1,5", "1.234,5", "89+", ">80", "=1+1", "TRUE", "2021-05-31", "31.05.2021", "2021-13-45", "0000-00-00",
    "99999-01-01", "'", '"', '""', 'a "quoted" word', "a\nb", "a\r\nb", "a;b", "a,b", "a\tb", "a|b", "|", "||||", " 007 ", "007", "7", "0",
    "-1", "1.0", "é", "😀", "\u202etxt", "\x1b[31mred", "\x07", "\u2028", "\x85", "\xa0", "\ufeff", "~/x.nii", "~nobody/x.nii", "~nobody/x",
    "gs://bucket/x.nii", "gs://bucket/folder", "s3://bucket/x", "hf://datasets/x", "foo://bar", "http://host/x.nii.gz", "file:///x.nii",
    "/dev/zero", "/dev/null", "/dev", "/", ".", "..", "../../../etc/passwd", "C:\\scans\\1.nii", "\\\\host\\share", "con", "*",
    "$HOME/x.nii", "%s%n", "{0}", "None",
    "x" * 300, "x" * 300 + ".nii", "x/" * 5000, "x" * 10**6, "9" * 100, "9" * 10_000, "9" * 200_000 + "x", "1e" + "9" * 5000, "0" * 5000,
    ("word " * 200_000).strip(),
)  # fmt: skip
ENCODINGS = (
    "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "mac-roman", "shift-jis", "utf-7",
)  # fmt: skip
PLAIN = ((",", "\n"), (",", "\r\n"), (";", "\r\n"), ("\t", "\n"), (";", "\n"), (",", "\r"))


def rows(count: int = 16) -> list[list[str]]:
    """A whole table of patients whose scans are not there."""
    found = []
    for number in range(count):
        paths = [f"{name}/{number:03d}.nii.gz" for name in HEADER[1:5]]
        clinical = [str(50 + number), str(number % 20), f"{5 + number / 8}", "FM"[number % 2], str(number % 7)]
        split = [str(number % 4), f"2021-0{1 + number % 9}-11", ("train", "train", "val", "test")[number % 4], f"centre {number % 3}"]
        found.append([f"{number:03d}", *paths, *clinical, *split, f"report of patient {number}, old and small"])
    return found


def written(header, table, delimiter=",", end="\n", encoding="utf-8", quoting=csv.QUOTE_MINIMAL) -> bytes:
    """A table in a dialect; what an encoding does not have becomes a question mark, as programs save it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([header, *table])
    return text.getvalue().encode(encoding, errors="replace")


def make(seed: int, number: int) -> tuple[bytes, str]:
    """Bytes of a table, and what was done to it."""
    draw = mutations.chance("tables", seed, number)
    header, table, words = list(HEADER), rows(), []
    for change, share in ((change_cells, 0.8), (change_header, 0.2), (change_rows, 0.2)):
        if draw.random() < share:
            words.append(change(header, table, draw))
    delimiter, end = draw.choice(PLAIN)
    encoding = draw.choice(ENCODINGS) if draw.random() < 0.3 else "utf-8"
    quoting = draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC))
    content = written(header, table, delimiter, end, encoding, quoting)
    words.append(f"{delimiter!r} {end!r} {encoding}")
    if draw.random() < 0.1:
        content, word = f"sep={delimiter}{end}".encode(encoding) + content, "sep= line"
        words.append(word)
    if draw.random() < 0.35:
        content, word = mutations.any_of(content, draw)
        words.append(word)
    return content, "; ".join(words)


def change_cells(header: list, table: list, draw: random.Random) -> str:
    """One to three cells hold something odd, or a whole column does."""
    words = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        column, cell = draw.randrange(len(header)), draw.choice(CELLS)
        chosen = range(len(table)) if draw.random() < 0.1 else [draw.randrange(len(table))]
        for row in chosen:
            table[row][column] = cell
        words.append(f"{header[column]} of {len(chosen)} rows = {cell[:20]!r} ({len(cell)} characters)")
    return ", ".join(words)


def change_header(header: list, table: list, draw: random.Random) -> str:
    """A column is renamed, doubled, unnamed, gone or elsewhere."""
    place = draw.randrange(len(header))
    what = draw.choice(("renamed", "twice", "unnamed", "gone", "shuffled", "odd", "upper", "wide"))
    if what == "renamed":
        header[place] += "_1"
    elif what == "twice":
        header[place] = header[draw.randrange(len(header))]
    elif what == "unnamed":
        header[place] = ""
    elif what == "gone":
        for row in (header, *table):
            del row[place]
    elif what == "shuffled":
        order = draw.sample(range(len(header)), len(header))
        for row in (header, *table):
            row[:] = [row[number] for number in order]
    elif what == "odd":
        header[place] = draw.choice(CELLS)
    elif what == "upper":
        header[:] = [name.upper() for name in header]
    else:
        for row in (header, *table):
            row += [f"extra {number}" for number in range(3000)]
    return f"header {what} at {place}"


def change_rows(header: list, table: list, draw: random.Random) -> str:
    """Rows are ragged, blank, doubled or gone."""
    place = draw.randrange(len(table))
    what = draw.choice(("short", "long", "blank", "twice", "one", "none", "two", "many", "total"))
    if what == "short":
        del table[place][draw.randrange(1, len(header)) :]
    elif what == "long":
        table[place] += ["", "more"][: draw.choice((1, 2))]
    elif what == "blank":
        table.insert(place, [])
    elif what == "twice":
        table.insert(place, list(table[place]))
    elif what == "many":
        table.extend([f"{row[0]}-{number}", *row[1:]] for number in range(60) for row in list(table[:16]))
    elif what == "total":
        table.append(["total", *[""] * (len(header) - 2), str(len(table))])
    else:
        del table[{"one": 1, "none": 0, "two": 2}[what] :]
    return f"row {place} {what}"
