"""Whole runs of paper 4 on tiny eyes: pre-trained, fine-tuned, stopped and resumed, begun from another workdir, explained, exported."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.export
import numpy as np
import pandas as pd
import pytest
from etils import epath
from PIL import Image

from jaxstroke import main
from jaxstroke.errors import Stopped
from jaxstroke.training import modes
from jaxstroke.training.checkpoint import Finished

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "configs" / "retina_simclr.py")
TINY = [
    "--config.images.oct.shape=(2,16,16)", "--config.images.ir.shape=(1,16,16)", "--config.model.encoder=plain_2d",
    "--config.model.widths=(4,6)", "--config.model.hidden=4", "--config.pretrain.projector=(8,6)", "--config.pretrain.batch_size=8",
    "--config.pretrain.epochs=2", "--config.train.epochs=2", "--config.train.batch_size=8", "--config.split.folds=2",
    "--config.evaluate.bootstrap=50", "--config.device.data=1", "--config.device.cache=", "--config.cohort.workers=1",
    "--config.optimizer.encoder_rate=0.0", "--config.evaluate.per=study", "--config.train.save_seconds=0",
]  # fmt: skip
PATIENTS, UNLABELLED = 24, 8

pytestmark = pytest.mark.usefixtures("signals_kept")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Both eyes of every third patient, brighter after a stroke; one labelled patient has an eye without outcome; some have no infrared."""
    folder, rng, rows = tmp_path_factory.mktemp("eyes"), np.random.default_rng(0), []
    for number in range(PATIENTS + UNLABELLED):
        stroke = number % 2
        for eye in ("OD", "OS")[: 1 + (number % 3 == 0)]:
            cells = {"oct": [], "ir": []}
            for name, count in (("oct", 2), ("ir", int(number % 5 > 0))):
                for picture in range(count):
                    file = f"{number}{eye}{name}{picture}.png"
                    Image.fromarray(rng.integers(0, 120 + 80 * stroke, (16, 16)).astype(np.uint8)).save(folder / file)
                    cells[name].append(file)
            known = number < PATIENTS and not (number == 0 and eye == "OS")
            row = {"patient_id": f"{number:02d}", "eye": eye} | {name: "|".join(files) for name, files in cells.items()}
            rows.append(row | {
                "age": 60 + number, "systolic": 130 + stroke, "sex": "FM"[number % 2], "diagnoses": ("I10|E11.9", "none")[number % 2],
                "stroke": stroke if known else "",
            })  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "my.csv", index=False)
    return folder


def command(cohort, variant: str, workdir, *more) -> list[str]:
    return ["main", f"--config={CONFIG}:{variant}", f"--workdir={workdir}", f"--config.cohort.table={cohort / 'my.csv'}", *TINY, *more]


@pytest.fixture(scope="module")
def trained(cohort):
    workdir = cohort / "run"
    assert main.main(command(cohort, "own", workdir)) == 0
    return workdir


def networks(folder) -> dict[str, dict]:
    finished = Finished(epath.Path(folder))
    found = {path.name: finished.read(path.name, finished.shapes(path.name)) for path in sorted(pathlib.Path(folder).iterdir())}
    finished.close()
    return found


def folds(workdir) -> list[dict]:
    return json.loads((workdir / "splits.json").read_text())["folds"]


def owners(units) -> set[str]:
    return {unit.split("/")[0] for unit in units}


def test_nobody_who_is_judged_was_pre_trained_on(trained):
    seen = json.loads((trained / "pretrain" / "pretrain.json").read_text())["patients"]
    parts = folds(trained)
    assert len(parts) == len(seen) == 2
    unlabelled = {f"{number:02d}" for number in range(PATIENTS, PATIENTS + UNLABELLED)}
    for fold in parts:
        patients = set(seen[f"r0-f{fold['fold']}-s0"])
        assert patients == owners(fold["train"]) | unlabelled  # and no eye of the others, labelled or not
        assert not patients & (owners(fold["val"]) | owners(fold["test"]))
    rows = json.loads((trained / "pretrain" / "pretrain.json").read_text())["rows"]
    table = pd.read_csv(trained.parent / "my.csv", dtype=str)
    assert rows == {name: int(table["patient_id"].isin(patients).sum()) for name, patients in seen.items()}


def test_fine_tuning_begins_with_its_folds_encoders(trained):
    """Frozen, they are still there at the end; two folds have two pre-trainings."""
    before, after = networks(trained / "pretrain" / "networks"), networks(trained / "networks")
    assert before.keys() == after.keys()
    for name, network in after.items():
        for image in ("oct", "ir"):
            for kind in ("params", "stats"):
                jax.tree.map(np.testing.assert_array_equal, network[kind][image]["encoder"], before[name][kind][image]["encoder"])
    first, second = (jax.tree.leaves(network["params"]["oct"]["encoder"]) for network in before.values())
    assert any(not np.array_equal(*pair) for pair in zip(first, second, strict=True))


def test_what_is_taken_over_is_told_by_name(trained):
    told = json.loads((trained / "pretrain" / "taken.json").read_text())
    assert told["taken"] == {"oct/encoder": "oct/encoder", "ir/encoder": "ir/encoder"}
    assert all("projector" in name for name in told["left_out"]) and "params/oct/projector1/kernel" in told["left_out"]
    assert "params/heads/stroke/kernel" in told["random"] and not any("encoder" in name for name in told["random"])


def test_the_report_says_on_whom_encoders_were_trained(trained):
    page = (trained / "report.html").read_text()
    assert "pre-trained without labels" in page and "nobody of a validation or test part was among them" in page


