"""Which answers of a language model are reports: above all, which numbers they may tell."""

import dataclasses

import pytest

from jaxstroke.preprocess.report import judge
from jaxstroke.preprocess.report.findings import Findings, Signal, Territory
from jaxstroke.preprocess.report.sections import SECTIONS

FINDINGS = Findings(
    side="left", volume_ml=1234.56, left_ml=1200.0, right_ml=34.56, lesions=3, diameter_mm=12.7,
    territories=(Territory(5, "left M1", 0.3749, 20.04), Territory(6, "area 44 of BA", 0.02, 0.6)), outside_ml=0.0,
    signals=(Signal("dwi_b1000", 1.83),),
)  # fmt: skip
TOLD = [
    "1234.56 ml", "1234.6 ml", "1235 ml", "1,234.56 ml", "1234,6 ml", "1.234,56 ml", "1,235 ml", "37 % of M1", "37.5%", "0.37", "0.375",
    "12.7.", "12.7. Next", "13 mm", "ratio 1.8", "territory 5", "2 territories", "area 44", "T2 and DWI b1000, M2", "0 ml", ".37 of it",
    "13-mm lesion", "20 cm³", "20 cc", "20 mL", "1. Left. 2. Right.", "- none\n3) third", "territories 5,6",
    "5, 6", "2%", "35 ml (34.6)", "+13mm", "\u0661\u0663 mm", "no number",
]  # fmt: skip
INVENTED = [
    "1236 ml", "1234.5 ml", "12 mm", "38 %", "37.4%", "0.38", "7 ml", "24 hours", "1.9", "1.84", "12.70001", "5,7", "1 235", "1e9", "0.5",
    "\u0663\u0667 ml", "12.8. Next", "9999999999999999999999 ml", "1.2.3", "37/41", "volume:37ml",
    "37 ml", "13 ml", "3 mm", "12.7 cm", "3 %", "1.3 cm", "13-mm3", "20 mm",
]  # fmt: skip


def answer(text: str) -> dict:
    return dict.fromkeys(SECTIONS, "") | {"impression": text}


@pytest.mark.parametrize("text", TOLD)
def test_numbers_of_the_findings(text):
    judge.check_numbers(answer(text), FINDINGS)


@pytest.mark.parametrize("text", INVENTED)
def test_numbers_that_are_invented(text):
    with pytest.raises(judge.Invalid, match="tells a number, "):
        judge.check_numbers(answer(text), FINDINGS)


def test_every_number_is_looked_for_in_every_section():
    for name in SECTIONS:
        with pytest.raises(judge.Invalid, match="tells a number, 99,"):
            judge.check_numbers(dict.fromkeys(SECTIONS, "3 lesions") | {name: "3 lesions, 99 ml"}, FINDINGS)


def test_all_fields_of_the_findings_may_be_told():
    """Whatever is added to the findings can be told without a change here."""
    for field in dataclasses.fields(Findings):
        value = getattr(FINDINGS, field.name)
        if isinstance(value, int | float):
            judge.check_numbers(answer(f"{value}"), FINDINGS)
    found = judge.numbers(FINDINGS)
    assert found["mm"] == [12.7] and found["ml"] == [1234.56, 1200.0, 34.56, 20.04, 0.6, 0.0] and found["other"] == []
    assert {5.0, 0.3749, 20.04, 44.0, 1.83} <= set(found["number"]) and len(found["share"]) == 2
