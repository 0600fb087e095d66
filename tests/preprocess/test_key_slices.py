"""Key slices: those with most of the lesion, seen as a radiologist sees them, in the same bytes every time."""

import io

import numpy as np
import PIL.Image
import pytest

from jaxstroke.preprocess.report.key_slices import pngs

SHAPE = (12, 20, 16, 1)


def pixels(png: bytes) -> np.ndarray:
    picture = PIL.Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.mode in ("L", "RGB")
    return np.asarray(picture).astype(int)


def numbered(shape=SHAPE) -> np.ndarray:
    """Slice i has the value i + 1 in a frame of 0: its grey tells which it is."""
    array = np.zeros(shape, np.int16)
    array[:, 4:-4, 4:-4] = np.arange(1, shape[0] + 1).reshape(-1, 1, 1, 1)
    return array


def which(found, array) -> list[int]:
    low, high = np.percentile(array[array != 0], (1, 99))
    grey = [round(255 * float(np.clip((i + 1 - low) / (high - low), 0, 1))) for i in range(len(array))]
    return [grey.index(pixels(png)[10, 8]) for png in found]


def test_slices_with_most_of_the_lesion_in_their_order():
    mask = np.zeros(SHAPE[:3], np.uint8)
    for place, size in ((2, 3), (5, 9), (7, 5), (9, 8)):
        mask[place, 0, :size] = 1
    assert which(pngs(numbered(), mask, 3), numbered()) == [5, 7, 9]
    assert which(pngs(numbered(), mask, 1), numbered()) == [5]
    assert which(pngs(numbered(), mask > 0, 9), numbered()) == [2, 5, 7, 9]  # none without a lesion


def test_part_of_a_voxel_counts_as_part():
    mask = np.zeros(SHAPE[:3], np.float32)
    mask[3, 0, :4], mask[8, 0, :2] = 0.25, 0.9
    assert which(pngs(numbered(), mask, 1), numbered()) == [8]


@pytest.mark.parametrize("mask", [None, np.zeros(SHAPE[:3], bool)])
def test_middle_half_without_a_lesion(mask):
    array = numbered()
    assert which(pngs(array, mask, 3), array) == [3, 5, 8]
    assert which(pngs(array, mask, 2), array) == [3, 8]
    assert which(pngs(array, mask, 99), array) == [3, 4, 5, 6, 7, 8]
    array[6:] = 0  # padding
    assert which(pngs(array, mask, 2), array) == [1, 4]
    assert len(pngs(array[:1], None, 3)) == 1


def test_window_background_and_sides():
    rng = np.random.default_rng(0)
    array = np.where(np.arange(16).reshape(16, 1) < 3, 0, rng.normal(size=SHAPE)).astype(np.float32)  # negative values are tissue too
    stored = pngs(array, None, 12, mirrored=False)
    low, high = np.percentile(array[array != 0], (1, 99))
    expected = np.where(array != 0, np.rint(np.clip((array - low) / (high - low), 0, 1) * 255), 0)[3:9, ..., 0]
    np.testing.assert_array_equal([pixels(png) for png in stored], expected)
    np.testing.assert_array_equal([pixels(png) for png in pngs(array, None, 12)], expected[:, :, ::-1])
    assert (expected[..., :3] == 0).all() and expected.max() == 255


def test_colour():
    array = np.random.default_rng(1).integers(1, 256, (4, 8, 6, 3), np.uint8)
    (png,) = pngs(array, None, 1, mirrored=False)
    assert pixels(png).shape == (8, 6, 3)
    low, high = np.percentile(array, (1, 99))
    np.testing.assert_array_equal(pixels(png), np.rint(np.clip((array[1] - low) / (high - low), 0, 1) * 255))


def test_bytes_are_the_same_whatever_the_kind_of_the_same_values():
    array = np.random.default_rng(2).integers(-5, 500, SHAPE).astype(np.int16)
    assert pngs(array, None, 3) == pngs(array.astype(np.float64), None, 3) == pngs(np.asfortranarray(array), None, 3)


@pytest.mark.filterwarnings("error")
def test_nothing_to_see_and_no_numbers():
    assert pngs(np.zeros(SHAPE, np.float32), None, 3) == () and pngs(np.zeros((0, 4, 4, 1)), None, 3) == ()
    array = np.full(SHAPE, np.nan, np.float32)
    assert pngs(array, None, 3) == ()
    array[:, :4] = np.inf
    array[:, 4:8] = 7.0
    assert (pixels(pngs(array, None, 1)[0])[4:8] == 255).all() and (pixels(pngs(array, None, 1)[0])[8:] == 0).all()


@pytest.mark.parametrize("shape, mask", [((4, 8, 6), None), ((4, 8, 6, 2), None), ((4, 8, 6, 1), (4, 8, 5))])
def test_shapes_that_do_not_fit(shape, mask):
    with pytest.raises(ValueError, match="array"):
        pngs(np.ones(shape), mask and np.ones(mask), 3)
