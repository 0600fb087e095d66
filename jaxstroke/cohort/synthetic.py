"""A synthetic cohort whose best possible prediction is known: real NIfTI files and a table under the workdir.

The outcome follows a proportional-odds model, stated here in full:

    z_volume ~ N(0, 1);  z_severity = 0.35 z_volume + sqrt(1 - 0.35^2) N(0, 1)
    lesion: log ml = log 12 + 1.1 z_volume, then as drawn in whole voxels;  nihss = round(9 + 6 z_severity), 0 to 42
    age = round(N(70, 12)), 30 to 98;  sex: a coin, without effect
    logit P(mRS >= k) = INTERCEPT + AGE (age - 70)/12 + NIHSS (nihss - 9)/6 + LESION (log ml - log 12)/1.1 - CUTS[k]

with mRS > 2 at cut 0, so that `true_logit` is its log-odds. Columns `true_logit_without_<term>` have the term's own information taken out:
the term is replaced by its expectation given the other columns (age is independent; NIHSS and lesion tell of each other by the correlation
0.35), which ranks patients as the best prediction without that column would, but for rounding and clipping. A module other than the
lesion mask is absent in `missing_share` of the patients.
"""

import concurrent.futures
import functools
import gzip
import json
import multiprocessing
import os

import nibabel
import numpy as np
import pandas as pd
from etils import epath

from jaxstroke.cohort import phantom
from jaxstroke.cohort.csv_file import write_csv
from jaxstroke.errors import InputError

FORMAT = 1  # raise it when the same settings give other patients
CORRELATION = 0.35
INTERCEPT, AGE, NIHSS, LESION = -0.15, 0.7, 1.2, 1.2
CUTS = (-3.2, -1.5, 0.0, 1.2, 2.4, 3.4)  # of mRS >= 1 ... 6
LOG_ML, LOG_ML_SPREAD = np.log(12.0), 1.1
SMALLEST_ML, LARGEST_ML = 0.6, 220.0
OUTCOME_STREAM = 2**31 + 5  # no patient's number; chosen so that the default cohort is typical: its AUCs are those of the model on average
IN_ONE_PROCESS = 16  # patients below which starting processes costs more than it saves


def make(config, workdir) -> str:
    """Write `<workdir>/synthetic/` and `<workdir>/cohort.csv`; returns the table's path. Raises InputError on settings of no cohort."""
    settings = check(config)
    return write_cohort(workdir, settings, ("lesion", *phantom.MODULES), make_patient, outcomes, config.cohort.workers)


def write_cohort(workdir, settings: dict, folders, patient, outcome, workers: int) -> str:
    """Make a cohort's files and table unless they are there with the same settings; returns the table's path.

    patient(number, settings, folder) writes one patient's files below `folder` and returns the row; outcome(frame, seed) adds the columns
    that follow from it. `synthetic/settings.json` is written last: what was killed half way is made again.
    """
    workdir = epath.Path(workdir)
    folder, path = workdir / "synthetic", workdir / "cohort.csv"
    done = folder / "settings.json"
    if done.exists() and path.exists() and done.read_text() == json.dumps(settings):
        return str(path)
    done.unlink(missing_ok=True)
    for name in folders:
        (folder / name).mkdir(parents=True, exist_ok=True)
    jobs = [(number, settings, str(folder)) for number in range(settings["patients"])]
    rows = [row for part in _spread(patient, jobs, workers) for row in part]
    write_csv(outcome(pd.DataFrame(rows), settings["seed"]), path)
    done.write_text(json.dumps(settings))
    return str(path)


def check(config) -> dict:
    """The settings as plain values, with FORMAT."""
    asked = config.cohort.synthetic
    settings = {"format": FORMAT, "patients": asked.patients, "seed": asked.seed, "missing_share": asked.missing_share}
    settings |= {"shape": list(asked.shape), "spacing": list(asked.spacing)}
    if asked.patients < 1:
        raise InputError(f"config.cohort.synthetic.patients is {asked.patients}: at least 1 is needed.")
    if not 0 <= asked.missing_share <= 1:
        raise InputError(f"config.cohort.synthetic.missing_share is {asked.missing_share}: it must lie between 0 and 1.")
    if len(asked.shape) != 3 or min(asked.shape) < 4 or len(asked.spacing) != 3 or min(asked.spacing) <= 0:
        raise InputError("config.cohort.synthetic.shape and .spacing are (z, y, x): at least 4 voxels each, and positive mm.")
    return settings


