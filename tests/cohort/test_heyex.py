"""A Heidelberg .vol is read as a viewer shows it, nothing of it that may name a patient is, and what is damaged is refused with a cure."""

import random

import eyes_on_disk as eyes
import numpy as np
import PIL.Image
import pytest

from jaxstroke.cohort import heyex
from jaxstroke.cohort.readers import ReadError, read_image, read_pictures

INFRARED = np.arange(1, 61, dtype=np.uint8).reshape(6, 10)
SCANS = eyes.reflectivity(0)
HALF = 0.5 / 65535


def pictures(tmp_path, content: bytes, part="scans", name="eye.vol"):
    (tmp_path / name).write_bytes(content)
    return read_pictures(tmp_path / name, part)


def why_not(tmp_path, content: bytes, part="scans", name="eye.vol") -> str:
    with pytest.raises(ReadError) as caught:
        pictures(tmp_path, content, part, name)
    assert str(tmp_path) not in str(caught.value) and type(caught.value) is ReadError
    return str(caught.value)


@pytest.mark.parametrize("version", [100, 101, 102, 103])
@pytest.mark.parametrize("header", [10, 256, 1000])
def test_b_scans_are_the_fourth_root_of_reflectivity(tmp_path, version, header):
    found = pictures(tmp_path, eyes.vol_bytes(SCANS, INFRARED, version=f"HSF-OCT-{version}".encode(), header=header))
    assert len(found) == 3 and all(image.array.shape == (12, 16, 1) and image.array.dtype == np.uint16 for image in found)
    for image, scan in zip(found, SCANS, strict=True):
        np.testing.assert_allclose(image.array[..., 0] / 65535, scan.astype(np.float64) ** 0.25, atol=HALF + 1e-7)
        assert image.affine is None and not image.hounsfield and not image.notes


def test_the_infrared_image_is_as_it_is_stored(tmp_path):
    content = eyes.vol_bytes(SCANS, INFRARED)
    (image,) = pictures(tmp_path, content, "infrared")
    assert image.array.dtype == np.uint8
    np.testing.assert_array_equal(image.array[..., 0], INFRARED)
    assert pictures(tmp_path, content, "infrared", "eye.png")[0].array.shape == (6, 10, 1)  # told by its first bytes, not by its name
    (alone,) = pictures(tmp_path, eyes.vol_bytes(SCANS[:0], INFRARED), "infrared")
    np.testing.assert_array_equal(alone.array, image.array)


def test_what_the_device_left_out_is_black(tmp_path):
    scans = SCANS.copy()
    scans[1, 3:5, 2:6] = eyes.NOTHING
    scans[2, 0, 0], scans[2, 0, 1], scans[2, 0, 2] = np.inf, 1.0, 0.0
    found = [image.array[..., 0] for image in pictures(tmp_path, eyes.vol_bytes(scans, INFRARED))]
    assert (found[1][3:5, 2:6] == 0).all() and np.count_nonzero(found[1] == 0) == 8
    assert found[2][0, :3].tolist() == [0, 65535, 0]


def test_scans_without_an_infrared_image_and_with_a_thickness_grid(tmp_path):
    content = eyes.vol_bytes(SCANS, np.zeros((0, 0)), behind=bytes(5000))
    assert len(pictures(tmp_path, content)) == 3
    assert "no infrared image: set part='scans'" in why_not(tmp_path, content, "infrared")
    assert "set part='infrared'" in why_not(tmp_path, eyes.vol_bytes(SCANS[:0], INFRARED))


@pytest.mark.parametrize("part", ["scans", "infrared"])
@pytest.mark.parametrize("name", eyes.PLACES)
@pytest.mark.parametrize("number", [-1, -(2**31), 2**31 - 1, 100_000, 0])
def test_sizes_that_cannot_be(tmp_path, part, name, number):
    """Whatever a number in the header says, nothing of that size is made; no other size shows pixels in the wrong place."""
    reason = why_not(tmp_path, eyes.vol_bytes(SCANS, INFRARED, changes={name: number}), part) if (name, number, part) not in FINE else ""
    assert reason == "" or any(word in reason for word in ("damaged", "truncated", "holds no B-scan"))


FINE = {("count", 0, "infrared"), ("header", 0, "infrared")}  # whose infrared image lies where it did


@pytest.mark.parametrize("name", eyes.PLACES)
@pytest.mark.parametrize("by", [-1, 1])
def test_sizes_that_are_wrong_by_one(tmp_path, name, by):
    """With fewer B-scans the others are as they were; all else moves the headers of the B-scans, or expects one more, which shows."""
    right = {"width": 16, "count": 3, "height": 12, "across": 10, "down": 6, "header": 256}[name]
    content = eyes.vol_bytes(SCANS, INFRARED, changes={name: right + by}, behind=bytes(20_000))
    if name == "count" and by < 0:
        assert len(pictures(tmp_path, content)) == 2
    else:
        assert "do not lie where its header says" in why_not(tmp_path, content)