class StopAfter:
    """Asks the loop to stop when it has been called so many times."""

    def __init__(self, calls: int):
        self.calls, self.training = calls, False

    def __call__(self) -> bool:
        self.calls -= 1
        return self.calls < 0


@pytest.mark.parametrize("calls", [pytest.param(3, marks=pytest.mark.slow), 9, pytest.param(14, marks=pytest.mark.slow)])
def test_stopped_in_either_stage_it_ends_the_same(trained, cohort, tmp_path, calls):
    """In the middle of an epoch of pre-training, in the second fold's, and in fine-tuning."""
    from jaxstroke import workdir as work

    config, workdir = work.trained_config(epath.Path(trained)), epath.Path(tmp_path / "run")
    with config.unlocked():
        config.cohort.records = str(cohort / "records")
    with pytest.raises(Stopped):
        modes.train(config, workdir, StopAfter(calls))
    modes.train(config, workdir, StopAfter(10**9))
    for folder in ("pretrain/networks", "networks"):
        jax.tree.map(np.testing.assert_array_equal, networks(trained / folder), networks(workdir / folder))
    assert (workdir / "predictions.csv").read_bytes() == (trained / "predictions.csv").read_bytes()


def started(cohort, workdir) -> subprocess.Popen:
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "jaxstroke.main", *command(cohort, "own", workdir, "--config.pretrain.epochs=6")[1:]]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(cohort, workdir) -> str:
    with started(cohort, workdir) as process:
        said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said[-3000:]
    return said


@pytest.mark.slow
def test_killed_in_pre_training_it_ends_the_same(cohort, tmp_path):
    """Twice, in the first fold's pre-training and in the second's; then once when the tasks are learned."""
    ended(cohort, tmp_path / "plain")
    workdir = tmp_path / "killed"
    for name, lines in (("pretrain/metrics.jsonl", 2), ("pretrain/metrics.jsonl", 8), ("metrics.jsonl", 1)):
        with started(cohort, workdir) as process:
            path, began = workdir / name, time.monotonic()
            while process.poll() is None and time.monotonic() - began < 300:
                if path.exists() and len(path.read_text().splitlines()) >= lines:
                    break
                time.sleep(0.02)
            process.kill()
            process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    ended(cohort, workdir)
    for folder in ("pretrain/networks", "networks"):
        jax.tree.map(np.testing.assert_array_equal, networks(tmp_path / "plain" / folder), networks(workdir / folder))
    assert (workdir / "predictions.csv").read_bytes() == (tmp_path / "plain" / "predictions.csv").read_bytes()


@pytest.fixture(scope="module")
def encoders(cohort):
    """Pre-trained on everybody, in a workdir of its own that knows of no outcome."""
    workdir = cohort / "encoders"
    assert main.main(command(cohort, "pretrain", workdir, "--config.pretrain.transductive=True")) == 0
    return workdir


def test_encoders_that_have_seen_test_patients_are_refused(encoders, cohort, capsys):
    assert not (encoders / "networks").exists() and not (encoders / "predictions.csv").exists()
    begun = f"--config.model.init_from={encoders}"
    assert main.main(command(cohort, "finetune", cohort / "refused", begun)) == 2
    assert "patients on whom run r0-f0-s0 is judged" in capsys.readouterr().err
    assert main.main(command(cohort, "finetune", cohort / "begun", begun, "--config.pretrain.transductive=True")) == 0
    assert "which may have seen the patients" in (cohort / "begun" / "report.html").read_text()
    assert json.loads((cohort / "begun" / "run.json").read_text())["init_from"]["networks"] == {
        name: name for name in ("r0-f0-s0", "r0-f1-s0")
    }


def test_another_encoder_is_refused_by_tensor(encoders, cohort, capsys):
    more = (f"--config.model.init_from={encoders}", "--config.pretrain.transductive=True")
    given = [flag.replace("widths=(4,6)", "widths=(4,8)") for flag in command(cohort, "finetune", cohort / "other", *more)]
    assert main.main(given) == 2
    said = capsys.readouterr().err
    assert "is not that of this network" in said and "is (3, 3, 4, 6), here (3, 3, 4, 8)" in said and "config.model.encoder" in said


def test_encoders_alone_judge_nobody(encoders, capsys):
    assert main.main(["main", "--mode=evaluate", f"--workdir={encoders}"]) == 2
    assert "config.model.init_from" in capsys.readouterr().err


@pytest.mark.slow
def test_variants_share_one_pre_training(trained, cohort):
    changes = ["--config.train.epochs=1", "--mode=compare", f"--config.cohort.records={cohort / 'records'}"]
    study = cohort / "study"
    assert main.main(command(cohort, "own", study, *changes)) == 0
    found = {path.parent.parent.name: networks(path) for path in study.glob("variants/*/pretrain/networks")}
    assert {"all", "images", "oct", "ir"} <= found.keys() and "ehr" not in found and "random" not in found
    for other in found.values():
        jax.tree.map(np.testing.assert_array_equal, other, found["all"])
    written = json.loads((study / "variants.json").read_text())["variants"]
    assert {"all", "images", "oct", "ir", "ehr", "random", "probe"} <= {one["name"] for one in written}


@pytest.mark.slow
def test_explained_and_exported(trained):
    assert main.main(["main", "--mode=explain", f"--workdir={trained}", "--config.explain.most=1"]) == 0
    assert (trained / "explain" / "importance.csv").exists()
    assert main.main(["main", "--mode=export", f"--workdir={trained}"]) == 0
    said = json.loads((trained / "export" / "preprocessing.json").read_text())
    assert said["fusion"]["inside_the_network"] and "images/oct" in said["inputs"]
