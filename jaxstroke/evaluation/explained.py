"""What `--mode explain` found out about its maps, for the report: whether they follow what was learned."""

import json
import math

from jaxstroke.errors import InputError
from jaxstroke.evaluation.wording import show


def read(path) -> list[dict]:
    """Lines of the report's table from `explain.json`; none where there is no such file."""
    if not path.exists():
        return []
    try:
        return [line(title, one) for title, one in json.loads(path.read_text()).items() if title != "importance"]  # of pictures
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path} is not as it was written: delete it, or run --mode explain again") from None


def line(title: str, one: dict) -> dict:
    """One map: its correlation with that of randomised weights, and areas under deletion and insertion curves against a random order."""
    spearman, areas = one["randomised_spearman"], one["areas"]
    numbers = [areas[order][kind] for order in ("map", "random") for kind in ("deletion", "insertion")]
    if not all(isinstance(value, float) and math.isfinite(value) for value in (*numbers, 0.0 if spearman is None else spearman)):
        raise ValueError("not a number")
    return {
        "title": title.replace("_", " "), "patients": int(one["patients"]), "spearman": show(spearman, 2), "words": str(one["words"]),
        "deletion": show(areas["map"]["deletion"]), "deletion_random": show(areas["random"]["deletion"]),
        "insertion": show(areas["map"]["insertion"]), "insertion_random": show(areas["random"]["insertion"]),
    }  # fmt: skip
