"""Reports in fixed words: every number of one is the mask's, counted by other means; classes as words; sides; nothing else in them."""

import dataclasses
import itertools
import json
import re

import lesions_recounted as again
import numpy as np
import pytest

from jaxstroke.preprocess.report import findings as found
from jaxstroke.preprocess.report import template
from jaxstroke.preprocess.report.atlas import Atlas
from jaxstroke.preprocess.report.sections import SECTIONS, rendered

TINY = 1e-9
ML, SIDE = r"([0-9]+\.[0-9]{2}) ml", "(left hemisphere|right hemisphere|both hemispheres)"
SIZE, SHARE = "(tiny|small|moderate|large|very large)", "(minimal|partial|extensive|complete)"
LINES = {
    "Side": f"{SIDE}(?:, left {ML}, right {ML})?",
    "Territories": f"((?:[^;(]+ {SHARE} \\((?:<1|[0-9]+) %\\)(?:; )?)*)(?: and ([0-9]+) others?)?(?:(?:; )?outside all territories {ML})?",
    "Size": f"{SIZE}, {ML}",
    "Lesions": r"(?:single|few|multiple), ([0-9]+) (?:focus|foci), \w+, largest diameter ([0-9]+\.[0-9]) mm",
    "Signal": r"(\w+) (hypointense|isointense|hyperintense) \(ratio ([0-9]+\.[0-9]{2})\)",
    "Impression": f"{SIZE} lesion of (?:the )?{SIDE}(?:, largest part in (.+) {SHARE})?",
}
PART = re.compile(rf"([^;(]+) {SHARE} \((<1|[0-9]+) %\)")
PHRASES = {number: f"part {letter} left" for number, letter in zip(range(1, 28), "abcdefghijklmnopqrstuvwxyz?", strict=True)}  # no digits


def parsed(report: str) -> dict[str, tuple]:
    """Section -> groups of its line. A line that is not exactly of its form, with a number elsewhere say, fails here."""
    lines = dict(line.split(": ", 1) for line in report.split("\n"))
    return {name: re.fullmatch(rf"{LINES[name]}\.", line).groups() for name, line in lines.items()}


def check(report: str, counted: again.Counted, names: dict[int, str]):
    """Every number of a report against those counted."""
    said, half = parsed(report), 0.005 + TINY
    (side, left, right), (size, ml), (lesions, diameter) = said["Side"], said["Size"], said["Lesions"]
    assert float(ml) == pytest.approx(counted.volume_ml, abs=half, rel=0)
    assert int(lesions) == counted.lesions and float(diameter) == pytest.approx(counted.diameter_mm, abs=0.05 + TINY, rel=0)
    assert side.startswith("both") == (left is not None) == (min(counted.left_ml, counted.right_ml) >= 0.05 * counted.volume_ml)
    if left is None:
        assert side.startswith("left" if counted.left_ml > counted.right_ml else "right")
    else:
        assert (float(left), float(right)) == pytest.approx((counted.left_ml, counted.right_ml), abs=half, rel=0)
    parts, _, others, outside = said["Territories"]
    told = [PART.fullmatch(part).groups() for part in parts.split("; ") if part]
    numbers = {name: number for number, name in names.items()}
    assert float(outside or 0) == pytest.approx(counted.outside_ml, abs=half, rel=0)
    assert len(told) == min(8, len(counted.territories)) and int(others or 0) == len(counted.territories) - len(told)
    mls = []
    for name, word, percent in told:
        share, part = counted.territories[numbers[name]]
        assert share < 0.01 + 0.00005 if percent == "<1" else float(percent) == pytest.approx(100 * share, abs=0.5 + 0.005 + TINY, rel=0)
        whole = 0 if percent == "<1" else int(percent)
        assert word == ("minimal" if whole < 5 else "partial" if whole < 33 else "extensive" if whole < 80 else "complete")
        mls.append(part)
    left_out = sorted((part for _, part in counted.territories.values()), reverse=True)[8:]
    assert all(one > other - 0.01 for one, other in itertools.pairwise(mls))  # in order, to the digits that are kept
    assert max(left_out, default=0) <= min(mls) + 0.01
    assert said["Impression"][:2] == (size, side)
    assert said["Impression"][2:] == ((told[0][0], told[0][1]) if told else (None, None))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", again.AFFINES)
