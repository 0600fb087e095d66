"""tpu_vm.sh with a gcloud that has a folder for a VM and another for a bucket: what runs on the VM runs for real."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FAKE = pathlib.Path(__file__).parent / "fake_gcloud.py"
BUCKET = "gs://bucket/runs/one"
VM = ["--name", "vm", "--zone", "z", "--type", "v5litepod-8"]
ALL = ["all", *VM, "--spot", "--bucket", BUCKET, "--seconds", "1"]
# The program: counts to ten in its workdir, a number in 0.3 s, and goes on from there; it ends as the real one does.
COUNTER = """
import os, pathlib, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
workdir = pathlib.Path(sys.argv[sys.argv.index("--workdir") + 1])
workdir.mkdir(parents=True, exist_ok=True)
number = int((workdir / "number").read_text()) if (workdir / "number").exists() else 0
open(os.environ.get("COUNTED", os.devnull), "a").write(os.environ["WORKER"] + "\\n")
(workdir / "begun").open("a").write(f"{number}\\n")
while number < 10:
    time.sleep(0.3)
    number += 1
    (workdir / "number").write_text(str(number))
    if asked:
        print("stopped, nothing is lost; resume with: ...")
        sys.exit(0)
    if number == int(os.environ.get("BREAKS_AT", 99)):
        sys.exit(2)
(workdir / "report.html").write_text(" ".join(sys.argv[1:]))
"""
# uv as the worker finds it: the environment that it makes runs the program with this Python, and installs nothing.
UV = """#!/bin/sh
mkdir -p .venv/bin
cat >.venv/bin/python <<'END'
#!/bin/sh
case "$2" in
  pip) echo "$@" >>"$CLOUD/installed" ;;
  *) shift 2 && exec {program} "$@" ;;
