"""The benchmark: what it writes, what it counts, what it imports, and that a second start compiles nothing."""

import csv
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from etils import epath
from ml_collections import ConfigDict

from jaxstroke import compilations, config_json, main
from jaxstroke.benchmark import cost, measure, peaks, records, synthetic, timing
from jaxstroke.training import mesh, modes

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "configs" / "mri_cnn_lstm.py")
ONE = "--config.model.images=('dwi',)"
SMALL = ["--config.benchmark.steps=3", "--config.benchmark.warmup=1", "--config.device.data=1"]
FIELDS = {
    "system", "config", "device", "devices", "batch", "shape", "dtype", "compile_s", "first_step_s", "step_s", "samples_per_s",
    "flops_per_step", "achieved_tflops", "peak_gib", "peak_gib_source", "data_wait_share", "kind", "parameters", "peak_tflops",
    "peak_tflops_source", "peak_share", "bytes_per_step", "bandwidth_gb_s", "peak_bandwidth_gb_s", "bandwidth_share", "stages_s",
    "compilations", "start_to_first_step_s", "versions",
}  # fmt: skip
FORBIDDEN = "grain nibabel pandas sklearn matplotlib array_record tensorboardX orbax pydicom PIL tokenizers urllib3"
CHILD = f"""
import sys
from jaxstroke import main
assert main.main(sys.argv) == 0
loaded = [name for name in "{FORBIDDEN}".split() if name in sys.modules]
assert not loaded, loaded
"""


@pytest.fixture(autouse=True)
def keep_arguments(monkeypatch):
    """The program's arguments must not outlive a test, and a peak is measured on small arrays."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(peaks, "measure", lambda whole=peaks.measure: whole(64, 1024, 1))


def run(workdir, variant: str, *more: str) -> int:
    arguments = ["main", "--mode=benchmark", f"--config={CONFIG}:{variant}", f"--workdir={workdir}", "--config.device.cache="]
    return main.main([*arguments, *SMALL, *more])


def results(workdir) -> dict:
    def refuse(constant):
        raise ValueError(f"{constant} is no json")

    return json.loads((workdir / "benchmark.json").read_text(), parse_constant=refuse)


@pytest.mark.slow
def test_a_training_step_on_a_mesh(tmp_path, capsys):
    """Two runs of four devices each: fields that belong together agree; the profile names the network's layers."""
    assert run(tmp_path, "smoke", ONE, "--config.device.run=2", "--config.device.data=4", "--profile") == 0
    found, printed = results(tmp_path), capsys.readouterr().out
    assert set(found) >= FIELDS
    assert found["system"] == "jaxstroke" and found["config"] == "mri_cnn_lstm.py:smoke mri_cnn_lstm" and found["kind"] == "train"
    assert (found["devices"], found["runs"], found["batch"], found["dtype"]) == (8, 2, 8, "float32")
    assert found["shape"] == {"clinical": [5], "dwi": [4, 16, 16, 1]}
    step = found["step_s"]
    assert found["steps"] == 3 and 0 < step["min"] <= step["median"] <= step["max"]
    assert found["samples_per_s"] == pytest.approx(16 / step["median"], rel=1e-4)
    assert found["achieved_tflops"] == pytest.approx(found["flops_per_step"] / step["median"] / 1e12, rel=1e-4)
    assert found["bandwidth_gb_s"] == pytest.approx(found["bytes_per_step"] / step["median"] / 1e9, rel=1e-4)
    assert found["peak_share"] == pytest.approx(found["achieved_tflops"] / found["peak_tflops"], rel=1e-4)
    assert found["peak_gib"] > 0 and found["peak_gib_source"] == cost.PLAN and found["peak_rss_gib"] > found["peak_gib"]
    assert found["data_wait_share"] is None and found["start_to_first_step_s"] > found["first_step_s"] > 0
    assert set(found["stages_s"]) == {"forward", "backward", "update"} and found["stages_s"]["forward"] > 0
    assert found["compilations"]["programs"] > 3 and found["versions"]["jax"] == jax.__version__
    with (tmp_path / "profile" / "operations.csv").open() as file:
        operations = list(csv.DictReader(file))
    assert sum(float(one["share"]) for one in operations) == pytest.approx(1)
    assert any("dwi/encoder" in one["source"] for one in operations)
    assert operations[0]["operation"] in printed and "samples a second" in printed