def test_every_number_of_a_report_of_a_random_lesion(name, seed):
    mask, labels, affine = again.blob(seed, share=0.03 + 0.05 * seed), again.blocks(count=20), again.affine_of(name)
    findings = found.of_mask(mask, affine, Atlas(labels, affine, PHRASES))
    check(template.text(findings), again.counted(mask, affine, labels, affine), PHRASES)


@pytest.mark.parametrize("patient", again.IDS)
def test_every_number_of_a_report_of_a_real_lesion(data_root, patient):
    atlas, image = again.soop_atlas(data_root), again.soop_lesion(data_root, patient)
    report = template.text(found.of_mask(image.array, image.affine, atlas))
    check(report, again.counted(image.array > 0, image.affine, atlas.labels, atlas.affine), atlas.names)


def test_different_masks_have_different_reports_and_the_same_mask_the_same(data_root):
    atlas, images = again.soop_atlas(data_root), [again.soop_lesion(data_root, patient) for patient in again.IDS]
    reports = [template.text(found.of_mask(image.array, image.affine, atlas)) for image in images]
    assert len(set(reports)) == len(again.IDS)
    assert reports == [template.text(found.of_mask(image.array.copy(), image.affine, atlas)) for image in images]


def test_a_report_is_that_of_the_stored_findings():
    affine = again.affine_of("rotated")
    images = {"dwi": (again.blob(0) + 1.0, affine)}
    findings = found.of_mask(again.blob(1), affine, Atlas(again.blocks(), affine, {}), images)
    assert template.text(found.from_json(json.loads(json.dumps(found.to_json(findings))))) == template.text(findings)


@pytest.mark.parametrize("patient", again.IDS)
def test_a_mirrored_lesion_has_the_other_side_in_its_report(data_root, patient):
    """On this grid reversing the first axis mirrors in x = 0. The atlas is mirrored alike, left becoming right in its names."""
    atlas, image = again.soop_atlas(data_root), again.soop_lesion(data_root, patient)
    swap = {"left": "right", "right": "left"}
    swapped = {number: re.sub("left|right", lambda side: swap[side[0]], name) for number, name in atlas.names.items()}
    mirrored = Atlas(atlas.labels[::-1], atlas.affine, swapped)
    one, other = (found.of_mask(array, image.affine, own) for array, own in ((image.array, atlas), (image.array[::-1], mirrored)))
    expected = re.sub("left|right", lambda side: swap[side[0]], template.text(one))
    if one.side == "both":  # the left is told first
        expected = re.sub(r"(right [0-9.]+ ml), (left [0-9.]+ ml)", r"\2, \1", expected)
    assert template.text(other) == expected != template.text(one)


def test_an_empty_mask_says_that_no_lesion_is_marked():
    report = template.text(found.of_mask(np.zeros((4, 4, 4), np.uint8), np.eye(4), None))
    assert report == "Side: none.\nSize: none.\nLesions: none.\nImpression: no lesion is marked."


FINDINGS = found.Findings(
    "left", 84.17, 84.17, 0.0, 1, 54.1,
    tuple(found.Territory(number, f"territory {number}", share, ml) for number, share, ml in ((15, 0.6249, 7.5), (17, 0.0094, 0.02))),
    0.31, (found.Signal("dwi", 1.8), found.Signal("adc", 0.52)),
)  # fmt: skip


def changed(**values) -> str:
    return template.text(dataclasses.replace(FINDINGS, **values))


