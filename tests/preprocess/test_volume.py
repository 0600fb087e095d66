import itertools

import numpy as np
import pytest

from jaxstroke.cohort.readers import ReadError
from jaxstroke.preprocess import volume


def rotation(degrees_x, degrees_y, degrees_z):
    a, b, c = np.deg2rad([degrees_x, degrees_y, degrees_z])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def smooth(shape, affine):
    """A smooth field of world coordinates, sampled on a grid."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return (100 + 20 * np.sin(world[..., 0] / 12) + 15 * np.cos(world[..., 1] / 15) + 10 * np.sin(world[..., 2] / 14)).astype(np.float32)


def straight(spacing, shape):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    return affine


def centred_grid(affine, shape, wanted, size):
    axial, axial_shape = volume.axial_geometry(affine, shape)
    return volume.make_grid(axial, axial_shape, (axial_shape - 1) / 2, wanted, size)


def test_axes_are_inferior_superior_anterior_posterior_left_right():
    affine = straight((2, 2, 2), (10, 12, 8))
    grid = centred_grid(affine, (10, 12, 8), (0, 0, 0), (8, 12, 10))
    steps = grid.affine[:3, :3]
    np.testing.assert_allclose(steps, [[0, 0, 2], [0, -2, 0], [2, 0, 0]], atol=1e-9)
    source = np.random.default_rng(0).normal(size=(10, 12, 8)).astype(np.float32)
    values, coverage = volume.resample(source, affine, grid)
    np.testing.assert_allclose(values, source.transpose(2, 1, 0)[:, ::-1], atol=1e-6)  # native spacing: nothing is interpolated
    assert (coverage == 1).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", list(itertools.product([1, -1], repeat=3))[1::2])
def test_stored_order_of_the_file_changes_nothing(order, flips):
    shape = (20, 24, 14)
    affine = straight((2.0, 1.5, 3.0), shape)
    affine[:3, :3] = rotation(4, -3, 5) @ affine[:3, :3]
    source = smooth(shape, affine)
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for new, old in enumerate(order):
        change[old, new] = flips[new]
        change[old, 3] += shape[old] - 1 if flips[new] < 0 else 0
    other = source.transpose(order)[tuple(slice(None, None, f) for f in flips)]
    wanted, size = (6.0, 5.0, 5.0), (6, 8, 8)
    expected = volume.resample(source, affine, centred_grid(affine, shape, wanted, size))
    got = volume.resample(other, affine @ change, centred_grid(affine @ change, other.shape, wanted, size))
    np.testing.assert_allclose(got[0], expected[0], atol=2e-3)
    np.testing.assert_allclose(got[1], expected[1], atol=1e-3)


def test_planted_world_coordinate_lands_where_the_grid_says():
    shape = (40, 44, 22)
    affine = np.eye(4)
    affine[:3, :3] = rotation(12, -8, 20) @ np.diag([1.1, 0.9, 2.5])
    affine[:3, 3] = [-20, 7, 31]
    reference = straight((1.5, 1.5, 3.0), (30, 30, 16))
    planted = np.array([21.0, 19.0, 11.0])
    world = affine[:3, :3] @ planted + affine[:3, 3]
    reference[:3, 3] += world + 2.0  # oblique to the source, and not centred on the point
    source = np.zeros(shape, np.float32)
    source[tuple(planted.astype(int))] = 1000
    grid = centred_grid(reference, (30, 30, 16), (3.0, 2.0, 2.0), (12, 16, 16))
    values, _ = volume.resample(source, affine, grid)
    hit = np.array(np.unravel_index(values.argmax(), values.shape))
    expected = np.linalg.solve(grid.affine, np.append(world, 1))[:3]
    assert np.abs(hit - expected).max() <= 0.5 + 1e-6
    back = (grid.to_source(affine) @ np.append(expected, 1))[:3]
    np.testing.assert_allclose(back, planted, atol=1e-6)


@pytest.mark.parametrize("wanted", [(6.0, 4.0, 4.0), (2.0, 1.5, 1.5), (3.0, 2.0, 5.0)])
def test_separable_path_equals_general_path_on_smooth_data(wanted):
    shape = (50, 46, 30)
    affine = straight((2.0, 2.0, 3.0), shape)
    source = smooth(shape, affine)
    grid = centred_grid(affine, shape, wanted, (8, 12, 12))
    fast, covered = volume.resample(source, affine, grid)
    matrix = grid.to_source(affine)
    values, weight = volume._oblique(source, matrix, grid.shape)
    assert volume.parallel_axes(matrix, grid.shape) == (2, 1, 0)
    whole = (covered > 0.999) & (weight > 0.999)
    assert whole.mean() > 0.5
    np.testing.assert_allclose(fast[whole], (values / weight)[whole], atol=0.25)  # of a field that varies by +-45
    np.testing.assert_allclose(fast[whole], smooth_at(grid)[whole], atol=1.0)


def test_oblique_mean_is_over_the_part_inside():
    source = np.full((20, 24, 12), 7.0, np.float32)
    affine = np.eye(4)
    affine[:3, :3] = rotation(15, 10, -20)
    values, coverage = volume.resample(source, affine, centred_grid(np.eye(4), (30, 30, 20), (3.0, 2.5, 2.5), (8, 16, 16)))
    assert coverage.min() == 0 and ((coverage > 0.1) & (coverage < 0.9)).any()
    np.testing.assert_allclose(values[coverage > 0.05], 7.0, rtol=1e-4)


def smooth_at(grid):
    return smooth(grid.shape, grid.affine)


def test_downsampling_averages_instead_of_picking():
    source = np.indices((32, 32, 16)).sum(0).astype(np.float32) % 2  # a checkerboard aliases under point sampling
    grid = centred_grid(np.eye(4), source.shape, (4.0, 4.0, 4.0), (4, 8, 8))
    np.testing.assert_allclose(volume.resample(source, np.eye(4), grid)[0], 0.5, atol=1e-6)


def test_mask_integral_is_kept_and_emptiness_is_cheap_and_right():
    mask = np.zeros((40, 40, 20), bool)
    mask[7:19, 22:25, 3:5] = True
    affine = straight((1.0, 1.0, 2.0), mask.shape)
    grid = centred_grid(affine, mask.shape, (5.0, 3.0, 3.0), (9, 15, 15))
    values, _ = volume.resample(mask, affine, grid, partial=True)
    assert values.sum() * volume.voxel_ml(grid.affine) == pytest.approx(mask.sum() * volume.voxel_ml(affine), rel=1e-5)
    plain, coverage = volume.resample(mask, affine, grid)
    np.testing.assert_allclose(plain * coverage, values, atol=1e-5)
    assert volume.resample(np.zeros_like(mask), affine, grid, partial=True)[0].max() == 0


def test_outside_the_field_of_view_is_marked_and_not_darkened():
    source = np.full((20, 20, 10), 7.0, np.float32)
    grid = centred_grid(np.eye(4), source.shape, (2.0, 3.0, 3.0), (5, 12, 12))
    values, coverage = volume.resample(source, np.eye(4), grid)
    assert coverage[:, 0].max() == 0 and 0 < coverage[:, 2].max() < 1
    np.testing.assert_allclose(values[coverage > 0.01], 7.0, rtol=1e-5)
    assert (values[coverage == 0] == 0).all()


def test_no_overlap_is_refused():
    far = np.eye(4)
    far[:3, 3] = 500
    with pytest.raises(ReadError, match="does not overlap"):
        volume.resample(np.ones((5, 5, 5)), far, centred_grid(np.eye(4), (5, 5, 5), (0, 0, 0), (5, 5, 5)))


def test_native_slices_are_all_kept_and_planes_lie_on_voxels():
    axial, shape = volume.axial_geometry(straight((1.0, 1.0, 5.0), (31, 30, 23)), (31, 30, 23))
    grid = volume.make_grid(axial, shape, np.array([11.2, 14.3, 15.9]), (0, 0, 0), (8, 16, 16))
    assert grid.shape == (23, 16, 16)
    index = np.linalg.solve(axial, grid.affine)
    np.testing.assert_allclose(index, np.round(index), atol=1e-9)
