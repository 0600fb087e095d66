"""`--mode export` of networks of pictures, and whether what it says of them is enough to make them without this package."""

import json
import pathlib
import re
import struct
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageOps
import pydicom
import pytest
from etils import epath

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import picture_cohort  # noqa: E402

from jaxstroke import main, models  # noqa: E402
from jaxstroke import workdir as work  # noqa: E402
from jaxstroke.config_json import copied  # noqa: E402
from jaxstroke.interop import artefact, image_steps  # noqa: E402
from jaxstroke.models import sequence  # noqa: E402
from jaxstroke.preprocess import clinical  # noqa: E402
from jaxstroke.training import engine as engines  # noqa: E402
from jaxstroke.training import predict  # noqa: E402


def program(*arguments, code: int = 0):
    assert main.main(["main", *map(str, arguments)]) == code


@pytest.fixture(scope="module")
def exported(tmp_path_factory, project_root):
    """A workdir of paper 2's LSTM over pictures with what was exported and predicted, and the cohort's table."""
    folder = tmp_path_factory.mktemp("exported")
    table = picture_cohort.write(folder / "cohort")
    config = f"--config={project_root / 'configs' / 'ct_conv_lstm.py'}:own"
    program("--workdir", folder / "run", config, f"--config.cohort.table={table}", *picture_cohort.RUN)
    program("--workdir", folder / "run", "--mode=export")
    rows = pd.read_csv(table, dtype=str).drop(columns="diagnosis")
    rows["patient_id"] = "new" + rows["patient_id"]
    rows.loc[3, "images"] = ""
    rows.to_csv(folder / "cohort" / "new.csv", index=False)
    program("--workdir", folder / "run", "--mode=predict", "--cohort", folder / "cohort" / "new.csv")
    return folder / "run", folder / "cohort" / "new.csv"


def score(workdir: pathlib.Path, batch: dict) -> dict:
    model = jax.export.deserialize(bytearray((workdir / "export" / "model.jaxexport").read_bytes()))
    return jax.jit(model.call)(dict(np.load(workdir / "export" / "weights.npz")), batch)


def predicted(workdir: pathlib.Path) -> pd.DataFrame:
    frame = pd.read_csv(next((workdir / "external").glob("*/predictions.csv")), dtype={"patient_id": str})
    return frame[frame["model"] == "network"].sort_values("patient_id")


