"""A trained workdir of which one file is damaged, edited by hand, or of another version, and the mode that then reads it."""

import json
import random

import documents
import mutations

# File: the modes that read it; of a mode that goes on where the change is harmless and then takes seconds, fewer.
READERS = {
    "run.json": ("report",) * 12 + ("evaluate", "predict", "train"),
    "cohort.json": ("report",),
    "metrics.jsonl": ("report",) * 9 + ("train",),
    "prepare_report.csv": ("report",),
    "predictions.csv": ("report",),
    "model.json": ("predict",),
    "splits.json": ("evaluate", "train"),
}
CELLS = (
    "", "nan", "inf", "-1", "2", "1.5", "9" * 30, "9" * 5000, "abc", "é", "²", "a\nb", 'a"b', "1e400", "x" * 200_000, "\0", "test",
    "val", "7",
)  # fmt: skip
CHANGES = ("cell", "cell", "cell", "whole column", "gone", "renamed", "twice", "rows", "row twice")


def make(seed: int, number: int, originals: dict[str, bytes]) -> tuple[str, str, bytes | None, str]:
    """Mode, file, its new bytes (None: it is gone), and what was done to it. originals: the bytes of every file in `READERS`."""
    draw = mutations.chance("workdirs", seed, number)
    name = sorted(READERS)[number % len(READERS)]
    mode, content = draw.choice(READERS[name]), originals[name]
    if draw.random() < 0.02:
        return mode, name, None, f"{name} is gone"
    if name.endswith(".json"):
        content, words = documents.damaged(content, draw)
    elif draw.random() < 0.25:
        content, words = mutations.any_of(content, draw)
    elif name.endswith(".jsonl"):
        lines = content.splitlines()
        place = draw.randrange(len(lines))
        lines[place], words = documents.change(json.loads(lines[place]), draw)
        content = b"\n".join(line.replace(b"\n", b" ") for line in lines) + b"\n"
    else:
        content, words = change_cells(content, draw)
    return mode, name, content, f"{mode} with {name}: {words}"


def change_cells(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Cells of a file that the program wrote, so that no cell needs quotes: one is another, a column is gone, renamed or twice."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    what, column = draw.choice(CHANGES), draw.randrange(len(rows[0]))
    value, name = draw.choice(CELLS), rows[0][column]
    if what == "cell":
        rows[draw.randrange(1, len(rows)) if len(rows) > 1 else 0][column] = value
    elif what == "whole column":
        for row in rows[1:]:
            row[column] = value
    elif what == "gone":
        rows = [row[:column] + row[column + 1 :] for row in rows]
    elif what == "renamed":
        rows[0][column] += "_x"
    elif what == "twice":
        rows = [[*row, row[column]] for row in rows]
    elif what == "rows":
        rows = rows[: draw.choice((1, 2, 5, len(rows) // 2))]
    else:
        rows.append(rows[-1])
    return "\n".join(",".join(row) for row in rows).encode() + b"\n", f"{what} {name} {value[:20]!r}"
