"""A disk that fills up, in preparation or while a checkpoint is saved: one clear message, and the run resumes once there is room.

A limit on the size of a file stands for the disk: every write past it fails as on a full one, and no administrator's right is needed."""

import os
import pathlib
import subprocess
import sys

import pytest

from jaxstroke import full_disk

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""
SMALL = ["--config.cohort.synthetic.patients=40", "--config.evaluate.bootstrap=50", "--config.train.save_seconds=0"]


def run(workdir: pathlib.Path, *flags: str, largest: int | None = None) -> subprocess.CompletedProcess:
    """The :smoke command; `largest` is the size in bytes that no file may outgrow."""
    command = [sys.executable, "-m", "jaxstroke.main", "--config", str(ROOT / "configs" / "mri_cnn_lstm.py:smoke")]
    if largest is not None:  # set in the new process: between fork and exec it would be set in a copy of this one, with JAX's threads
        command = [sys.executable, "-c", LIMITED, str(largest), *command]
    return subprocess.run(
        [*command, "--workdir", str(workdir), *SMALL, *flags],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=400,
    )  # fmt: skip


def stops_with_a_message(done: subprocess.CompletedProcess):
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: a disk is full") == 1
    assert "resume with: python -m jaxstroke.main" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["preparation", "checkpoint"])
def test_full_disk_is_said_and_the_run_resumes_to_the_same_files(tmp_path, stage):
    plain, full = tmp_path / "plain", tmp_path / "apart" / "full"
    assert run(plain).returncode == 0
    if stage == "checkpoint":
        assert run(full, "--mode=prepare").returncode == 0
    stops_with_a_message(run(full, largest=20_000))
    assert not (full / "predictions.csv").exists()
    resumed = run(full)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert (plain / "predictions.csv").read_bytes() == (full / "predictions.csv").read_bytes()


def test_cause_is_found_behind_a_library_s_own_error():
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise ValueError("RESOURCE_EXHAUSTED: while writing") from error
    except ValueError as error:
        assert full_disk.is_cause(error)
    assert not full_disk.is_cause(ValueError("RESOURCE_EXHAUSTED: out of memory")) and not full_disk.is_cause(None)
