"""`--mode export`: the artefact, loaded where this package is not, says what `--mode predict` says."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from etils import epath

from jaxstroke import main
from jaxstroke import workdir as work
from jaxstroke.evaluation import comparators
from jaxstroke.interop import artefact
from jaxstroke.training import engine as engines
from jaxstroke.training import fusion, predict

PATIENTS = 7
SMALL = ["--config.device.data=1", "--config.cohort.workers=1"]
RUNS = {  # name: (config file, what is changed of its smoke variant)
    "images_and_columns": ("mri_cnn_lstm", []),
    "columns": (
        "mri_cnn_lstm",
        ["--config.model.name=clinical_mlp", "--config.model.fusion=none", "--config.model.fusion_column=", "--config.split.inner_folds=0"],
    ),
    "volume": (
        "ich_multitask",
        ["--config.model.encoder=resnet_small_3d", "--config.model.widths=(4,8)", "--config.model.dropout=(0.0,0.0)"],
    ),
    "joint": ("mri_cnn_lstm", ["--config.train.stages=joint", "--config.train.epochs=1", "--config.split.inner_folds=0"]),
}
QUICK = ("images_and_columns", "columns")
SLOW = ("volume", "joint")
MODULES = ("dwi", "adc", "flair", "tmax")
# Run by a Python that refuses to find the package: what a user of an export has.
ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jaxstroke", "flax", "orbax", "pandas", "ml_collections"):
            raise ImportError(name + " is not to be used")

sys.meta_path.insert(0, Blocked())
import jax, numpy as np, jax.export
folder, batch = sys.argv[1:]
model = jax.export.deserialize(bytearray(open(folder + "/model.jaxexport", "rb").read()))
numbers, batch, found = dict(np.load(folder + "/weights.npz")), dict(np.load(batch)), {}
assert set(model.platforms) == {"cpu", "cuda", "tpu"}, model.platforms
for size in (1, 3, 7):
    for kind, tasks in jax.jit(model.call)(numbers, {name: x[:size] for name, x in batch.items()}).items():
        found |= {f"{size}/{kind}/{task}": values for task, values in tasks.items()}
assert "jaxstroke" not in sys.modules and "flax" not in sys.modules
np.savez(folder + "/found.npz", **found)
"""


def program(*arguments, code: int = 0):
    assert main.main(["main", *map(str, arguments)]) == code


def make(folder: pathlib.Path, root: pathlib.Path, name: str) -> pathlib.Path:
    """A trained workdir with `new.csv` beside it: seven of its patients under other names, with gaps, and without outcomes."""
    file, changes = RUNS[name]
    program("--workdir", folder / "run", f"--config={root / 'configs' / file}.py:smoke", *SMALL, *changes)
    rows = pd.read_csv(folder / "run" / "cohort.csv", dtype=str, keep_default_na=False)
    rows = rows[rows["dwi"] != ""].head(PATIENTS).drop(columns=["mrs"])
    for column in set(rows) & {"dwi", "adc", "flair", "tmax", "lesion"}:
        rows[column] = [path and str(folder / "run" / path) for path in rows[column]]
    rows["patient_id"] = [f"new{number}" for number in range(PATIENTS)]
    rows.iloc[1, rows.columns.get_loc("nihss")] = ""
    rows.iloc[2, rows.columns.get_loc("sex")] = "X"
    if name != "volume":
        rows.loc[rows.index[3], ["dwi", "adc", "flair", "tmax"]] = ""
    rows.to_csv(folder / "new.csv", index=False)
    return folder / "run"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, project_root):
    """{name: workdir}, each trained and exported once, and predicted for."""
    made = {}

    def of(name: str) -> pathlib.Path:
        if name not in made:
            made[name] = make(tmp_path_factory.mktemp(name), project_root, name)
            program("--workdir", made[name], "--mode=predict", "--cohort", made[name].parent / "new.csv", *SMALL[:1])
            program("--workdir", made[name], "--mode=export")
        return made[name]

    return of


def predicted(workdir: pathlib.Path, model: str = "network") -> dict[str, np.ndarray]:
    """{"probability/<task>": b k, "recalibrated/<task>": b} of `--mode predict`."""
    frame = pd.read_csv(next((workdir / "external").glob("*/predictions.csv")), dtype={"class": str}, keep_default_na=False)
    found = {}
    for task, rows in frame[frame["model"] == model].groupby("task"):
        levels = sorted(rows["class"].unique(), key=lambda level: int(level or 0))
        by_level = [rows[rows["class"] == level].sort_values("patient_id") for level in levels]
        found[f"probability/{task}"] = np.stack([part["probability"].astype(float) for part in by_level], 1)
        if levels == [""] and (rows["recalibrated"] != "").all():
            found[f"recalibrated/{task}"] = by_level[0]["recalibrated"].astype(float).to_numpy()
    return found