esac
END
chmod +x .venv/bin/python
"""


@pytest.fixture
def cloud(tmp_path, monkeypatch, stand_in):
    """The folder of the stand-in's cloud; `python3 -m pip install --user uv` on the VM brings a stand-in of uv."""
    folder = tmp_path / "cloud"
    (folder / "bucket").mkdir(parents=True)
    (tmp_path / "counter.py").write_text(COUNTER)
    for name, value in {"CLOUD": str(folder), "PAUSE": "0.2", "PROGRAM": f"{sys.executable} {tmp_path / 'counter.py'}"}.items():
        monkeypatch.setenv(name, value)
    stand_in("gcloud", f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    stand_in("uv", UV.replace("{program}", "$PROGRAM"))
    stand_in("curl", "#!/bin/sh\necho $WORKER\n")
    stand_in("python3", '#!/bin/sh\nmkdir -p "$HOME/.local/bin" && cp "$(command -v uv)" "$HOME/.local/bin/"\n')
    yield folder
    if (folder / "vm").exists():
        subprocess.run([sys.executable, str(FAKE), "compute", "tpus", "tpu-vm", "delete", "vm", "--zone=z"], check=False)


def calls(cloud) -> list[str]:
    """What was asked of the VM, in order; of `ssh` the worker's verb."""
    found = []
    for line in (cloud / "calls").read_text().splitlines():
        words = [word for word in json.loads(line) if word != "--quiet"]
        if words[0] == "compute" and words[3] == "ssh":
            command = words[-2]
            found.append(command[command.index("tpu_worker.sh ") :].split()[1])
        elif words[0] == "compute" and words[3] != "describe":
            found.append(words[3])
    return found


def kept(cloud) -> pathlib.Path:
    return cloud / "bucket" / "bucket" / "runs" / "one" / "workdir"


FIRST = ["create", "scp", "install", "start", "follow"]


def test_all_makes_installs_runs_and_deletes(cloud, launch):
    done = launch("tpu_vm.sh", *ALL, "--", "--workdir", "runs/demo", "--config.model.images=('dwi','adc')", "*", "$HOME")
    assert done.returncode == 0, done.stdout + done.stderr
    assert calls(cloud) == [*FIRST, "delete"] and not (cloud / "state").exists()
    assert (kept(cloud) / "report.html").read_text() == "--workdir runs/demo --config.model.images=('dwi','adc') * $HOME"
    created = next(json.loads(line) for line in (cloud / "calls").read_text().splitlines() if "create" in line)
    assert {"--accelerator-type=v5litepod-8", "--version=v2-alpha-tpuv5-lite", "--spot", "--zone=z"} <= set(created)
    assert (cloud / "installed").read_text() == "-m pip install --quiet --editable .[tpu]\n"


def test_a_preempted_vm_is_made_again_and_the_run_goes_on_from_the_bucket(cloud, begin, wait_for):
    process = begin("tpu_vm.sh", *ALL, "--", "--workdir", "runs/demo")
    number = kept(cloud) / "number"
    wait_for(lambda: number.exists() and int(number.read_text() or 0) >= 3, process)
    (cloud / "capacity").write_text("-2")  # the first two attempts to have another one fail
    (cloud / "preempt").touch()
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert calls(cloud) == [*FIRST, "delete", "create", "create", *FIRST, "delete"]
    first, second = map(int, (kept(cloud) / "begun").read_text().split())
    assert first == 0 and second >= 3  # not from the beginning
    assert (kept(cloud) / "report.html").exists() and not (cloud / "state").exists()


@pytest.mark.slow
def test_on_a_slice_of_several_hosts_all_run_and_the_first_copies(cloud, launch):
    arguments = [*ALL, "--type", "v5litepod-16", "--", "--workdir", "runs/demo"]
    done = launch("tpu_vm.sh", *arguments, WORKERS="4", COUNTED=str(cloud / "counted"))
    assert done.returncode == 0 and calls(cloud) == [*FIRST, "delete"], done.stderr
    assert sorted((cloud / "counted").read_text().split()) == ["0", "1", "2", "3"]
    assert (kept(cloud) / "report.html").read_text() == "--workdir runs/demo --config.device.processes=0"
    assert (kept(cloud) / "begun").read_text() == "0\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_copies_and_deletes(cloud, begin, wait_for, number):
    process = begin("tpu_vm.sh", *ALL, "--seconds", "300", "--", "--workdir", "runs/demo")
    there = cloud / "vm" / "0" / "jaxstroke" / "runs" / "demo" / "number"
    wait_for(lambda: there.exists() and there.read_text() >= "2", process)
    process.send_signal(number)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 128 + number, output
    assert calls(cloud) == [*FIRST, "stop", "delete"] and not (cloud / "state").exists()
    assert int((kept(cloud) / "number").read_text()) >= 2 and not (kept(cloud) / "report.html").exists()


def test_a_program_that_fails_is_not_run_again(cloud, launch):
    done = launch("tpu_vm.sh", *ALL, "--", "--workdir", "runs/demo", BREAKS_AT="2")
    assert done.returncode == 1 and calls(cloud) == [*FIRST, "delete"]
    assert (kept(cloud) / "number").read_text() == "2"


def test_a_vm_that_cannot_be_made_ends_at_once(cloud, launch):
    (cloud / "capacity").write_text("-9")
    done = launch("tpu_vm.sh", *ALL, "--", "--workdir", "runs/demo")
    assert done.returncode == 1 and "no more capacity" in done.stderr
    assert (cloud / "capacity").read_text() == "-8"


@pytest.mark.slow
def test_what_could_not_be_copied_is_not_deleted(cloud, begin, wait_for):
    process = begin("tpu_vm.sh", *ALL, "--seconds", "300", "--", "--workdir", "runs/demo")
    wait_for((cloud / "vm" / "0" / "jaxstroke" / "runs" / "demo" / "number").exists, process)
    (cloud / "bucket-is-closed").touch()
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1 and "which is not deleted" in output
    assert calls(cloud) == FIRST and (cloud / "vm" / "0" / "jaxstroke" / "runs" / "demo" / "report.html").exists()


def test_a_bucket_that_cannot_be_written_ends_before_the_program(cloud, launch):
    (cloud / "bucket-is-closed").touch()
    done = launch("tpu_vm.sh", *ALL, "--", "--workdir", "runs/demo")
    assert done.returncode == 1 and "not be written" in done.stdout and calls(cloud) == [*FIRST, "delete"]


def test_run_follows_a_program_that_already_runs(cloud, begin, launch, wait_for):
    """The connection or the laptop is lost: the program goes on, and the same command finds it."""
    arguments = ["run", *ALL[1:], "--", "--workdir", "runs/demo"]
    process = begin("tpu_vm.sh", *arguments)
    there = cloud / "vm" / "0" / "jaxstroke" / "runs" / "demo" / "begun"
    wait_for(there.exists, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130 and (cloud / "state").exists()
    done = launch("tpu_vm.sh", *arguments)
    assert done.returncode == 0 and ("already running" in done.stdout or "already finished" in done.stdout)
    assert there.read_text() == "0\n"  # it was begun once
    assert (kept(cloud) / "report.html").exists() and (cloud / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["begin"], "begin with create"),
        (["all", "--name", "vm"], "--zone"),
        (["all", *VM[:-1], "v5e-8"], "--type v5e-8 is unknown"),
        (["all", *VM[:-2]], "--type is missing"),
        (["all", *VM, "--", "--workdir", "runs/x"], "--bucket"),
        (["all", *VM, "--bucket", BUCKET, "--", "--config", "c"], "--workdir is missing"),
        (["all", *VM, "--bucket", BUCKET, "--", "--workdir=/runs/x"], "below the checkout"),
        (["all", *VM, "--bucket", BUCKET, "--", "--workdir", "gs://b/x"], "below the checkout"),
        (["all", *VM, "--bucket", BUCKET, "--seconds", "0", "--", "--workdir", "x"], "whole number"),
        (["all", *VM, "--data", "scans", "--bucket", BUCKET, "--", "--workdir", "x"], "gs:// folder"),
        (["all", *VM, "--sport"], "no option"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(cloud, launch, arguments, said):
    done = launch("tpu_vm.sh", *arguments)
    assert done.returncode == 2 and said in done.stderr and not (cloud / "calls").exists()


def dry_run(launch) -> list[str]:
    done = launch("tpu_vm.sh", *ALL, "--data", "gs://bucket/cohort", "--dry-run", "--", "--workdir", "runs/demo")
    assert done.returncode == 0, done.stderr
    return [line.removeprefix("+ ") for line in done.stdout.splitlines() if line.startswith("+ ")]


def test_dry_run_prints_every_command_and_executes_none(cloud, launch):
    printed = dry_run(launch)
    verbs = ["tpu-vm create", "tar -czf", "tpu-vm scp", "install", "start", "follow", "tpu-vm delete"]
    assert len(printed) == len(verbs) and all(verb in line for verb, line in zip(verbs, printed, strict=True))
    assert not (cloud / "calls").exists()


def test_gcloud_itself_knows_every_command_and_flag(launch, tmp_path):
    """Read by its own linter, which executes nothing."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    worker = (ROOT / "launch" / "tpu_worker.sh").read_text()
    stored = [f"gcloud storage {line.partition('gcloud storage ')[2]}" for line in worker.splitlines() if "gcloud storage " in line]
    plain = [line.split(" &&")[0].split(" ||")[0].split(") ")[0].replace(";", "") for line in stored]
    commands = [line for line in dry_run(launch) if line.startswith("gcloud")] + plain
    assert len(commands) >= 6 + 7
    described = "gcloud compute tpus tpu-vm describe vm --zone=z --format='value(state)'"
    written = tmp_path / "commands.json"
    written.write_text(json.dumps([{"command_string": line.replace("gcloud --quiet", "gcloud")} for line in [*commands, described]]))
    environment = os.environ | {"CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    linted = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={written}"], capture_output=True, text=True, env=environment
    )
    found = json.loads(linted.stdout)
    assert len(found) == len(commands) + 1
    assert [(line["command_string"], line["error_message"]) for line in found if not line["success"]] == []


@pytest.mark.slow
def test_a_real_run_that_is_preempted_ends_as_one_that_was_not(cloud, begin, launch, wait_for, tmp_path):
    real = f"env PYTHONPATH={ROOT} {sys.executable} -m jaxstroke.main"
    smoke = ["--config", "configs/mri_cnn_lstm.py:smoke", "--config.evaluate.bootstrap=50", "--config.train.save_seconds=0"]
    plain = tmp_path / "plain" / "run"
    command = [sys.executable, "-m", "jaxstroke.main", *smoke, "--workdir", str(plain)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=400)
    process = begin("tpu_vm.sh", *ALL, "--", *smoke, "--workdir", "runs/run", PROGRAM=real)
    checkpoints = kept(cloud) / "checkpoints"
    for wanted in (1, 3):  # taken away twice, in the middle of whatever it is at
        wait_for(lambda wanted=wanted: any(path.name.isdigit() and int(path.name) >= wanted for path in checkpoints.glob("*")), process)
        (cloud / "preempt").touch()
        wait_for(lambda: not (cloud / "preempt").exists(), process)
    output = process.communicate(timeout=400)[0]
    assert process.returncode == 0, output[-3000:]
    assert calls(cloud).count("create") == 3 and output.count("resumed at step") >= 1  # more where it started itself again
    assert (kept(cloud) / "predictions.csv").read_bytes() == (plain / "predictions.csv").read_bytes()
