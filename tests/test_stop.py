"""A SIGTERM is a stop wherever it comes: nothing that calls a file damaged, whatever goes wrong in it, may take it for damage."""

import asyncio
import contextlib
import os
import signal

import jax
import numpy as np
import pytest
from etils import epath

from jaxstroke import main
from jaxstroke.cohort import files
from jaxstroke.errors import Stopped
from jaxstroke.preprocess import patient
from jaxstroke.preprocess.reference import Job, Plan
from jaxstroke.training import checkpoint

LIKE = {"w": jax.ShapeDtypeStruct((3,), np.float32)}


@pytest.fixture(autouse=True)
def stop():
    """What the program does of a signal, for the length of a test."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield main.Stop()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT])
def struck(request, monkeypatch):
    """A function that has a method or function send this process a signal before it does its work."""

    def strike(owner, name: str):
        work = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: (os.kill(os.getpid(), request.param), work(*a, **k))[1])

    return strike


@pytest.fixture
def finished(tmp_path):
    """The finished networks of a workdir that has one, "run"."""
    with contextlib.closing(checkpoint.Finished(epath.Path(tmp_path))) as networks:
        networks.save("run", {"w": np.ones(3, np.float32)})
        yield networks


def test_while_a_finished_network_is_read(finished, struck):
    struck(finished.checkpointer, "restore")
    with pytest.raises(Stopped):
        finished.load("run", LIKE)


def test_while_a_checkpoint_is_read(tmp_path, struck):
    """It must not give way to the one before either."""
    with contextlib.closing(checkpoint.Rolling(epath.Path(tmp_path))) as rolling:
        for value in (1.0, 2.0):
            rolling.save({"w": np.full(3, value, np.float32)}, {"slots": [0]})
            rolling.manager.wait_until_finished()
        struck(rolling.manager, "restore")
        with pytest.raises(Stopped):
            rolling.restore(LIKE, 1)


@pytest.mark.filterwarnings("ignore:.*never awaited")  # the work that was stopped
def test_within_the_event_loop_by_which_a_network_is_read(finished, struck):
    """There a signal may come to a bare callback of the loop, which lets through KeyboardInterrupt and SystemExit alone."""
    struck(asyncio.Handle, "_run")
    with pytest.raises(Stopped):
        finished.load("run", LIKE)


def test_while_an_image_is_read(struck):
    """Else the patient's image would be called unusable, and be missing from the records for good."""
    struck(patient, "read_all")
    with pytest.raises(Stopped):
        patient.prepare_image(
            Plan({"ct": {"sampling": "slices", "normalise": "none"}}, (), 0.3), Job("p1", "p1", "", {"ct": ("ct.nii.gz",)}), "ct", {}
        )


def test_while_the_folder_of_a_series_is_opened(struck):
    """As above, of a whole family of readers."""
    struck(files, "is_folder")
    with pytest.raises(Stopped), files.opening():
        files.listed("series")
