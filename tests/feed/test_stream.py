"""The feed from disk gives what the feed from memory gives, and holds a few batches only."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxstroke.errors import InputError
from jaxstroke.feed import load, memory, resident, stream
from jaxstroke.preprocess import records
from jaxstroke.training import mesh

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHAPE = (3, 8, 6, 1)
PATIENTS, SHARD = 21, 5
MISSING = (4, 13)


def write_records(folder, pixels: np.ndarray, missing=()):
    """Records of an image: a patient each, in shards."""
    rows = np.arange(len(pixels))
    groups = [rows[start : start + SHARD] for start in range(0, len(rows), SHARD)]
    entries = []
    for number, group in enumerate(groups):
        payloads = [records.encode({"missing": True} if row in missing else {"missing": False, "array": pixels[row]}) for row in group]
        name = records.shard_name(number, len(groups))
        records.write_shard(folder, name, payloads, {"units": [str(row) for row in group]})
        entries.append(records.read_entry(folder, name))
    records.write_manifest(folder, {"shards": entries})


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """(arrays of all patients, the same without pixels, where the pixels are): a patient's record is not at its row."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(-300, 300, (PATIENTS, *SHAPE)).astype(np.int16)
    mask = (rng.random((PATIENTS, SHAPE[0])) < 0.8).astype(np.float32)
    for row in MISSING:
        pixels[row], mask[row] = 0, 0
    order = rng.permutation(PATIENTS)
    folder = tmp_path_factory.mktemp("records")
    write_records(folder, pixels[order], {place for place, row in enumerate(order) if row in MISSING})
    small = {"images_mask/dwi": mask, "scale/dwi": rng.random(PATIENTS, np.float32), "offset/dwi": rng.random(PATIENTS, np.float32)}
    small |= {"label/poor": rng.integers(0, 2, PATIENTS).astype(np.float32), "label_mask/poor": np.ones(PATIENTS, np.float32)}
    return small | {"images/dwi": pixels}, small, {"dwi": stream.Stored(str(folder), np.argsort(order), SHAPE, "int16")}


def plan(slots: int, steps: int = 6):
    """table `n run accumulation b` with padding, seeds `run`, steps `n run`."""
    rng = np.random.default_rng(1)
    table = rng.integers(0, PATIENTS, (steps, slots, 2, 8)).astype(np.int32)
    table[-1, :, :, 3:] = -1
    table[-2, 0] = -1
    return table, np.arange(slots, dtype=np.int32), np.arange(steps * slots, dtype=np.int32).reshape(steps, slots)


def both(config, cohort, shape: dict) -> tuple[resident.Resident, stream.Stream, int]:
    with config.unlocked():
        config.device.update(shape)
    devices = mesh.make(config.device)
    whole, small, stored = cohort
    augment = config.train.augment
    return resident.Resident(whole, devices, augment), stream.Stream(small, stored, devices, augment, 3), devices.shape["run"]


@pytest.mark.parametrize("shape", [{"data": 1}, {"data": 8}, {"run": 2, "data": 4}])
@pytest.mark.parametrize("train", [True, False])
def test_batches_are_those_of_the_resident_feed(config_file, cohort, shape, train):
    """Bit for bit, augmentation on; a padded row is black and masked in both."""
    memory_feed, disk_feed, slots = both(config_file.get_config("smoke"), cohort, shape)
    table, seeds, steps = plan(slots)
    pairs = zip(memory_feed.batches(table, seeds, steps, train), disk_feed.batches(table, seeds, steps, train), strict=True)
    for rows, (expected, found) in zip(table, pairs, strict=True):
        assert set(found) == set(expected)
        for name in expected:
            assert found[name].sharding.is_equivalent_to(expected[name].sharding, found[name].ndim)
            a, b = (np.asarray(jax.random.key_data(x[name]) if name == "key" else x[name]) for x in (expected, found))
            np.testing.assert_array_equal(a, b, err_msg=name)
        assert not np.asarray(found["images/dwi"])[rows < 0].any()


def test_example_has_the_shapes_of_a_batch(config_file, cohort):
    for feed in both(config_file.get_config("smoke"), cohort, {"data": 4})[:2]:
        table, seeds, steps = plan(1)
        example = feed.example(table[0], seeds, steps[0])
        batch = next(feed.batches(table, seeds, steps, train=True))
        assert {name: (x.shape, x.dtype) for name, x in example.items()} == {name: (x.shape, x.dtype) for name, x in batch.items()}


def test_a_later_start_meets_the_same_batches(config_file, cohort):
    _, feed, _ = both(config_file.get_config("smoke"), cohort, {"data": 2})
    table, seeds, steps = plan(1)
    whole = [np.asarray(batch["images/dwi"]) for batch in feed.batches(table, seeds, steps, train=True)]
    rest = [np.asarray(batch["images/dwi"]) for batch in feed.batches(table[4:], seeds, steps[4:], train=True)]
    for a, b in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_host_reads_the_rows_of_its_own_devices_only(cohort):
    """Half the mesh's devices: half the rows, each once, however many devices share them."""
    _, _, stored = cohort
    table, _, _ = plan(1)
    devices = np.array(jax.devices()).reshape(1, 8)
    whole = stream.Pixels(stored, {}, table, jax.NamedSharding(jax.sharding.Mesh(devices, ("run", "data")), stream.SPLIT))
    assert [part[2] for part in whole.parts] == [(n, n + 1) for n in range(8)]
    doubled = jax.sharding.Mesh(devices.reshape(1, 4, 2), ("run", "data", "space"))
    shared = stream.Pixels(stored, {}, table, jax.NamedSharding(doubled, stream.SPLIT))
    assert [part[2] for part in shared.parts] == [(n, n + 2) for n in range(0, 8, 2)]


