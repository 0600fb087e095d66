"""Atlases of territories: read by number, with or without names; copied; known by what they say; refused with the key and the cure."""

import gzip
import pathlib

import lesions_recounted as again
import nibabel
import numpy as np
import pytest

from jaxstroke.errors import InputError
from jaxstroke.preprocess.report import atlas as atlases

AFFINE = np.array([[-2.0, 0, 0, 7], [0, 2, 0, -9], [0, 0, 3, -4], [0, 0, 0, 1]])
LABELS = np.zeros((5, 4, 3), np.int16)
LABELS[0], LABELS[1, :2], LABELS[4, 3, 2] = 1, 2, 17
NAMES = "1|A|one left|3\n2|A|one right|4\n"


def written(folder, labels=LABELS, names=NAMES, affine=AFFINE, name="territories.nii.gz") -> str:
    """The path of an atlas on disk, its names beside it."""
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, affine), folder / name)
    if names:
        (folder / f"{name.split('.')[0]}.txt").write_text(names)
    return str(folder / name)


def why_not(*arguments) -> str:
    with pytest.raises(InputError) as caught:
        atlases.read(*arguments)
    return str(caught.value)


def test_the_arterial_atlas(data_root):
    atlas = again.soop_atlas(data_root)
    assert atlas.labels.shape == (157, 189, 136) and list(atlas.names) == list(atlas.sizes) == list(range(1, 33))
    assert atlas.names[9] == "parietal pars of middle cerebral artery left" and atlas.names[32] == "lateral ventricle right"
    assert len(set(atlas.names.values())) == 32  # of abbreviations there are 28
    assert atlas.sizes[1] == pytest.approx(193.012)
    world = nibabel.affines.apply_affine(atlas.affine, np.argwhere(atlas.labels > 0))
    odd = atlas.labels[atlas.labels > 0] % 2 == 1
    assert world[odd, 0].mean() < -20 and world[~odd, 0].mean() > 20  # odd numbers are left


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["territories.nii", "territories.nii.gz", "TERRITORIES.NII.GZ"])
def test_every_type_of_whole_numbers(tmp_path, kind, name):
    path = written(tmp_path, LABELS.astype(kind), name=name)
    atlas = atlases.read(path)
    np.testing.assert_array_equal(atlas.labels, LABELS)
    np.testing.assert_array_equal(atlas.affine, AFFINE)
    assert atlas.labels.dtype == np.int32
    assert atlas.names == {1: "one left", 2: "one right"} and atlas.name_of(17) == "territory 17"
    assert atlas.sizes == pytest.approx({1: 0.144, 2: 0.072, 17: 0.012})


def test_names_are_looked_for_beside_the_atlas_unless_a_file_is_named(tmp_path):
    path = written(tmp_path)
    (tmp_path / "other.txt").write_bytes("\ufeff0|BG|background\r\n\r\n 17 |S|  grey   matter \r\n2|only this\r\n1|short||\r\n".encode())
    assert atlases.read(path, tmp_path / "other.txt").names == {17: "grey matter", 2: "only this", 1: "short"}
    (tmp_path / "territories.txt").unlink()
    assert atlases.read(path).names == {} and atlases.read(pathlib.Path(path)).name_of(2) == "territory 2"


def test_points_are_looked_up_at_the_nearest_voxel_and_outside_is_none(tmp_path):
    atlas = atlases.read(written(tmp_path))
    centres = nibabel.affines.apply_affine(AFFINE, [[4, 3, 2], [1, 1, 2], [1, 2, 2], [0, 0, 0], [-1, 0, 0], [5, 3, 2], [4, 3, 3]])
    for shift in (-0.49, 0.0, 0.49):
        assert atlases.numbers_at(atlas, centres + shift * np.array([2, 2, 3])).tolist() == [17, 2, 0, 1, 0, 0, 0]


def test_an_atlas_is_copied_with_its_names_and_says_the_same(tmp_path):
    path = written(tmp_path / "theirs")
    copy = atlases.copied(path, "", tmp_path / "workdir" / "text")
    assert copy == tuple(str(tmp_path / "workdir" / "text" / name) for name in ("atlas.nii.gz", "atlas.txt"))
    one, other = atlases.read(path), atlases.read(*copy)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.names == other.names and atlases.digest(one) == atlases.digest(other)
    assert atlases.copied(*copy, tmp_path / "workdir" / "text") == copy  # onto itself: a run that is resumed
    assert atlases.digest(atlases.read(*copy)) == atlases.digest(one)
    assert sorted(file.name for file in (tmp_path / "workdir" / "text").iterdir()) == ["atlas.nii.gz", "atlas.txt"]


