"""A synthetic cohort with reports: MRI, its lesion mask, an atlas of territories, clinical columns, and a report of the image in words.

A patient's FLAIR shows what outcome depends on and what is hard to learn from an outcome alone: disease of the white matter, as a mottled
texture of random phase that leaves the mean as it is, so that no filter's mean response tells the grade. The report names it in words.
The outcome follows a proportional-odds model, stated here in full; z_volume is of the mask as drawn in whole voxels:

    z_volume ~ N(0, 1);  z_severity = 0.35 z_volume + sqrt(1 - 0.35^2) N(0, 1)
    lesion: log ml = log 12 + 1.1 z_volume, 0.6 to 150 ml;  nihss = round(9 + 6 z_severity), 0 to 42
    age = round(N(70, 12)), 30 to 98;  sex: a coin, without effect
    eloquent: most of the lesion is in the superior division of either middle cerebral artery, or in the inferior one of the left
    white_matter: grade 0, 1, 2 or 3 in 30, 25, 25 and 20 %, of all else independent
    logit P(mRS >= k) = INTERCEPT + AGE (age - 70)/12 + NIHSS (nihss - 9)/6 + LESION z_volume + ELOQUENT (eloquent - ELOQUENT_SHARE)
                        + WHITE_MATTER (white_matter - 1.35) - CUTS[k]

with mRS > 2 at cut 0, so that `true_logit` is its log-odds. Each other column is the log-odds of the expected probability given what it
knows (KNOWN), by sums over grade and eloquence and Gauss-Hermite quadrature over the rest; `true_logit_without_report` is without the
grade, as for one who neither reads the report nor sees the texture. What is approximate: limits and rounding are left out of the
quadrature, and eloquence is taken as independent of volume. Half of `missing_share` of the patients have no report, the other half no
image any more, but a report of it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath
from scipy.special import expit, logit

from jaxstroke.cohort import phantom, phantom_atlas, report_phrases, synthetic
from jaxstroke.cohort.synthetic import CORRELATION, CUTS, LOG_ML, LOG_ML_SPREAD, SMALLEST_ML
from jaxstroke.errors import InputError

FORMAT = 2  # raise it when the same settings give other patients
LARGEST_ML = 150.0
INTERCEPT, AGE, NIHSS, LESION, ELOQUENT, WHITE_MATTER = -0.5, 0.65, 1.1, 1.0, 1.2, 1.5
ELOQUENT_TERRITORIES, ELOQUENT_SHARE = (3, 4, 5), 0.38
GRADES, GRADE_SHARES = np.arange(4.0), np.array([0.3, 0.25, 0.25, 0.2])
MEAN_GRADE = float(GRADES @ GRADE_SHARES)
OUTCOME_STREAM = 2**31 + 6  # no patient's number; chosen so that some hundred patients of seed 0 are typical: their AUCs are the model's
IMAGES = ("dwi", "flair")
CONTRAST = 6.0  # deviation of the texture, a grade, in FLAIR's unit (white matter 300, noise 16)
WAVELENGTH, WAVES, EDGE = 20.0, 8, 0.78  # mm and number of the waves that make it; radius where it ends, of the brain's
COARSEST = 6.0  # mm of a voxel within a slice that still shows it

# Column -> what it knows.
KNOWN = {
    "true_logit": ("age", "nihss", "volume", "eloquent", "white_matter"),
    "true_logit_without_report": ("age", "nihss", "volume", "eloquent"),
    "true_logit_without_age": ("nihss", "volume", "eloquent", "white_matter"),
    "true_logit_without_nihss": ("age", "volume", "eloquent", "white_matter"),
    "true_logit_without_clinical": ("volume", "eloquent", "white_matter"),
    "true_logit_without_lesion": ("age", "nihss", "white_matter"),
}


@dataclass(frozen=True)
class Patient:
    """A patient in numbers. row: the table's cells but files and outcomes; lesion, mask (x, y, z): as grown; hours since onset.

    absent: report | image | ""
    """

    row: dict
    lesion: phantom.Lesion
    mask: np.ndarray
    hours: float
    absent: str


def make(config, workdir) -> str:
    """Write `<workdir>/synthetic/`, with the atlas, and `<workdir>/cohort.csv`; returns the table's path.

    Raises InputError on settings of no cohort.
    """
    settings = check(config)
    phantom_atlas.write(epath.Path(workdir) / "synthetic", settings["shape"], settings["spacing"])
    return synthetic.write_cohort(workdir, settings, (*IMAGES, "lesion"), make_patient, outcomes, config.cohort.workers)


def check(config) -> dict:
    """The settings as plain values, with FORMAT."""
    settings = synthetic.check(config) | {"recipe": "synthetic_reports", "format": FORMAT}
    if max(settings["spacing"][1:]) > COARSEST:
        raise InputError(
            f"config.cohort.synthetic.spacing is {tuple(settings['spacing'])}: synthetic_reports needs voxels of at most {COARSEST:g} mm "
            "within a slice, to show the white matter."
        )
    return settings


def make_patient(number: int, settings: dict, folder: str) -> dict:
    """One patient's files and row. Numbers depend on seed and patient alone, not on how many processes there are."""
    patient = draw_patient(number, settings)
    files = dict.fromkeys((*IMAGES, "lesion"), "")
    if patient.absent != "image":
        rng = np.random.default_rng([settings["seed"], number, 1])
        arrays = {name: draw_image(name, patient, settings, rng) for name in IMAGES}
        arrays["lesion"] = patient.mask, phantom.grid("dwi", settings["shape"], settings["spacing"])[1]
        for name, (array, affine) in arrays.items():
            files[name] = synthetic.write_image(folder, f"{name}/{patient.row['patient_id']}.nii.gz", array, affine)
    return patient.row | files


