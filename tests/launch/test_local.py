"""local.sh: one environment, made once, and a program that gets its arguments and signals as they are."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PYTHON = """#!/usr/bin/env bash
printf '%s' "$1 $2" >>"$CALLS"
printf ' <%s>' "${@:3}" >>"$CALLS"
echo >>"$CALLS"
case "$1 $2" in
  '-m venv') mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  '-m pip') exit "${PIP:-0}" ;;
  '-c '*) exit "${OLD:-0}" ;;
  '-m jaxstroke.main')
    trap 'echo saved; exit 0' TERM
    echo "program $$"
    while [[ -n ${WAIT:-} ]]; do sleep 0.05; done
    ;;
esac
"""
HARD = ["--config", "a b.py:own", "--config.model.images=('dwi','adc')", "*", "$HOME", "", "--", "--dry-run"]


@pytest.fixture
def checkout(tmp_path, monkeypatch, stand_in):
    """A checkout with a stand-in for Python, and `calls()`: what that was asked, without the question for its version."""
    (tmp_path / "launch").mkdir()
    shutil.copy(ROOT / "launch" / "local.sh", tmp_path / "launch")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PYTHON", str(stand_in("python3.99", PYTHON)))
    stand_in("nvidia-smi", "#!/bin/sh\nexit 1\n")
    return tmp_path


def run(checkout, *arguments, **environment):
    """(process, calls made by it)."""
    (checkout / "calls").write_text("")
    command = ["bash", str(checkout / "launch" / "local.sh"), *arguments]
    done = subprocess.run(command, cwd=checkout, env=os.environ | environment, capture_output=True, text=True, timeout=60)
    return done, [line for line in (checkout / "calls").read_text().splitlines() if not line.startswith("-c ")]


def installs(checkout, extra: str) -> str:
    return f"-m pip <install> <--quiet> <--editable> <{checkout}{extra}>"


def test_first_run_makes_the_environment_and_the_second_uses_it(checkout):
    program = "-m jaxstroke.main" + "".join(f" <{argument}>" for argument in HARD)
    done, calls = run(checkout, "--", *HARD)
    assert done.returncode == 0, done.stderr
    assert calls == [f"-m venv <{checkout}/.venv>", installs(checkout, ""), program]
    assert run(checkout, "--", *HARD)[1] == [program]


def test_installs_again_when_the_dependencies_changed_or_the_last_time_failed(checkout):
    done, calls = run(checkout, "--", "x", PIP="1")
    assert done.returncode == 1 and calls[-1] == installs(checkout, "")  # the program did not run
    assert run(checkout, "--", "x")[1] == [installs(checkout, ""), "-m jaxstroke.main <x>"]
    (checkout / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    assert run(checkout, "--", "x")[1] == [installs(checkout, ""), "-m jaxstroke.main <x>"]


def test_accelerator_is_the_one_asked_for_then_the_last_one_then_what_is_there(checkout, stand_in):
    stand_in("nvidia-smi", "#!/bin/sh\nexit 0\n")
    assert installs(checkout, "[cuda]") in run(checkout, "--install")[1]
    assert run(checkout, "--tpu", "--install")[1] == [installs(checkout, "[tpu]")]
    assert run(checkout, "--", "x")[1] == ["-m jaxstroke.main <x>"]
    assert run(checkout, "--cpu", "--", "x")[1] == [installs(checkout, ""), "-m jaxstroke.main <x>"]


def test_a_signal_reaches_the_program(checkout):
    command = ["bash", str(checkout / "launch" / "local.sh"), "--", "x"]
    with subprocess.Popen(command, env=os.environ | {"WAIT": "1"}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == f"program {process.pid}\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60)[0] == "saved\n"
        assert process.returncode == 0


def test_dry_run_prints_commands_that_can_be_pasted_and_does_nothing(checkout):
    done, calls = run(checkout, "--cuda", "--dry-run", "--", *HARD)
    assert done.returncode == 0 and calls == [] and not (checkout / ".venv").exists()
    printed = [line.removeprefix("+ ") for line in done.stdout.splitlines()]
    assert len(printed) == 3 and printed[0].endswith(f"-m venv {checkout}/.venv")
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {printed[2]}"], capture_output=True, text=True).stdout.split("\n")[:-1]
    assert words == ["exec", f"{checkout}/.venv/bin/python", "-m", "jaxstroke.main", *HARD]


def test_wrong_options_and_an_old_python_are_refused(checkout):
    done, calls = run(checkout, "--gpu", "--", "x")
    assert done.returncode == 2 and "--gpu is no option" in done.stderr and calls == []
    done, calls = run(checkout, "--", "x", OLD="1")
    assert done.returncode == 2 and "3.11 or later" in done.stderr and calls == []
