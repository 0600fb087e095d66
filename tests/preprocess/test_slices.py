import numpy as np
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
