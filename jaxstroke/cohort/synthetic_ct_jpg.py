"""A synthetic cohort of head CTs that were flattened to JPG files, with a known best prediction, also of a network that sees no more.

Each patient has a folder of axial slices, `img1.jpg` to `imgN.jpg` from below upwards, in the brain window of 0 to 80 HU: no volume, no
place, no distance between slices, and a number of them that says nothing of the outcome. A flat haematoma lies within one of the slices in
60 % of the patients; only where slices are close does it reach others too. The outcome follows a logistic model, stated here in full;
z_size is of the lesion's area on the image that shows most of it, as drawn in whole pixels:

    images = round(8 exp(0.8 N(0, 1))), 2 to 64, evenly spaced from 0.75 of the head's half height below its middle to as much above
    age = round(N(70, 12)), 30 to 98;  sex: a coin, without effect;  atrophy ~ N(0, 1), without effect
    lesion: 60 %;  radius = 14 mm exp(0.35 N(0, 1)), 5 to 36 mm;  z_size = log(sqrt(area / pi) / 14 mm) / 0.35
    logit P(poor outcome) = INTERCEPT + lesion (LESION + SIZE z_size) + AGE (age - 70)/12

Most images of a patient with a lesion do not show it; `lesion_on` names those that do, joined by |. An average over the images dilutes
what one of them shows by a number that varies between patients: even from ideal predictions of each image its AUC is lower than that of a
model which keeps what it has seen.

`true_logit` is that log-odds, and `true_logit_image*` what the images alone tell, which show nothing of the age. Each column is the
log-odds of the expected probability given what it knows (KNOWN), by exact sums over the lesion and by Gauss-Hermite quadrature over size
and age. What is approximate: limits and rounding are left out of the quadrature, and the images are taken to show the lesion without error.
"""

import dataclasses
import io

import numpy as np
import pandas as pd
import PIL.Image
from etils import epath
from scipy.special import expit, logit

from jaxstroke.cohort import head_ct, phantom, synthetic
from jaxstroke.errors import InputError

FORMAT = 2  # raise it when the same settings give other patients
FEWEST_PIXELS = 32  # an axis
MEDIAN_IMAGES, IMAGES_SPREAD, FEWEST_IMAGES, MOST_IMAGES = 8, 0.8, 2, 64
COVERED = 0.75  # of the half height of the skull's inside, upwards and downwards
LESION_SHARE, DEEP_SHARE = 0.6, 0.6
LOG_MM, LOG_SPREAD, SMALLEST_MM, LARGEST_MM = np.log(14.0), 0.35, 5.0, 36.0  # of the lesion's radius
FLATNESS = 0.4  # of the lesion across the slices, to its radius
NO_LESION = -100.0  # mm, an edge that nothing is within
INTERCEPT, LESION, SIZE, AGE = -1.6, 2.2, 1.4, 0.4
WINDOW = (0.0, 80.0)  # HU
QUALITY = 90  # of the JPG files
OUTCOME_STREAM = 2**31 + 5  # no patient's number

# Column -> what it knows. Without the lesion is without its size.
KNOWN = {
    "true_logit": ("lesion", "size", "age"),
    "true_logit_without_age": ("lesion", "size"),
    "true_logit_without_size": ("lesion", "age"),
    "true_logit_without_lesion": ("age",),
    "true_logit_image": ("lesion", "size"),
    "true_logit_image_without_size": ("lesion",),
}


def make(config, workdir) -> str:
    """Write `<workdir>/synthetic/` and `<workdir>/cohort.csv`; returns the table's path. Raises InputError on settings of no cohort.

    Of `cohort.synthetic.shape` and `.spacing` the rows and columns count, the slices are as above.
    """
    settings = synthetic.check(config) | {"recipe": "synthetic_ct_jpg", "format": FORMAT}
    del settings["missing_share"]
    if min(settings["shape"][1:]) < FEWEST_PIXELS:
        raise InputError(f"config.cohort.synthetic.shape is {tuple(settings['shape'])}: a picture needs {FEWEST_PIXELS} rows and columns.")
    return synthetic.write_cohort(workdir, settings, ("ct",), make_patient, outcomes, config.cohort.workers)


