"""The scripts as shellcheck reads them, and what they say of their own use."""

import pathlib
import re
import subprocess

import pytest

LAUNCH = pathlib.Path(__file__).resolve().parent.parent.parent / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])


def test_every_script_is_checked():
    assert {path.name for path in SCRIPTS} == {"local.sh", "slurm.sbatch", "tpu_vm.sh", "tpu_worker.sh"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path, tool):
    found = subprocess.run([tool("shellcheck"), "--shell=bash", "--enable=quote-safe-variables", str(path)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_begins_with_its_use_and_stops_at_errors(path):
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash" and f"launch/{path.name}" in lines[1]
    code = [line for line in lines if line and not line.startswith("#")]
    assert code[0] == "set -euo pipefail"


def test_slurm_reads_every_directive():
    """sbatch stops looking at the first line that is no comment."""
    lines = (LAUNCH / "slurm.sbatch").read_text().splitlines()
    first = next(place for place, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [line for line in lines if line.startswith("#SBATCH")]
    assert directives == [line for line in lines[:first] if line.startswith("#SBATCH")]
    assert "#SBATCH --requeue" in directives
    assert any(re.fullmatch(r"#SBATCH --signal=B:TERM@\d+", line) for line in directives)
