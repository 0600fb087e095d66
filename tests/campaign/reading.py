"""Damaged images through the program's own preparation, in a process of little memory: each is used, or refused with a reason.

    python tests/campaign/reading.py volumes --seed 0 --first 17 --count 1 [--data FOLDER]

makes input 17 again and says what became of it. One line of json an input: number, what was done, reason ("" where it was used), seconds,
megabytes of the process at its peak, and `fault`: what the program should not have done.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings

import eyes
import frames
import memory
import mutations
import numpy as np
import pictures
import volumes

from jaxstroke.preprocess import patient, records
from jaxstroke.preprocess.reference import Job, Plan

KINDS = {"volumes": volumes.make, "pictures": pictures.make, "slices": frames.make, "eyes": eyes.make}
MEMORY = 4 * 2**30  # bytes of addresses
SECONDS = 20  # an input may take
UNFORESEEN = ("could not be used", "it could not be read as a DICOM")
BASE = {
    "column": "image", "kind": "sequence", "axis": "slice", "spacing": (12.0, 6.0, 6.0), "shape": (5, 16, 16), "channels": 1,
    "sampling": "grid", "normalise": "zscore", "window": (0.0, 1.0), "register": False, "brain_mask": "foreground", "dtype": "int16",
    "part": "scans", "pick": "even",
}  # fmt: skip
SETTINGS = (
    BASE,
    BASE | {"spacing": (0.0, 6.0, 6.0)},
    BASE | {"spacing": (0.0, 0.0, 0.0), "normalise": "percentile"},
    BASE | {"kind": "volume", "normalise": "window", "window": (15.0, 110.0)},
    BASE | {"normalise": "mask", "brain_mask": "none", "dtype": "uint8"},
    BASE | {"axis": "time", "normalise": "none"},
    BASE | {"register": True},
    BASE | {"normalise": "photograph", "brain_mask": "none", "channels": 3, "dtype": "uint8"},
    BASE | {"brain_mask": "mask"},
)
ALONE = BASE | {"sampling": "picture", "brain_mask": "none"}
PICTURED = (
    BASE,
    ALONE | {"normalise": "photograph", "channels": 3, "dtype": "uint8"},
    ALONE | {"normalise": "window", "window": (0.0, 80.0)},
    ALONE | {"normalise": "ct_windows", "channels": 3},
)
OF_EYES = (
    ALONE | {"normalise": "photograph", "channels": 3, "dtype": "uint8"},
    ALONE | {"normalise": "photograph", "shape": (1, 16, 16), "pick": "central"},
    ALONE | {"normalise": "photograph", "part": "infrared"},
)


def prepared(path: pathlib.Path, reference: pathlib.Path, settings: dict) -> dict:
    """The record of an image, as a worker makes it. A second image of the patient is whole: the reference, and the brain mask."""
    names = {"image": settings, "reference": BASE | {"register": True}}
    plan = Plan(names, ("reference", "image"), 0.3)
    paths = {"image": (str(path),), "reference": (str(reference),), "mask": (str(path),)}
    return patient.prepare_image(plan, Job("unit", "patient", "", paths), "image", {})


def check(record: dict, settings: dict) -> str:
    """What is wrong with a record, "" where nothing is."""
    records.decode(records.encode(record))
    reason = record["reason"]
    if record["missing"]:
        return "" if reason and not reason.startswith(UNFORESEEN) else "a refusal without a reason that somebody thought of"
    values = record["array"].astype(np.float64) * record["scale"] + record["offset"]
    if record["array"].shape != (*settings["shape"], settings["channels"]) or record["array"].dtype != settings["dtype"]:
        return f"an array of {record['array'].shape} {record['array'].dtype}"
    if not np.isfinite(values).all() or not set(np.unique(record["mask"])) <= {0.0, 1.0} or not np.isfinite(record["affine"]).all():
        return "values that are not finite"
    limits = {"zscore": 5.001, "none": 1.1e15}.get(settings["normalise"], 1.001)
    return "" if np.abs(values).max() <= limits else f"values up to {np.abs(values).max():g}"


def attempt(kind: str, seed: int, number: int, data: str, folder: pathlib.Path) -> dict:
    """One input, and what the program made of it."""
    name, content, words = KINDS[kind](seed, number, data)
    choices = {"pictures": PICTURED, "eyes": OF_EYES}.get(kind, SETTINGS)
    settings = choices[number % len(choices)]
    path = folder / f"{number}-{name}"
    if isinstance(content, dict):
        path.mkdir()
        for inside, one in content.items():
            (path / inside).write_bytes(one)
    else:
        path.write_bytes(content)
    began, reason, fault = time.monotonic(), "", ""
    try:
        with mutations.within(SECONDS):
            record = prepared(path, folder / "reference.nii", settings)
            reason, fault = record["reason"], check(record, settings)
    except (Exception, mutations.TooSlow):
        fault = traceback.format_exc()
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = {"number": number, "words": f"{words} [settings {number % len(choices)}]", "reason": reason, "fault": fault}
    return said | {"seconds": round(time.monotonic() - began, 2), "megabytes": memory.peak()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--data", default=os.environ.get("JAXSTROKE_DATA", ""))
    asked = parser.parse_args()
    warnings.simplefilter("error")  # a warning of numpy on a user's terminal says nothing to the user
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "reference.nii").write_bytes(volumes.generated()["int16"])
        for number in range(asked.first, asked.first + asked.count):
            print(json.dumps(attempt(asked.kind, asked.seed, number, asked.data, pathlib.Path(folder))), flush=True)


if __name__ == "__main__":
    sys.exit(main())