def test_a_step_is_planned_without_running(tmp_path, capsys, monkeypatch):
    """What the compiler says of the step that would be timed: the same operations and memory, and no time."""
    assert run(tmp_path / "timed", "smoke", ONE) == 0
    capsys.readouterr()
    monkeypatch.setattr(timing, "measure", None)
    assert run(tmp_path / "planned", "smoke", ONE, "--config.benchmark.kind=compile") == 0
    found, whole, printed = results(tmp_path / "planned"), results(tmp_path / "timed"), capsys.readouterr().out
    assert set(found) == set(whole)
    for field in ("flops_per_step", "bytes_per_step", "peak_gib", "peak_gib_source", "parameters", "shape"):
        assert found[field] == whole[field] and found[field]
    assert found["steps"] == 0 and found["step_s"] is None and found["achieved_tflops"] is None and found["compile_s"] > 0
    assert "GFLOP, a step" in printed and "samples a second" not in printed


def test_a_forward_pass_without_images(tmp_path):
    assert run(tmp_path, "ist", "--config.benchmark.kind=predict") == 0
    found = results(tmp_path)
    assert found["kind"] == "predict" and found["batch"] == 1024 and list(found["shape"]) == ["clinical"]
    assert found["stages_s"]["forward"] > 0 and found["stages_s"]["backward"] is None


def test_real_records_wait_for_data_and_leave_the_workdir_to_others(tmp_path):
    arguments = ["--config.benchmark.source=records", "--config.cohort.workers=1", "--config.train.accumulation=2", ONE]
    assert run(tmp_path / "run", "smoke", *arguments) == 0
    found = results(tmp_path / "run")
    assert 0 < found["data_wait_share"] < 1 and found["stages_s"]["feed"] > 0 and found["batch"] == 8
    assert not any((tmp_path / "run" / name).exists() for name in ("run.json", "splits.json", "checkpoints"))


def test_synthetic_batches_are_those_of_the_feed(config_file, tmp_path):
    """Names, shapes and types of every entry and of every fitted number; labels of both classes, and no two rows alike."""
    config = config_file.get_config("smoke")
    config.device.data, config.cohort.workers, config.model.images = 4, 1, ("dwi", "tmax")
    devices = mesh.make(config.device)
    made = [source.make(config, epath.Path(tmp_path / "run"), devices, 8) for source in (synthetic, records)]

    def shapes(tree):
        return jax.tree.map(lambda x: (np.shape(x), str(x.dtype)), dict(sorted(tree.items())))

    drawn, real = made
    batch, second, third = drawn.take(0), real.take(0), real.take(1)
    assert shapes(batch) == shapes(second) and shapes(drawn.fitted) == shapes(real.fitted)
    assert batch["images/dwi"].sharding.is_equivalent_to(second["images/dwi"].sharding, 8)
    assert set(np.unique(batch["label/poor"])) == {0.0, 1.0} and np.asarray(batch["label/mrs"]).max() > 1
    assert len(np.unique(np.asarray(batch["images/dwi"])[0, 0, :, 0, 0, 0, 0])) == 8
    assert set(np.asarray(second["row"]).ravel()).isdisjoint(np.asarray(third["row"]).ravel())


@pytest.mark.parametrize(("kind", "shape"), [("volume", (5, 6, 7)), ("series", (2, 5, 6, 7))])
def test_synthetic_images_of_other_kinds(config_file, kind, shape):
    config = config_file.get_config("smoke")
    with config.unlocked():
        config.model.images = ("dwi",)
        config.images.dwi.update({"kind": kind, "shape": shape, "channels": 3})
    batch = jax.eval_shape(lambda: synthetic.draw_batch(config, (1, 1, 2), jax.random.key(0)))
    assert batch["images/dwi"].shape == (1, 1, 2, *shape, 3)
    assert batch["images_mask/dwi"].shape == ((1, 1, 2) if kind == "volume" else (1, 1, 2, 2))


@pytest.mark.parametrize("feed", ["resident", "grain"])
def test_the_feed_alone(tmp_path, capsys, feed):
    assert run(tmp_path / "run", "smoke", ONE, "--config.benchmark.kind=feed", f"--config.train.feed={feed}") == 0
    found = results(tmp_path / "run")
    bytes_a_patient = sum(math.prod(shape) * 2 for name, shape in found["shape"].items() if name != "clinical")  # int16
    assert found["kind"] == "feed" and found["source"] == "records" and found["stored_bytes_per_sample"] == bytes_a_patient > 0
    rate = found["samples_per_s"]
    assert found["stored_mb_per_s"] == pytest.approx(rate * bytes_a_patient / 1e6)
    assert found["batch"] / found["step_s"]["max"] <= rate <= found["batch"] / found["step_s"]["min"]
    assert "the feed alone" in capsys.readouterr().out


