"""What the tests of the mode share: a trained workdir, `trained` of each file, that a test may change."""

import shutil

import pytest


@pytest.fixture
def copied(trained, tmp_path):
    """The same, to be changed; records are beside it."""
    shutil.copytree(trained, tmp_path / "run")
    shutil.copytree(trained.parent / "records", tmp_path / "records")
    return tmp_path / "run"