def test_a_whole_report():
    assert template.text(FINDINGS) == (
        "Side: left hemisphere.\n"
        "Territories: territory 15 extensive (62 %); territory 17 minimal (<1 %); outside all territories 0.31 ml.\n"
        "Size: large, 84.17 ml.\n"
        "Lesions: single, 1 focus, extended, largest diameter 54.1 mm.\n"
        "Signal: dwi hyperintense (ratio 1.80); adc hypointense (ratio 0.52).\n"
        "Impression: large lesion of the left hemisphere, largest part in territory 15 extensive."
    )
    assert rendered(template.sections(FINDINGS)) == template.text(FINDINGS) and set(template.sections(FINDINGS)) == set(SECTIONS)


def test_what_is_not_known_is_not_told():
    report = changed(territories=(), outside_ml=0.0, signals=())
    assert [line.split(":")[0] for line in report.split("\n")] == ["Side", "Size", "Lesions", "Impression"]
    assert report.endswith("Impression: large lesion of the left hemisphere.")
    assert "Territories: outside all territories 84.17 ml.\n" in changed(territories=(), outside_ml=84.17)


@pytest.mark.parametrize(("count", "end"), [(8, "(50 %)."), (9, "(50 %) and 1 other."), (12, "(50 %) and 4 others.")])
def test_at_most_eight_territories_are_named(count, end):
    territories = tuple(found.Territory(number, f"t{number}", 0.5, 50.0 - number) for number in range(count))
    (line,) = (line for line in changed(territories=territories, outside_ml=0.0).split("\n") if line.startswith("Territories"))
    assert line.count("extensive") == 8 and line.endswith(f"t7 extensive {end}")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("volume_ml", {0.0: "tiny", 0.99: "tiny", 1.0: "small", 9.99: "small", 10.0: "moderate", 69.99: "moderate", 70.0: "large",
                       144.99: "large", 145.0: "very large", 900.0: "very large"}),
        ("lesions", {1: "single, 1 focus", 2: "few, 2 foci", 4: "few, 4 foci", 5: "multiple, 5 foci"}),
        ("diameter_mm", {0.0: "punctate", 4.9: "punctate", 5.0: "focal", 19.9: "focal", 20.0: "extended", 60.0: "widespread"}),
    ],
)  # fmt: skip
def test_classes_of_numbers(field, values):
    line = {"volume_ml": "Size: {}, ", "lesions": "Lesions: {}, ", "diameter_mm": "focus, {}, "}[field]
    for value, word in values.items():
        assert line.format(word) in changed(**{field: value})


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0.0, "minimal (<1 %)"), (0.0099, "minimal (<1 %)"), (0.01, "minimal (1 %)"), (0.0449, "minimal (4 %)"), (0.0496, "partial (5 %)"),
        (0.324, "partial (32 %)"), (0.3251, "extensive (33 %)"), (0.7949, "extensive (79 %)"), (0.7951, "complete (80 %)"),
        (1.0, "complete (100 %)"),
    ],
)  # fmt: skip
def test_classes_of_shares_are_those_of_the_per_cent_that_are_told(share, told):
    assert f"Territories: t {told}." in changed(territories=(found.Territory(1, "t", share, 1.0),), outside_ml=0.0)


@pytest.mark.parametrize(("ratio", "word"), [(-0.2, "hypo"), (0.89, "hypo"), (0.9, "iso"), (1.09, "iso"), (1.1, "hyper"), (7.0, "hyper")])
def test_classes_of_signals(ratio, word):
    assert f"Signal: flair {word}intense (ratio {ratio:.2f})." in changed(signals=(found.Signal("flair", ratio),))


def test_a_signal_in_a_report_is_the_images():
    mask, affine = again.blob(6), np.eye(4)
    array = np.where(mask, 30.0, 0.0) + np.random.default_rng(1).uniform(10, 12, mask.shape)
    name, word, ratio = parsed(template.text(found.of_mask(mask, affine, None, {"dwi": (array, affine)})))["Signal"]
    assert (name, word) == ("dwi", "hyperintense")
    assert float(ratio) == pytest.approx(np.median(array[mask]) / np.median(array[~mask]), abs=0.005 + TINY, rel=0)
