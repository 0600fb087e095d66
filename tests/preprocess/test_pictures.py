"""Sequences of pictures: letterboxed, each by itself; what is left out is named, and the patient goes on with the others."""

import csv
import hashlib
import pathlib
import sys

import numpy as np
import PIL.Image
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import slices_on_disk as made  # noqa: E402
from picture_files import noise, picture_bytes  # noqa: E402

from jaxstroke import config as base  # noqa: E402
from jaxstroke import ranges  # noqa: E402
from jaxstroke.cohort.table import read_cohort  # noqa: E402
from jaxstroke.errors import InputError  # noqa: E402
from jaxstroke.preprocess import inverse, patient, pictures, records  # noqa: E402
from jaxstroke.preprocess.prepare import prepare  # noqa: E402
from jaxstroke.preprocess.reference import Job, Plan  # noqa: E402

TAKEN = {"sampling": "picture", "normalise": "photograph", "brain_mask": "none", "register": False}


def sequence(kit, folder, files: dict, **changes) -> dict:
    """The record of a cell that names these files, name -> bytes."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    settings = kit.settings(**(TAKEN | {"column": "ct", "shape": (2, 20, 20), "channels": 3, "dtype": "uint8"} | changes))
    job = Job("p1", "p1", "", {"ct": tuple(str(folder / name) for name in files)})
    return patient.prepare_image(Plan({"ct": settings}, (), 0.3), job, "ct", {})


def test_pictures_are_letterboxed_with_their_aspect(tmp_path, kit):
    record = sequence(kit, tmp_path, {"a.png": picture_bytes(np.full((40, 20, 3), (255, 128, 0), np.uint8))})
    assert record["array"].shape == (2, 20, 20, 3) and record["mask"].tolist() == [1, 0]
    assert (record["array"][0, :, 5:15] == (255, 128, 0)).all()
    assert record["array"][0, :, :5].max() == 0 and record["array"][0, :, 15:].max() == 0 and record["array"][1].max() == 0
    matrix = np.array(record["transforms"][0]["matrices"][0])
    np.testing.assert_allclose(matrix @ [0, 5, 1], [0.5, 0.5, 1])  # the frame's column 5 is the picture's first pair of columns
    assert record["transforms"][0]["shapes"] == [[40, 20]] and record["transforms"][1]["index"] == [0, -1]


def test_more_pictures_than_places(tmp_path, kit):
    record = sequence(kit, tmp_path, {f"{i}.png": picture_bytes(np.full((20, 20), 10 + i, np.uint8)) for i in range(5)}, channels=1)
    assert [int(a[0, 0, 0]) for a in record["array"]] == [10, 14] and record["transforms"][1]["index"] == [0, 4]
    assert record["notes"] == [[0, "2 of 5 pictures kept, evenly spaced"]]
    assert all(
        np.shape(entry) == (2, *rest) for entry, rest in zip(list(record["transforms"][0].values())[1:], ((3, 3), (2,)), strict=True)
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_grey_colour_and_depth_come_to_one_scale(tmp_path, kit, dtype):
    grey = noise(0, (20, 20))
    files = {"a.png": picture_bytes(grey.astype(np.uint16) * 257), "b.png": picture_bytes(np.dstack([noise(1, (20, 20))] * 3))}
    for channels in (1, 3):
        record = sequence(kit, tmp_path, files, channels=channels, dtype=dtype)
        for number, expected in enumerate((grey, noise(1, (20, 20)))):
            values = record["array"][number] * record["scale"] + record["offset"]
            np.testing.assert_allclose(values, np.repeat(expected[..., None] / 255, channels, -1), atol=1e-4)


def test_a_bad_picture_is_named_and_the_patient_goes_on(tmp_path, kit):
    jpg = picture_bytes(noise(0, (64, 64)), "JPEG")
    files = {"1.jpg": jpg[:700], "2.jpg": b"hello", "3.png": b"", "4.jpg": jpg, "notes.txt": b"hello", "5.png": picture_bytes(noise(1))}
    record = sequence(kit, tmp_path, files, shape=(4, 20, 20))
    assert not record["missing"] and record["mask"].tolist() == [1, 1, 0, 0] and record["transforms"][1]["index"] == [3, 5, -1, -1]
    assert [place for place, _ in record["unread"]] == [0, 1, 2] and record["reason"] == ""
    assert "truncated" in record["unread"][0][1] and "not a PNG" in record["unread"][1][1] and "0 bytes" in record["unread"][2][1]
    assert record["notes"] == [[4, "passed over: it is not a PNG, JPG, DICOM or .vol file"]]
    alone = sequence(kit, tmp_path, {name: files[name] for name in ("4.jpg", "5.png")}, shape=(4, 20, 20))
    np.testing.assert_array_equal(record["array"], alone["array"])


def test_without_a_picture_that_can_be_read_the_image_is_missing(tmp_path, kit):
    record = sequence(kit, tmp_path, {"notes.txt": b"hello", "1.jpg": b"hello", "2.png": b""})
    assert record["missing"] and "not a PNG" in record["reason"] and record["file"] == 1
    assert [place for place, _ in record["unread"]] == [2] and [place for place, _ in record["notes"]] == [0]
    only = sequence(kit, tmp_path, {"notes.txt": b"hello"})
    assert only["missing"] and "no PNG, JPG, DICOM or .vol file" in only["reason"]


def test_the_same_picture_twice_is_left_out_once(tmp_path, kit):
    grey = noise(0)
    exif = PIL.Image.Exif()
    exif[0x010E] = "another description"
    files = {"a.png": picture_bytes(grey), "b.png": picture_bytes(noise(1)), "copy.png": picture_bytes(grey, compress_level=1, exif=exif)}
    files |= {"colour.jpg": picture_bytes(np.dstack([grey] * 3)), "turned.png": picture_bytes(np.ascontiguousarray(grey[::-1]))}
    record = sequence(kit, tmp_path, files, shape=(5, 20, 20))
    assert record["transforms"][1]["index"] == [0, 1, 4, -1, -1] and record["unread"] == []
    assert record["notes"] == [[2, "left out: it shows the same as file 1 of 5"], [3, "left out: it shows the same as file 1 of 5"]]


def test_slices_in_hounsfield_units_are_windowed_among_pictures(tmp_path, kit):
    """A window is of the slices alone: a picture is as somebody has windowed it."""
    bright = made.content_of_dataset(made.slice_at((0, 0, 0), made.cube((-14, -12, 0), 10.0)))
    files = {"1.dcm": bright, "2.png": picture_bytes(np.full((20, 24), 102, np.uint8))}
    record = sequence(kit, tmp_path, files, normalise="window", window=(0.0, 80.0), channels=1, shape=(2, 20, 24))
    values = record["array"][..., 0] * record["scale"]
    np.testing.assert_allclose(values[0][0, -1], 0.5, atol=0.01)  # 40 HU
    assert values[0].max() == pytest.approx(1.0) and (values[1] == pytest.approx(0.4, abs=1e-6))
    three = sequence(kit, tmp_path, files, normalise="ct_windows", shape=(2, 20, 24))
    np.testing.assert_allclose(three["array"][0][0, -1] / 255, [0.5, 60 / 200, 840 / 2800], atol=0.01)
    assert (three["array"][1] == 102).all()
    photograph = sequence(kit, tmp_path, files, channels=1)
    assert "slice in HU" in photograph["unread"][0][1] and photograph["transforms"][1]["index"] == [1, -1]


def test_a_black_slice_between_others_is_left_out(tmp_path, kit):
    record = sequence(kit, tmp_path, {"a.png": picture_bytes(np.zeros((8, 8), np.uint8)), "b.png": picture_bytes(noise(1))})
    assert record["unread"] == [[0, "it is zero everywhere"]] and record["mask"].tolist() == [1, 0]


def test_frames_that_would_fill_the_memory_are_not_kept(tmp_path, kit, monkeypatch):
    monkeypatch.setattr("jaxstroke.cohort.files.LARGEST", 3000)  # a frame takes 1200
    record = sequence(kit, tmp_path, {f"{i}.png": picture_bytes(noise(i)) for i in range(4)}, shape=(4, 20, 20))
    assert record["transforms"][1]["index"] == [0, 1, -1, -1]
    assert [place for place, reason in record["unread"] if "what this cell names" in reason] == [2, 3]


def test_a_picture_where_none_is_expected_names_the_setting(tmp_path, kit):
    changes = {"sampling": "grid", "normalise": "zscore", "channels": 1}
    record = sequence(kit, tmp_path, {"a.png": picture_bytes(noise(0))}, **changes)
    assert record["missing"] and "config.images.ct.sampling" in record["reason"]


def test_an_element_is_led_back_to_its_file(tmp_path, kit):
    files = {"bad.jpg": b"x", "a.png": picture_bytes(noise(0)), "b.png": picture_bytes(noise(1)), "c.png": picture_bytes(noise(2))}
    paths = tuple(str(tmp_path / name) for name in files)
    record = records.decode(records.encode(sequence(kit, tmp_path, files)))
    assert inverse.files_of(record, paths) == [paths[1], paths[3]]
    assert inverse.files_of(records.decode(records.encode(sequence(kit, tmp_path, {"a.png": files["a.png"]}))), paths[1:2]) == [
        paths[1],
        None,
    ]
    moved = tuple(f"s3://elsewhere/{name}" for name in files)
    assert inverse.files_of(record, moved) == [moved[1], moved[3]]
    older = record | {"path_hash": hashlib.sha256("|".join(paths).encode()).hexdigest()[:16]}  # of whole paths
    assert inverse.files_of(older, paths) == [paths[1], paths[3]]
    for others in (paths[1:], paths[::-1]):
        with pytest.raises(InputError, match="of other names"):
            inverse.files_of(record, others)


def test_to_channels():
    colour = noise(0, (3, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(pictures.to_channels(colour, 1)[..., 0], colour @ np.array([0.299, 0.587, 0.114]), rtol=1e-6)
    assert pictures.to_channels(colour, 3) is colour and pictures.to_channels(colour[..., :1], 3).shape == (3, 4, 3)


@pytest.fixture
def clinic(tmp_path):
    """Two patients' folders, a table and the config that reads it."""
    for patient_id in ("1", "2"):
        (tmp_path / patient_id).mkdir()
        for number in (1, 2, 10):
            (tmp_path / patient_id / f"img{number}.png").write_bytes(
                picture_bytes(np.full((8, 8), 10 * number + int(patient_id), np.uint8))
            )
    (tmp_path / "1" / "img5.jpg").write_bytes(b"hello")
    (tmp_path / "1" / "Thumbs.db").write_bytes(b"hello")
    (tmp_path / "my.csv").write_text("patient_id,ct,poor\n1,1,0\n2,2/*.png,1\n")
    config = base.base()
    config.cohort.table, config.cohort.workers, config.cohort.max_failed_share = str(tmp_path / "my.csv"), 1, 0.0
    config.cohort.outcomes.poor = ("poor", "==", 1)
    config.images.ct = base.image("ct", **(TAKEN | {"shape": (4, 8, 8), "dtype": "uint8"}))
    return config.lock()


