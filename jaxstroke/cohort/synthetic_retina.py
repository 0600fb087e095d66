"""A synthetic cohort of eyes: an OCT B-scan and an infrared image each, health records, few patients with a known outcome, many without.

One row an eye: 40 % of the patients have both, which show the same patient: calibre and thickness differ little between them, all else
does. Patients come in three parts: with outcome to learn from (`split` train), with outcome to be tested on (test), and without (train, all
cells of the outcome empty). The outcome, of the patient and so of both eyes, follows a logistic model, stated here in full:

    z_calibre, z_thickness ~ N(0, 1);  of an eye: z = sqrt(1 - EYE^2) z_patient + EYE N(0, 1)
    arterioles' width over that of venules = 0.65 exp(0.3 z_calibre), on the infrared image (`fundus`)
    nerve fibre layer's share of the retina = 0.19 exp(0.35 z_thickness), on the B-scan (`b_scan`)
    systolic = round(N(140, 18)) mmHg, 90 to 220;  age = round(N(66, 10)), 35 to 95
    logit P(stroke) = INTERCEPT + CALIBRE z_calibre + THICKNESS z_thickness + PRESSURE (systolic - 140)/18 + AGE (age - 66)/10

Narrow arterioles are a sign of lasting high blood pressure in real eyes (Wong and Mitchell, N Engl J Med 2004;351:2310), a thin nerve fibre
layer was seen after strokes. sex, diabetes and the codes in `diagnoses` add nothing: I10 follows from the pressure, P = expit((systolic -
143)/7); E11.9 is diabetes; E78.5 and H52.1 are coins of their own.

`true_logit` is that log-odds; the other columns are the log-odds of the expected probability given what they know (KNOWN), by
Gauss-Hermite quadrature over the rest. What is approximate: limits and rounding are left out of the quadrature, and the images are taken
to show the patient's own calibre and thickness, without what an eye adds.
"""

import io

import numpy as np
import pandas as pd
import PIL.Image
from etils import epath
from scipy.special import expit, logit

from jaxstroke.cohort import b_scan, fundus, synthetic

FORMAT = 2  # raise it when the same settings give other patients
BOTH_EYES = 0.4  # of the patients
EYE = 0.2  # deviation of what an eye adds
RATIO, RATIO_SPREAD = 0.65, 0.3
SHARE, SHARE_SPREAD = 0.19, 0.35
INTERCEPT, CALIBRE, THICKNESS, PRESSURE, AGE = -0.6, -1.2, -1.2, 0.9, 0.8
MEAN_MMHG, SPREAD_MMHG, MEAN_AGE, SPREAD_AGE = 140.0, 18.0, 66.0, 10.0
DIABETES, LIPIDS, MYOPIA = 0.2, 0.3, 0.15  # shares of the patients
OUTCOME_STREAM = 2**31 + 5  # no patient's number
IMAGES = ("oct", "ir")

# Column -> what it knows.
KNOWN = {
    "true_logit": ("calibre", "thickness", "pressure", "age"),
    "true_logit_without_calibre": ("thickness", "pressure", "age"),
    "true_logit_without_thickness": ("calibre", "pressure", "age"),
    "true_logit_without_pressure": ("calibre", "thickness", "age"),
    "true_logit_without_age": ("calibre", "thickness", "pressure"),
    "true_logit_images": ("calibre", "thickness"),
    "true_logit_oct": ("thickness",),
    "true_logit_ir": ("calibre",),
    "true_logit_records": ("pressure", "age"),
}
FACTORS = {"calibre": CALIBRE, "thickness": THICKNESS, "pressure": PRESSURE, "age": AGE}


def make(config, workdir) -> str:
    """Write `<workdir>/synthetic/` and `<workdir>/cohort.csv`; returns the table's path."""
    asked = config.cohort.synthetic_retina
    settings = {"recipe": "synthetic_retina", "format": FORMAT, "seed": config.cohort.synthetic.seed, "size": asked.size}
    settings |= {"labelled": asked.labelled, "test": asked.test, "unlabelled": asked.unlabelled}
    settings["patients"] = asked.labelled + asked.test + asked.unlabelled
    return synthetic.write_cohort(workdir, settings, IMAGES, make_patient, outcomes, config.cohort.workers)


