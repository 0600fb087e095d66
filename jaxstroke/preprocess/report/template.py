"""A report of a lesion mask in fixed words: the same findings give the same text, and every number in it is one of theirs.

A network that learns words from a few hundred reports cannot learn to read numbers, so each has its class beside it as a word. Where
classes of volume begin: 70 ml is the core beyond which thrombectomy was long not offered (DEFUSE 3: Albers et al. 2018), 145 ml that of
malignant infarction of the middle cerebral artery (Oppenheim et al. 2000); those below, and all others, are ours.
"""

from jaxstroke.preprocess.report.findings import Findings, Signal, Territory
from jaxstroke.preprocess.report.sections import rendered

# upper ends, which belong to the next class
VOLUMES = ((1.0, "tiny"), (10.0, "small"), (70.0, "moderate"), (145.0, "large"), (float("inf"), "very large"))  # ml
SHARES = ((5, "minimal"), (33, "partial"), (80, "extensive"), (101, "complete"))  # whole % of a territory
COUNTS = ((2, "single"), (5, "few"), (float("inf"), "multiple"))
DIAMETERS = ((5.0, "punctate"), (20.0, "focal"), (60.0, "extended"), (float("inf"), "widespread"))  # mm
RATIOS = ((0.9, "hypointense"), (1.1, "isointense"), (float("inf"), "hyperintense"))
MOST_TERRITORIES = 8  # that are named
SIDES = {"left": "left hemisphere", "right": "right hemisphere", "both": "both hemispheres"}


def text(findings: Findings) -> str:
    """The report, a line a section."""
    return rendered(sections(findings))


def sections(findings: Findings) -> dict[str, str]:
    """Section -> its text, "" where there is nothing to tell."""
    if findings.side == "none":
        return {"side": "none", "size": "none", "lesions": "none", "impression": "no lesion is marked"}
    size = word(VOLUMES, findings.volume_ml)
    both = f", left {findings.left_ml:.2f} ml, right {findings.right_ml:.2f} ml" if findings.side == "both" else ""
    foci = "focus" if findings.lesions == 1 else "foci"
    count = f"{word(COUNTS, findings.lesions)}, {findings.lesions} {foci}"
    most = f", largest part in {_involved(findings.territories[0])}" if findings.territories else ""
    return {
        "side": SIDES[findings.side] + both,
        "territories": _territories(findings),
        "size": f"{size}, {findings.volume_ml:.2f} ml",
        "lesions": f"{count}, {word(DIAMETERS, findings.diameter_mm)}, largest diameter {findings.diameter_mm:.1f} mm",
        "signal": "; ".join(_signal(one) for one in findings.signals),
        "impression": f"{size} lesion of {'the ' * (findings.side != 'both')}{SIDES[findings.side]}{most}",
    }


def word(classes, value: float) -> str:
    """The class of a number. classes: (upper end, word), ascending."""
    return next(name for end, name in classes if value < end)


def percent(share: float) -> int:
    """Whole per cent as they are told; the class of a share is that of these, so that no report says `minimal (5 %)`."""
    return round(share * 100)


def _territories(findings: Findings) -> str:
    """Those of most ml, how many others there are, and what lies in none."""
    named = findings.territories[:MOST_TERRITORIES]
    parts = [f"{_involved(one)} ({'<1' if one.share < 0.01 else percent(one.share)} %)" for one in named]
    others = len(findings.territories) - len(named)
    inside = "; ".join(parts) + (f" and {others} {'others' if others > 1 else 'other'}" if others else "")
    outside = f"outside all territories {findings.outside_ml:.2f} ml" if findings.outside_ml > 0 else ""
    return "; ".join(part for part in (inside, outside) if part)


def _involved(territory: Territory) -> str:
    return f"{territory.name} {word(SHARES, percent(territory.share))}"


def _signal(signal: Signal) -> str:
    return f"{signal.image} {word(RATIOS, signal.ratio)} (ratio {signal.ratio:.2f})"
