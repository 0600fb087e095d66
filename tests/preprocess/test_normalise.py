import numpy as np
import pytest

from jaxstroke.cohort.readers import ReadError
from jaxstroke.errors import InputError
from jaxstroke.preprocess.normalise import NORMALISE, normalise, quantise

RNG = np.random.default_rng(0)
INSIDE = RNG.random((6, 8, 8, 1)) < 0.4
VALUES = RNG.normal(100, 20, INSIDE.shape).astype(np.float32)


@pytest.mark.parametrize("name", ["zscore", "percentile", "window"])
def test_values_outside_the_head_do_not_matter(name):
    other = np.where(INSIDE, VALUES, 1e5).astype(np.float32)
    a, b = (normalise(name, v, INSIDE, (0.0, 200.0)) for v in (VALUES, other))
    np.testing.assert_array_equal(a[INSIDE], b[INSIDE])


def test_zscore_inside_is_standard_and_clipped():
    values = VALUES.copy()
    first = tuple(np.argwhere(INSIDE)[0])
    values[first] = 5000
    scaled = normalise("zscore", values, INSIDE, ())
    assert scaled[first] == 5.0
    plain = normalise("zscore", VALUES, INSIDE, ())
    assert abs(plain[INSIDE].mean()) < 1e-3 and abs(plain[INSIDE].std() - 1) < 1e-3


def test_windows_and_percentiles():
    np.testing.assert_allclose(normalise("window", VALUES, INSIDE, (50.0, 250.0)), np.clip((VALUES - 50) / 200, 0, 1), atol=1e-6)
    scaled = normalise("percentile", VALUES, INSIDE, ())
    assert scaled[INSIDE].min() == 0 and scaled[INSIDE].max() == 1 and 0.002 < np.mean(scaled[INSIDE] == 1) < 0.02


def test_scale_refuses_nothing():
    mostly_empty = np.zeros((4, 4, 4), np.float32)
    mostly_empty[0, 0, 0], mostly_empty[1, 1, 1] = 255, 300
    scaled = normalise("scale", mostly_empty, np.ones(mostly_empty.shape, bool), (0.0, 255.0))
    assert scaled.sum() == 2 and scaled[0, 0, 0] == scaled[1, 1, 1] == 1


@pytest.mark.parametrize("factor", [1e3, 1e-6])
def test_another_unit_is_refused(factor):
    with pytest.raises(ReadError, match="another unit"):
        normalise("window", VALUES * np.float32(factor), INSIDE, (0.0, 200.0))


def test_nothing_to_normalise_is_refused():
    with pytest.raises(ReadError, match="one value everywhere"):
        normalise("zscore", np.full(INSIDE.shape, 3.0, np.float32), INSIDE, ())
    with pytest.raises(ReadError, match="one value everywhere"):
        normalise("percentile", np.full(INSIDE.shape, 3.0, np.float32), INSIDE, ())
    with pytest.raises(ReadError, match="nothing of the head"):
        normalise("zscore", VALUES, np.zeros_like(INSIDE), ())
    with pytest.raises(InputError, match="Did you mean 'zscore'"):
        normalise("zscor", VALUES, INSIDE, ())
    with pytest.raises(InputError, match="second value"):
        normalise("window", VALUES, INSIDE, (3.0, 3.0))


@pytest.mark.parametrize("dtype", ["int16", "uint8"])
@pytest.mark.parametrize("name", list(NORMALISE))
def test_storage_keeps_zero_and_values_within_half_a_step(name, dtype):
    values = normalise(name, VALUES, INSIDE, (0.0, 200.0))
    values[0] = 0
    stored, scale, offset = quantise(name, values, dtype)
    back = stored * np.float32(scale) + np.float32(offset)
    assert stored.dtype == dtype and (back[0] == 0).all()
    assert np.abs(back - values).max() <= 0.51 * scale
    with pytest.raises(InputError, match="dtype 'float32' is not known"):
        quantise(name, values, "float32")


def test_the_logarithm_of_a_masks_share_keeps_none_at_0_and_all_at_1():
    share = np.linspace(0, 1, 33, dtype=np.float32).reshape(3, 11)
    found = normalise("mask_log", share, np.ones(share.shape, bool), (0.0, 1.0))
    np.testing.assert_allclose(np.expm1(found * np.log(101)) / 100, share, atol=1e-6)
    assert found[0, 0] == 0 and found[-1, -1] == pytest.approx(1)
    stored, scale, offset = quantise("mask_log", found, "uint8")
    assert offset == 0 and (np.diff(stored.ravel().astype(int)) > 0).all()  # small shares stay apart