def test_what_is_no_such_file(tmp_path):
    content = eyes.vol_bytes(SCANS, INFRARED)
    for length in (5, 12, 100, 2047, 2048, 2100, len(content) - 1):
        assert "truncated" in why_not(tmp_path, content[:length]) or length == 5
    assert "another kind of file of the same maker" in why_not(tmp_path, content[:5])
    assert "0 bytes" in why_not(tmp_path, b"") and "not a PNG, JPG, DICOM or .vol" in why_not(tmp_path, b"hello")
    assert "version 104" in why_not(tmp_path, eyes.vol_bytes(SCANS, INFRARED, version=b"HSF-OCT-104"))
    assert "another kind" in why_not(tmp_path, eyes.vol_bytes(SCANS, INFRARED, version=b"HSF-XYZ-Jane"))
    assert "export it anew" in why_not(tmp_path, eyes.vol_bytes(SCANS, INFRARED, version=b"HSF-OCT-104"))
    with pytest.raises(ReadError, match="sampling to 'picture'"):
        read_image(tmp_path / "eye.vol")
    with pytest.raises(ReadError, match="does not exist"):
        read_pictures(tmp_path / "none.vol")


@pytest.mark.parametrize("value", [np.nan, -0.5, -np.inf])
def test_values_that_are_no_reflectivity(tmp_path, value):
    scans = SCANS.copy()
    scans[1, 4, 4] = value
    assert "B-scan 2 holds NaN or negative values" in why_not(tmp_path, eyes.vol_bytes(scans, INFRARED))


def test_a_black_file_is_refused_and_a_black_scan_among_others_is_not(tmp_path):
    assert "zero everywhere" in why_not(tmp_path, eyes.vol_bytes(0 * SCANS, INFRARED))
    assert "zero everywhere" in why_not(tmp_path, eyes.vol_bytes(np.full_like(SCANS, eyes.NOTHING), INFRARED))
    assert "zero everywhere" in why_not(tmp_path, eyes.vol_bytes(SCANS, 0 * INFRARED), "infrared")
    scans = SCANS.copy()
    scans[1] = 0
    assert [image.array.any() for image in pictures(tmp_path, eyes.vol_bytes(scans, INFRARED))] == [True, False, True]


def test_nothing_that_names_the_patient_leaves_the_reader(tmp_path):
    """Neither in what is read nor in what is said, whatever is damaged."""
    content = eyes.vol_bytes(SCANS, INFRARED)
    marks = (eyes.NAME, eyes.NUMBER, b"QZX")
    assert all(mark in content for mark in marks)
    for part in ("scans", "infrared"):
        found = pictures(tmp_path, content, part)
        said = repr(found).encode() + b"".join(image.array.tobytes() for image in found)
        assert not any(mark in said for mark in marks)
    draw, refused = random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 3))):
            damaged[draw.randrange(104)] = draw.randrange(256)
        damaged = bytes(damaged[: draw.choice((len(damaged), draw.randrange(len(damaged))))])
        try:
            found = heyex.read(damaged, draw.choice(("scans", "infrared")))
            said = repr(found) + repr([image.array.tobytes() for image in found])
        except ReadError as error:
            said, refused = str(error), refused + 1
            assert error.__cause__ is None and error.__suppress_context__ or error.__context__ is None
        assert "QZX" not in said and "Jane" not in said
    assert refused > 50


def test_the_identifiers_decide_nothing(tmp_path):
    """Two files that differ in every byte of the header but version and sizes are the same."""
    content = eyes.vol_bytes(SCANS, INFRARED)
    others = bytearray(content)
    used = {place + byte for place in eyes.PLACES.values() for byte in range(4)} | set(range(12))
    for place in set(range(2048)) - used:
        others[place] ^= 0xFF
    for part in ("scans", "infrared"):
        pairs = zip(pictures(tmp_path, content, part), pictures(tmp_path, bytes(others), part), strict=True)
        assert all((a.array == b.array).all() for a, b in pairs)


def test_the_real_file_is_what_its_viewer_shows(data_root):
    """Pictures of 8 bits made by others lie beside it: the infrared image is equal; the B-scan was cut to whole levels, not rounded."""
    folder = data_root / "oct-ir-heyex"
    (infrared,) = read_pictures(folder / "valid_scrubbed.vol", "infrared")
    np.testing.assert_array_equal(infrared.array[..., 0], np.asarray(PIL.Image.open(folder / "slo_ir.png")))
    (scan,) = read_pictures(folder / "valid_scrubbed.vol")
    shown = np.asarray(PIL.Image.open(folder / "bscan_gamma025.png"))
    level = scan.array[..., 0].astype(np.float64) * 255 / 65535
    assert scan.array.shape == (496, 768, 1) and np.abs(level - 0.5 - shown).max() <= 0.5 + 255 * HALF + 1e-6
