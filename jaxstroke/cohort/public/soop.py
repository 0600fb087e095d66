"""The Stroke Outcome Optimization Project as published: OpenNeuro ds004889 (CC0) and its derivatives (C. Rorden, BSD-2).

Absher et al. 2024, Sci Data 11:839. `lesions/bwsr<id>_lesion.nii.gz`: lesions drawn on DWI, in MNI space.
`views/<id>_{axial,coronal,sagittal}.jpg`: three FLAIR slices at fixed positions **with the lesion painted over in red**; `red_pixels`
counts the paint, and a network on the views must be compared with that count. Any folder of this layout will do, however few its
patients; only `participants.tsv` must be there.
"""

import concurrent.futures

import numpy as np
import pandas as pd
from etils import epath

from jaxstroke.cohort.csv_file import read_csv, write_csv
from jaxstroke.cohort.readers import ReadError, read_image
from jaxstroke.errors import InputError

COLUMNS = {
    "participant_id": "patient_id", "age": "age", "sex": "sex", "race": "race", "bmi": "bmi", "nihss": "nihss",
    "priorstroke": "prior_stroke", "gs_rankin_6isdeath": "mrs",
}  # fmt: skip
VIEWS = ("axial", "coronal", "sagittal")
RED = 70  # of 255, by which red exceeds green and blue: above what JPG leaves in grey, below the paint


def make(config, workdir) -> str:
    """Write `<workdir>/cohort.csv` from the folder `cohort.root`; returns its path."""
    path = epath.Path(workdir) / "cohort.csv"
    write_csv(table(config.cohort.root), path)
    return str(path)


def table(root) -> pd.DataFrame:
    """One row a participant, paths absolute, missing cells empty.

    age: "89+" is 89, and age_capped is "1" there; prior_stroke "0" or "1"; mrs 0 to 6, a column only where the folder has outcomes.
    Raises InputError where `participants.tsv` is absent or has no participant_id.
    """
    root = epath.Path(root).expanduser().resolve() if root else None
    cure = "set --config.cohort.root to a SOOP folder as published."
    if root is None or not (root / "participants.tsv").exists():
        raise InputError(f"config.cohort.root '{root or ''}' has no participants.tsv: {cure}")
    frame = read_csv(root / "participants.tsv")[0]
    if "participant_id" not in frame:
        raise InputError(f"{root / 'participants.tsv'} has no column 'participant_id': {cure}")
    frame = frame.rename(columns=COLUMNS)[[name for column, name in COLUMNS.items() if column in frame]].replace("n/a", "")
    if "age" in frame:
        frame["age_capped"] = [("1" if age.endswith("+") else "0") if age else "" for age in frame["age"]]
        frame["age"] = [age.rstrip("+") for age in frame["age"]]
    for name in {"prior_stroke", "mrs"} & set(frame):
        frame[name] = [cell.removesuffix(".0") for cell in frame[name]]
    lesions, views = _names(root / "lesions"), _names(root / "views")
    frame["lesion"] = [_cell(root / "lesions", (f"bwsr{patient}_lesion.nii.gz",), lesions) for patient in frame["patient_id"]]
    frame["views"] = [_cell(root / "views", [f"{patient}_{view}.jpg" for view in VIEWS], views) for patient in frame["patient_id"]]
    with concurrent.futures.ThreadPoolExecutor() as threads:  # decompression releases the interpreter's lock
        frame["red_pixels"] = list(threads.map(red_pixels, frame["views"]))
    return frame


def _names(folder: epath.Path) -> frozenset[str]:
    """File names in a folder; none where it is absent."""
    return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()


def _cell(folder: epath.Path, names, present: frozenset[str]) -> str:
    """The files joined by '|', "" unless all are there."""
    return "|".join(str(folder / name) for name in names) if all(name in present for name in names) else ""


def red_pixels(views: str) -> str:
    """Painted pixels in all views of a patient, "" without views or where one cannot be read (preparation reports that file)."""
    count = 0
    for path in views.split("|") if views else ():
        try:
            picture = read_image(path).array.astype(np.int16)
        except ReadError:
            return ""
        if picture.shape[-1] == 3:
            count += int((picture[..., 0] - picture[..., 1:].max(axis=-1) > RED).sum())
    return str(count) if views else ""
