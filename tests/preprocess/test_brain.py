import numpy as np
import pytest

from jaxstroke.cohort.readers import ReadError
from jaxstroke.preprocess import brain, volume

AFFINE = np.diag([-2.0, 2.0, 5.0, 1.0])


def ellipsoid(shape=(96, 110, 24), centre=(0.1, -0.05, 0.0)):
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    return (((place - np.array(centre)[:, None, None, None]) / np.array([0.6, 0.75, 0.8])[:, None, None, None]) ** 2).sum(0) < 1


def dice(found: brain.Foreground, truth: np.ndarray) -> float:
    thin = brain.thinned(truth, AFFINE)[0]
    return 2 * (found.mask & thin).sum() / (found.mask.sum() + thin.sum())


@pytest.mark.parametrize("kind", ["noisy", "stripped map of zeros", "ct"])
def test_head_is_found_whatever_the_background(kind):
    rng, truth = np.random.default_rng(0), ellipsoid()
    if kind == "noisy":
        array = np.where(truth, rng.normal(300, 60, truth.shape), np.abs(rng.normal(0, 20, truth.shape)))
        array[60:66, 50:56, 10:12] = 1500  # a bright lesion must not raise the threshold over the tissue
    elif kind == "ct":
        array = np.where(truth, rng.normal(35, 10, truth.shape), rng.normal(-1000, 15, truth.shape))
        array[:, :3] = -2000  # padding outside the scanner's circle
    else:
        array = np.where(truth, np.maximum(rng.normal(0.5, 1.0, truth.shape), 0.0), 0.0)  # Tmax: near zero in healthy tissue
        array[20:30, 50:70, 8:14] = 12.0
    array[:, 105:107, 2:4] += 200 if kind == "noisy" else 0  # a head rest, apart
    assert dice(brain.find(array.astype(np.float32), AFFINE), truth) > 0.95


def test_geometry_centres_on_the_head():
    truth = ellipsoid()
    found = brain.geometry(AFFINE, truth.shape, brain.from_mask(truth.astype(np.uint8), AFFINE))
    index = np.argwhere(truth)
    middle = (index.min(0) + index.max(0)) / 2
    world = AFFINE @ np.append(middle, 1)
    np.testing.assert_allclose(found.affine @ np.append(found.centre, 1), world, atol=4.1)  # within a low-resolution voxel
    assert abs(found.slices[0] - index[:, 2].min()) <= 0.5 and abs(found.slices[1] - index[:, 2].max()) <= 0.5
    whole = brain.geometry(AFFINE, truth.shape, None)
    np.testing.assert_allclose(whole.centre, (np.array([24, 110, 96]) - 1) / 2)


def test_foreground_on_a_grid_lies_where_the_mask_lies():
    truth = ellipsoid()
    axial, shape = volume.axial_geometry(AFFINE, truth.shape)
    grid = volume.make_grid(axial, shape, (shape - 1) / 2, (10.0, 4.0, 4.0), (12, 55, 48))
    expected = volume.resample(truth, AFFINE, grid, partial=True)[0] > 0.5
    got = brain.from_mask(truth, AFFINE).on(grid)
    assert 2 * (got & expected).sum() / (got.sum() + expected.sum()) > 0.97


def test_no_head_and_empty_masks_are_refused():
    speck = np.zeros((64, 64, 20), np.float32)
    speck[30:32, 30:32, 9:11] = 5
    with pytest.raises(ReadError, match="no head found"):
        brain.find(speck, AFFINE)
    with pytest.raises(ReadError, match="mask is empty"):
        brain.from_mask(np.zeros((8, 8, 8)), AFFINE)
    elsewhere = brain.Foreground(np.ones((4, 4, 4), bool), np.array([[1, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    with pytest.raises(ReadError, match="outside its field of view"):
        brain.geometry(np.eye(4), (10, 10, 10), elsewhere)
