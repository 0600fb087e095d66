import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxstroke.preprocess import slices


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 12))
def test_choice_is_even_ordered_and_padded(valid, size):
    index, mask = slices.choose(np.array(valid), size)
    found = np.flatnonzero(valid)
    chosen = index[index >= 0]
    assert len(index) == len(mask) == size and mask.sum() == min(size, len(found)) == len(chosen)
    assert (np.diff(chosen) > 0).all() and set(chosen) <= set(found)
    assert (mask[: len(chosen)] == 1).all()
    if len(found) > size > 1:
        places = np.searchsorted(found, chosen)
        assert places[0] == 0 and places[-1] == len(found) - 1 and np.ptp(np.diff(places)) <= 1


def test_take_pads_with_zeros():
    array = np.arange(12.0).reshape(4, 3) + 1
    np.testing.assert_array_equal(slices.take(array, np.array([3, 0, -1])), [[10, 11, 12], [1, 2, 3], [0, 0, 0]])
    assert array.min() == 1


def photograph(array, **changes):
    settings = {"kind": "sequence", "axis": "slice", "shape": (2, 20, 20), "channels": 3}
    settings |= {"normalise": "photograph", "window": (0, 1), "dtype": "uint8"}
    return slices.pictures(settings | changes, [types.SimpleNamespace(array=a, affine=None) for a in array])


def test_photographs_are_letterboxed_with_their_aspect():
    picture = np.full((40, 20, 3), (255, 128, 0), np.uint8)
    record = photograph([picture])
    assert record["array"].shape == (2, 20, 20, 3) and record["mask"].tolist() == [1, 0]
    assert (record["array"][0, :, 5:15] == (255, 128, 0)).all()
    assert record["array"][0, :, :5].max() == 0 and record["array"][0, :, 15:].max() == 0 and record["array"][1].max() == 0
    matrix = np.array(record["transforms"][0]["matrices"][0])
    np.testing.assert_allclose(matrix @ [0, 5, 1], [0.5, 0.5, 1])  # the frame's column 5 is the picture's first pair of columns


def test_more_pictures_than_places_and_channels():
    pictures = [np.full((20, 20, 1), 10 * i, np.uint8) for i in range(5)]
    record = photograph(pictures, channels=1)
    assert [int(a[0, 0, 0]) for a in record["array"]] == [0, 40] and record["transforms"][1]["index"] == [0, 4]
    colour = photograph(pictures[3:4])
    assert colour["array"].shape[-1] == 3 and (colour["array"][0] == 30).all()
    grey = photograph([np.full((20, 20, 4), (100, 100, 100, 255), np.uint8)], channels=1)
    assert (grey["array"][0] == 100).all()
    deep = photograph([np.full((20, 20, 1), 65535, np.uint16)], channels=1)
    assert (deep["array"][0] == 255).all()


def test_a_picture_is_no_volume():
    with pytest.raises(slices.ReadError, match="kind in the config is 'volume'"):
        photograph([np.ones((4, 4, 1), np.uint8)], kind="volume")
