"""External validation: how probabilities fit patients of elsewhere, and how these patients differ from those of training.

Read: `external.json`, which `--mode evaluate --cohort` writes. The recalibration in the large is reported and never applied: numbers fitted
on the new patients would no longer validate anything.
"""

import json
import math

from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation.wording import few, share, show, span

LARGE = 0.25  # standardised difference from which a line is marked
MOST_GROUPS = 10  # of a column's diagnoses
LARGE_MISSING = 0.1  # difference of the shares of missing values that marks it too


def read(workdir: epath.Path) -> dict:
    """`external.json`, {} where there is none: then it is no external validation."""
    path = workdir / "external.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        lines(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError):
        raise InputError(f"{path} is not as it was written: run --mode evaluate --cohort again, which writes it") from None
    return found


def lines(found: dict) -> list[dict]:
    """Rows of the table of drift: {"name", "training", "here", "difference", "missing", "missing_here", "marked"} in words."""
    before, here = found["training"], found["here"]
    if before is None:
        return []
    rows = [number_row(name, before["numbers"][name], one) for name, one in here["numbers"].items() if name in before["numbers"]]
    for name, one in here["levels"].items():
        if name in before["levels"]:
            rows += level_rows(name, before["levels"][name], one)
    codes = before.get("codes", {})  # of workdirs that are older than diagnosis codes there are none
    return rows + [line for name, one in here.get("codes", {}).items() if name in codes for line in code_rows(name, codes[name], one)]


def code_rows(name: str, before: dict, here: dict) -> list[dict]:
    """A line for each of the commonest groups of diagnoses in training, in order: shares of the known."""
    common = sorted(sorted(before["counts"], key=lambda group: -before["counts"][group])[:MOST_GROUPS])
    rows = []
    for group in common:
        counts = [one["counts"].get(group) for one in (before, here)]  # None: fewer than five, which need not be nobody
        words = [few(1) if n is None else f"{n} ({share(n / one['known'])} %)" for n, one in zip(counts, (before, here), strict=True)]
        shares = [None if n is None else n / one["known"] for n, one in zip(counts, (before, here), strict=True)]
        rows.append(row(f"{name}: {group}", *words, difference_of(*shares), before, here))
    return rows


def number_row(name: str, before: dict, here: dict) -> dict:
    """A number: means with deviations, and the standardised difference."""
    difference = None
    if None not in (before["mean"], here["mean"]):
        spread = math.sqrt((before["sd"] ** 2 + here["sd"] ** 2) / 2)
        difference = (here["mean"] - before["mean"]) / spread if spread > 0 else (0.0 if here["mean"] == before["mean"] else math.inf)
    words = [mean_words(one) for one in (before, here)]
    return row(name, *words, difference, before, here)


def mean_words(one: dict) -> str:
    if one["mean"] is None:
        return "–"
    digits = 0 if abs(one["mean"]) >= 100 else 1 if abs(one["mean"]) >= 10 else 2
    if one["sd"] > 0:  # at least one digit of the deviation that counts: images in mm2/s are small numbers
        digits = max(digits, min(6, -math.floor(math.log10(one["sd"]))))
    return f"{show(one['mean'], digits)} ({show(one['sd'], digits)})"


def level_rows(name: str, before: dict, here: dict) -> list[dict]:
    """A line a level: shares of the known; of two levels the second says it all."""
    levels = list(dict.fromkeys([*before["counts"], *here["counts"]]))
    rows = []
    for level in levels[1:] if len(levels) == 2 else levels:
        counts = [count_of(one, level) for one in (before, here)]
        shares = [
            None if count is None or not one["known"] else count / one["known"] for count, one in zip(counts, (before, here), strict=True)
        ]
        rows.append(row(f"{name}: {level}", *(level_words(one, level) for one in (before, here)), difference_of(*shares), before, here))
    return rows


def count_of(one: dict, level: str) -> int | None:
    """How many have a level; None where `drift.counted` has not kept the level, as fewer than five have it, which need not be nobody."""
    everybody = sum(one["counts"].values()) == one["known"] and "others" not in one["counts"]
    return one["counts"].get(level, 0 if everybody else None)


def level_words(one: dict, level: str) -> str:
    count = count_of(one, level)
    return few(1) if count is None else f"{count} ({share(count / one['known'])} %)" if count else few(0)


def difference_of(a: float | None, b: float | None) -> float | None:
    """The standardised difference of two shares (Austin 2009, Stat Med 28:3083)."""
    if a is None or b is None:
        return None
    spread = math.sqrt((a * (1 - a) + b * (1 - b)) / 2)
    return (b - a) / spread if spread > 0 else (0.0 if a == b else math.copysign(math.inf, b - a))


def row(name: str, training: str, here: str, difference: float | None, before: dict, now: dict) -> dict:
    missing = [1 - one["known"] / one["of"] if one["of"] else 0.0 for one in (before, now)]
    marked = (difference is not None and abs(difference) >= LARGE) or abs(missing[1] - missing[0]) >= LARGE_MISSING
    said = "–" if difference is None else "large" if math.isinf(difference) else show(difference, 2, sign=True)
    return {
        "name": name, "training": training, "here": here, "difference": said, "missing": share(missing[0]),
        "missing_here": share(missing[1]), "marked": marked,
    }  # fmt: skip


def tell(found: dict, large: dict | None) -> dict:
    """What the report's section says."""
    if not found:
        return {}
    words = {}
    if large:
        words = {
            "kind": large["kind"], "observed": share(large["observed"]), "predicted": share(large["predicted"]),
            "shift": show(large["shift"], 2, sign=True), "ci95": span(large["ci95"], 2, sign=True), "brier": show(large["brier"]),
            "brier_shifted": show(large["brier_shifted"]), "chance": large["ci95"] and large["ci95"][0] <= 0 <= large["ci95"][1],
        }  # fmt: skip
    return {
        "networks": found["networks"], "known": few(found["known"]) if found["known"] else "", "large": words, "rows": lines(found),
        "looked_at": found["here"]["looked_at"], "has_training": found["training"] is not None,
    }  # fmt: skip