def make_patient(number: int, settings: dict, folder: str) -> dict:
    """One patient's files and row, the eyes in a list. Numbers depend on seed and patient alone, not on how many processes there are."""
    rng = np.random.default_rng([settings["seed"], number])
    calibre, thickness = rng.normal(size=2)
    systolic = int(np.clip(round(rng.normal(MEAN_MMHG, SPREAD_MMHG)), 90, 220))
    row = {
        "patient_id": f"synthetic-{number + 1:05d}", "age": int(np.clip(round(rng.normal(MEAN_AGE, SPREAD_AGE)), 35, 95)),
        "sex": "F" if rng.random() < 0.5 else "M", "systolic": systolic, "diabetes": int(rng.random() < DIABETES),
        "calibre": round(calibre, 6), "thickness": round(thickness, 6),
        "split": "test" if 0 <= number - settings["labelled"] < settings["test"] else "train",
        "labelled": number < settings["labelled"] + settings["test"],
    }  # fmt: skip
    row["diagnoses"] = diagnoses(row, rng)
    sides = ("OD", "OS") if rng.random() < BOTH_EYES else (rng.choice(["OD", "OS"]),)
    row["eyes"] = [draw_eye(calibre, thickness, str(side), row["patient_id"], settings["size"], folder, rng) for side in sides]
    return row


def diagnoses(row: dict, rng) -> str:
    """ICD-10 codes joined by |, `none` where there are none."""
    chances = {"I10": expit((row["systolic"] - 143) / 7), "E11.9": row["diabetes"], "E78.5": LIPIDS, "H52.1": MYOPIA}
    return "|".join(code for code, chance in chances.items() if rng.random() < chance) or "none"


def draw_eye(calibre: float, thickness: float, side: str, name: str, size: int, folder: str, rng) -> dict:
    """Both images of an eye as files, and what they show. calibre, thickness: of the patient, in deviations."""
    ratio, share = (np.sqrt(1 - EYE**2) * value + EYE * rng.normal() for value in (calibre, thickness))
    ratio, share = RATIO * np.exp(RATIO_SPREAD * ratio), SHARE * np.exp(SHARE_SPREAD * share)
    pictures = {"oct": b_scan.draw(share, size, rng), "ir": fundus.draw(ratio, size, side == "OD", rng)}
    cells = {image: write_picture(folder, f"{image}/{name}-{side}.png", grey) for image, grey in pictures.items()}
    return {"eye": side, **cells, "arteriole_venule": round(float(ratio), 6), "fibre_share": round(float(share), 6)}


def write_picture(folder: str, file: str, grey: np.ndarray) -> str:
    """A PNG file, path from the folder `synthetic`. Returns its path from the table's folder."""
    content = io.BytesIO()
    PIL.Image.fromarray(grey).save(content, "PNG", compress_level=1)
    (epath.Path(folder) / file).write_bytes(content.getvalue())
    return f"synthetic/{file}"


def stroke_logit(calibre, thickness, pressure, age):
    """The stated model; everything in its deviations."""
    return INTERCEPT + CALIBRE * calibre + THICKNESS * thickness + PRESSURE * pressure + AGE * age


def expected_logit(factors: dict[str, np.ndarray], known: tuple[str, ...]) -> np.ndarray:
    """(n,) log-odds of the expected probability of a stroke given what is known. factors: deviations, (n,) each.

    What is unknown is normal and adds up to one normal number, over which the probability is summed.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    spread = np.sqrt(sum(effect**2 for name, effect in FACTORS.items() if name not in known))
    told = stroke_logit(**{name: values if name in known else 0.0 for name, values in factors.items()})
    return logit((weights / weights.sum() * expit(told[:, None] + spread * nodes)).sum(1))


def outcomes(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A row an eye with `stroke` drawn from the model above and the columns of KNOWN, empty in patients without outcome. Sorted."""
    frame = frame.sort_values("patient_id", ignore_index=True)
    factors = {name: frame[name].to_numpy(float) for name in ("calibre", "thickness")}
    factors |= {"pressure": (frame["systolic"].to_numpy(float) - MEAN_MMHG) / SPREAD_MMHG}
    factors |= {"age": (frame["age"].to_numpy(float) - MEAN_AGE) / SPREAD_AGE}
    drawn = np.random.default_rng([seed, OUTCOME_STREAM]).random(len(frame)) < expit(stroke_logit(**factors))
    labelled = frame["labelled"].to_numpy(bool)
    columns = {"stroke": pd.Series(drawn.astype(int), dtype="Int64").where(labelled)}
    columns |= {name: np.where(labelled, expected_logit(factors, known).round(6), np.nan) for name, known in KNOWN.items()}
    frame = frame.assign(**columns).explode("eyes", ignore_index=True)
    eyes = pd.DataFrame(frame["eyes"].tolist())
    first = frame[["patient_id"]].join(eyes[["eye", *IMAGES]])
    return first.join(frame.drop(columns=["patient_id", "eyes", "labelled"])).join(eyes[["arteriole_venule", "fibre_share"]])
