"""A tiny cohort with lesion masks, an atlas and reports, whose ids and ages can be searched for; and what runs of paper 5 leave behind."""

import json
import pathlib

import jax
import nibabel
import numpy as np
import pandas as pd
from etils import epath

from jaxstroke import main
from jaxstroke.training.checkpoint import Finished

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "configs" / "trimodal_align.py")
PATIENTS, SHAPE = 24, (12, 12, 6)  # x y z
AFFINE = np.array([[12.0, 0, 0, -66], [0, 12, 0, -66], [0, 0, 20, -50], [0, 0, 0, 1]])
NO_MASK, NO_IMAGE, NO_REPORT, IN_A_FILE = 3, 7, 4, (6, 9)  # of patients: without a mask; without images; cells of the table
SIZES = (("shape", "(8,8,8)"), ("spacing", "(15,18,18)"))
TINY = [
    *(f"--config.images.{name}.{key}={value}" for name in ("flair", "lesion") for key, value in SIZES),
    "--config.model.images=('flair',)", "--config.model.widths=(4,)", "--config.model.hidden=8", "--config.text.width=8",
    "--config.text.heads=2", "--config.text.intermediate=16", "--config.text.vocabulary_size=96", "--config.text.length=64",
    "--config.train.batch_size=8", "--config.train.epochs=2", "--config.split.folds=2", "--config.evaluate.bootstrap=50",
    "--config.device.data=1", "--config.device.cache=", "--config.cohort.workers=1", "--config.cohort.max_failed_share=0.5",
    "--config.evaluate.subgroups=()", "--config.train.save_seconds=0",
]  # fmt: skip
WORDS = ("cortical", "deep", "small", "large", "frontal", "temporal", "old", "fresh")


def name_of(number: int) -> str:
    return f"SENTINEL-{number:02d}"


def write(folder: pathlib.Path) -> pathlib.Path:
    """The cohort in a folder; the path of its table. Outcome follows the lesion's size."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atlas(folder)
    rng, rows = np.random.default_rng(0), []
    inside = np.zeros(SHAPE, bool)
    inside[1:-1, 1:-1, 1:-1] = True
    for number in range(PATIENTS):
        mrs = number % 7
        mask = np.zeros(SHAPE, np.uint8)
        mask[2 + number % 6 : 4 + number % 6 + mrs // 3, 3 : 5 + number % 4, 2 : 3 + number // 12] = 1
        flair = (100 * inside + 60 * mask + 5 * rng.random(SHAPE)).astype(np.float32) * inside
        files = {}
        for name, array in (("flair", flair), ("lesion", mask)):
            files[name] = "" if number == NO_IMAGE or (name == "lesion" and number == NO_MASK) else f"{number}_{name}.nii.gz"
            if files[name]:
                save(folder / files[name], array)
        report = f"{WORDS[number % 8]} infarct, {WORDS[mrs]} and {WORDS[(3 * number) % 8]}."
        if number in IN_A_FILE:
            (folder / f"report{number}.txt").write_text(f"{report}\n")
            report = f"report{number}.txt"
        age = 61.037 + number / 2  # no number of a report, an answer or a picture
        rows.append({
            "patient_id": name_of(number), "age": age, "nihss": 2 * mrs + number % 3, "sex": "FM"[number % 2], "mrs": mrs,
            "report": "" if number == NO_REPORT else report, **files,
        })  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "my.csv", index=False)
    return folder / "my.csv"


def write_atlas(folder: pathlib.Path):
    """Three territories, of which the third has no name."""
    labels = np.ones(SHAPE, np.uint8)
    labels[6:] = 2
    labels[:, 6:] = 5
    save(folder / "atlas.nii.gz", labels)
    (folder / "atlas.txt").write_text("1|A|left front\n2|B|right front\n9|C|nowhere\n")


def save(path: pathlib.Path, array: np.ndarray):
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)


def changed(table: pathlib.Path, target: pathlib.Path, change) -> pathlib.Path:
    """The table as `change` of its frame of words gives it, under another name; files keep their places."""
    frame = change(pd.read_csv(table, dtype=str, keep_default_na=False))
    for name in ("flair", "lesion"):
        frame[name] = [str(table.parent / cell) if cell and not cell.startswith("/") else cell for cell in frame[name]]
    target.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(target, index=False)
    return target


def command(table, workdir, *more) -> list[str]:
    return ["main", f"--config={CONFIG}:own", f"--workdir={workdir}", f"--config.cohort.table={table}", *TINY, *map(str, more)]


def run(table, workdir, *more) -> int:
    """Train on a table; the exit code."""
    return main.main(command(table, workdir, *more))


def again(workdir, mode: str, *more) -> int:
    """Another mode of a trained workdir."""
    return main.main(["main", f"--workdir={workdir}", f"--mode={mode}", *map(str, more)])


def refused(capsys, code: int) -> str:
    """The message of a call that must have ended with exit code 2 and without a traceback."""
    said = capsys.readouterr().err
    assert code == 2 and "Traceback" not in said
    return said[said.index("error:") :]


def lines(folder) -> dict[str, dict]:
    """Unit -> its line of `reports.jsonl`."""
    found = [json.loads(line) for line in (pathlib.Path(folder) / "reports.jsonl").read_text().splitlines()]
    assert len({one["unit"] for one in found}) == len(found)
    return {one["unit"]: one for one in found}


def predictions(path, model: str = "network") -> pd.DataFrame:
    frame = pd.read_csv(path, dtype={"patient_id": str, "unit_id": str, "class": str}, keep_default_na=False)
    return frame[frame["model"] == model]


def networks(workdir) -> dict[str, dict]:
    """Run id -> the variables of its finished network."""
    finished = Finished(epath.Path(workdir) / "networks")
    found = {path.name: finished.read(path.name, finished.shapes(path.name)) for path in sorted((workdir / "networks").iterdir())}
    finished.close()
    return found


def equal(one, other):
    """Exactly, leaf by leaf."""
    jax.tree.map(np.testing.assert_array_equal, one, other)