def test_it_says_what_predict_says(exported):
    """On the images as they are prepared, filled up to the longest sequence that is stored; one patient has none."""
    workdir, table = exported
    config = work.trained_config(epath.Path(workdir))
    with config.unlocked():
        config.device.data = 1
    new = predict.read_new(config, epath.Path(workdir), str(table))
    engine = engines.build(config, new.loaded.arrays, next(iter(predict.fitted_numbers(new.kept).values())), new.loaded.stored)
    rows = np.arange(picture_cohort.PATIENTS, dtype=np.int32).reshape(1, 1, 1, -1)
    made = next(iter(engine.unaugmented(rows)))
    said = json.loads((workdir / "export" / "preprocessing.json").read_text())
    assert {name: one["shape"] for name, one in said["inputs"].items()} == {
        "images/images": ["b", *picture_cohort.SHAPE, 1], "images_mask/images": ["b", picture_cohort.SHAPE[0]],
    }  # fmt: skip
    batch = {name: np.asarray(made[name][0, 0]) for name in said["inputs"]}
    found, wanted = score(workdir, batch), predicted(workdir)
    np.testing.assert_allclose(found["probability"]["diagnosis"][:, 0], wanted["probability"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["recalibrated"]["diagnosis"], wanted["recalibrated"], rtol=0, atol=1e-5)
    noise = batch["images/images"] + (1 - batch["images_mask/images"][:, :, None, None, None])
    again = score(workdir, {name: x[:3] for name, x in (batch | {"images/images": noise}).items()})  # what is at mask 0 does not matter
    np.testing.assert_allclose(again["probability"]["diagnosis"], found["probability"]["diagnosis"][:3], rtol=0, atol=1e-6)


def greys(path: pathlib.Path) -> list[np.ndarray]:
    """The pictures of a file, grey, black 0 and white 1; none where it holds none."""
    content = path.read_bytes()
    if content.startswith(b"HSF-OCT-"):
        width, count, height = struct.unpack_from("<3i", content, 12)
        across, down = struct.unpack_from("<2i", content, 48)
        (header,) = struct.unpack_from("<i", content, 100)
        stored = np.frombuffer(content[2048 + across * down :], np.uint8).reshape(count, header + 4 * width * height)
        scans = [one[header:].copy().view("<f4").reshape(height, width).astype(float) for one in stored]
        shown = [np.rint(np.where(scan > 1, 0, scan) ** 0.25 * 65535) / 65535 for scan in scans]
        return [scan for scan in shown if scan.any()]
    if content[128:132] == b"DICM":
        eye = pydicom.dcmread(path)
        return list(eye.pixel_array / (2.0**eye.BitsStored - 1))
    try:
        picture = PIL.ImageOps.exif_transpose(PIL.Image.open(path))
    except PIL.UnidentifiedImageError:
        return []
    values = np.asarray(picture).astype(float)
    if picture.mode == "RGBA":
        values = np.floor(values[..., :3] * values[..., 3:] / 255 + 0.5)
    values /= 65535 if picture.mode.startswith("I") else 255
    return [values @ [0.299, 0.587, 0.114] if values.ndim == 3 else values]


def by_its_words(folder: pathlib.Path, shape) -> tuple[np.ndarray, np.ndarray]:
    """The images of a patient and their mask, made with Pillow and loops from what the steps say. All are grey at the end."""
    most, rows, columns = shape
    names = sorted((path for path in folder.iterdir()), key=lambda path: [int(part) for part in re.findall("[0-9]+", path.stem)] or [0])
    frames, seen = [], []
    for grey in (grey for path in names for grey in greys(path)):
        if any(grey.shape == other.shape and np.abs(grey - other).max() < 1e-9 for other in seen):
            continue
        seen.append(grey)
        frames.append(letterboxed(grey, rows, columns))
    if len(frames) > most:
        frames = [frames[int(np.rint(k * (len(frames) - 1) / (most - 1)))] for k in range(most)]
    array = np.zeros((most, rows, columns, 1))
    array[: len(frames), ..., 0] = np.rint(np.array(frames) * 255) / 255
    return array, (np.arange(most) < len(frames)).astype(float)


def letterboxed(grey: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A box around each pixel of the frame, each pixel of the picture by the part of it that is inside."""
    height, width = grey.shape
    t = max(height / rows, width / columns)
    size, frame = max(1.0, t), np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            y, x = (height - 1) / 2 + t * (i - (rows - 1) / 2), (width - 1) / 2 + t * (j - (columns - 1) / 2)
            for r in range(max(0, int(y - size) - 1), min(height, int(y + size) + 2)):
                for c in range(max(0, int(x - size) - 1), min(width, int(x + size) + 2)):
                    tall = min(y + size / 2, r + 0.5) - max(y - size / 2, r - 0.5)
                    wide = min(x + size / 2, c + 0.5) - max(x - size / 2, c - 0.5)
                    if tall > 0 and wide > 0:
                        frame[i, j] += grey[r, c] * tall * wide / size**2
    return frame


def test_the_steps_in_words_are_enough_to_make_the_images(exported):
    """Pictures turned by EXIF, of 16 bits, half transparent, twice, small, too many, of an eye: made by words alone they score the same."""
    workdir, table = exported
    steps = json.loads((workdir / "export" / "preprocessing.json").read_text())["images"]["images"]["steps"]
    for word in (
        "natural order",
        "EXIF",
        "65535",
        "alpha",
        "0.299",
        "equal to the last pixel",
        "16 x 16",
        "255 steps",
        "halves to the even",
    ):
        assert any(word in one for one in steps), word
    wanted = predicted(workdir).set_index("patient_id")["probability"]
    patients = (picture_cohort.ODD, "P06", "P05", picture_cohort.EYES)
    made = [by_its_words(table.parent / "Doe_Jane" / patient, picture_cohort.SHAPE) for patient in patients]
    batch = {"images/images": np.stack([images for images, _ in made]), "images_mask/images": np.stack([mask for _, mask in made])}
    assert batch["images_mask/images"].sum(1).tolist() == [5, 5, 5, 5]
    found = score(workdir, {name: x.astype(np.float32) for name, x in batch.items()})["probability"]["diagnosis"][:, 0]
    np.testing.assert_allclose(found, [wanted[f"new{patient}"] for patient in patients], rtol=0, atol=1e-6)


def test_the_script_beside_it_scores_patients_of_whom_there_is_nothing(exported):
    """A batch of zeros is one without any image: what predict says of the patient who has none."""
    workdir, _ = exported
    done = subprocess.run([sys.executable, str(workdir / "export" / "load_and_run.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    none = predicted(workdir).set_index("patient_id")["probability"]["newP03"]
    (value,) = re.findall(r"probability diagnosis \['diagnosis == 1'\] \[\[([0-9.]+)\]", done.stdout)
    assert float(value) == pytest.approx(none, abs=1e-4)


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_every_sequence_model_is_exported_for_any_number_of_patients(sequence_file, name):
    config = copied(sequence_file.get_config("smoke"))
    with config.unlocked():
        config.model.sequence = name
    config, schema = artefact.portable(config), clinical.Schema((), ())
    fitted = {"logit_shift/diagnosis": np.zeros(1, np.float32)}
    like = artefact.abstract_variables(config, schema, fitted)
    random = np.random.default_rng(0)
    network = jax.tree.map(lambda x: random.normal(0, 0.3, x.shape).astype(np.float32), like)
    tree = {"network": network, "fitted": fitted, "fusion": {}, "recalibration": {}}
    program, numbers, read = artefact.export(config, schema, [tree, tree])
    assert set(read) == {"images/images", "images_mask/images"}
    batch = {"images/images": jnp.asarray(random.normal(size=(3, *read["images/images"])), jnp.float32)}
    batch["images_mask/images"] = jnp.asarray([[1, 1, 1, 0, 0, 0], [1] * 6, [0] * 6], jnp.float32)
    found = jax.export.deserialize(bytearray(program)).call(numbers, batch)["probability"]["diagnosis"]
    logits = models.build(config).apply({"params": network["params"]}, batch, fitted, train=False)["logits"]["diagnosis"]
    np.testing.assert_allclose(found, jax.nn.sigmoid(logits), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "there", "absent"),
    [
        ({"normalise": "photograph"}, "Leave out DICOM files", "HU: "),
        ({"normalise": "photograph_unpainted", "channels": 3}, "take away red paint", "HU: "),
        ({"normalise": "window", "window": (0.0, 80.0)}, "0 to 80 linearly to 0 to 1", "Leave out DICOM files"),
        ({"normalise": "ct_windows", "channels": 3}, "three channels, each a window", "Make them grey"),
        ({"normalise": "photograph", "shape": (1, 8, 8)}, "number n // 2", "numbers k"),
        ({"pick": "central"}, "they are to the middle (n - 1) / 2", "numbers k"),
        ({"part": "infrared"}, "Its infrared image is the picture", "fourth root"),
        ({"part": "scans"}, "fourth root", "Leave out ophthalmic tomography"),
    ],
)
def test_steps_follow_the_settings(sequence_file, changes, there, absent):
    own = sequence_file.get_config("own").images.images.to_dict() | {"sampling": "picture"} | changes
    text = " ".join(image_steps.steps("images", own, ""))
    assert there in text and absent not in text and "affine" not in text


def test_a_volume_is_not_told_of_pictures(config_file):
    assert not any("icture" in step for step in image_steps.steps("dwi", config_file.get_config("smoke").images.dwi.to_dict(), ""))
