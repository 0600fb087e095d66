"""A MedMNIST set of volumes as published (Yang et al. 2023, Sci Data 10:41; CC BY 4.0): `.npz` files to a table, nothing is unpacked.

Files are named `<set>[_64][_<split>].npz`, as in `adrenalmnist3d.npz`, `adrenalmnist3d_64.npz`, `adrenalmnist3d_64_test.npz`. A whole file
holds `train_images`, `train_labels`, `val_...`, `test_...`, or some of these; a split's file its own, with or without the split in their
names. A folder may hold only some of them, and a split to be predicted needs no labels.

| column | meaning |
|---|---|
| patient_id | `<split>_<row>`, rows counted from 0 |
| image | the row in its file: `FILE.npz#train_images/12` |
| label | the published number, 0 or 1 in sets of two classes; only where some split has labels |
| split | train, val, test: the official ones |
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath

from jaxstroke.cohort import npz
from jaxstroke.cohort.csv_file import write_csv
from jaxstroke.errors import InputError

SPLITS = ("train", "val", "test")
SIZES = (28, 64)
COLUMNS = ["patient_id", "image", "label", "split"]
NAME = re.compile(r"([a-z0-9]*mnist3d)(?:_(28|64))?(?:_(train|val|test))?\.npz", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A file of the folder. split: "" where it holds the whole set."""

    path: epath.Path
    set: str
    size: int
    split: str


def make(config, workdir) -> str:
    """Write `<workdir>/cohort.csv` from the folder `cohort.root`; returns its path."""
    path = epath.Path(workdir) / "cohort.csv"
    write_csv(table(config.cohort.root, config.cohort.medmnist3d.size), path)
    return str(path)


def table(root, size: int) -> pd.DataFrame:
    """One row a volume, paths absolute. size: voxels an axis. Raises InputError on a folder without such files or of two sets."""
    if size not in SIZES:
        raise InputError(f"config.cohort.medmnist3d.size is {size}: the sets are published at 28 and 64 voxels an axis.")
    rows: dict[str, list[dict]] = {}
    origin = {}
    for found in files(root, size):
        for split, made in rows_of(found).items():
            if split in rows:
                raise InputError(f"both {origin[split]} and {found.path} hold the split '{split}': remove one.")
            rows[split], origin[split] = made, found.path
    frame = pd.DataFrame([row for split in SPLITS for row in rows.get(split, ())], columns=COLUMNS)
    return frame.drop(columns="label") if (frame["label"] == "").all() else frame


def files(root, size: int) -> list[Found]:
    """The files of this size, in the order of their names."""
    folder = epath.Path(root).expanduser().resolve() if root else None
    named = [(path, NAME.fullmatch(path.name)) for path in sorted(folder.iterdir())] if folder and folder.is_dir() else []
    found = [Found(path, name[1].lower(), int(name[2] or 28), (name[3] or "").lower()) for path, name in named if name]
    cure = "set --config.cohort.root to the folder that has it."
    if not found:
        raise InputError(f"config.cohort.root '{root}' has no file such as adrenalmnist3d_64.npz or adrenalmnist3d_64_test.npz: {cure}")
    sets = sorted({one.set for one in found})
    if len(sets) > 1:
        raise InputError(f"config.cohort.root '{root}' holds {len(sets)} sets ({', '.join(sets)}): give each a folder of its own.")
    chosen = [one for one in found if one.size == size]
    if not chosen:
        there = ", ".join(one.path.name for one in found)
        raise InputError(f"config.cohort.root '{root}' has {there}, but config.cohort.medmnist3d.size is {size}: set the other size.")
    return chosen


def rows_of(found: Found) -> dict[str, list[dict]]:
    """Split -> rows of the table. Only headers of images and the labels are read."""
    try:
        content = found.path.read_bytes()
        members = {name: name for name in npz.names(content)}
        if found.split:  # without the split in their names
            members = {f"{found.split}_{name}": name for name in ("images", "labels") if name in members} | members
        splits = [split for split in ((found.split,) if found.split else SPLITS) if f"{split}_images" in members]
        shapes = {split: npz.open_member(content, members[f"{split}_images"]).shape for split in splits}
        labels = {split: npz.read_member(content, members[f"{split}_labels"]) for split in splits if f"{split}_labels" in members}
    except npz.DAMAGED as error:
        raise InputError(f"{found.path} cannot be read ({type(error).__name__}): download it again.") from None
    if not splits:
        wanted = f"images or {found.split}_images" if found.split else ", ".join(f"{split}_images" for split in SPLITS)
        raise InputError(f"{found.path} holds none of {wanted}, but {', '.join(members) or 'nothing'}: is it a MedMNIST file?")
    return {split: split_rows(found, split, members[f"{split}_images"], shapes[split], labels.get(split)) for split in splits}


def split_rows(found: Found, split: str, member: str, shape: tuple[int, ...], labels: np.ndarray | None) -> list[dict]:
    """Rows of one split. shape: (n, 28, 28, 28) or (n, 64, 64, 64); labels: (n,) or (n, 1) integers, or None."""
    if shape[1:] != (found.size,) * 3:
        have = " x ".join(map(str, shape))
        raise InputError(f"{found.path}: {member} is {have}, but its name says volumes of {found.size} voxels an axis.")
    if labels is not None and (labels.size != shape[0] or labels.dtype.kind not in "uib"):
        raise InputError(f"{found.path}: {shape[0]} volumes in {member} need as many whole numbers in its labels, not {labels.shape}.")
    cells = [""] * shape[0] if labels is None else [str(int(label)) for label in labels.ravel()]
    return [
        {"patient_id": f"{split}_{row}", "image": f"{found.path}#{member}/{row}", "label": label, "split": split}
        for row, label in enumerate(cells)
    ]
