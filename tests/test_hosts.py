"""Two processes of this machine as two hosts, with gloo between them: what they agree on, and the whole program."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest

from jaxstroke import hosts, main

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "configs" / "mri_cnn_lstm.py:smoke")
AGREE = """
import sys
import jax
import numpy as np
from ml_collections import ConfigDict
from jaxstroke import hosts
from jaxstroke.errors import InputError

number = int(sys.argv[2])
hosts.begin(ConfigDict({"processes": 2, "coordinator": sys.argv[1], "process": number}))
assert (hosts.count(), hosts.first()) == (2, number == 0)

# What process 0 chooses; what holds in any, in all.
assert hosts.decided(number == 0) and not hosts.decided(number == 1)
assert hosts.anywhere(number == 1) and not hosts.anywhere(False) and not hosts.everywhere(number == 1) and hosts.everywhere(True)

# Bits come over as they are: the sign of zero, NaN, 64 bits, nothing, and text.
tree = {"a": np.array([[-0.0, np.nan, 1e-45]], np.float32), "b": np.int64(2**40 + 1), "c": np.zeros((0, 3), np.float32)}
found = hosts.from_first(tree if number == 0 else jax.tree.map(np.zeros_like, tree))
for name, value in tree.items():
    assert found[name].tobytes() == value.tobytes() and found[name].shape == value.shape and found[name].dtype == value.dtype
assert hosts.text_from_first("né" if number == 0 else "another") == "né" and hosts.text_from_first("") == ""

# An array that lies half here, half there.
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
whole = np.arange(8.0, dtype=np.float32).reshape(4, 2)
for spec in (jax.P("data"), jax.P()):
    put = hosts.put({"x": whole}, jax.NamedSharding(mesh, spec))
    assert put["x"].shape == (4, 2) and (hosts.fetch(put)["x"] == whole).all()

# All stop where one is asked, at the same call.
calls = iter(range(100))
stop = hosts.Together(lambda: number == 1 and next(calls) >= 1, every=2)
assert [stop() for _ in range(6)] == [False, False, True, True, True, True]

# One after the other; and what one cannot do, none does.
assert hosts.in_turn(lambda: open(sys.argv[3], "a").write(str(number))) == 1
assert open(sys.argv[3]).read() == "01"[: number + 1] or number == 0

def refuse_in_the_second():
    if number == 1:
        raise InputError("no such table")

def refused(act) -> str:
    try:
        act()
    except InputError as error:
        return str(error)

assert refused(lambda: hosts.in_turn(refuse_in_the_second)) == ("no such table" if number else "process 1 of 2 cannot go on; it says why")
hosts.check_same({"table": "abc", "splits": "d" * 64})
assert "table" in refused(lambda: hosts.check_same({"table": f"{number}bc"}))
print("agreed")
"""


def port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def environment(devices: int) -> dict:
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}


def start(commands, devices: int = 2) -> list:
    pipe = subprocess.PIPE
    return [
        subprocess.Popen([sys.executable, *command], env=environment(devices), stdout=pipe, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]


def ends(processes) -> list[str]:
    """What each said; all must end well."""
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(said), "\n\n".join(text[-3000:] for text in said)
    return said


def pair(workdirs, *more) -> list:
    """The program in two processes, each with its own workdir: as on two hosts whose disks are their own, or share one."""
    address = f"--config.device.coordinator=localhost:{port()}"
    small = ["--config.cohort.synthetic.patients=40", "--config.evaluate.bootstrap=50", "--config.train.save_seconds=0"]
    return start(
        ["-m", "jaxstroke.main", "--config", CONFIG, "--workdir", str(workdir), *small, "--config.device.processes=2", address,
         f"--config.device.process={number}", *more]
        for number, workdir in enumerate(workdirs)
    )  # fmt: skip


def test_processes_agree(tmp_path):
    (tmp_path / "agree.py").write_text(AGREE)
    address = f"localhost:{port()}"
    said = ends(start([str(tmp_path / "agree.py"), address, str(number), str(tmp_path / "turns")] for number in (0, 1)))
    assert all("agreed" in text for text in said)


def test_one_process_is_asked_nothing():
    assert hosts.count() == 1 and hosts.first()
    assert hosts.in_turn(lambda: 3) == 3 and hosts.from_first({"a": 1}) == {"a": 1}
    asked = iter([False, True])
    stop = hosts.Together(lambda: next(asked))
    assert [stop(), stop()] == [False, True]  # at every call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config.device.processes=0"], "the other processes are not found"),
        (["--config.device.processes=2", "--mode=prepare"], "runs in one process"),
    ],
)
def test_processes_that_cannot_be_are_refused(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    assert main.main(["main", f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", "--config.device.cache=", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two processes that share a disk, left alone."""
    workdir = tmp_path_factory.mktemp("plain") / "run"
    ends(pair([workdir, workdir]))
    return workdir


