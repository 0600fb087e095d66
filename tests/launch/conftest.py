"""Commands that scripts call, as stand-ins on PATH, and scripts started as a user starts them."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """`stand_in(name, text)` puts an executable of that name before all others on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")

    def make(name: str, text: str) -> pathlib.Path:
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def tool():
    """`tool(name)`: the path of a linter that the extra `test` installs beside Python; skips where it is not there."""

    def find(name: str) -> str:
        found = shutil.which(name, path=os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]))
        if found is None:
            pytest.skip(f"{name} is not installed: it comes with the extra `test`")
        return found

    return find


@pytest.fixture
def launch():
    """`launch(script, *arguments, **environment)`: the finished process of a file in launch/, output and errors as text."""

    def run(script, *arguments, cwd=ROOT, **environment):
        command = ["bash", str(ROOT / "launch" / script), *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=400)

    return run


@pytest.fixture
def begin():
    """As `launch`, but a running process; one that a test leaves behind is ended."""
    begun = []

    def start(script, *arguments, cwd=ROOT, **environment):
        command = ["bash", str(ROOT / "launch" / script), *map(str, arguments)]
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(command, cwd=cwd, env=os.environ | environment, stdout=pipe, stderr=subprocess.STDOUT, text=True))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()  # does nothing to one that has ended
        process.wait()
        process.stdout.close()


@pytest.fixture
def wait_for():
    """`wait_for(condition, process)` until it holds; an assertion where the process ends or two minutes pass before."""

    def wait(condition, process):
        began = time.monotonic()
        while not condition():
            assert process.poll() is None and time.monotonic() - began < 120, process.communicate()[0][-3000:]
            time.sleep(0.02)

    return wait