def _spread(patient, jobs: list[tuple], workers: int) -> list[list[dict]]:
    """Patients made on several cores. Processes are spawned: a fork would copy locks that other libraries' threads hold."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers == 1 or len(jobs) < IN_ONE_PROCESS:
        return [make_patients(patient, jobs)]
    parts = [jobs[start::workers] for start in range(workers)]
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(functools.partial(make_patients, patient), parts))


def make_patients(patient, jobs: list[tuple]) -> list[dict]:
    """Rows of the table without outcomes; files written on the way."""
    return [patient(*job) for job in jobs]


def make_patient(number: int, settings: dict, folder: str) -> dict:
    """One patient's files and row. Numbers depend on seed and patient alone, not on how many processes there are."""
    rng = np.random.default_rng([settings["seed"], number])
    shape, spacing = settings["shape"], settings["spacing"]
    z_volume = rng.normal()
    z_severity = CORRELATION * z_volume + np.sqrt(1 - CORRELATION**2) * rng.normal()
    volume = float(np.clip(np.exp(LOG_ML + LOG_ML_SPREAD * z_volume), SMALLEST_ML, LARGEST_ML))
    row = {
        "patient_id": f"synthetic-{number + 1:04d}",
        "age": int(np.clip(round(rng.normal(70, 12)), 30, 98)),
        "nihss": int(np.clip(round(9 + 6 * z_severity), 0, 42)),
        "sex": "F" if rng.random() < 0.5 else "M",
    }
    absent = rng.choice(phantom.MODULES) if rng.random() < settings["missing_share"] else ""
    axes, hours, rim = phantom.half_axes(shape, spacing), rng.uniform(1, 24), rng.uniform(1.2, 1.7)
    lengths, affine = phantom.grid("dwi", shape, spacing)
    voxel_ml = float(np.prod(spacing)) / 1000
    lesion, mask = phantom.grow(phantom.draw_lesion(rng, axes), volume, phantom.points(lengths, affine), axes, voxel_ml)
    row |= {"lesion": _save(folder, "lesion", number, mask, affine), "lesion_ml": round(float(mask.sum()) * voxel_ml, 6)}
    for module in phantom.MODULES:
        lengths, affine = phantom.grid(module, shape, spacing)
        array = phantom.draw(module, phantom.points(lengths, affine), axes, lesion, rng, hours, rim)
        row[module] = "" if module == absent else _save(folder, module, number, array, affine)
    return row


def _save(folder: str, name: str, number: int, array: np.ndarray, affine: np.ndarray) -> str:
    """A patient's image; MR signals as int16, maps in physical units as float32. Returns its path from the table's folder."""
    array = np.rint(array).astype(np.int16) if name in ("dwi", "flair") else array
    return write_image(folder, f"{name}/synthetic-{number + 1:04d}.nii.gz", array, affine)


def write_image(folder: str, file: str, array: np.ndarray, affine: np.ndarray) -> str:
    """A compressed NIfTI file, path from the folder `synthetic`. Returns its path from the table's folder."""
    (epath.Path(folder) / file).write_bytes(image_bytes(array, affine))
    return f"synthetic/{file}"


def image_bytes(array: np.ndarray, affine: np.ndarray) -> bytes:
    """A compressed NIfTI file; by hand: level 1, and no time of writing, so that the same settings give the same bytes."""
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def outcomes(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table with `mrs` drawn from the model above, and the true log-odds of mRS > 2 with and without each term. Sorted by patient."""
    frame = frame.sort_values("patient_id", ignore_index=True)
    age = (frame["age"].to_numpy(float) - 70) / 12
    nihss = (frame["nihss"].to_numpy(float) - 9) / 6
    lesion = (np.log(frame["lesion_ml"].to_numpy(float)) - LOG_ML) / LOG_ML_SPREAD
    terms = {"age": AGE * age, "nihss": NIHSS * nihss, "lesion": LESION * lesion}
    expected = {"age": 0.0, "nihss": NIHSS * CORRELATION * lesion, "lesion": LESION * CORRELATION * nihss}
    logit = INTERCEPT + sum(terms.values())
    drawn = np.random.default_rng([seed, OUTCOME_STREAM]).random(len(frame))
    reached = 1 / (1 + np.exp(np.array(CUTS)[:, None] - logit))  # cuts n: P(mRS >= k)
    columns = {"mrs": (drawn < reached).sum(0), "true_logit": logit.round(6)}
    columns |= {f"true_logit_without_{name}": (logit - term + expected[name]).round(6) for name, term in terms.items()}
    return frame.assign(**columns)