def new_batch(workdir: pathlib.Path) -> tuple[dict[str, np.ndarray], object, object, dict]:
    """(all entries of the new patients' batch, config, schema, `model.json`)."""
    config = work.trained_config(epath.Path(workdir))
    with config.unlocked():
        config.device.data = 1
    new = predict.read_new(config, epath.Path(workdir), str(workdir.parent / "new.csv"))
    kept, loaded = new.kept, new.loaded
    config = work.trained_config(epath.Path(workdir))
    engine = engines.build(config, loaded.arrays, next(iter(predict.fitted_numbers(kept).values())), loaded.stored)
    rows = np.full((1, engine.slots, 1, 8), -1, np.int32)
    rows[0, 0, 0, :PATIENTS] = np.arange(PATIENTS)
    batch = {name: np.asarray(x[0, 0][:PATIENTS]) for name, x in next(iter(engine.unaugmented(rows))).items() if name != "key"}
    return {name: batch[name] for name in artefact.shapes(config, loaded.schema)}, config, loaded.schema, kept


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_loaded_without_the_package_it_says_what_predict_says(trained, name, tmp_path):
    workdir = trained(name)
    described = json.loads((workdir / "export" / "preprocessing.json").read_text())
    batch = new_batch(workdir)[0]
    np.savez(tmp_path / "batch.npz", **{entry: batch[entry] for entry in described["inputs"]})
    environment = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS",)}
    command = [sys.executable, "-c", ALONE, str(workdir / "export"), str(tmp_path / "batch.npz")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found, wanted = np.load(workdir / "export" / "found.npz"), predicted(workdir)
    assert set(found) == {f"{size}/{key}" for size in (1, 3, 7) for key in wanted}
    for key, values in wanted.items():
        for size in (1, 3, 7):
            tolerance = 1e-6 if key.startswith("probability") else 1e-5  # a steep recalibration enlarges the last digit
            np.testing.assert_allclose(found[f"{size}/{key}"], values[:size], rtol=0, atol=tolerance, err_msg=key)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("columns", {"clinical", "clinical_mask"}),
        (
            "images_and_columns",
            {*(f"{kind}/{image}" for kind in ("images", "images_mask") for image in MODULES), "clinical", "clinical_mask"},
        ),
        pytest.param("volume", {"images/ct"}, marks=pytest.mark.slow),
    ],
)
def test_only_what_the_networks_read_is_an_input(trained, name, wanted):
    assert set(json.loads((trained(name) / "export" / "preprocessing.json").read_text())["inputs"]) == wanted


@pytest.mark.parametrize("kind", ["mean", "poe", "scalar", "learned", "stacked"])
def test_every_rule_is_that_of_predict(trained, kind):
    """The rules beside the headline are in `model.json` and in the predictions too: each is exported as if it were the headline."""
    workdir = trained("images_and_columns")
    batch, config, schema, kept = new_batch(workdir)
    with config.unlocked():
        config.model.fusion, config.model.fusion_column = kind, "age" if kind in ("poe", "scalar", "learned") else ""
    config = artefact.portable(config)
    like = artefact.abstract_variables(config, schema, next(iter(predict.fitted_numbers(kept).values())))
    finished = engines.finished_runs(epath.Path(workdir))
    trees = [artefact.numbers_of(config, schema, kept, run, finished.load(run, like)) for run in kept["fold"]]
    finished.close()
    numbers, structure = artefact.flat(trees)
    found = jax.jit(artefact.make(config, schema, tuple(numbers), structure))(numbers, batch)
    name = fusion.headline(config, schema)
    for key, values in predicted(workdir, "network" if name == "stacked" else f"rule:{name}").items():
        if key.startswith("probability/"):
            np.testing.assert_allclose(found["probability"][key.removeprefix("probability/")], values, rtol=0, atol=1e-6, err_msg=key)


