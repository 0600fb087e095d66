"""A run killed at any moment and started again ends with the same files: in preparation, training, fusion, and within a checkpoint."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = [
    "--config.cohort.synthetic.patients=40",
    "--config.evaluate.bootstrap=50",
    "--config.train.save_seconds=0",
    "--config.device.data=1",
]
KILLER = """
import os, signal, sys
from jaxstroke import main
from jaxstroke.training import checkpoint, judge

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "fusion":
    judge.fit_fold = kill
else:
    save, saves = checkpoint.Rolling.save, []

    def save_then_kill(self, *arguments):
        save(self, *arguments)
        saves.append(1)
        if len(saves) == 4:
            kill()  # the write goes on in the background: the checkpoint is half there

    checkpoint.Rolling.save = save_then_kill
sys.exit(main.main(["main", *sys.argv[2:]]))
"""

pytestmark = pytest.mark.slow


def arguments(workdir) -> list[str]:
    return ["--config", str(ROOT / "configs" / "mri_cnn_lstm.py:smoke"), "--workdir", str(workdir), *SMALL]


def environment() -> dict:
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}


def finish(workdir) -> str:
    """Run the command to its end; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "jaxstroke.main", *arguments(workdir)], env=environment(), capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def kill_when(workdir, ready, number=signal.SIGKILL) -> tuple[int, str]:
    """Start the command and send it a signal once `ready()`; its exit code and output."""
    with subprocess.Popen(
        [sys.executable, "-m", "jaxstroke.main", *arguments(workdir)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        began = time.monotonic()
        while not ready() and process.poll() is None and time.monotonic() - began < 300:
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(number)
        output = process.communicate(timeout=300)[0]
        return process.returncode, output


def epochs(workdir) -> int:
    path = workdir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run left alone."""
    workdir = tmp_path_factory.mktemp("plain") / "run"
    finish(workdir)
    return workdir


def same(a: pathlib.Path, b: pathlib.Path):
    assert (a / "predictions.csv").read_bytes() == (b / "predictions.csv").read_bytes()
    assert json.loads((a / "metrics.json").read_text()) == json.loads((b / "metrics.json").read_text())


def test_killed_in_preparation(plain, tmp_path):
    workdir = tmp_path / "run"
    kill_when(workdir, lambda: (tmp_path / "records").exists() and any((tmp_path / "records").rglob("shard-*")))
    assert epochs(workdir) == 0
    finish(workdir)
    same(plain, workdir)


def test_killed_in_training_twice(plain, tmp_path):
    workdir = tmp_path / "run"
    for wanted in (2, 9):
        code, _ = kill_when(workdir, lambda wanted=wanted: epochs(workdir) >= wanted)
        assert code == -signal.SIGKILL
    assert "resumed at step" in finish(workdir)
    same(plain, workdir)


def test_sigterm_saves_and_says_how_to_resume(plain, tmp_path):
    workdir = tmp_path / "run"
    code, output = kill_when(workdir, lambda: epochs(workdir) >= 4, signal.SIGTERM)
    assert code == 0 and "resume with: python -m jaxstroke.main" in output
    assert "resumed at step" in finish(workdir)
    same(plain, workdir)


@pytest.mark.parametrize("moment", ["fusion", "checkpoint"])
def test_killed_in_fusion_and_within_a_checkpoint(plain, tmp_path, moment):
    workdir = tmp_path / "run"
    command = [sys.executable, "-c", KILLER, moment, *arguments(workdir)]
    killed = subprocess.run(command, env=environment(), capture_output=True, timeout=400)
    assert killed.returncode == -signal.SIGKILL
    assert not (workdir / "predictions.csv").exists()
    said = finish(workdir)
    assert "resumed at step" in said
    same(plain, workdir)
