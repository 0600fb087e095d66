"""A synthetic cohort of intracranial haemorrhage with a known best prediction, also of a network that sees nothing but the scan.

One head CT a patient (`head_ct`): `ct` skull-stripped as the published scans are, `ct_head` as from the scanner, `haematoma` its mask. The
outcome follows a logistic model, stated here in full; z_volume is of the mask as drawn in whole voxels:

    age = round(N(70, 12)), 30 to 98;  atrophy = 0.8 (age - 70)/12 + 0.6 N(0, 1);  sex: a coin, without effect
    location: deep in 60 %, else lobar;  log ml = log 18 + z_volume, z_volume ~ N(0, 1), 0.8 to 150 ml
    logit P(blood in the ventricles) = -1 + 1.2 (deep - 0.6) + 0.8 z_volume
    midline shift = 12 mm (1 - exp(-ml / 70)), 0.7 times that where lobar
    gcs = round(N(12.4 - 1.2 z_volume - 0.25 (shift - 3) - 2 ventricular, 2.6)), 3 to 15
    logit P(poor prognosis) = INTERCEPT + VOLUME z_volume + VENTRICULAR (ventricular - 0.3) + GCS (12 - gcs)/3 + AGE (age - 70)/12

`true_logit` is that log-odds: what age, coma scale and scan together tell. Age and coma scale are outcomes in this paper, so the columns
`true_logit_image*` say what the scan alone tells: volume, location, blood in the ventricles, midline shift, and atrophy in place of age.
Each column is the log-odds of the expected probability given what it knows (KNOWN), by exact sums over coma scale and ventricular blood
and by Gauss-Hermite quadrature over age and z_volume. What is approximate: the limits and rounding of age and volume are left out of the
quadrature, and a scan is taken to show its factors without error, so that noise and coarse voxels keep a network below it.
"""

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtr

from jaxstroke.cohort import head_ct, phantom, synthetic
from jaxstroke.errors import InputError

FORMAT = 1  # raise it when the same settings give other patients
FEWEST_VOXELS = 32  # an axis
LOG_ML, SMALLEST_ML, LARGEST_ML = np.log(18.0), 0.8, 150.0
DEEP_SHARE, AGE_IN_ATROPHY = 0.6, 0.8
COMA_SCALE, COMA_SPREAD = np.arange(3, 16), 2.6
INTERCEPT, VOLUME, VENTRICULAR, GCS, AGE = 0.5, 1.1, 0.8, 1.0, 0.8
OUTCOME_STREAM = 2**31 + 5  # no patient's number
PATIENTS_AT_A_TIME = 256  # a sum over all that is unknown takes some 50 KB a patient

# Column -> what it knows, location apart, which all of them know. Without age is without atrophy; without volume is without midline shift.
KNOWN = {
    "true_logit": ("volume", "ventricular", "gcs", "age"),
    "true_logit_without_age": ("volume", "ventricular", "gcs"),
    "true_logit_without_gcs": ("volume", "ventricular", "age"),
    "true_logit_without_ventricular": ("volume", "gcs", "age"),
    "true_logit_without_volume": ("ventricular", "gcs", "age"),
    "true_logit_image": ("volume", "ventricular", "atrophy"),
    "true_logit_image_without_atrophy": ("volume", "ventricular"),
    "true_logit_image_without_ventricular": ("volume", "atrophy"),
    "true_logit_image_without_volume": ("ventricular", "atrophy"),
}


def make(config, workdir) -> str:
    """Write `<workdir>/synthetic/` and `<workdir>/cohort.csv`; returns the table's path. Raises InputError on settings of no cohort."""
    settings = synthetic.check(config) | {"recipe": "synthetic_ich", "format": FORMAT}
    del settings["missing_share"]
    if min(settings["shape"]) < FEWEST_VOXELS:
        raise InputError(f"config.cohort.synthetic.shape is {tuple(settings['shape'])}: a head CT needs {FEWEST_VOXELS} voxels an axis.")
    return synthetic.write_cohort(workdir, settings, ("ct", "ct_head", "haematoma"), make_patient, outcomes, config.cohort.workers)