def make_patient(number: int, settings: dict, folder: str) -> dict:
    """One patient's files and row. Numbers depend on seed and patient alone, not on how many processes there are."""
    rng = np.random.default_rng([settings["seed"], number])
    (rows, columns), (height, width) = settings["shape"][1:], settings["spacing"][1:]
    axes = np.minimum(phantom.BRAIN, head_ct.LARGEST * np.array([columns * width, rows * height, np.inf])) * rng.uniform(0.95, 1.0, 3)
    age, atrophy = int(np.clip(round(rng.normal(70, 12)), 30, 98)), rng.normal()
    sex = "F" if rng.random() < 0.5 else "M"
    lengths, affine = phantom.grid("ct", (1, rows, columns), (1.0, height, width))
    across, down, _ = phantom.points(lengths, affine)
    levels = draw_levels(rng) * axes[2]
    place, pixel_mm2 = (across, down, levels), height * width
    brain = axes * head_ct.brain_edge(atrophy)
    lesion = draw_lesion(rng, axes, levels)
    area, seen = 0.0, np.zeros(0, int)
    if rng.random() < LESION_SHARE:
        wanted = np.pi * np.clip(np.exp(LOG_MM + LOG_SPREAD * rng.normal()), SMALLEST_MM, LARGEST_MM) ** 2
        lesion, _ = phantom.grow(lesion, wanted, (across, down, lesion.centre[2]), brain, pixel_mm2)  # an area in place of a volume
        pixels = ((phantom.level(lesion, place) < lesion.edge) & (phantom.radius_of(place, brain) < phantom.WITHIN)).sum((0, 1))
        area, seen = float(pixels.max()) * pixel_mm2, np.flatnonzero(pixels)
    head = head_ct.Head(axes, atrophy, lesion, rng.uniform(1.15, 1.45), 0.0, 0.0)
    whole, _ = head_ct.draw(head, place, pixel_mm2**0.5, rng)
    name = f"synthetic-{number + 1:04d}"
    return {
        "patient_id": name, "age": age, "sex": sex, "ct": write_pictures(folder, name, whole), "images": whole.shape[2],
        "lesion": int(area > 0), "lesion_mm2": round(area, 6), "lesion_images": len(seen), "atrophy": round(atrophy, 6),
        "lesion_on": "|".join(f"img{place + 1}.jpg" for place in seen),
    }  # fmt: skip


def draw_levels(rng) -> np.ndarray:
    """(n,) heights of the slices from below upwards, of the half height of the skull's inside."""
    count = int(np.clip(round(MEDIAN_IMAGES * np.exp(IMAGES_SPREAD * rng.normal())), FEWEST_IMAGES, MOST_IMAGES))
    return COVERED * ((2 * np.arange(count) + 1 + rng.uniform(-0.5, 0.5)) / count - 1)


def draw_lesion(rng, axes: np.ndarray, levels: np.ndarray) -> phantom.Lesion:
    """Place and form of a lesion, its centre within a slice; nothing is within its edge before it is grown."""
    lesion = head_ct.draw_haematoma(rng, axes, rng.random() < DEEP_SHARE)
    level = levels[np.abs(levels - lesion.centre[2]).argmin()]
    longer = (lesion.axes[0] / lesion.axes[1]) ** 0.5
    return dataclasses.replace(
        lesion, centre=np.array([*lesion.centre[:2], level]), axes=np.array([longer, 1 / longer, FLATNESS]), edge=NO_LESION
    )


def write_pictures(folder: str, name: str, values: np.ndarray) -> str:
    """A JPG file a slice of (x, y, n) HU, forehead up and the patient's right on the left; returns their folder from the table's.

    Pictures of a larger series, of other settings, are removed.
    """
    target = epath.Path(folder) / "ct" / name
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("img*.jpg"):
        old.unlink()
    grey = np.rint(255 * np.clip((values - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1)).astype(np.uint8)
    for number in range(grey.shape[2]):
        content = io.BytesIO()
        PIL.Image.fromarray(np.ascontiguousarray(grey[:, ::-1, number].T)).save(content, "JPEG", quality=QUALITY)
        (target / f"img{number + 1}.jpg").write_bytes(content.getvalue())
    return f"synthetic/ct/{name}"


def poor_logit(lesion, size, age):
    """The stated model; size and age in their deviations."""
    return INTERCEPT + lesion * (LESION + SIZE * size) + AGE * age


def expected_logit(factors: dict[str, np.ndarray], known: tuple[str, ...]) -> np.ndarray:
    """(n,) log-odds of the expected probability of a poor outcome given what is known.

    factors: lesion (0 or 1), size (deviations), age (deviations), (n,) each. Axes of the sums: patients, lesion, size, age; an axis of what
    is known has length 1.
    """
    own = {name: values[:, None, None, None] for name, values in factors.items()}
    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    weights = weights / weights.sum()
    lesion, share = (own["lesion"], 1.0) if "lesion" in known else both()
    size, of_size = (own["size"], 1.0) if "size" in known else (nodes[:, None], weights[:, None])
    age, of_age = (own["age"], 1.0) if "age" in known else (nodes, weights)
    return logit((share * of_size * of_age * expit(poor_logit(lesion, size, age))).sum((1, 2, 3)))


def both() -> tuple[np.ndarray, np.ndarray]:
    """No lesion and a lesion, and the share of patients with each."""
    return np.array([0.0, 1.0])[:, None, None], np.array([1 - LESION_SHARE, LESION_SHARE])[:, None, None]


def outcomes(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table with `poor_outcome` drawn from the model above and the columns of KNOWN. Sorted by patient."""
    frame = frame.sort_values("patient_id", ignore_index=True)
    lesion, area = frame["lesion"].to_numpy(float), frame["lesion_mm2"].to_numpy(float)
    radius = np.sqrt(np.where(lesion > 0, area, np.pi * np.exp(2 * LOG_MM)) / np.pi)
    factors = {"lesion": lesion, "size": (np.log(radius) - LOG_MM) / LOG_SPREAD, "age": (frame["age"].to_numpy(float) - 70) / 12}
    drawn = np.random.default_rng([seed, OUTCOME_STREAM]).random(len(frame))
    columns = {"poor_outcome": (drawn < expit(poor_logit(factors["lesion"], factors["size"], factors["age"]))).astype(int)}
    columns |= {name: expected_logit(factors, known).round(6) for name, known in KNOWN.items()}
    return frame.assign(**columns)
