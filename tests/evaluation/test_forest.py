"""Places on the forest plot's scale, and the colours of the page."""

import re

import pytest

from jaxstroke.evaluation import forest, report

NUMBER = re.compile(r'cx="([\d.]+)%"')


def row(value, limits=None):
    return {"value": value, "limits": limits}


def test_the_scale_holds_every_interval_and_the_reference():
    scale = forest.scale_of([row(0.1, [0.05, 0.2]), row(None), row(-0.3)], 0.0, 0.02)
    assert (scale.low, scale.high, scale.reference) == (-0.3, 0.2, 0.0)
    assert float(scale.place(-0.3)[:-1]) == forest.MARGIN and float(scale.place(0.2)[:-1]) == 100 - forest.MARGIN
    assert float(scale.place(-0.05)[:-1]) == pytest.approx(50)
    assert scale.place(7) == scale.place(0.2)


def test_a_small_difference_does_not_look_large():
    scale = forest.scale_of([row(0.001, [0.0, 0.002])], 0.0, 0.02)
    assert scale.high - scale.low == pytest.approx(0.02)
    assert forest.scale_of([row(None)], None, 0.1).high > 0


def test_bars_and_axis_use_one_scale():
    scale = forest.scale_of([row(0.6, [0.5, 0.75])], 0.75, 0.1)
    bar = forest.bar(scale, 0.6, [0.5, 0.75], "s0")
    assert f"{NUMBER.search(bar)[1]}%" == scale.place(0.6) and bar.count("<line") == 2 and 'aria-hidden="true"' in bar
    assert "circle" not in forest.bar(scale, None, None, "s0") and "guide" in forest.bar(scale, None, None, "s0")
    assert f'x="{scale.place(0.6)}"' in forest.axis(scale)
    assert "−0.2" in forest.axis(forest.Scale(-0.2, 0.2, 0.0))


def schemes() -> dict[str, dict[str, str]]:
    """Colours of the light, dark and printed page by name."""
    css = (report.TEMPLATES / "report.css").read_text()
    blocks = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)]
    return dict(zip(("light", "dark", "print"), blocks, strict=True))


def luminance(colour: str) -> float:
    """Relative luminance of a hex colour (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_and_curves_stand_out(scheme):
    colours = schemes()[scheme]
    for paper in ("paper", "raised"):
        for text in ("ink", "soft", "accent"):
            assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
    for curve in ("c0", "c1", "c2", "c3", "c4", "c5"):
        assert contrast(colours[curve], colours["paper"]) >= 3, curve
