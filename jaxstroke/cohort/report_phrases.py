"""Reports of a synthetic MRI, put together from phrases as radiologists vary them; of what the image shows, and of nothing else."""

from dataclasses import dataclass

from jaxstroke.cohort.phantom_atlas import TERRITORIES

OMITTED = 0.05  # of the reports: nothing is said of the white matter
MENTIONED = 0.08  # of the lesion, from which a second territory is named
BRIGHT = 0.5  # of its full brightness, from which a lesion is called bright on FLAIR
SIZES = {
    3.0: ("tiny", "very small"),
    12.0: ("small", "limited"),
    35.0: ("medium-sized", "of intermediate size"),
    80.0: ("large", "sizeable"),
}
LARGEST = ("very large", "huge")
ROUND = (1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 150)  # ml that readers estimate
# Grade of white-matter disease: how reports say it; each phrase is of one grade.
GRADES = {
    0: ("unremarkable white matter", "no leukoaraiosis", "no mottling of the white matter"),
    1: ("mild mottling of the white matter", "mild leukoaraiosis", "mild changes of the white matter"),
    2: ("moderate mottling of the white matter", "moderate leukoaraiosis", "moderate changes of the white matter"),
    3: ("severe mottling of the white matter", "severe leukoaraiosis", "severe changes of the white matter"),
}
SIDES = {
    "left": ("left hemisphere", "left-sided", "left cerebral hemisphere"),
    "right": ("right hemisphere", "right-sided", "right cerebral hemisphere"),
    "both": ("both hemispheres", "bilateral, crossing the midline"),
}
NUMBER = ("one", "single", "solitary lesion")
ON_FLAIR = {
    True: ("bright on DWI and FLAIR", "hyperintense on both DWI and FLAIR", "restricted diffusion, FLAIR positive"),
    False: (
        "bright on DWI, hardly visible on FLAIR",
        "hyperintense on DWI with faint FLAIR signal",
        "restricted diffusion, FLAIR negative",
    ),
}
IMPRESSIONS = ("acute ischaemic infarct, {}", "recent infarct in the {} territory", "{} infarction", "findings of an acute {} infarct")


@dataclass(frozen=True)
class Shown:
    """What an image shows.

    side          left | right | both
    territories   number -> share of the lesion in it
    volume_ml     of the lesion
    brightness    of the lesion on FLAIR, 0 to 1
    white_matter  grade, 0 to 3
    """

    side: str
    territories: dict[int, float]
    volume_ml: float
    brightness: float
    white_matter: int


def report(shown: Shown, rng) -> str:
    """A line a section, in the order and form of every report here: `Side: left hemisphere.`"""
    first, *others = sorted(shown.territories, key=lambda number: -shown.territories[number])
    named = [number for number in others if shown.territories[number] >= MENTIONED][:1]
    sections = {
        "side": choose(rng, SIDES[shown.side]),
        "territories": territories(first, named, rng),
        "size": size(shown.volume_ml, rng),
        "lesions": choose(rng, NUMBER),
        "signal": signal(shown, rng),
        "impression": choose(rng, IMPRESSIONS).format(TERRITORIES[first][2]),
    }
    return "\n".join(f"{name.capitalize()}: {text}." for name, text in sections.items())


def territories(first: int, others: list[int], rng) -> str:
    """The territory with most of the lesion, and one more where enough of it lies there."""
    names = [TERRITORIES[number][1 + int(rng.integers(2))] for number in (first, *others)]
    return choose(rng, ("{}; also {}", "mainly {}; in part {}", "{}, reaching into {}")).format(*names) if others else names[0]


def size(volume_ml: float, rng) -> str:
    """In words, as an estimate, or both."""
    word = choose(rng, next((words for limit, words in SIZES.items() if volume_ml < limit), LARGEST))
    about = min(ROUND, key=lambda known: abs(known - volume_ml))
    return choose(rng, ("{word}", "about {about} ml", "{word}, about {about} ml", "approximately {about} ml, {word}")).format(
        word=word, about=about
    )


def signal(shown: Shown, rng) -> str:
    """The lesion's, and what else is seen on FLAIR, in either order."""
    parts = [choose(rng, ON_FLAIR[shown.brightness >= BRIGHT]), choose(rng, GRADES[shown.white_matter])]
    if rng.random() < OMITTED:
        return parts[0]
    return "; ".join(parts if rng.random() < 0.5 else parts[::-1])


def choose(rng, phrases) -> str:
    """One of several phrases."""
    return phrases[int(rng.integers(len(phrases)))]
