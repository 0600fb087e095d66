"""Files that hold several pictures in a sequence: which are kept, what is said of the others, and what a record remembers of each."""

import csv
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import eyes_on_disk as eyes  # noqa: E402
from picture_files import noise, picture_bytes  # noqa: E402

from jaxstroke import config as base  # noqa: E402
from jaxstroke import config_json, limits, ranges  # noqa: E402
from jaxstroke.cohort.table import read_cohort  # noqa: E402
from jaxstroke.errors import InputError  # noqa: E402
from jaxstroke.preprocess import inverse, patient, pictures, records  # noqa: E402
from jaxstroke.preprocess.prepare import image_digest, prepare  # noqa: E402
from jaxstroke.preprocess.reference import Job, Plan  # noqa: E402

TAKEN = {"sampling": "picture", "normalise": "photograph", "brain_mask": "none", "register": False}
INFRARED = noise(50, (20, 20))


def flat(levels) -> np.ndarray:
    """Reflectivity of B-scans of 20 x 20 that are shown as one level of grey each, of 255."""
    return np.repeat([[[(level / 255) ** 4]] for level in levels], 20, 1).repeat(20, 2).astype(np.float32)


def vol(levels) -> bytes:
    return eyes.vol_bytes(flat(levels), INFRARED)


def sequence(kit, folder, files: dict, **changes) -> dict:
    """The record of a cell that names these files, name -> bytes, as it is read back."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    settings = kit.settings(**(TAKEN | {"column": "ct", "shape": (3, 20, 20), "dtype": "uint8"} | changes))
    job = Job("p1", "p1", "", {"ct": tuple(str(folder / name) for name in files)})
    return records.decode(records.encode(patient.prepare_image(Plan({"ct": settings}, (), 0.3), job, "ct", {})))


def levels(record: dict) -> list[int]:
    """What the middle of each element shows."""
    return record["array"][record["mask"] > 0, 10, 10, 0].tolist()


def chosen(record: dict) -> tuple[list[int], list[int]]:
    """(file, number in the file) of each element."""
    return record["transforms"][1]["index"], inverse.frames_of(record)


def test_b_scans_are_elements_and_remember_their_number(tmp_path, kit):
    record = sequence(kit, tmp_path, {"eye.vol": vol((40, 90, 140))}, shape=(4, 20, 20))
    assert levels(record) == [40, 90, 140] and record["mask"].tolist() == [1, 1, 1, 0]
    assert chosen(record) == ([0, 0, 0, -1], [0, 1, 2, -1]) and record["notes"] == record["unread"] == []
    assert inverse.files_of(record, (str(tmp_path / "eye.vol"),))[:3] == [str(tmp_path / "eye.vol")] * 3
    alone = sequence(kit, tmp_path, {"eye.vol": vol((40,)), "a.png": picture_bytes(noise(1))})
    assert chosen(alone) == ([0, 1, -1], [-1, -1, -1])  # where a file holds one picture its name says enough


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_a_scan_is_as_bright_as_its_picture_from_a_viewer(tmp_path, kit, dtype):
    """A dark B-scan, of which 8 bits keep little: int16 keeps what the file has."""
    scan = eyes.reflectivity(1, (1, 40, 30)) ** 4 * 1e-3
    picture = np.rint(scan[0].astype(np.float64) ** 0.25 * 65535).astype(np.uint16)
    files = {"eye.vol": eyes.vol_bytes(scan, INFRARED), "viewer.png": picture_bytes(picture)}
    settings = {"dtype": dtype, "shape": (2, 20, 20)}
    both = [sequence(kit, tmp_path, {name: content}, **settings) for name, content in files.items()]
    values = [record["array"][0].astype(float) * record["scale"] for record in both]
    np.testing.assert_allclose(values[0], values[1], atol=1.001 * both[0]["scale"])


def test_part_chooses_between_scans_and_infrared(tmp_path, kit):
    files = {"eye.vol": vol((40, 90)), "other.png": picture_bytes(noise(7, (20, 20)))}
    scans, infrared = (sequence(kit, tmp_path, files, part=part) for part in ("scans", "infrared"))
    assert levels(scans)[:2] == [40, 90] and chosen(scans) == ([0, 0, 1], [0, 1, -1])
    np.testing.assert_array_equal(infrared["array"][0, ..., 0], INFRARED)
    np.testing.assert_array_equal(infrared["array"][1], scans["array"][2])  # a picture is read whatever the part is
    assert chosen(infrared) == ([0, 1, -1], [-1, -1, -1])
    refused = sequence(kit, tmp_path, {"oct.dcm": eyes.eye_bytes(noise(1, (2, 8, 8)))}, part="infrared")
    assert refused["missing"] and "no infrared image" in refused["reason"]


def test_frames_of_dicom_and_vol_and_pictures_mix(tmp_path, kit):
    oct_file = eyes.eye_bytes(np.repeat([[[20]], [[60]]], 20, 1).repeat(20, 2).astype(np.uint8))
    fundus = eyes.eye_bytes(np.full((1, 20, 20, 3), (200, 100, 50), np.uint8), kind=eyes.FUNDUS)
    record = sequence(kit, tmp_path, {"1.dcm": oct_file, "2.vol": vol((30, 90)), "3.dcm": fundus}, shape=(6, 20, 20), channels=3)
    assert record["array"][:5, 10, 10].tolist() == [[20] * 3, [60] * 3, [30] * 3, [90] * 3, [200, 100, 50]]
    assert chosen(record) == ([0, 0, 1, 1, 2, -1], [0, 1, 0, 1, -1, -1])


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        (1, 5, [2]),
        (1, 4, [2]),
        (2, 5, [2, 3]),
        (2, 4, [1, 2]),
        (3, 5, [1, 2, 3]),
        (3, 4, [1, 2, 3]),
        (3, 7, [2, 3, 4]),
        (4, 4, [0, 1, 2, 3]),
    ],
)
def test_the_central_ones(tmp_path, kit, size, count, expected):
    values = [20 + 10 * number for number in range(count)]
    record = sequence(kit, tmp_path, {"eye.vol": vol(values)}, shape=(size, 20, 20), pick="central")
    assert levels(record) == [values[number] for number in expected] and chosen(record) == ([0] * size, expected)
    assert record["notes"] == ([[0, f"{size} of {count} B-scans kept, the central ones"]] if size < count else [])
    files = {f"{number}.png": picture_bytes(np.full((20, 20), value, np.uint8)) for number, value in enumerate(values)}
    assert levels(sequence(kit, tmp_path, files, shape=(size, 20, 20), pick="central")) == levels(record)


@pytest.mark.parametrize(
    ("size", "expected"), [(1, [30]), (2, [30, 130]), (3, [30, 40, 130]), (4, [30, 40, 130, 140]), (5, [20, 30, 40, 130, 140])]
)
def test_the_central_ones_of_each_of_two_eyes(tmp_path, kit, size, expected):
    files = {"right.vol": vol((20, 30, 40)), "left.vol": vol((120, 130, 140))}
    assert levels(sequence(kit, tmp_path, files, shape=(size, 20, 20), pick="central")) == expected


def test_central_is_what_its_words_say():
    """Against the sentence in the exported steps, by brute force."""
    random = np.random.default_rng(0)
    for _ in range(200):
        groups = np.sort(random.integers(-1, 3, random.integers(1, 12)))
        size = int(random.integers(1, len(groups) + 1))
        sorted_ones = []
        for group in np.unique(groups):
            own = [place for place in range(len(groups)) if groups[place] == group]
            middle = (len(own) - 1) / 2
            ordered = sorted(range(len(own)), key=lambda number, middle=middle: (abs(number - middle), -number))
            sorted_ones += [(rank, own[number]) for rank, number in enumerate(ordered)]
        expected = sorted(place for _, place in sorted(sorted_ones)[:size])
        assert pictures.central(groups, size).tolist() == expected


def test_evenly_spaced_ones_of_a_volume_and_all_where_there_is_room(tmp_path, kit):
    values = [20 + 10 * number for number in range(9)]
    record = sequence(kit, tmp_path, {"eye.vol": vol(values)}, shape=(3, 20, 20))
    assert levels(record) == [20, 60, 100] and record["notes"] == [[0, "3 of 9 B-scans kept, evenly spaced"]]
    for pick in pictures.PICK:
        assert levels(sequence(kit, tmp_path, {"eye.vol": vol(values)}, shape=(9, 20, 20), pick=pick)) == values


def test_black_scans_are_left_out_by_number(tmp_path, kit):
    frames = noise(1, (3, 9, 9))
    frames[1] = 0
    files = {"eye.vol": vol((0, 0, 50, 0, 70)), "b.dcm": eyes.eye_bytes(frames)}
    record = sequence(kit, tmp_path, files, shape=(4, 20, 20))
    assert chosen(record) == ([0, 0, 1, 1], [2, 4, 0, 2]) and record["unread"] == []
    assert record["notes"] == [[0, "B-scans 1 to 2, 4 left out: zero everywhere"], [1, "frame 2 left out: zero everywhere"]]
    black = sequence(kit, tmp_path, {"eye.vol": vol((0, 0)), "a.png": picture_bytes(noise(1))})
    assert black["unread"] == [[0, "it is zero everywhere"]]


def test_equal_scans_are_kept_once(tmp_path, kit):
    files = {"eye.vol": vol((50, 60, 50)), "copy.vol": vol((50, 60, 50)), "part.vol": vol((60, 80))}
    record = sequence(kit, tmp_path, files, shape=(4, 20, 20))
    assert levels(record) == [50, 60, 80] and chosen(record) == ([0, 0, 2, -1], [0, 1, 1, -1])
    assert record["notes"] == [
        [0, "B-scan 3 left out: the same as another of it"],
        [1, "left out: it shows the same as file 1 of 3"],
        [2, "B-scan 1 left out: the same as another of file 1 of 3"],
    ]


def test_a_damaged_volume_is_named_and_the_patient_goes_on(tmp_path, kit):
    whole = vol((50, 60))
    files = {"1.vol": whole[:-10], "2.vol": b"", "3.vol": b"hello", "4.vol": whole, "5.dat": b"hello"}
    record = sequence(kit, tmp_path, files)
    assert levels(record) == [50, 60] and [place for place, _ in record["unread"]] == [0, 1, 2]
    assert record["notes"] == [[4, "passed over: it is not a PNG, JPG, DICOM or .vol file"]]


def test_volumes_that_would_fill_the_memory_are_not_kept(tmp_path, kit, monkeypatch):
    monkeypatch.setattr("jaxstroke.cohort.files.LARGEST", 15_000)  # a frame takes 400 bytes, a file some thousands
    many = eyes.eye_bytes(noise(1, (50, 4, 4)))
    record = sequence(kit, tmp_path, {"a.dcm": many, "b.png": picture_bytes(noise(1, (20, 20)))})
    assert "what this cell names" in record["unread"][0][1] and chosen(record) == ([1, -1, -1], [-1, -1, -1])


def test_nothing_that_names_a_patient_is_in_a_record(tmp_path, kit):
    files = {"eye.vol": vol((70, 80)), "eye.dcm": eyes.eye_bytes(noise(1, (2, 9, 9))), "cut.vol": vol((50, 60))[:-9]}
    assert all(eyes.NAME in content for content in files.values())
    content = records.encode(sequence(kit, tmp_path, files))
    assert not any(mark in content for mark in (eyes.NAME, eyes.NUMBER, b"QZX"))


def test_a_record_of_an_older_version_is_of_files_with_one_picture_each(tmp_path, kit):
    record = sequence(kit, tmp_path, {"a.png": picture_bytes(noise(1)), "b.png": picture_bytes(noise(2))})
    del record["transforms"][1]["frames"], record["transforms"][1]["pick"]
    assert inverse.frames_of(record) == [-1, -1, -1] and inverse.pick_of(record) == "even"


@pytest.mark.parametrize("key", ["part", "pick"])
def test_settings_of_pictures_are_refused_elsewhere(key):
    other = limits.IMAGE_CHOICES[key][1]
    ranges.check_image("config.images.ct", base.image("ct", **TAKEN, **{key: other}).to_dict())
    with pytest.raises(InputError, match=rf"config\.images\.ct\.{key} = '{other}' is for pictures: set sampling='picture'"):
        ranges.check_image("config.images.ct", base.image("ct", **{key: other}).to_dict())
    with pytest.raises(InputError, match=rf"config\.images\.ct\.{key} = 'centrl' is unknown"):
        ranges.check_image("config.images.ct", base.image("ct", **TAKEN, **{key: "centrl"}).to_dict())
    assert tuple(pictures.PICK) == limits.IMAGE_CHOICES["pick"]


def test_records_of_images_with_the_defaults_keep_their_hash():
    """The hash is of the settings as they were before there were these."""
    own = base.image("ct", **TAKEN).to_dict()
    jobs = (Job("1", "1", "", {"ct": ("a.png",)}),)
    older = {key: value for key, value in own.items() if key not in ("part", "pick")}
    expected = records.digest({"format": 1, "image": older, "cohort": "d", "pictures": 1})
    assert image_digest(Plan({"ct": own}, (), 0.3), "ct", "d", jobs) == expected
    changes = ({"pick": "central"}, {"part": "infrared"})
    assert len({expected} | {image_digest(Plan({"ct": own | change}, (), 0.3), "ct", "d", jobs) for change in changes}) == 3


def test_a_config_without_the_settings_is_completed():
    config = base.base()
    config.images.ct = base.image("ct", **TAKEN, pick="central")
    values = config_json.to_json(config)
    assert config_json.completed(config_json.to_json(config)) == values
    del values["images"]["ct"]["part"], values["images"]["ct"]["pick"]
    found = config_json.completed(values)["images"]["ct"]
    assert (found["part"], found["pick"]) == ("scans", "even")


def test_two_images_of_one_file_from_table_to_report(tmp_path):
    """OCT and infrared are two images whose columns name the same files."""
    for number in (1, 2):
        (tmp_path / f"{number}.vol").write_bytes(eyes.vol_bytes(flat((0, 40, 90, 140)), noise(number, (20, 20))))
    (tmp_path / "my.csv").write_text("patient_id,vol,poor\n1,1.vol,0\n2,2.vol,1\n")
    config = base.base()
    config.cohort.table, config.cohort.workers = str(tmp_path / "my.csv"), 1
    config.cohort.outcomes.poor = ("poor", "==", 1)
    taken = TAKEN | {"dtype": "uint8"}
    config.images.oct = base.image("vol", **taken, shape=(1, 20, 20), pick="central")
    config.images.infrared = base.image("vol", **taken, shape=(1, 20, 20), part="infrared")
    prepared = prepare(config.lock(), read_cohort(config, tmp_path / "run"), tmp_path / "run", tmp_path / "records")
    lines = list(csv.DictReader((tmp_path / "run" / "prepare_report.csv").read_text().splitlines()))
    assert {(line["image"], line["reason"], line["used"]) for line in lines} == {
        ("oct", "B-scan 1 left out: zero everywhere", "yes"), ("oct", "1 of 3 B-scans kept, the central ones", "yes"),
    }  # fmt: skip
    assert prepared.failures == ()
    for image, expected in (("oct", np.full((20, 20), 90)), ("infrared", noise(2, (20, 20)))):
        found = records.open_records(prepared.folders[image])
        np.testing.assert_array_equal(found[found.index["2"]]["array"][0, ..., 0], expected)
        found.close()


def test_the_real_file_as_two_images(tmp_path, kit, data_root):
    """Its B-scan fitted into a frame is the mean of what a viewer shows there; its infrared image likewise."""
    content = {"eye.vol": (data_root / "oct-ir-heyex" / "valid_scrubbed.vol").read_bytes()}
    for part, name in (("scans", "bscan_gamma025.png"), ("infrared", "slo_ir.png")):
        record = sequence(kit, tmp_path, content, part=part, shape=(1, 64, 64))
        shown = sequence(kit, tmp_path, {"a.png": (data_root / "oct-ir-heyex" / name).read_bytes()}, shape=(1, 64, 64))
        assert np.abs(record["array"].astype(int) - shown["array"]).max() <= (1 if part == "scans" else 0)
