"""Stands in for gcloud: a bucket is a folder, a VM a home folder in which `ssh` runs its command, and both can be taken away.

Everything lies under $CLOUD: `calls` (a line of json each), `bucket/`, `vm/WORKER/` and `state` while there is a VM, `capacity` (below 0:
so many attempts to make a VM fail), `preempt` (when it exists, the VM is taken away while `follow` runs), `bucket-is-closed`.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

CLOUD = pathlib.Path(os.environ["CLOUD"])
VM, STATE = CLOUD / "vm", CLOUD / "state"


def main(arguments: list[str]) -> int:
    with (CLOUD / "calls").open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    words = [argument for argument in arguments if argument != "--quiet"]
    if words[0] == "storage":
        return storage(words[1], words[2:])
    assert words[:3] == ["compute", "tpus", "tpu-vm"] and "--zone=z" in words
    return {"describe": describe, "create": create, "delete": delete, "scp": scp, "ssh": ssh}[words[3]](words[4:])


def describe(words: list[str]) -> int:
    if not STATE.exists():
        return 1
    print(STATE.read_text())
    return 0


def create(words: list[str]) -> int:
    left = CLOUD / "capacity"
    if left.exists():
        number = int(left.read_text())
        left.write_text(str(number + 1))
        if number < 0:
            print("There is no more capacity in the zone", file=sys.stderr)
            return 1
    assert not STATE.exists(), "a VM of that name exists"
    for worker in range(int(os.environ.get("WORKERS", 1))):
        (VM / str(worker)).mkdir(parents=True)
    STATE.write_text("READY")
    return 0


def end_vm():
    """Everything on the VM ends at once, unasked."""
    for pid in VM.glob("*/jaxstroke/.launch/pid"):
        if pathlib.Path(f"/proc/{pid.read_text().strip()}").exists():
            os.killpg(int(pid.read_text()), signal.SIGKILL)
    time.sleep(0.3)
    shutil.rmtree(VM, ignore_errors=True)


def delete(words: list[str]) -> int:
    if not STATE.exists():
        return 1
    end_vm()
    STATE.unlink()
    return 0


def scp(words: list[str]) -> int:
    if not VM.exists():
        return 1
    assert "--worker=all" in words
    for home in VM.iterdir():
        shutil.copy(words[0], home)
    return 0


def ssh(words: list[str]) -> int:
    if not VM.exists():
        return 255
    command = next(word.removeprefix("--command=") for word in words if word.startswith("--command="))
    assert "--worker=all" in words
    processes = [
        subprocess.Popen(["bash", "-c", command], cwd=home, env=os.environ | {"HOME": str(home), "WORKER": home.name})
        for home in sorted(VM.iterdir())
    ]
    preempt = CLOUD / "preempt"
    while any(process.poll() is None for process in processes):
        time.sleep(0.02)
        if command.endswith(" follow") and preempt.exists():
            preempt.unlink()
            STATE.write_text("PREEMPTED")
            end_vm()
            for process in processes:
                process.kill()
                process.wait()
            return 255
    return next((process.returncode for process in processes if process.returncode), 0)


def local(path: str) -> pathlib.Path:
    return CLOUD / "bucket" / path.removeprefix("gs://") if path.startswith("gs://") else pathlib.Path(path)


def storage(verb: str, words: list[str]) -> int:
    if (CLOUD / "bucket-is-closed").exists():
        return 1
    flags, paths = [word for word in words if word.startswith("--")], [word for word in words if not word.startswith("--")]
    if verb == "ls":
        for path in sorted(local(paths[0]).iterdir()):
            print(f"{paths[0].rstrip('/')}/{path.name}{'/' if path.is_dir() else ''}")
        return 0
    if verb == "cp":
        local(paths[1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths[0], local(paths[1]))
        return 0
    assert verb == "rsync" and "--recursive" in flags
    return rsync(*map(local, paths), flags)


def files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """A bucket knows files only: a folder without any does not exist there."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def rsync(source: pathlib.Path, target: pathlib.Path, flags: list[str]) -> int:
    if not source.exists():
        return 1
    excluded = [flag.removeprefix("--exclude=") for flag in flags if flag.startswith("--exclude=")]
    there = {name: path for name, path in files(source).items() if not any(re.match(pattern, name) for pattern in excluded)}
    for name, path in there.items():
        copy = target / name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
    if "--delete-unmatched-destination-objects" in flags:
        for name in set(files(target)) - set(there):
            (target / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
