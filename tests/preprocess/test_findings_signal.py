"""The signal that findings tell of an image: medians inside and outside the lesion, whatever grid the image has."""

import lesions_recounted as again
import numpy as np
import pytest

from jaxstroke.preprocess.report import findings as found

TINY = 1e-9


def signal(mask, affine, array, own) -> float | None:
    signals = found.of_mask(mask, affine, None, {"dwi": (array, own)}).signals
    assert all(one.image == "dwi" for one in signals)
    return signals[0].ratio if signals else None


def test_a_signal_is_the_median_inside_over_that_outside_without_what_is_0():
    mask, affine = again.blob(4), again.affine_of("rotated")
    rng = np.random.default_rng(0)
    array = np.where(mask, rng.uniform(150, 210, mask.shape), rng.uniform(80, 120, mask.shape)).astype(np.float32)
    array[rng.random(mask.shape) < 0.3] = 0  # background, and lesion that the image holds as 0
    inside, outside = sorted(array[mask].tolist()), sorted(value for value in array[~mask].tolist() if value != 0)
    middle = [(values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2 for values in (inside, outside)]
    assert signal(mask, affine, array, affine) == pytest.approx(middle[0] / middle[1], abs=0.005 + TINY, rel=0)
    assert signal(mask, affine, np.stack([array, 3 * array], axis=3), affine) == signal(mask, affine, array, affine)  # 4-D: its mean


@pytest.mark.parametrize("zoom", [0.5, 1.0, 3.0])
def test_an_image_has_a_grid_of_its_own(zoom):
    """Of half and of three times the mask's voxel, axes in another order: the lesion is 50 in an image of 20."""
    mask = np.zeros((24, 24, 24), bool)
    mask[3:21, 3:12, 6:18] = True  # whole blocks of three: no image voxel is in part
    size = round(24 / zoom)
    place = ((np.arange(size) + 0.5) * zoom - 0.5).round().astype(int)
    array = np.where(mask, 50, 20)[np.ix_(place, place, place)].transpose(2, 0, 1)[:, ::-1].astype(np.int16)
    own = np.eye(4)
    own[:3, :3] = np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]]) * zoom
    own[:3, 3] = (zoom - 1) / 2
    own[0, 3] += zoom * (size - 1)
    assert signal(mask, np.eye(4), array, own) == 2.5
    assert signal(mask[:, ::-1], np.eye(4), array, own) < 2.5  # not by chance


def test_all_of_the_lesion_is_left_out_of_what_is_outside():
    """The lesion is most of an image on a finer grid: one voxel of it counted outside would move the median."""
    mask = np.ones((6, 6, 6), np.uint8)
    mask[0] = 0
    array = np.where(mask.repeat(3, 0).repeat(3, 1).repeat(3, 2), 90, 30).astype(np.float32)
    own = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    own[:3, 3] = -1 / 3
    assert signal(mask, np.eye(4), array, own) == 3.0


def test_an_image_that_tells_nothing_is_left_out():
    mask, affine = again.blob(1), np.eye(4)
    far = np.eye(4)
    far[:3, 3] = 500
    ones = np.ones(mask.shape)
    assert signal(mask, affine, ones, far) is None  # elsewhere
    assert signal(mask, affine, np.where(mask, 5.0, 0.0), affine) is None  # nothing outside
    assert signal(mask, affine, np.where(mask, 5.0, -1000.0), affine) is None  # a ratio to what is below 0 says nothing
    assert signal(mask, affine, ones, None) is None  # a picture
    images = {"adc": (2 * ones, affine), "far": (ones, far), "dwi": (ones, affine)}
    assert [one.image for one in found.of_mask(mask, affine, None, images).signals] == ["adc", "dwi"]