def make_patient(number: int, settings: dict, folder: str) -> dict:
    """One patient's files and row. Numbers depend on seed and patient alone, not on how many processes there are."""
    rng = np.random.default_rng([settings["seed"], number])
    shape, spacing = settings["shape"], settings["spacing"]
    lengths, affine = phantom.grid("ct", shape, spacing)
    place, voxel_ml = phantom.points(lengths, affine), float(np.prod(spacing)) / 1000
    axes = phantom.half_axes(shape, spacing, head_ct.LARGEST) * rng.uniform(0.95, 1.0, 3)
    age = int(np.clip(round(rng.normal(70, 12)), 30, 98))
    atrophy = AGE_IN_ATROPHY * (age - 70) / 12 + np.sqrt(1 - AGE_IN_ATROPHY**2) * rng.normal()
    deep = rng.random() < DEEP_SHARE
    lesion = head_ct.draw_haematoma(rng, axes, deep)
    wanted = float(np.clip(np.exp(LOG_ML + rng.normal()), SMALLEST_ML, LARGEST_ML))
    lesion, mask = phantom.grow(lesion, wanted, place, axes * head_ct.brain_edge(atrophy), voxel_ml)
    ml = float(mask.sum()) * voxel_ml
    ventricular = float(rng.random() < ventricular_share(np.log(ml) - LOG_ML, deep))
    gcs = int(np.clip(round(coma_mean(np.log(ml) - LOG_ML, ventricular, deep) + COMA_SPREAD * rng.normal()), 3, 15))
    blood = rng.uniform(0.4, 0.9) if ventricular else 0.0
    head = head_ct.Head(axes, atrophy, lesion, rng.uniform(1.15, 1.45), blood, float(midline_shift(ml, deep)))
    whole, stripped = head_ct.draw(head, place, float(np.prod(spacing)) ** (1 / 3), rng)
    name = f"synthetic-{number + 1:04d}"
    return {
        "patient_id": name, "age": age, "gcs": gcs, "sex": "F" if rng.random() < 0.5 else "M",
        "ct": synthetic.write_image(folder, f"ct/{name}_brain.nii.gz", stripped, affine),
        "ct_head": synthetic.write_image(folder, f"ct_head/{name}.nii.gz", whole, affine),
        "haematoma": synthetic.write_image(folder, f"haematoma/{name}.nii.gz", mask, affine),
        "haematoma_ml": round(ml, 6), "location": "deep" if deep else "lobar", "ventricular_extension": int(ventricular),
        "midline_shift_mm": round(head.shift_mm, 6), "atrophy": round(atrophy, 6),
    }  # fmt: skip


def ventricular_share(z_volume, deep):
    """Probability that blood breaks into the ventricles."""
    return expit(-1.0 + 1.2 * (deep - DEEP_SHARE) + 0.8 * z_volume)


def midline_shift(ml, deep):
    """In mm."""
    return 12.0 * (1 - np.exp(-ml / 70)) * np.where(deep, 1.0, 0.7)


def coma_mean(z_volume, ventricular, deep):
    """Mean of the coma scale before it is rounded and limited."""
    return 12.4 - 1.2 * z_volume - 0.25 * (midline_shift(np.exp(LOG_ML + z_volume), deep) - 3) - 2.0 * ventricular


def coma_share(gcs, mean):
    """Probability of each coma scale."""
    above = np.where(gcs == COMA_SCALE[-1], 1.0, ndtr((gcs + 0.5 - mean) / COMA_SPREAD))
    return above - np.where(gcs == COMA_SCALE[0], 0.0, ndtr((gcs - 0.5 - mean) / COMA_SPREAD))


def poor_logit(z_volume, ventricular, gcs, age):
    """The stated model; age in its deviations."""
    return INTERCEPT + VOLUME * z_volume + VENTRICULAR * (ventricular - 0.3) + GCS * (12 - gcs) / 3 + AGE * age


def expected_logit(factors: dict[str, np.ndarray], known: tuple[str, ...]) -> np.ndarray:
    """(n,) log-odds of the expected probability of a poor prognosis given the location and what is known.

    factors: volume (z), ventricular, gcs, age (deviations), atrophy, deep; (n,) each. Axes of the sums: patients, volume, ventricular, coma
    scale, age; an axis of what is known has length 1.
    """
    own = {name: values[:, None, None, None, None] for name, values in factors.items()}
    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    volume = own["volume"] if "volume" in known else nodes[:, None, None, None]
    ventricular = own["ventricular"] if "ventricular" in known else np.array([0.0, 1.0])[:, None, None]
    gcs = own["gcs"] if "gcs" in known else COMA_SCALE[:, None]
    age = own["age"] if "age" in known else nodes
    if "atrophy" in known:
        age = AGE_IN_ATROPHY * own["atrophy"] + np.sqrt(1 - AGE_IN_ATROPHY**2) * nodes
    share = 1.0 if "volume" in known else weights[:, None, None, None]
    share = share * (1.0 if "age" in known else weights)
    into = ventricular_share(volume, own["deep"])
    share = share * np.where(ventricular == 1, into, 1 - into) * coma_share(gcs, coma_mean(volume, ventricular, own["deep"]))
    poor = expit(poor_logit(volume, ventricular, gcs, age))
    unknown = (1, 2, 3, 4)
    return logit((share * poor).sum(unknown) / (share * np.ones_like(poor)).sum(unknown))


def outcomes(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table with `poor_prognosis` drawn from the model above and the columns of KNOWN. Sorted by patient."""
    frame = frame.sort_values("patient_id", ignore_index=True)
    factors = {
        "volume": np.log(frame["haematoma_ml"].to_numpy(float)) - LOG_ML,
        "age": (frame["age"].to_numpy(float) - 70) / 12,
        "deep": (frame["location"] == "deep").to_numpy(float),
        "ventricular": frame["ventricular_extension"].to_numpy(float),
        "gcs": frame["gcs"].to_numpy(float),
        "atrophy": frame["atrophy"].to_numpy(float),
    }
    drawn = np.random.default_rng([seed, OUTCOME_STREAM]).random(len(frame))
    truth = poor_logit(factors["volume"], factors["ventricular"], factors["gcs"], factors["age"])
    columns = {"poor_prognosis": (drawn < expit(truth)).astype(int)}
    starts = range(0, len(frame), PATIENTS_AT_A_TIME)
    parts = [{name: values[start : start + PATIENTS_AT_A_TIME] for name, values in factors.items()} for start in starts]
    columns |= {name: np.concatenate([expected_logit(part, known) for part in parts]).round(6) for name, known in KNOWN.items()}
    return frame.assign(**columns)
