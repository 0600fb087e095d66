"""The Dockerfile without Docker: as hadolint reads it, and its own commands."""

import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "launch" / "Dockerfile").read_text()
INSTRUCTIONS = [line.split(None, 1) for line in re.sub(r"\\\n", "", TEXT).splitlines() if line and not line.startswith("#")]
COPIED = [word for name, rest in INSTRUCTIONS if name == "COPY" for word in rest.split()[:-1]]


def values(name: str) -> list[str]:
    return [rest for found, rest in INSTRUCTIONS if found == name]


def test_hadolint_finds_nothing(tool):
    found = subprocess.run([tool("hadolint"), str(ROOT / "launch" / "Dockerfile")], capture_output=True, text=True)
    assert found.returncode == 0 and not found.stdout, found.stdout + found.stderr


def test_what_is_copied_is_there_and_nothing_else_leaves_the_checkout():
    assert set(COPIED) == {"pyproject.toml", "README.md", "LICENSE", "jaxstroke"}
    assert all((ROOT / name).exists() for name in COPIED)
    ignored = (ROOT / "launch" / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*" and {rule[1:] for rule in rules if rule.startswith("!")} == set(COPIED)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= set(COPIED)  # the build reads them


@pytest.mark.parametrize(("accelerator", "extra"), [("cpu", ""), ("cuda", "[cuda]"), ("tpu", "[tpu]"), ("gpu", None)])
def test_the_accelerator_decides_what_is_installed(stand_in, accelerator, extra):
    stand_in("pip", '#!/bin/sh\necho "pip $*"\n')
    assert values("ARG") == ["ACCELERATOR=cpu"]
    install = next(rest for rest in values("RUN") if "pip" in rest)
    done = subprocess.run(["sh", "-c", f"ACCELERATOR={accelerator}\n{install}"], capture_output=True, text=True)
    if extra is None:
        assert done.returncode == 2 and "cpu, cuda or tpu" in done.stderr
        return
    assert done.stdout == f"pip install --no-cache-dir .{extra}\n"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not extra or extra.strip("[]") in extras


def test_the_program_gets_the_signals_and_is_not_root():
    assert values("ENTRYPOINT") == ['["python", "-m", "jaxstroke.main"]']  # no shell between: `docker stop` reaches the program
    assert values("USER") == ["1000"]
    assert re.fullmatch(r"python:3\.\d+-slim", values("FROM")[0])


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["[cuda]", "[tpu]"])
def test_pip_finds_everything_that_is_to_be_installed(tmp_path, extra):
    """The Dockerfile's own pip command in a fresh environment, short of installing; from a copy of what it copies."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "fresh")], check=True)
    pip = [str(tmp_path / "fresh" / "bin" / "python"), "-m", "pip"]
    asked = subprocess.run([*pip, "download", "--no-deps", "--dest", str(tmp_path), "absl-py"], capture_output=True, text=True)
    if asked.returncode:
        pytest.skip("no package index can be reached")
    command = [*pip, "install", "--no-cache-dir", "--dry-run", f".{extra}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    found = done.stdout.splitlines()[-1]
    wanted = {"[cuda]": "jax-cuda12-plugin", "[tpu]": "libtpu"}[extra]
    assert found.startswith("Would install") and f" {wanted}-" in found and " jaxstroke-" in found
