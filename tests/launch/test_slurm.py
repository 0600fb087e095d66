"""slurm.sbatch without Slurm: the signal that Slurm sends, a program that answers it in every way, and whether the job is put back."""

import os
import pathlib
import shlex
import signal
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SMOKE = ["--config", str(ROOT / "configs" / "mri_cnn_lstm.py:smoke"), "--config.evaluate.bootstrap=50", "--config.train.save_seconds=0"]
PROGRAM = """#!{python}
import os, signal, sys, time
asked = []
if os.environ["PROGRAM"] != "deaf":
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
open(os.environ["NOTES"], "a").write("begun\\n")
if os.environ["PROGRAM"] in ("finishes", "fails"):
    sys.exit(0 if os.environ["PROGRAM"] == "finishes" else 3)
while not asked:
    time.sleep(0.02)
time.sleep(1.0)  # saving
open(os.environ["NOTES"], "a").write(f"ended after {{len(asked)}} signals\\n")
if os.environ["PROGRAM"] == "stops":
    print("stopped, nothing is lost; resume with: ...")
sys.exit(3 if os.environ["PROGRAM"] == "breaks" else 0)
"""


@pytest.fixture
def job(tmp_path, monkeypatch, stand_in):
    """The environment of a job, whose notes say what happened in what order."""
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("PYTHON", str(stand_in("python-of-the-job", PROGRAM.format(python=sys.executable))))
    stand_in("scontrol", '#!/bin/sh\necho "scontrol $*" >>"$NOTES"\nexit "${SCONTROL:-0}"\n')

    def notes() -> list[str]:
        return (tmp_path / "notes").read_text().splitlines() if (tmp_path / "notes").exists() else []

    return notes


@pytest.mark.parametrize(("program", "code"), [("finishes", 0), ("fails", 3)])
def test_no_requeue_without_a_signal(job, launch, program, code):
    done = launch("slurm.sbatch", "--", "x", PROGRAM=program)
    assert done.returncode == code and job() == ["begun"], done.stderr


@pytest.mark.parametrize(
    ("program", "code", "ending"),
    [
        ("stops", 0, ["ended after 1 signals", "scontrol requeue 77"]),
        ("finishes meanwhile", 0, ["ended after 1 signals"]),
        ("breaks", 3, ["ended after 1 signals"]),
        ("deaf", 0, ["scontrol requeue 77"]),
    ],
)
def test_requeue_where_the_signal_stopped_the_program(job, begin, wait_for, program, code, ending):
    process = begin("slurm.sbatch", "--", "x", PROGRAM=program)
    wait_for(job, process)
    for _ in range(2):  # the second finds the program saving
        process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == code, output
    assert job() == ["begun", *ending]


def test_a_job_that_cannot_be_requeued_says_so(job, begin, wait_for):
    process = begin("slurm.sbatch", "--", "x", PROGRAM="stops", SCONTROL="1")
    wait_for(job, process)
    process.send_signal(signal.SIGTERM)
    assert "submit it again" in process.communicate(timeout=60)[0] and process.returncode == 1


def test_a_missing_environment_is_named(launch, tmp_path):
    done = launch("slurm.sbatch", "--", "x", SLURM_SUBMIT_DIR=str(tmp_path))
    assert done.returncode == 2 and f"{tmp_path}/.venv/bin/python is not there" in done.stderr


def test_dry_run_starts_nothing(job, launch):
    done = launch("slurm.sbatch", "--dry-run", "--", "--workdir", "my runs/*")
    first, second = done.stdout.splitlines()
    assert shlex.split(first)[1:] == [os.environ["PYTHON"], "-m", "jaxstroke.main", "--workdir", "my runs/*"]
    assert second.startswith("+ scontrol requeue 77") and job() == []


@pytest.mark.slow
def test_a_real_run_that_is_requeued_ends_as_one_that_was_not(job, launch, begin, wait_for, tmp_path):
    plain, workdir = tmp_path / "plain" / "run", tmp_path / "stopped" / "run"
    whole = launch("slurm.sbatch", "--", *SMOKE, "--workdir", plain, PYTHON=sys.executable)
    assert whole.returncode == 0 and job() == [], whole.stderr[-3000:]
    process = begin("slurm.sbatch", "--", *SMOKE, "--workdir", workdir, PYTHON=sys.executable)
    learning = workdir / "metrics.jsonl"
    wait_for(lambda: learning.exists() and len(learning.read_text().splitlines()) >= 2, process)
    process.send_signal(signal.SIGTERM)
    assert "stopped, nothing is lost" in process.communicate(timeout=120)[0]
    assert process.returncode == 0 and job() == ["scontrol requeue 77"]
    assert not (workdir / "predictions.csv").exists()
    again = launch("slurm.sbatch", "--", *SMOKE, "--workdir", workdir, PYTHON=sys.executable)
    assert again.returncode == 0 and "resumed at step" in again.stderr and job() == ["scontrol requeue 77"]
    assert (workdir / "predictions.csv").read_bytes() == (plain / "predictions.csv").read_bytes()