def draw_patient(number: int, settings: dict) -> Patient:
    """All of a patient but the images; nothing is written."""
    rng = np.random.default_rng([settings["seed"], number])
    shape, spacing = settings["shape"], settings["spacing"]
    z_volume = rng.normal()
    z_severity = CORRELATION * z_volume + np.sqrt(1 - CORRELATION**2) * rng.normal()
    row = {
        "patient_id": f"synthetic-{number + 1:04d}",
        "age": int(np.clip(round(rng.normal(70, 12)), 30, 98)),
        "nihss": int(np.clip(round(9 + 6 * z_severity), 0, 42)),
        "sex": "F" if rng.random() < 0.5 else "M",
    }
    grade, chance, hours = int(rng.choice(4, p=GRADE_SHARES)), rng.random(), rng.uniform(1, 24)
    absent = "" if chance >= settings["missing_share"] else "report" if chance < settings["missing_share"] / 2 else "image"
    lengths, affine = phantom.grid("dwi", shape, spacing)
    place, axes, voxel_ml = phantom.points(lengths, affine), phantom.half_axes(shape, spacing), float(np.prod(spacing)) / 1000
    volume = float(np.clip(np.exp(LOG_ML + LOG_ML_SPREAD * z_volume), SMALLEST_ML, LARGEST_ML))
    lesion, mask = phantom.grow(phantom.draw_lesion(rng, axes), volume, place, axes, voxel_ml)
    shares = np.bincount(phantom_atlas.territory_of(place, axes)[mask > 0]) / mask.sum()
    territories = {territory: float(share) for territory, share in enumerate(shares) if share}
    ml, bright = round(float(mask.sum()) * voxel_ml, 6), min(1.0, hours / phantom.FLAIR_HOURS)
    shown = report_phrases.Shown(side_of(mask, place), territories, ml, bright, grade)
    said = report_phrases.report(shown, rng)
    row |= {"report": "" if absent == "report" else said, "lesion_ml": ml, "white_matter": grade}
    row["eloquent"] = int(max(territories, key=territories.get) in ELOQUENT_TERRITORIES)
    return Patient(row, lesion, mask, hours, absent)


def side_of(mask: np.ndarray, place) -> str:
    """left | right | both, by the sign of the world's first coordinate."""
    found = {"left": bool(mask[place[0].ravel() < 0].any()), "right": bool(mask[place[0].ravel() > 0].any())}
    return "both" if all(found.values()) else max(found, key=found.get)


def draw_image(name: str, patient: Patient, settings: dict, rng) -> tuple[np.ndarray, np.ndarray]:
    """An image's voxels (x, y, z) int16 and its affine (4, 4)."""
    lengths, affine = phantom.grid(name, settings["shape"], settings["spacing"])
    place, axes = phantom.points(lengths, affine), phantom.half_axes(settings["shape"], settings["spacing"])
    grade = patient.row["white_matter"] if name == "flair" else 0
    mottled = CONTRAST * grade * texture(place, axes, rng) if grade else 0.0
    array = phantom.draw(name, place, axes, patient.lesion, rng, patient.hours, 1.0, mottled)
    return np.rint(array).astype(np.int16), affine


