"""Whether a language model's answer is a report: its form, and that it tells no number which the findings do not hold."""

import dataclasses
import json
import math
import re

from jaxstroke.preprocess.report.findings import Findings
from jaxstroke.preprocess.report.sections import SECTIONS

LONGEST = 2000  # characters of a section
KEPT = 4000  # characters of a refused answer that go back to the model
UNITS = {  # by how names of numbers in the findings end; other: units that they do not use, so that it was converted
    "ml": "ml|cc|cm3|cm³|millilit(?:er|re)s?",
    "mm": "mm|millimet(?:er|re)s?",
    "share": "%|per ?cent",
    "other": "cm|centimet(?:er|re)s?|mm3|mm³|[µμ]l|lit(?:er|re)s?",
}
NUMBER = re.compile(  # behind a letter digits are part of a name: T2, M1, b1000
    r"(?<!\w)(?P<number>(?:\d+(?:[.,]\d+)*|\.\d+)(?:e[+-]?\d+)?)"
    rf"(?:[\s-]*(?:{'|'.join(f'(?P<{name}>{unit})' for name, unit in UNITS.items())})(?!\w))?",
    re.IGNORECASE,
)
THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
ORDINAL = re.compile(r"(?:^|\n|[.;]\s)\s*\d[.)](?=\s)")  # `1. ` or `2) ` where a sentence begins: items of a list


class Invalid(Exception):
    """An answer that is none; the message goes on after `the answer`. answer: the model's words, to be shown to it again, or ""."""

    def __init__(self, problem: str, answer: str = ""):
        super().__init__(problem)
        self.answer = answer[:KEPT]


def sections_of(body: bytes, findings: Findings | None) -> tuple[dict[str, str], dict]:
    """The sections in a reply's body, and the tokens it took as the server counts them ({} where it does not). Raises Invalid."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        text, end = choice["message"].get("content"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Invalid("is no answer of a chat (no JSON with choices)") from None
    if not isinstance(text, str) or not text.strip():
        raise Invalid("holds no text")
    if end == "length":
        raise Invalid("is half an answer: the server's limit of tokens ended it", text)
    sections = checked(parsed(text), text)
    if findings is not None:
        check_numbers(sections, findings, text)
    usage = reply.get("usage")
    return sections, usage if isinstance(usage, dict) else {}


def parsed(text: str):
    """The JSON in a text, or in what lies between its outermost braces: models wrap it in words, fences and thoughts."""
    thought = text.rpartition("</think>")[2]
    for part in (thought, thought[thought.find("{") : thought.rfind("}") + 1]):
        try:
            return json.loads(part)
        except (ValueError, RecursionError):
            continue
    raise Invalid("is no JSON object", text)


def checked(sections, text: str = "") -> dict[str, str]:
    """The sections, in their order: exactly these, texts, not all empty, none too long. Raises Invalid."""
    if not isinstance(sections, dict):
        raise Invalid("is no JSON object", text)
    if missing := [name for name in SECTIONS if name not in sections]:
        raise Invalid(f"lacks the section '{missing[0]}'", text)
    if len(sections) > len(SECTIONS):
        raise Invalid("has sections that were not asked for", text)
    for name in SECTIONS:
        if not isinstance(sections[name], str) or not is_text(sections[name]):
            raise Invalid(f"has a section '{name}' that is no text", text)
        if len(sections[name]) > LONGEST:
            raise Invalid(f"has a section '{name}' of more than {LONGEST} characters", text)
    if not any(sections[name].strip() for name in SECTIONS):
        raise Invalid("has empty sections only", text)
    return {name: sections[name] for name in SECTIONS}


def is_text(value: str) -> bool:
    """Whether a file can hold it: half a surrogate pair, which JSON can, no file can."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def check_numbers(sections: dict[str, str], findings: Findings, text: str = ""):
    """Raises Invalid where a number in digits is none of the findings'.

    Told right is a number that is one of theirs rounded to as many digits as it is told with, of the same unit where it has one; a share
    may be told in per cent, and how many territories there are. Not looked at: digits behind a letter (T2, M1), one digit that begins an
    item of a list, and numbers in words.
    """
    values = numbers(findings)
    for name in SECTIONS:
        for found in NUMBER.finditer(ORDINAL.sub(" ", sections[name])):
            number, known = found["number"], values[found.lastgroup]
            if not any(all(is_told(part, known) for part in parts) for parts in readings(number)):
                raise Invalid(f"tells a number, {number[:20]}, that the findings do not have", text)


def numbers(findings: Findings) -> dict[str, list[float]]:
    """The numbers of the findings by their unit as in UNITS, and all of them, those in names too, as `number`."""
    found = {name: [] for name in (*UNITS, "number")}
    found["number"].append(float(len(findings.territories)))

    def collect(value, kind: str = ""):
        if isinstance(value, dict):
            for name, item in value.items():
                collect(item, name.rpartition("_")[2])
        elif isinstance(value, list | tuple):
            for item in value:
                collect(item, kind)
        elif isinstance(value, str):
            for token in NUMBER.finditer(value):
                found["number"] += [float(part) for part in token["number"].split(",") if part.count(".") < 2]
        elif value is not None and math.isfinite(value):
            same = [float(value), 100 * float(value)] if kind == "share" else [float(value)]
            found["number"] += same
            if kind in UNITS:
                found[kind] += same[-1:]

    collect(dataclasses.asdict(findings))
    return found


def readings(token: str) -> list[list[str]]:
    """What digits with commas may mean: some numbers in a row, one with its thousands parted, one with a decimal comma."""
    found = [token.split(",")]
    if THOUSANDS.fullmatch(token):
        found.append([token.replace(",", "")])
    if token.count(",") == 1:
        found.append([token.replace(".", "").replace(",", ".")])
    return found


def is_told(number: str, values: list[float]) -> bool:
    """Whether a number, as it is written, is one of the values rounded to its digits."""
    if number.count(".") > 1:
        return False
    value, digits = float(number), len(re.split("[eE]", number.partition(".")[2])[0])
    slack = 0.5 * 10.0**-digits
    return any(abs(value - other) <= slack + 1e-9 * max(1.0, abs(other)) for other in values)
