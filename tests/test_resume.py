"""A run killed at any moment and started again ends with the same files: a campaign of random moments, then the delicate ones."""

import json
import os
import pathlib
import random
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


def kill_when(workdir, ready, number=signal.SIGKILL, later: float = 0.0) -> tuple[int, str]:
    """Start the command and send it a signal `later` seconds after `ready()`; its exit code and output. One that ended before is left."""
    with subprocess.Popen(
        [sys.executable, "-m", "jaxstroke.main", *arguments(workdir)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        began = time.monotonic()
        while not ready() and process.poll() is None and time.monotonic() - began < 300:
            time.sleep(0.02)
        time.sleep(later)
        process.send_signal(number)  # does nothing to a process that has ended
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
    assert losses(a) == losses(b)


def losses(workdir) -> list:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return sorted((line["run"], line["epoch"], *line["val_loss"].values(), *line["train_loss"].values()) for line in lines)


def moments(workdir: pathlib.Path, networks: int) -> dict:
    """Stage -> (a function that says whether the run has come to it, how many seconds it may last)."""
    records, checkpoints, finished = workdir.parent / "records", workdir / "checkpoints", workdir / "networks"
    already = epochs(workdir)
    return {
        "preparation": (records.exists, 1.5),
        "anywhere": (lambda: True, 10.0),
        "training": (lambda: epochs(workdir) > already, 1.0),
        "saving": (lambda: any(checkpoints.glob("*tmp*")), 0.1),
        "fusion": (lambda: len(list(finished.glob("r*[0-9]"))) == networks, 1.5),
    }


def test_campaign_of_kills_at_random_moments(plain, tmp_path):
    """Twenty kills, every stage in turn, each run killed in several before it may end; then a SIGTERM and the end."""
    chance, kills, networks = random.Random(0), dict.fromkeys(moments(plain, 0), 0), len(list((plain / "networks").iterdir()))
    for number in range(20):
        workdir = tmp_path / str(number) / "run"
        for stage in kills:
            ready, lasting = moments(workdir, networks)[stage]
            code, output = kill_when(workdir, ready, later=chance.uniform(0, lasting))
            assert code in (0, -signal.SIGKILL), f"after {kills}, in {stage}: {output[-3000:]}"
            kills[stage] += code == -signal.SIGKILL
        code, output = kill_when(workdir, lambda: True, signal.SIGTERM, later=chance.uniform(5, 12))
        assert code in (0, -signal.SIGTERM), output[-3000:]  # the latter where Python had not come to the program yet
        finish(workdir)
        same(plain, workdir)
        if sum(kills.values()) >= 20 and min(kills.values()) >= 3:
            break
    print("kills survived:", kills)
    assert sum(kills.values()) >= 20 and min(kills.values()) >= 3


def largest(folder: pathlib.Path) -> pathlib.Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


DAMAGES = {
    "truncated": lambda folder: os.truncate(largest(folder), largest(folder).stat().st_size // 2),
    "emptied": lambda folder: [os.truncate(path, 0) for path in folder.rglob("*") if path.is_file()],
    "gone": lambda folder: [path.unlink() for path in folder.rglob("*") if path.is_file()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_checkpoint_gives_way_to_the_one_before(plain, tmp_path, damage):
    workdir = tmp_path / "run"
    kill_when(workdir, lambda: epochs(workdir) >= 5)
    numbers = sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    assert len(numbers) >= 2
    DAMAGES[damage](workdir / "checkpoints" / str(numbers[-1]))
    said = finish(workdir)
    assert f"checkpoint {numbers[-1]} cannot be read" in said and "trying the one before" in said and "resumed at step" in said
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
