"""A patient's page: which way round the voxels lie in it, and that they are those of the file."""

import base64
import gzip
import json
import re

import nibabel
import numpy as np
import pytest

from jaxstroke.explain import importance, page, strip

OBLIQUE = np.array([[0.1, -1.9, 0.2, 20], [0.3, 0.2, 5.0, -40], [2.0, 0.1, -0.2, 10], [0, 0, 0, 1.0]])  # x up, y to the left, z forwards


def unpack(text: str, kind: str, shape) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), kind).reshape(shape)


def voxels(html: str) -> list[dict]:
    return [json.loads(found) for found in re.findall(r'class="voxels">(.*?)</script>', html, re.S)]


def ramp(shape, affine) -> np.ndarray:
    """Each voxel's RAS coordinates in mm, `3 x y z`."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    return np.einsum("ij,jxyz->ixyz", affine[:3, :3], index) + affine[:3, 3, None, None, None]


@pytest.mark.parametrize("affine", [np.diag([-1.0, -1, 3, 1]), np.diag([2.0, -1, -3, 1]), OBLIQUE], ids=["LPS", "RPI", "oblique"])
def test_slices_rise_rows_go_back_and_the_picture_begins_at_the_patients_right(affine):
    right, front, up = ramp((8, 9, 10), affine)
    for coordinate, axis, sign in ((up, 0, 1), (front, 1, -1), (right, 2, -1)):
        found, spacing = page.axial(coordinate, affine)
        assert (sign * np.diff(found, axis=axis) > 0).all()
    codes = nibabel.aff2axcodes(affine)
    assert spacing[0] == pytest.approx(np.linalg.norm(affine[:3, next(n for n, code in enumerate(codes) if code in "SI")]))


def test_what_lies_in_the_page_is_what_was_given():
    rng = np.random.default_rng(0)
    values = rng.integers(-1000, 1500, (6, 7, 5)).astype(np.int16)
    heat = rng.random((6, 7, 5)).astype(np.float32)
    affine = np.diag([-1.0, -1, 3, 1])
    image = page.Volume("ct", values, affine, {"m": heat})
    html = page.render("p", "One network.", [page.Head("poor", "", 0.2, None, None)], [image], [], 0.45)
    (found,) = voxels(html)
    stored = unpack(found["values"], "<i2", found["shape"]) * found["scale"] + found["offset"]
    expected, _ = page.axial(values, affine)
    np.testing.assert_array_equal(stored, expected)
    shown = unpack(found["maps"]["m"], "u1", found["shape"])
    np.testing.assert_allclose(shown / 255, page.axial(heat, affine)[0] / heat.max(), atol=0.5 / 255 + 1e-6)
    assert found["unit"] == "HU" and found["start"] == page.axial(heat, affine)[0].sum((1, 2)).argmax()


def test_other_values_than_hounsfield_units_keep_their_range():
    values = np.random.default_rng(0).normal(3e-4, 1e-4, (6, 7, 5))
    found = page.packed(page.Volume("adc", values, np.diag([2.0, 2, 2, 1]), {}))
    stored = unpack(found["values"], "<i2", found["shape"]) * found["scale"] + found["offset"]
    np.testing.assert_allclose(stored, page.axial(values, np.diag([2.0, 2, 2, 1]))[0], atol=np.ptp(values) / 32767)
    assert found["unit"] == "" and "brain" not in found["presets"]
    constant = page.packed(page.Volume("mask", np.zeros((4, 4, 4), np.uint8), np.eye(4), {"m": np.zeros((4, 4, 4))}))
    assert not unpack(constant["values"], "<i2", (4, 4, 4)).any() and not unpack(constant["maps"]["m"], "u1", (4, 4, 4)).any()


def test_a_large_slice_is_averaged_and_keeps_its_place():
    values = np.zeros((640, 640, 3), np.float32)
    values[400:404, 100:104, 1] = 100  # the patient's left by 200 mm, of 320; behind the front by 50
    found = page.packed(page.Volume("a", values, np.diag([-0.5, -0.5, 5.0, 1]), {}))
    assert found["shape"] == [3, 320, 320] and found["spacing"] == [5.0, 1.0, 1.0]
    assert np.argwhere(unpack(found["values"], "<i2", found["shape"])).tolist() == [[1, r, c] for r in (50, 51) for c in (200, 201)]


def test_names_from_a_table_cannot_become_markup():
    evil = '</script><img src=x onerror="alert(1)">'
    image = page.Volume(evil, np.zeros((3, 3, 3)), np.eye(4), {evil: np.ones((3, 3, 3))})
    html = page.render(evil, evil, [page.Head(evil, evil, 0.5, 0.4, 0.6)], [image], [page.Contribution(evil, evil, evil, None, 0.1)], 0.45)
    assert "<img" not in html


def test_pictures_are_shown_as_they_are():
    pictures = np.random.default_rng(0).random((3, 5, 7)).astype(np.float32)
    found = page.packed(page.Volume("views", pictures, None, {"m": pictures}))
    stored = unpack(found["values"], "<i2", found["shape"]) * found["scale"] + found["offset"]
    np.testing.assert_allclose(stored, pictures, atol=1e-4)
    html = page.render("p", "One network.", [], [page.Volume("views", pictures, None, {})], [], 0.45)
    assert not found["oriented"] and 'class="side' not in html


def pictures(change, decides=(), **other) -> tuple[importance.Importance, np.ndarray]:
    """Importances of n pictures by some networks, and n pictures. decides: places."""
    change = np.asarray(change, float)
    n, ones = change.shape[1], np.ones(len(change))
    fields = {"files": tuple(f"img{place + 1}.jpg" for place in range(n)), "attention": None, "left_out": (), "rest": 0 * ones} | other
    fields |= {"whole": ones, "alone": change, "decides": np.isin(np.arange(n), decides)}
    return importance.Importance(image="ct", head="poor", change=change, **fields), np.random.default_rng(0).random((n, 8, 8, 3))


def shown(change, **other) -> str:
    one, pixels = pictures(change, **other)
    found = strip.make(one, pixels, "photograph", "mRS > 2", 1, False)
    return page.render("p", "Two networks.", [], [], [], 0.45, [found])


def test_the_strip_says_what_each_picture_does():
    one, pixels = pictures([[0.9, -0.6, 0.02], [1.1, -0.4, 0.0]], (1,), attention=np.array([0.5, 0.3, 0.2]))
    found = strip.make(one, pixels, "photograph", "mRS > 2", 1, False)
    assert [card["change"] for card in found["cards"]] == ["+1.00", "−0.50", "+0.01"]
    assert [card["rank"] for card in found["cards"]] == [1, 0, 2]  # what decides is first
    assert [card["decides"] for card in found["cards"]] == [False, True, False] and [card["file"] for card in found["decides"]] == [
        "img2.jpg"
    ]
    assert found["cards"][1]["range"] == "−0.60 to −0.40" and found["cards"][0]["bar"] == pytest.approx([50 / 1.1, 45 / 1.1, 50])
    without = 100 * np.mean(1 / (1 + np.exp(-np.array([0.1, -0.1]))))
    assert found["cards"][0]["lines"] == [("without it", f"{without:.0f} %"), ("alone", "73 %"), ("attention", "0.50")]
    assert found["whole"] == "73 %" and found["rest"] == "50 %" and found["moved"] == "+1.00"
    ordinal = strip.make(one, pixels, "photograph", "", 6, False)
    assert ordinal["whole"] == "" and ordinal["cards"][0]["lines"] == [("attention", "0.50")]


def test_the_strip_in_words():
    html = shown([[0.9, -0.2, 0.0]], decides=(0,))
    assert "<b>img1.jpg</b> (number 1): without it the probability would be 50 % instead of 73 %, from the other 2 of 3 images" in html
    assert html.count("<mark>") == 1 and "without these" in shown([[0.9, 0.2, 0.0]], decides=(0, 1))
    assert "No few of the 2 images" in shown([[0.05, 0.01]]) and "disagree" in shown([[0.5, 0.01], [-0.5, 0.0]])
    assert "There is one image: <b>img1.jpg</b>" in shown([[0.4]]) and "None of the files" in shown(np.zeros((1, 0)))
    html = shown([[0.4]], left_out=(("a.jpg", "black"), ("b.jpg", "black"), ("<c>.jpg", "empty")))
    assert "<li>a.jpg, b.jpg: black</li>" in html and "&lt;c&gt;.jpg: empty" in html


def test_small_changes_have_small_bars():
    """The longest bar is half the width, unless nothing changes by a tenth."""
    one, pixels = pictures([[0.01, -0.005]])
    assert strip.make(one, pixels, "photograph", "", 1, False)["cards"][0]["bar"][0] == pytest.approx(5)


def test_thumbnails_are_what_the_network_saw():
    picture = np.linspace(0, 1, 16 * 16 * 3).reshape(16, 16, 3)
    np.testing.assert_array_equal(strip.shown(picture, "photograph"), np.rint(picture * 255).astype(np.uint8))
    assert strip.shown(picture, "ct_windows").shape == (16, 16, 1)  # of three windows that of the brain
    assert max(strip.shown(np.zeros((500, 300, 1)), "window").shape) <= strip.MOST_PIXELS
