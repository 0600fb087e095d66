import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import pytest

from jaxstroke.preprocess import records, shards
from jaxstroke.preprocess.prepare import prepare


def tree(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(pathlib.Path(folder).iterdir())}


def run(config, cohort, place, **more):
    return prepare(config, cohort, place / "run", place / "records", **more)


def test_two_processes_write_what_one_writes(tmp_path, small_cohort):
    cohort, config = small_cohort
    one = run(config, cohort, tmp_path / "one")
    config.cohort.workers = 2
    two = run(config, cohort, tmp_path / "two")
    assert one.digests == two.digests and one.contents == two.contents
    for name in one.folders:
        assert tree(one.folders[name]) == tree(two.folders[name])


def test_workers_do_not_import_the_main_module():
    main = sys.modules["__main__"]
    with shards.bare_children():
        assert not hasattr(sys.modules["__main__"], "__file__") and os.environ["OMP_NUM_THREADS"] == "1"
    assert sys.modules["__main__"] is main


def test_preprocessing_does_not_import_jax():
    code = "import sys, jaxstroke.preprocess.patient; assert 'jax' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_killed_and_started_again_gives_identical_records(tmp_path, small_cohort, monkeypatch):
    cohort, config = small_cohort
    whole = run(config, cohort, tmp_path / "whole")
    made = []

    def dies(task):
        if made:  # the second shard: half of it written, its entry already there
            folder = pathlib.Path(task.folders["dwi"])
            (folder / f"{task.shard}.tmp-1").write_bytes(b"half")
            records.write_entry(folder, {"name": task.shard, "bytes": 4, "units": [], "sources": [], "failures": []})
            raise KeyboardInterrupt
        made.append(task.shard)
        return original(task)

    original = shards.prepare_shard
    monkeypatch.setattr(shards, "prepare_shard", dies)
    with pytest.raises(KeyboardInterrupt):
        run(config, cohort, tmp_path / "cut")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("*.array_record")}
    assert len(times) == 2  # one shard of each image
    monkeypatch.setattr(shards, "prepare_shard", original)
    resumed = run(config, cohort, tmp_path / "cut")
    assert all(p.stat().st_mtime_ns == t for p, t in times.items())
    assert resumed.contents == whole.contents
    for name in whole.folders:
        kept = tree(resumed.folders[name])
        kept.pop(next((key for key in kept if ".tmp-" in key), ""), None)
        assert kept == tree(whole.folders[name])


KILLED = """
import pickle, sys
from jaxstroke.preprocess import shards
from jaxstroke.preprocess.prepare import prepare
with open(sys.argv[1], "rb") as file:
    config, cohort = pickle.load(file)
original = shards.prepare_shard
def slow(task):
    import time
    print(original(task), flush=True)
    time.sleep(0.5)
    return 8, 8
shards.prepare_shard = slow
prepare(config, cohort, sys.argv[2] + "/run", sys.argv[2] + "/records")
"""


def test_sigkill_loses_nothing_that_was_done(tmp_path, small_cohort):
    cohort, config = small_cohort
    whole = run(config, cohort, tmp_path / "whole")
    (tmp_path / "input.pkl").write_bytes(pickle.dumps((config, cohort)))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "input.pkl"), str(tmp_path / "cut")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    done = list((tmp_path / "cut").rglob("*.array_record"))
    assert 2 <= len(done) < 6 and not list((tmp_path / "cut").rglob("manifest.json"))
    assert run(config, cohort, tmp_path / "cut").contents == whole.contents


PROGRAM = """
import multiprocessing, pathlib, pickle, sys
with open(sys.argv[2] + "/imports", "a") as log:
    log.write("imported\\n")
if __name__ == "__main__":
    from jaxstroke.preprocess import shards
    from jaxstroke.preprocess.prepare import prepare
    config, cohort = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
    config.cohort.workers = 2
    original = shards.finish
    def finish(*arguments):
        print("made", flush=True)
        original(*arguments)
    shards.finish = finish
    if sys.argv[3] == "stay":
        class Line(shards.terminal.Silent):
            def advance(self, count):
                print(*[child.pid for child in multiprocessing.active_children()], flush=True)
                input()
        shards.terminal.Silent = Line
    prepare(config, cohort, sys.argv[2] + "/run", sys.argv[2] + "/records")
"""


def start_program(tmp_path, small_cohort, how):
    cohort, config = small_cohort
    (tmp_path / "input.pkl").write_bytes(pickle.dumps((config, cohort)))
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "input.pkl"), str(tmp_path), how]
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(shards.__file__).parents[2])}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def test_workers_do_not_import_the_program(tmp_path, small_cohort):
    with start_program(tmp_path, small_cohort, "run") as process:
        assert process.communicate(timeout=60)[0].split() == ["made", "made"] and process.returncode == 0
    assert (tmp_path / "imports").read_text() == "imported\n"


def alive(pid: str) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="reads /proc to see whether a process lives")
def test_workers_end_with_a_killed_program(tmp_path, small_cohort):
    with start_program(tmp_path, small_cohort, "stay") as process:
        workers = process.stdout.readline().split()
        assert len(workers) == 2 and all(alive(pid) for pid in workers)
        process.kill()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)