def test_damaged_records_stop_the_feed_with_their_name(config_file, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (10, *SHAPE)).astype(np.uint8)
    write_records(tmp_path, pixels)
    (tmp_path / records.shard_name(1, 2)).write_bytes(b"")
    stored = {"dwi": stream.Stored(str(tmp_path), np.arange(10), SHAPE, "uint8")}
    small = {"images_mask/dwi": np.ones((10, SHAPE[0]), np.float32), "scale/dwi": np.ones(10, np.float32)}
    config = config_file.get_config("smoke")
    with config.unlocked():
        config.device.data = 1
    feed = stream.Stream(small | {"offset/dwi": np.zeros(10, np.float32)}, stored, mesh.make(config.device), config.train.augment, 2)
    table = np.arange(10, dtype=np.int32).reshape(5, 1, 1, 2)
    with pytest.raises(InputError, match="shard-00001-of-00002.array_record is damaged"):
        list(feed.batches(table, np.zeros(1, np.int32), np.zeros((5, 1), np.int32), train=False))


@pytest.mark.parametrize(("feed", "free", "on_disk"), [("auto", 10**12, False), ("auto", 10**3, True), ("auto", None, False),
                                                       ("resident", 1, False), ("grain", 10**12, True)])  # fmt: skip
def test_choice_by_free_memory(config_file, monkeypatch, feed, free, on_disk):
    config = config_file.get_config("smoke")
    config.train.feed = feed
    names = list(config.model.images or config.images)
    monkeypatch.setattr(memory, "free", lambda: free)
    monkeypatch.setattr(load.prepare, "places", lambda prepared, name, units: (np.arange(50), SHAPE, "int16"))

    class Prepared:
        folders = dict.fromkeys(names, "somewhere")

    assert set(load.stay_on_disk(config, Prepared, range(50))) == (set(names) if on_disk else set())


def test_free_memory_is_a_plausible_number():
    assert 2**20 < memory.host() < 2**50 and memory.free() == memory.host()  # on CPU devices


MEASURE = """
import sys, numpy as np, jax
sys.path.insert(0, sys.argv[2])
from test_stream import stream, mesh, load_config
config = load_config()
ones = np.ones(300, np.float32)
arrays = {"images_mask/ct": ones[:, None], "scale/ct": ones, "offset/ct": 0 * ones}
stored = {"ct": stream.Stored(sys.argv[1], np.arange(300), (1, 1024, 1024, 1), "uint8")}
feed = stream.Stream(arrays, stored, mesh.make(config.device), config.train.augment, 2)
table = np.arange(300, dtype=np.int32).reshape(150, 1, 1, 2)
def status(name):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))
total, before = 0.0, None
for number, batch in enumerate(feed.batches(table, np.zeros(1, np.int32), np.zeros((150, 1), np.int32), train=False)):
    total += float(batch["images/ct"].sum())
    if number == 5:
        before = status("VmRSS")
print(total, status("VmHWM") - before)
"""


def load_config():
    spec = importlib.util.spec_from_file_location("config", ROOT / "configs" / "mri_cnn_lstm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config("smoke")
    with config.unlocked():
        config.device.data = 1
    return config


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_far_below_the_cohort(tmp_path):
    """300 MiB on disk pass through a process that grows by less than 120 MiB after its first batches."""
    rng = np.random.default_rng(0)
    block = rng.integers(0, 255, (1, 1024, 1024, 1)).astype(np.uint8)
    write_records(tmp_path, np.broadcast_to(block, (300, *block.shape)))
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(pathlib.Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    total, growth = map(float, done.stdout.split())
    assert total == pytest.approx(300 * float(block.sum()), rel=1e-4)
    assert growth < 120


@pytest.mark.slow
def test_predictions_do_not_depend_on_the_feed(tmp_path):
    """The whole program from the same records, the cohort in memory or on disk: the same bytes."""
    for feed in ("resident", "grain"):
        arguments = [
            f"--config={ROOT / 'configs' / 'mri_cnn_lstm.py'}:smoke",
            f"--workdir={tmp_path / feed}",
            f"--config.train.feed={feed}",
        ]
        arguments += ["--config.device.data=1", "--config.evaluate.bootstrap=50", f"--config.cohort.records={tmp_path / 'records'}"]
        command = [sys.executable, "-m", "jaxstroke.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, timeout=400)
        assert done.returncode == 0, done.stderr[-2000:]
    a, b = ((tmp_path / feed / "predictions.csv").read_bytes() for feed in ("resident", "grain"))
    assert a == b
