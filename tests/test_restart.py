"""A program that compiled for long starts again in the same process and goes on as if it had not."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = """
import sys
from jaxstroke import main, restart
restart.WORTH = float(sys.argv[1])
restart.with_kept_memory()
main.logger.info("process begins")
sys.exit(main.main(["main", *sys.argv[2:]]))
"""
SMALL = ["--config.cohort.synthetic.patients=40", "--config.evaluate.bootstrap=50", "--config.device.data=1"]


def start(worth: float, workdir, cache, *more: str, **variables: str) -> str:
    """Run the program; what it said. worth: seconds of compilation that are worth a restart."""
    arguments = [f"--config={ROOT / 'configs' / 'mri_cnn_lstm.py'}:smoke", f"--workdir={workdir}", f"--config.device.cache={cache}", *SMALL]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(worth), *arguments, *more],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | variables,
        cwd=ROOT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def benchmark(worth: float, tmp_path, cache) -> dict:
    more = ["--mode=benchmark", "--config.benchmark.steps=2", "--config.benchmark.warmup=0"]
    start(worth, tmp_path / "benchmark", cache, *more)
    return json.loads((tmp_path / "benchmark" / "benchmark.json").read_text())


@pytest.mark.slow
def test_benchmark_is_measured_after_the_restart_and_tells_of_the_compilation(tmp_path):
    found = benchmark(0.01, tmp_path, tmp_path / "cache")
    count = found["compilations"]
    assert count["restarted"] and not found["compile_cached"]
    assert 0 < count["cached"] < count["programs"] and count["longest"] <= count["compiled"] <= count["seconds"]
    assert count["longest"] < found["compile_s"] < found["start_to_first_step_s"]
    again = benchmark(0.01, tmp_path, tmp_path / "cache")
    assert again["compile_cached"] and not again["compilations"]["restarted"], "nothing was compiled, so nothing is won"


@pytest.mark.parametrize("worth", [1e9, pytest.param(0.01, marks=pytest.mark.slow)])
def test_no_restart_for_a_short_compilation_or_without_a_cache(tmp_path, worth):
    assert not benchmark(worth, tmp_path, "" if worth < 1 else tmp_path / "cache")["compilations"]["restarted"]


@pytest.mark.slow
def test_training_ends_with_the_same_files(tmp_path):
    """Begun anew after its first step, or not: the same predictions and one log line an epoch."""
    files = ("predictions.csv", "metrics.json", "splits.json")
    plain = start(1e9, tmp_path / "plain", tmp_path / "one")
    restarted = start(0.01, tmp_path / "restarted", tmp_path / "two")
    assert plain.count("runs on cpu") == 1 and restarted.count("runs on cpu") == 2
    for name in files:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "restarted" / name).read_bytes(), name
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("plain", "restarted")]
    assert len(lines[0]) == len(lines[1])