def test_nothing_of_another_atlas_stays_beside_a_copy(tmp_path):
    atlases.copied(written(tmp_path / "one"), "", tmp_path / "workdir")
    plain = written(tmp_path / "two", names="", name="plain.nii")
    assert atlases.copied(plain, "", tmp_path / "workdir") == (str(tmp_path / "workdir" / "atlas.nii"), "")
    assert [file.name for file in (tmp_path / "workdir").iterdir()] == ["atlas.nii"]
    assert atlases.read(tmp_path / "workdir" / "atlas.nii").names == {}


def test_a_copy_that_cannot_be_made_leaves_the_old_one(tmp_path):
    copy = atlases.copied(written(tmp_path / "one"), "", tmp_path / "workdir")
    for path in (str(tmp_path / "absent.nii.gz"), str(tmp_path)):
        with pytest.raises(InputError, match="config.text.atlas"):
            atlases.copied(path, "", tmp_path / "workdir")
    with pytest.raises(InputError, match="config.text.territories"):
        atlases.copied(copy[0], tmp_path / "absent.txt", tmp_path / "workdir")
    assert atlases.read(*copy).names == {1: "one left", 2: "one right"}


def test_the_digest_is_that_of_what_the_atlas_says(tmp_path):
    digest = atlases.digest(atlases.read(written(tmp_path / "a")))
    assert len(digest) == 64
    with gzip.open(tmp_path / "a" / "territories.nii.gz") as opened:  # stored otherwise, in another folder, with names of other atlases
        (tmp_path / "b.nii").write_bytes(opened.read())
    (tmp_path / "b.txt").write_text(f"99|X|elsewhere\n{NAMES}")
    assert atlases.digest(atlases.read(tmp_path / "b.nii")) == digest
    assert atlases.digest(atlases.read(written(tmp_path / "c", LABELS.astype(np.float32)))) == digest
    turned, moved = LABELS.copy(), AFFINE.copy()
    turned[0, 0, 0], moved[0, 3] = 2, 8
    shaped = LABELS.reshape(4, 5, 3)
    changed = (
        {"labels": turned}, {"affine": moved}, {"labels": shaped}, {"names": NAMES.replace("left", "l")}, {"names": ""},
        {"names": f"{NAMES}17|C|three\n"},
    )  # fmt: skip
    digests = [atlases.digest(atlases.read(written(tmp_path / f"other{place}", **change))) for place, change in enumerate(changed)]
    assert len({digest, *digests}) == len(changed) + 1


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (LABELS + np.float32(0.5), "fractions"), (LABELS - np.int16(1), "below 0"), (0 * LABELS, "0 everywhere"),
        (np.stack([LABELS, LABELS], axis=3), "4 axes"), (LABELS.astype(np.float64) * 1e9, "above"),
        (np.where(LABELS > 0, np.nan, 1).astype(np.float32), "NaN"),
    ],
)  # fmt: skip
def test_an_image_that_is_no_atlas_is_refused(tmp_path, labels, why):
    said = why_not(written(tmp_path, labels))
    assert said.startswith("config.text.atlas = ") and why in said and "or '' to tell of none" in said


def test_a_file_that_is_no_atlas_is_refused(tmp_path):
    (tmp_path / "text.nii.gz").write_text("no image")
    (tmp_path / "empty.nii").write_bytes(b"")
    (tmp_path / "folder.nii").mkdir()
    for name, why in (
        ("none.nii.gz", "does not exist"),
        ("text.nii.gz", "not a NIfTI"),
        ("empty.nii", "empty"),
        ("folder.nii", "a folder"),
    ):
        said = why_not(tmp_path / name)
        assert said.startswith(f"config.text.atlas = {tmp_path / name}: ") and why in said and "name a NIfTI" in said
    assert "ends neither in .nii" in why_not(tmp_path / "atlas.png")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (NAMES + "three|C|three\n", "line 3"), (NAMES + "\n3\n", "line 4"), ("1, one\n", "line 1"), ("1||\n", "line 1"),
        ("-1|a|b\n", "line 1"),
        (NAMES + "2|B|again\n", "line 3: number 2 has a name already"), ("5|A|five\n", "names no number of"), (b"1|A|\xff\xfe\n", "UTF-8"),
        (b"", "empty"),
    ],
)  # fmt: skip
def test_names_that_are_none_are_refused(tmp_path, names, why):
    path = written(tmp_path, names="")
    (tmp_path / "mine.txt").write_bytes(names if isinstance(names, bytes) else names.encode())
    said = why_not(path, tmp_path / "mine.txt")
    assert said.startswith(f"config.text.territories = {tmp_path / 'mine.txt'}") and why in said


def test_names_that_are_not_there_are_refused(tmp_path):
    said = why_not(written(tmp_path), tmp_path / "absent.txt")
    assert (
        said.startswith(f"config.text.territories = {tmp_path / 'absent.txt'}: there is no such file")
        and "number|abbreviation|name" in said
    )