def test_the_config_of_the_caller_is_not_changed(config_file, tmp_path):
    config = config_file.get_config("smoke")
    config.train.accumulation = 3
    assert measure.one_micro_batch(config).train.accumulation == 1 and config.train.accumulation == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.benchmark.kind=foo"], ("benchmark.kind", "train", "predict")),
        (["--config.benchmark.source=record"], ("records",)),
        (["--config.benchmark.steps=0"], ("benchmark.steps",)),
        (["--config.benchmark.warmup=-1"], ("benchmark.warmup",)),
        (["--config.train.batch_size=3", "--config.device.data=2"], ("batch_size", "2")),
        (["--profile", "--mode=train"], ("--profile", "benchmark")),
    ],
)
def test_bad_values_end_with_a_message(tmp_path, capsys, arguments, words):
    assert run(tmp_path, "smoke", *arguments) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message and all(word in message for word in words)


@pytest.mark.slow
def test_second_start_compiles_nothing_and_reads_no_files(tmp_path):
    """In processes of their own: no library that reads files is imported, and the cache holds every program, however small."""
    arguments = ["main", "--mode=benchmark", f"--config={CONFIG}:smoke", f"--workdir={tmp_path / 'run'}", *SMALL]
    arguments += [ONE, f"--config.device.cache={tmp_path / 'cache'}"]
    counts = []
    for _ in range(2):
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", CHILD, *arguments[1:]], cwd=ROOT, env=os.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = results(tmp_path / "run")
        counts.append(found["compilations"])
        assert 0 < found["start_to_first_step_s"] < time.monotonic() - began + 1
        assert found["compile_cached"] == (len(counts) == 2)
    assert counts[0]["cached"] == 0 and counts[1]["cached"] == counts[1]["programs"] == counts[0]["programs"]


def test_compilations_are_counted():
    before = compilations.count().programs
    jax.jit(lambda x: 3 * x + before)(np.float32(1))
    assert compilations.count().programs > before and "read from the cache" in str(compilations.count())


def test_training_logs_what_was_compiled(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(modes, "train", lambda *_: None)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    assert run(tmp_path, "smoke", "--mode=train") == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith(str(compilations.count()))


def test_medians_and_digits():
    assert measure.finite({"a": [1.23456789, math.nan], "b": (np.float32(2), None, 7)}) == {"a": [1.23457, None], "b": [2.0, None, 7]}
    assert (
        measure.ratio(3.0, statistics.median([1.0, 2.0, 4.0])) == 1.5
        and measure.ratio(None, 2.0) is None
        and measure.ratio(1.0, 0.0) is None
    )


@pytest.mark.slow
def test_batches_of_several_lengths(sequence_file, tmp_path):
    """Every length is compiled, timed in whole epochs, and its share of steps and of padding told; a step of many images costs more."""
    config = sequence_file.get_config("smoke")
    with config.unlocked():
        config.device.data, config.cohort.workers, config.train.buckets, config.benchmark.source = 1, 1, (2, 4), "records"
        config.benchmark.steps, config.benchmark.warmup, config.train.batch_size = 1, 0, 8
        config.cohort.recipe, config.cohort.synthetic.patients = "synthetic_ct_jpg", 30
        config.cohort.outcomes = ConfigDict({"diagnosis": ("poor_outcome", "==", 1)})
        config.clinical.numeric = ()
        config.images.images.update({"column": "ct", "shape": (8, 16, 16), "sampling": "picture", "normalise": "photograph"})
        config.images.images.update({"brain_mask": "none", "dtype": "uint8"})
    measure.benchmark(config, epath.Path(tmp_path), "", False)
    found = results(tmp_path)
    assert list(found["lengths"]) == ["8", "4", "2"] and sum(found["lengths"].values()) == pytest.approx(1)
    assert found["steps"] >= 4 and found["shape"]["images"][0] == 8 and 0 < found["padded_share"] < 1
    assert found["samples_per_s"] < 30 / (found["steps"] * found["step_s"]["min"]) * 1.001
    whole = config_json.copied(config)
    whole.train.buckets = ()
    measure.benchmark(whole, epath.Path(tmp_path), "", False)
    assert "lengths" not in results(tmp_path) and results(tmp_path)["flops_per_step"] > found["flops_per_step"]
