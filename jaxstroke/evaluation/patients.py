"""Who was studied, and who is scored apart: flow, characteristics, missing values and subgroups as rows of the report."""

import itertools
import math
from collections.abc import Iterable

from jaxstroke.evaluation import forest
from jaxstroke.evaluation.subgroups import FEWEST
from jaxstroke.evaluation.wording import few, lead, p_words, share, show, span

LONG = 30  # rows of a table that are shown at once


def flow(cohort: dict, content: dict, task: str, by_patient: bool = False) -> dict:
    """{"steps": [(text, n, left out)], "ends": [(text, n)], "notes": [(text, n)]}: from the table to those with and without the outcome,
    or of each class.

    notes: what is missing in rows of the table for a reason, in words. by_patient: the rows of a patient were scored as one.
    """
    steps = [(text, abs(n), n < 0) for text, n in cohort.get("flow", [])]
    numbers = lead(content, task)
    steps += [("patients with a known outcome, their rows as one", numbers["n"], False)] if steps and by_patient else []
    events = numbers["events"]
    ends = [] if events is None else [("with the outcome", events), ("without it", numbers["n"] - events)]
    ends += [(name, one["events"]) for name, one in numbers.get("auc_classes", {}).items()]
    return {"steps": steps, "ends": ends, "notes": [(text, few(n)) for text, n in cohort.get("notes", [])]}


def characteristics(cohort: dict) -> dict:
    """{"groups", "rows", "long", "codes"}: a row for a number (median and quartiles), for a level or a group of diagnoses (count and share
    of the known). codes: whether there are diagnoses."""
    lines = cohort.get("characteristics", [])
    groups = list(next(iter((line.get("numbers") or line["known"]) for line in lines))) if lines else []
    rows = []
    for line in lines:
        if "numbers" in line:
            digits = digits_of(line["numbers"].values())
            rows.append({"name": line["name"], "level": "", "cells": [quartiles(line["numbers"][group], digits) for group in groups]})
            continue
        levels = list(line["levels"].items())
        for name, counts in levels[1:] if len(levels) == 2 and "several" not in line else levels:  # of two levels one says it all
            rows.append({"name": line["name"], "level": name, "cells": [level(counts[group], line["known"][group]) for group in groups]})
    return {"groups": groups, "rows": rows, "long": len(rows) > LONG, "codes": any("several" in line for line in lines)}


def quartiles(numbers: list[float], digits: int) -> tuple[str, str]:
    """(median, quartiles) of [known, first quartile, median, third quartile]."""
    return ("–", "") if numbers[0] < FEWEST else (show(numbers[2], digits), span([numbers[1], numbers[3]], digits))


def digits_of(groups: Iterable[list[float]]) -> int:
    """Digits after the point that the quartiles of all groups need: none for whole numbers, three that count otherwise."""
    values = [value for numbers in groups for value in numbers[1:]]
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 100 or all(value == round(value) for value in values):
        return 0
    return max(1, 2 - math.floor(math.log10(largest)))


def level(count: int, known: int) -> tuple[str, str]:
    """(count, share of the known)."""
    hidden = 0 < count < FEWEST or not known
    return (few(count), "" if hidden else f"{share(count / known)} %")


def missing(cohort: dict) -> dict:
    """{"rows": [{"name", "n", "percent"}], "complete"}: images and columns with missing values, most first, and the names of the others."""
    total, counts = cohort.get("n", 0), cohort.get("missing", {})
    order = sorted((name for name, n in counts.items() if n), key=lambda name: (-counts[name], name))
    rows = [{"name": name, "n": counts[name], "percent": share(counts[name] / total)} for name in order]
    return {"rows": rows, "complete": [name for name, n in counts.items() if not n]}


def subgroups(content: dict, task: str) -> dict:
    """{"columns": [(column, rows)], "tests": [(column, words)], "axis", "binary"}: the forest plot of the groups, all patients first.

    Empty without groups.
    """
    lines = [line for line in content["subgroups"] if line["task"] == task]
    rows = [row_of(line | {"limits": line["auc"]["ci95"], "value": line["auc"]["value"]}) for line in lines]
    if not rows:
        return {"columns": [], "tests": [], "axis": "", "binary": False}
    scale = forest.scale_of(rows, rows[0]["value"], 0.1)
    for row in rows:
        row["bar"] = forest.bar(scale, row["value"], row["limits"], "s4" if row["column"] else "s0")
    columns = [(column, list(group)) for column, group in itertools.groupby(rows, lambda row: row["column"])]
    tests = [(line["column"], interaction(line)) for line in content["interactions"] if line["task"] == task]
    return {"columns": columns, "tests": tests, "axis": forest.axis(scale), "binary": lines[0]["events"] is not None}


def interaction(line: dict) -> str:
    """Whether a column's groups differ, as words that claim no more than the test: it cannot show that there is no difference."""
    if line["untested"]:
        return f"not tested: {line['untested']}"
    freedom = f"{line['df']} degree{'' if line['df'] == 1 else 's'} of freedom"
    numbers = f"chi-square {show(line['chi2'], 2)}, {freedom}, p {p_words(line['p'])}; Holm p {p_words(line['p_holm'])}"
    verdict = "differ by more than chance explains" if line["p_holm"] < 0.05 else "differ by what could be chance"
    return f"the AUCs of {len(line['groups'])} groups {verdict} ({numbers})"


def row_of(line: dict) -> dict:
    """A group in words; what fewer than `FEWEST` patients would show of one of them is left out."""
    scored = line["value"] is not None
    return line | {
        "patients": few(line["patients"]),
        "auc": show(line["value"]) if scored else "too few", "ci95": span(line["limits"]) if scored else "",
        "events": str(line["events"]) if scored and line["events"] is not None else "–",
        "observed": share(line["observed"]) if scored else "–", "predicted": share(line["predicted"]) if scored else "–",
    }  # fmt: skip
