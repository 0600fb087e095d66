"""Damaged json files: a value of another type, a key that is gone, misspelt or too many, and bytes that are no json any more."""

import copy
import json
import random

import mutations

VALUES = (
    None, True, False, 0, 1, -1, 2, 7, 1.5, -0.0, 1e300, 10**30, 10**400, float("nan"), float("inf"), "", "x", "0", "poor", "p\0q", "é",
    "\ud800", [], [0], [1, 2, 3], ["x"], [[]], {}, {"x": 1}, {"": {}}, "x" * 100_000,
)  # fmt: skip


def damaged(original: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A json file with its bytes or its values changed."""
    if draw.random() < 0.25:
        return mutations.any_of(original, draw)
    return change(json.loads(original), draw)


def places(value, path: tuple = ()) -> list[tuple]:
    """Paths of all values in a document, the document itself first."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def change(content: dict, draw: random.Random) -> tuple[bytes, str]:
    """A document with one to three changes, as bytes, and what was changed."""
    content, words = copy.deepcopy(content), []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        levels: dict[int, list] = {}
        for place in places(content):
            levels.setdefault(len(place), []).append(place)
        path = draw.choice(levels[draw.choice(sorted(levels))])  # each level as often: most values lie deep
        content, word = change_at(content, path, draw)
        words.append(f"{'.'.join(map(str, path))[:80] or 'all'} {word}")
    written = json.dumps(content, indent=1)
    if draw.random() < 0.1:
        written = "[" * 200_000 if draw.random() < 0.1 else f"{written}{written}"
        words.append("too deep, or twice")
    if draw.random() < 0.1:
        damaged, word = mutations.any_of(written.encode(), draw)
        return damaged, f"{'; '.join(words)}; {word}"
    return written.encode(), "; ".join(words)


def change_at(content, path: tuple, draw: random.Random):
    """The document with the value at a path changed, and how."""
    value = copy.deepcopy(draw.choice(VALUES))
    if not path:
        return value, f"= {shown(value)}"
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    last = path[-1]
    what = draw.choice(("set", "set", "set", "gone", "more", "swapped"))
    if what == "gone":
        del parent[last]
    elif what == "more" and isinstance(parent, dict):
        parent[f"{last}_x"] = copy.deepcopy(parent[last])
    elif what == "more":
        parent.append(copy.deepcopy(parent[last]))
    elif what == "swapped":
        other = draw.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[last], parent[other] = parent[other], parent[last]
    else:
        parent[last] = value
        what = f"= {shown(value)}"
    return content, what


def shown(value) -> str:
    return "10**400" if value == 10**400 else repr(value)[:30]
