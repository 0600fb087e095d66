"""Cells of pictures: which files they name, in which order."""

import pytest

from jaxstroke.cohort import picture_cells


@pytest.fixture
def names(tmp_path):
    for name in (
        "001/img10.jpg", "001/img2.JPG", "001/img1.jpg", "001/notes.txt", "001/.hidden.jpg", "002/b/2.png", "002/b/10.png", "002/a/3.png",
        "003 [x]/1.jpg", "010/img1.jpg", "one.png",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()

    def named(cell):
        found = picture_cells.files(cell, str(tmp_path), frozenset(("", "n/a")))
        return [path.removeprefix(f"{tmp_path}/") for path in found]

    return named


def test_folders_are_in_natural_order(names):
    assert names("001") == names("001/") == ["001/img1.jpg", "001/img2.JPG", "001/img10.jpg", "001/notes.txt"]
    assert names("002") == ["002/a/3.png", "002/b/2.png", "002/b/10.png"]


def test_patterns(names):
    assert names("001/*.jpg") == ["001/img1.jpg", "001/img2.JPG", "001/img10.jpg"]
    assert names("001/img?.jpg") == ["001/img1.jpg", "001/img2.JPG"]
    assert names("*/img1.jpg") == ["001/img1.jpg", "010/img1.jpg"]
    assert names("002/*") == ["002/a/3.png", "002/b/2.png", "002/b/10.png"]
    assert names("003 [x]/*.jpg") == ["003 [x]/1.jpg"]


def test_lists_keep_their_order_and_what_is_not_there(names):
    assert names("one.png | n/a|001/img2.JPG") == ["one.png", "001/img2.JPG"]
    assert names("001/*.jpg|one.png")[-2:] == ["001/img10.jpg", "one.png"]
    assert names("absent.jpg|none/*.jpg|empty") == ["absent.jpg", "none/*.jpg", "empty"] and names("n/a") == names("") == []


def test_a_folder_that_cannot_be_opened_is_kept(names, monkeypatch):
    def closed(*_):
        raise PermissionError

    monkeypatch.setattr(picture_cells, "listed", closed)
    assert names("001|one.png") == ["001", "one.png"]


def test_absolute_paths_stay(names, tmp_path):
    assert names(f"{tmp_path}/one.png") == ["one.png"]
