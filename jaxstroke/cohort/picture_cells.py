"""Cells that name pictures: files, folders and patterns such as `001/*.jpg`, joined by '|', to one file a picture."""

import fnmatch
import os
import posixpath

from jaxstroke.cohort.cells import natural
from jaxstroke.cohort.files import JOINED, entries, is_folder, listed


def files(cell: str, base: str, missing: frozenset[str]) -> tuple[str, ...]:
    """The files a cell names, each a picture or what lies among them; relative paths are from the table's folder.

    In the order of the cell; within a folder (with its sub-folders) and a pattern in natural order, hidden files left out. `*` stands for
    any part of a name and `?` for a letter; small and large letters are the same. What cannot be found is kept: whoever reads it says so.
    """
    found = []
    for part in (part.strip() for part in cell.split(JOINED)):
        if part and part not in missing:
            path = part if "://" in part else os.path.join(base, os.path.expanduser(part))
            try:
                found += _named(path)
            except Exception:  # OSError; of a bucket, whatever its library raises
                found.append(path)
    return tuple(found)


def _named(path: str) -> list[str]:
    """The files of what a path names: itself, a folder, or the files and folders that fit a pattern."""
    return [file for one in fitting(path) or [path] for file in _inside(one) or [one]]


def _inside(path: str) -> list[str]:
    """The files of a folder, none where it is no folder or empty."""
    return sorted(listed(path), key=steps) if is_folder(path) else []


def fitting(path: str) -> list[str]:
    """What fits a pattern, in natural order, none where a path is no pattern. Any of its folders may be patterns too."""
    folder, name = posixpath.split(path)
    if not is_pattern(path) or not name:
        return []
    folders = [found for found in fitting(folder) if is_folder(found)] if is_pattern(folder) else [folder]
    pattern = name.lower().replace("[", "[[]")
    inside = (entry for found in folders for entry in entries(found))
    return sorted((str(entry) for entry in inside if fnmatch.fnmatchcase(entry.name.lower(), pattern)), key=steps)


def is_pattern(path: str) -> bool:
    return "*" in path or "?" in path


def steps(path: str) -> list[list]:
    """Sort key: natural order of folder after folder, then of the file."""
    return [natural(part) for part in path.replace("\\", "/").split("/")]
