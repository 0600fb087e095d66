"""A patient's report: its words and sections, who wrote it, and what the prediction would be without it.

Words are those of the text, so that networks whose vocabularies differ can be averaged: a word's pieces are joined again, as are the digits
of a number; punctuation between words is none. Taken away, the report is masked as that of a patient who has none, or one section of it
is; image and columns stay. Of features that were computed once (`text.precomputed`) the other sections' words have read that section.
"""

import re
from dataclasses import dataclass

import jax
import numpy as np

from jaxstroke import config as settings
from jaxstroke.explain import choice, page
from jaxstroke.models import modalities
from jaxstroke.preprocess import wordpiece

LETTER = r"[^\W_]"
WORD = re.compile(rf"{LETTER}+(?:(?:[^\w\s]|_)+{LETTER}+)*")  # 12.4 and left-sided are one each
HEADER = re.compile(r"^[ \t]*([^\W\d_][\w-]*(?: [\w-]+){0,2}):(?=\s|$)", re.MULTILINE)  # `Side: `, of three words at most
WHOLE = "report (taken away)"


@dataclass(frozen=True)
class Word:
    """text: as in the report; section: "" outside of any; first, behind: letters of the report; header: of a section's name."""

    text: str
    section: str
    first: int
    behind: int
    header: bool


@dataclass(frozen=True)
class Section:
    """A part of a report, in lower case; first, behind: letters of the report; body: where it begins behind its name."""

    name: str
    first: int
    behind: int
    body: int


@dataclass(frozen=True)
class Said:
    """What the networks of a patient read. own: whether it is the patient's report; tokenizers: of each network, in their order.

    line: of `reports.jsonl`.
    """

    text: str
    words: tuple[Word, ...]
    sections: tuple[Section, ...]
    tokenizers: tuple[str, ...]
    own: bool
    line: dict


def of_patient(config, asked, row: int) -> Said | None:
    """The report of the unit in this row; None where the network reads none. asked: `mode.Asked`."""
    if not settings.reads(config):
        return None
    unit, shared = asked.loaded.units[row], asked.loaded.reports.vocabulary
    tokenizers = tuple(shared or asked.tokenizers[run] for run in asked.networks[row])
    parts = sections(unit.text)
    return Said(unit.text, words(unit.text, parts), parts, tokenizers, config.text.control == "none", asked.loaded.reports.lines[unit.unit])


def sections(text: str) -> tuple[Section, ...]:
    """The sections of a report, a line each that begins with `Name:`, and those below it; what comes before, or has none, is called ""."""
    names = [(found[1].lower(), found.start(), found.end()) for found in HEADER.finditer(text)]
    if not names or text[: names[0][1]].strip():
        names.insert(0, ("", 0, 0))
    ends = [first for _, first, _ in names[1:]] + [len(text)]
    return tuple(Section(name, first, behind, body) for (name, first, body), behind in zip(names, ends, strict=True))


def words(text: str, parts: tuple[Section, ...]) -> tuple[Word, ...]:
    """The words of a report, in order. parts: its `sections`."""
    return tuple(
        Word(found[0], part.name, found.start(), found.end(), found.start() < part.body)
        for part in parts
        for found in WORD.finditer(text, part.first, part.behind)
    )


def joined(tokenizer: str, text: str, found: tuple[Word, ...], length: int) -> np.ndarray:
    """`w t`: rows take the mean over a word's tokens, none of them the special ones; 0 of a word that was cut off."""
    owner = np.full(len(text), -1)
    for place, word in enumerate(found):
        owner[word.first : word.behind] = place
    shares = np.zeros((len(found), length), np.float32)
    for token, (first, behind) in enumerate(wordpiece.spans(tokenizer, text, length), 1):  # [CLS] is 0
        place = owner[first:behind].max(initial=-1)
        if place >= 0:
            shares[place, token] = 1
    return shares / np.maximum(shares.sum(1, keepdims=True), 1)


def inside(tokenizer: str, text: str, parts: list[Section], length: int) -> np.ndarray:
    """`t` bool: tokens of these sections, their names included."""
    found = np.zeros(length, bool)
    for token, (first, _) in enumerate(wordpiece.spans(tokenizer, text, length), 1):
        found[token] = any(part.first <= first < part.behind for part in parts)
    return found


def taken_away(tools, pair: tuple[str, str], said: Said, batch: dict, networks: list[tuple[dict, dict]]) -> list[tuple[str, float]]:
    """(what is taken away, log-odds with the whole report less those without it) of the report and of each section, means over networks.

    Above 0 it raises the probability. tools: `mode.Tools`; pair: (head, image) of `maps.logit`; networks: (variables, fitted numbers).
    Sections that no network reads are left out, and so is a section that is the only one.
    """
    names = list(dict.fromkeys(part.name for part in said.sections)) if said.own and len(said.sections) > 1 else []
    found, seen = np.zeros((len(networks), 1 + len(names))), np.zeros(1 + len(names), bool)
    for number, (tokenizer, (variables, fitted)) in enumerate(zip(said.tokenizers, networks, strict=True)):
        filled, key = with_tokens(batch, fitted)
        mask = np.asarray(filled[key])  # 1 t
        masks = [np.zeros_like(mask)]
        for name in names:
            parts = [part for part in said.sections if part.name == name]
            masks.append(mask * ~inside(tokenizer, said.text, parts, mask.shape[1]))
        whole, *without = (float(tools.logit[pair](variables, fitted, filled | {key: one})) for one in (mask, *masks))
        found[number] = whole - np.asarray(without)
        seen |= [not np.array_equal(one, mask) for one in masks]
    titles = [WHOLE, *(f"section {name or 'without a name'} (taken away)" for name in names)]
    return [(title, float(value)) for title, value, there in zip(titles, found.mean(0), seen, strict=True) if there]


def contributions(one) -> list[page.Contribution]:
    """What `taken_away` finds, as rows of the page and of `explain.csv`; none where there is no report. one: `patient.Asking`."""
    if one.said is None or not one.said.words:
        return []
    image, found = (choice.images(one.config) or [""])[0], []
    for head in choice.heads(one.config):
        changes = taken_away(one.tools, (head, image), one.said, one.batch, one.networks)
        found += [page.Contribution(head, name, None, None, change, "report") for name, change in changes]
    return found


def with_tokens(batch: dict, fitted: dict) -> tuple[dict[str, jax.Array], str]:
    """(the batch of a patient with its tokens in it, wherever they were; the name of their mask)."""
    name = modalities.PRECOMPUTED
    if name in batch:
        return batch, f"{name}_mask"
    tokens, mask = modalities.of_batch(batch, fitted)
    return batch | {"tokens": tokens, "tokens_mask": mask}, "tokens_mask"


def written_by(config, line: dict) -> str:
    """Who wrote a report, in a sentence; line: of `reports.jsonl`."""
    told = line["provenance"]
    if told["generator"] == "given":
        return f"From the table, column '{config.cohort.text}'."
    if told["generator"] == "template":
        return f"By template, from what the mask '{config.text.mask}' shows."
    made = "an answer that was kept from before" if told["cached"] else f"attempts {told['attempts']}, requests {told['requests']}"
    return f"By the language model {told['model']}: prompt {told['prompt'][:12]}, temperature {told['temperature']:g}, {made}."