def test_a_cut_that_was_not_fitted_gives_the_prior_and_a_fold_without_labels_is_left_out():
    own = {"priors": {"mrs": [0.8, 0.3]}, "mean": {}, "stacked": {"mrs": [None, None]}}
    numbers = artefact.cut_numbers(fusion.Rule("stacked", "stacked"), own, "mrs", 1, 3)
    np.testing.assert_allclose(comparators.apply(numbers, np.ones((4, 3)), np.array([[1, 0, 1]] * 4)), 0.3)
    lines = [{"repeat": 0, "fold": 1, "seed": 2, "intercept": 0.5, "slope": 2.0}]
    assert artefact.recalibration_of(lines, "r0-f1-s2") == [0.5, 2.0] and np.isnan(artefact.recalibration_of(lines, "r0-f0-s2")).all()


def test_the_script_beside_it_runs_by_itself(trained, tmp_path):
    shutil.copytree(trained("columns") / "export", tmp_path / "export")
    done = subprocess.run([sys.executable, "export/load_and_run.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "probability poor ['mrs > 2'] [[0." in done.stdout and "recalibrated poor" in done.stdout
    text = (tmp_path / "export" / "load_and_run.py").read_text()
    assert "jaxstroke" not in text and len(text.splitlines()) <= 35


def test_what_it_says_of_inputs_and_outputs(trained):
    workdir = trained("images_and_columns")
    said = json.loads((workdir / "export" / "preprocessing.json").read_text())
    _, config, schema, kept = new_batch(workdir)
    assert [one["input"] for one in said["clinical"]] == list(schema.columns)
    assert [one["what"] for one in said["clinical"]][-1] == "1 where the cell is none of F, M, else 0"
    assert said["clinical"][0]["range"] == [0, 120] and said["fusion"]["rule"] == "stacked"
    assert said["inputs"]["images/dwi"]["shape"] == ["b", 4, 16, 16, 1] and said["images"]["adc"]["settings"]["window"] == [0.0, 0.003]
    assert any("0 to 0.003" in step for step in said["images"]["adc"]["steps"]) and "dwi" in " ".join(said["images"]["adc"]["steps"])
    assert said["tasks"]["mrs"]["labels"][2] == "mrs >= 3" and said["outputs"]["probability/mrs"]["shape"] == ["b", 6]
    folds = [line["threshold"] for line in kept["decisions"]["network"]["poor"]]
    assert said["thresholds"]["poor"]["median"] == pytest.approx(np.median(folds))
    for name, digest in said["sha256"].items():
        assert work.hashlib.sha256((workdir / "export" / name).read_bytes()).hexdigest() == digest
    ids = pd.read_csv(workdir / "cohort.csv", dtype=str)["patient_id"]
    written = "".join(path.read_text(errors="ignore") for path in (workdir / "export").iterdir() if path.suffix in (".json", ".md", ".py"))
    assert not any(patient in written for patient in ids)


def test_the_card_holds_the_numbers_of_the_run_and_blanks(trained):
    workdir = trained("images_and_columns")
    card = (workdir / "export" / "model_card.md").read_text()
    auc = json.loads((workdir / "metrics.json").read_text())["tasks"]["poor"]["auc"]
    assert f"| AUC | {auc['value']:.3f} | {auc['ci95'][0]:.3f} to {auc['ci95'][1]:.3f} |" in card
    assert "not a medical device" in card and card.count("*Authors:") >= 4 and "A synthetic cohort: no patients" in card
    assert "None lies in the workdir" in card and "tmax in fewer than 5" in card
    shutil.copytree(workdir, workdir.parent / "other")
    other = workdir.parent / "other" / "external" / "abc"
    other.mkdir(parents=True)
    shutil.copyfile(workdir / "metrics.json", other / "metrics.json")
    shutil.copytree(workdir.parent / "records", workdir.parent / "other" / "records", dirs_exist_ok=True)
    program("--workdir", workdir.parent / "other", "--mode=export")
    assert "- `external/abc`: 48 patients" in (workdir.parent / "other" / "export" / "model_card.md").read_text()


def test_a_workdir_that_is_not_trained_is_refused(trained, tmp_path, capsys):
    shutil.copytree(trained("columns"), tmp_path / "run")
    (tmp_path / "run" / "model.json").unlink()
    program("--workdir", tmp_path / "run", "--mode=export", code=2)
    assert "model.json" in capsys.readouterr().err
    shutil.copyfile(trained("columns") / "model.json", tmp_path / "run" / "model.json")
    (tmp_path / "run" / "metrics.json").unlink()
    program("--workdir", tmp_path / "run", "--mode=export", code=2)
    message = capsys.readouterr().err
    assert "metrics.json" in message and "--mode report" in message