def texture(place, axes, rng) -> np.ndarray:
    """Waves of one length in random directions and phases, within the white matter: mean 0, deviation 1. (x, y, z)."""
    x, y, z = place
    angles, tilts, phases = (rng.uniform(0, high, WAVES) for high in (np.pi, 2 * np.pi, 2 * np.pi))
    steps = 2 * np.pi / WAVELENGTH
    waves = sum(
        np.cos(steps * (np.cos(angle) * x + np.sin(angle) * y + 0.3 * np.cos(tilt) * z) + phase)
        for angle, tilt, phase in zip(angles, tilts, phases, strict=True)
    )
    inside = phantom.soft(EDGE - phantom.radius_of(place, axes), 0.03) * (1 - phantom.ventricles(place, axes))
    return inside * waves * np.sqrt(2 / WAVES)


def expected_logit(factors: dict[str, np.ndarray], known: tuple[str, ...]) -> np.ndarray:
    """(n,) log-odds of the expected probability of mRS > 2 given what is known.

    factors: age, nihss, volume in deviations, eloquent 0 or 1, white_matter a grade; (n,) each. Of the first three, what is unknown is
    normal given the others, and adds up to one normal number.
    """
    told, spread = _normal_part(factors, known)
    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    own = {name: values[:, None, None, None] for name, values in factors.items()}
    eloquent = own["eloquent"] if "eloquent" in known else np.array([0.0, 1.0])[:, None, None]
    share = (weights / weights.sum()) * (1.0 if "eloquent" in known else np.array([1 - ELOQUENT_SHARE, ELOQUENT_SHARE])[:, None, None])
    grade = own["white_matter"] if "white_matter" in known else GRADES[:, None]
    share = share * (1.0 if "white_matter" in known else GRADE_SHARES[:, None])
    rest = ELOQUENT * (eloquent - ELOQUENT_SHARE) + WHITE_MATTER * (grade - MEAN_GRADE)
    return logit((share * expit(INTERCEPT + told[:, None, None, None] + rest + spread * nodes)).sum((1, 2, 3)))


def _normal_part(factors: dict[str, np.ndarray], known: tuple[str, ...]) -> tuple[np.ndarray, float]:
    """(n,) expectation of what age, nihss and volume add, and its deviation."""
    age, nihss, volume = (factors[name] if name in known else None for name in ("age", "nihss", "volume"))
    variance = 0.0 if "age" in known else AGE**2
    told = np.zeros(len(factors["age"])) if age is None else AGE * age
    if nihss is None and volume is None:
        return told, float(np.sqrt(variance + NIHSS**2 + LESION**2 + 2 * CORRELATION * NIHSS * LESION))
    left = 1 - CORRELATION**2  # variance of either, given the other
    variance += left * (NIHSS**2 if nihss is None else LESION**2 if volume is None else 0.0)
    nihss, volume = (CORRELATION * volume if nihss is None else nihss), (CORRELATION * nihss if volume is None else volume)
    return told + NIHSS * nihss + LESION * volume, float(np.sqrt(variance))


def outcomes(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table with `mrs` drawn from the model above and the columns of KNOWN. Sorted by patient."""
    frame = frame.sort_values("patient_id", ignore_index=True)
    factors = {"age": (frame["age"].to_numpy(float) - 70) / 12, "nihss": (frame["nihss"].to_numpy(float) - 9) / 6}
    factors |= {"volume": (np.log(frame["lesion_ml"].to_numpy(float)) - LOG_ML) / LOG_ML_SPREAD}
    factors |= {name: frame[name].to_numpy(float) for name in ("eloquent", "white_matter")}
    truth = expected_logit(factors, KNOWN["true_logit"])
    drawn = np.random.default_rng([seed, OUTCOME_STREAM]).random(len(frame))
    columns = {"mrs": (drawn < expit(truth - np.array(CUTS)[:, None])).sum(0)}
    columns |= {name: expected_logit(factors, known).round(6) for name, known in KNOWN.items()}
    return frame.assign(**columns)