def test_from_table_to_records_and_report(clinic, tmp_path):
    """What one of a patient's pictures fails with is listed, but no patient counts as failed; a mended file is noticed, and a new one."""
    for _ in range(2):  # the second finds the records made
        prepared = prepare(clinic, read_cohort(clinic, tmp_path / "run"), tmp_path / "run", tmp_path / "records")
        lines = list(csv.DictReader((tmp_path / "run" / "prepare_report.csv").read_text().splitlines()))
        assert [(line["patient_id"], pathlib.Path(line["path"]).name, line["used"]) for line in lines] == [
            ("1", "img5.jpg", "no"), ("1", "Thumbs.db", "yes"),
        ]  # fmt: skip
        assert prepared.left_out == () and len(prepared.failures) == len(prepared.notes) == 1
    (tmp_path / "1" / "img5.jpg").write_bytes(picture_bytes(np.full((8, 8), 51, np.uint8)))
    (tmp_path / "2" / "img3.png").write_bytes(picture_bytes(np.full((8, 8), 32, np.uint8)))
    prepared = prepare(clinic, read_cohort(clinic, tmp_path / "run"), tmp_path / "run", tmp_path / "records")
    found = records.open_records(prepared.folders["ct"])
    assert found[found.index["1"]]["array"][:, 4, 4, 0].tolist() == [11, 21, 51, 101] and prepared.failures == ()
    assert found[found.index["2"]]["array"][:, 4, 4, 0].tolist() == [12, 22, 32, 102]
    found.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "volume"}, "kind='sequence'"),
        ({"brain_mask": "foreground"}, "brain_mask='none'"),
        ({"register": True}, "register=False"),
        ({"axis": "time"}, "axis='slice'"),
        ({"normalise": "zscore"}, "photograph, photograph_unpainted, window, ct_windows"),
        ({"normalise": "ct_windows"}, "set channels=3"),
        ({"normalise": "window", "window": (80.0, 0.0)}, "second value"),
    ],
)
def test_settings_that_do_not_fit_pictures_are_refused(changes, words):
    image = base.image("ct", **(TAKEN | changes)).to_dict()
    with pytest.raises(InputError, match=r"config\.images\.ct") as caught:
        ranges.check_image("config.images.ct", image)
    assert words in str(caught.value)
    ranges.check_image("config.images.ct", base.image("ct", **TAKEN).to_dict())


def test_red_paint_becomes_grey():
    """What was painted, and the pixel around it, gets the median grey of the tissue; nothing else changes, and grey pictures do not."""
    random = np.random.default_rng(0)
    grey = np.full((20, 20, 1), 0.5, np.float32) + random.uniform(-0.02, 0.02, (20, 20, 1)).astype(np.float32)
    grey[:, :4] = 0
    colour = np.repeat(grey, 3, -1)
    painted = colour.copy()
    painted[8:12, 8:12] = (0.9, 0.4, 0.4)
    found = pictures.unpainted(painted)
    around = np.zeros((20, 20), bool)
    around[7:13, 7:13] = True
    np.testing.assert_array_equal(found[~around], colour[~around])
    assert np.ptp(found[around]) == 0 and found[8, 8, 0] == pytest.approx(np.median(grey[:, 4:]), abs=0.005)
    np.testing.assert_array_equal(pictures.unpainted(colour), colour)
    np.testing.assert_array_equal(pictures.unpainted(grey), grey)