def difference(a: pathlib.Path, b: pathlib.Path) -> float:
    """The largest difference between two files of predictions, which must hold the same rows."""
    frames = [pd.read_csv(workdir / "predictions.csv", dtype={"patient_id": str}) for workdir in (a, b)]
    assert len(frames[0]) == len(frames[1]) and frames[0]["unit_id"].equals(frames[1]["unit_id"])
    return float((frames[0]["probability"] - frames[1]["probability"]).abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--config.train.feed=grain"], ["--config.device.run=4"]], ids=["resident", "grain", "runs apart"])
def test_two_processes_equal_one(plain, tmp_path, more):
    one = tmp_path / "one"
    small = ["--config.cohort.synthetic.patients=40", "--config.evaluate.bootstrap=50"]
    ends(start([["-m", "jaxstroke.main", "--config", CONFIG, "--workdir", str(one / "run"), *small]], devices=4))
    two = plain
    if more:
        two = tmp_path / "two" / "run"
        ends(pair([two, two], *more))
    assert 0 <= difference(one / "run", two) < 1e-5


@pytest.mark.slow
def test_two_processes_evaluate(plain, tmp_path):
    """Also where the second host has nothing of the workdir, and where there is nothing to evaluate."""
    workdir, other = tmp_path / "first" / "run", tmp_path / "second" / "run"
    shutil.copytree(plain, workdir)
    (workdir / "predictions.csv").unlink()
    ends(pair([workdir, other], "--mode=evaluate"))
    assert (workdir / "predictions.csv").read_bytes() == (plain / "predictions.csv").read_bytes()
    refused = pair([tmp_path / "none", other], "--mode=evaluate")
    said = [process.communicate(timeout=300)[0] for process in refused]
    assert [process.returncode for process in refused] == [2, 2]
    assert "holds no trained run" in said[0] and "process 0 of 2 cannot go on" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_ends_all_and_they_resume(plain, tmp_path, number):
    """The second host is the one that is stopped, and comes back with an empty disk."""
    workdir, other = tmp_path / "first" / "run", tmp_path / "second" / "run"
    processes, learning = pair([workdir, other]), workdir / "metrics.jsonl"
    began = time.monotonic()
    while not (learning.exists() and len(learning.read_text().splitlines()) >= 3) and time.monotonic() - began < 200:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    processes[1].send_signal(number)
    if number == signal.SIGTERM:
        assert all("stopped, nothing is lost" in text for text in ends(processes))
    else:
        assert processes[1].wait(timeout=60) == -signal.SIGKILL and processes[0].wait(timeout=300) != 0
        processes[0].communicate(), processes[1].communicate()
    assert not (workdir / "predictions.csv").exists()
    shutil.rmtree(tmp_path / "second")
    assert "resumed at step" in ends(pair([workdir, other]))[0]
    assert (workdir / "predictions.csv").read_bytes() == (plain / "predictions.csv").read_bytes()
    assert not (other / "predictions.csv").exists()
