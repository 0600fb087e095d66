"""What a patient's page shows of a report: who wrote it, its sections, and by word where it looks (`templates/told.html.j2`)."""

import math

import numpy as np

from jaxstroke.explain import report, words

FULL = 8.0  # times as much as at an average place: the darkest background
EVEN = 2.0  # below, all words look nearly everywhere alike


def shown(config, said: report.Said, looks: dict[str, words.Looks]) -> dict:
    """looks: by image that the patient has, {} where words are not shown."""
    if not said.text:
        return {"by": "", "notes": [], "failure": said.line["failure"], "sections": [], "chosen": False, "looked": False}
    pieces = [report.joined(tokenizer, said.text, said.words, config.text.length) for tokenizer in said.tokenizers]
    read = np.any([one.any(1) for one in pieces], 0) if said.own and said.words else np.ones(len(said.words), bool)
    notes = []
    if not said.own:
        notes.append(f"The networks have not read this report: config.text.control = '{config.text.control}'.")
    if not read.all():
        cut = (~read).sum()
        notes.append(f"{cut} of {len(read)} words were not read, those in grey: config.text.length is {config.text.length} tokens.")
    titles = {place: title for one in looks.values() for place, title in words.titles(one).items()}
    most = max((float(one.peak.max(initial=0.0)) for one in looks.values()), default=EVEN)
    if titles and most < EVEN:
        notes.append(f"No word looks at a place more than {most:.1f} times as much as at an average one: these maps are nearly even.")
    sections = [section(said, part, read, looks, titles) for part in said.sections]
    return {
        "by": report.written_by(config, said.line), "notes": notes, "failure": "", "sections": sections, "chosen": bool(titles),
        "looked": bool(looks),
    }  # fmt: skip


def section(said: report.Said, part: report.Section, read: np.ndarray, looks: dict, titles: dict[int, str]) -> list[dict]:
    """Its text in pieces: words, and what stands between them."""
    found, end = [], part.first
    for place, word in enumerate(said.words):
        if not part.first <= word.first < part.behind:
            continue
        found.append({"text": said.text[end : word.first], "kind": "between"})
        kind = "unread" if not read[place] else "chosen" if place in titles else "word"
        piece = {"text": said.text[word.first : word.behind], "kind": kind, "map": titles.get(place, ""), "header": word.header}
        found.append(piece | {"says": sentence(place, looks), "strength": strength(place, looks)})
        end = word.behind
    rest = {"text": said.text[end : part.behind].rstrip(), "kind": "between"}
    return [piece for piece in [*found, rest] if piece["text"]]


def strength(place: int, looks: dict[str, words.Looks]) -> float:
    """0 to 1: how much more a word looks at its place than at an average one, of any image; by the logarithm."""
    largest = max((float(one.peak[place]) for one in looks.values()), default=0.0)
    return min(1.0, max(0.0, math.log(max(largest, 1.0)) / math.log(FULL)))


def sentence(place: int, looks: dict[str, words.Looks]) -> str:
    """Where a word looks, "" where that is not known."""
    return "; ".join(
        f"{image}: {100 * one.share[place]:.0f} % of its attention, most at {spot(one, place)}, {one.peak[place]:.1f} times the average"
        for image, one in looks.items()
        if one.networks[place]
    )


def spot(one: words.Looks, place: int) -> str:
    """The place where a word looks most: `right 23, front 10, up 40 mm` in the scanner's coordinates; of pictures its number."""
    values = one.spots[place]
    if not one.in_mm:
        return f"image {values[0]:.0f}, row {values[1]:.0f}, column {values[2]:.0f}"
    names = (("left", "right"), ("back", "front"), ("down", "up"))
    return ", ".join(f"{pair[int(value > 0)]} {abs(value):.0f}" for pair, value in zip(names, values, strict=True)) + " mm"
