"""What a lesion mask shows: every number against one counted by other means, sides, territories by number, any affine."""

import json

import lesions_recounted as again
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from jaxstroke.cohort.files import ReadError
from jaxstroke.errors import InputError
from jaxstroke.preprocess.report import findings as found
from jaxstroke.preprocess.report.atlas import Atlas

TINY = 1e-9


def check(findings: found.Findings, counted: again.Counted):
    """Each number is the counted one to its last digit; of 2 digits 0.005, and so on."""
    for name in ("volume_ml", "left_ml", "right_ml", "outside_ml"):
        assert getattr(findings, name) == pytest.approx(getattr(counted, name), abs=0.005 + TINY, rel=0)
    assert findings.lesions == counted.lesions
    assert findings.diameter_mm == pytest.approx(counted.diameter_mm, abs=0.05 + TINY, rel=0)
    assert {one.number for one in findings.territories} == set(counted.territories)
    for one in findings.territories:
        share, ml = counted.territories[one.number]
        assert one.share == pytest.approx(share, abs=0.00005 + TINY, rel=0) and one.ml == pytest.approx(ml, abs=0.005 + TINY, rel=0)
    assert list(findings.territories) == sorted(findings.territories, key=lambda one: (-one.ml, one.number))
    smaller = min(counted.left_ml, counted.right_ml) / counted.volume_ml
    assert findings.side == ("both" if smaller >= 0.05 else "left" if counted.left_ml > counted.right_ml else "right")


def numbered(labels, affine) -> Atlas:
    return Atlas(labels, affine, {})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", again.AFFINES)
def test_numbers_of_random_lesions_under_any_affine(name, seed):
    mask, labels, affine = again.blob(seed), again.blocks(), again.affine_of(name)
    findings = found.of_mask(mask, affine, numbered(labels, affine))
    check(findings, again.counted(mask, affine, labels, affine))
    assert findings.territories and findings.outside_ml > 0 and findings.lesions > 1


@pytest.mark.parametrize("patient", again.IDS)
def test_numbers_of_real_lesions(data_root, patient):
    atlas, image = again.soop_atlas(data_root), again.soop_lesion(data_root, patient)
    findings = found.of_mask(image.array, image.affine, atlas)
    check(findings, again.counted(image.array > 0, image.affine, atlas.labels, atlas.affine))
    assert [one.name for one in findings.territories] == [atlas.names[one.number] for one in findings.territories]


@pytest.mark.parametrize("patient", again.IDS)
def test_a_real_lesion_that_is_mirrored_is_on_the_other_side(data_root, patient):
    image = again.soop_lesion(data_root, patient)
    first, last = (image.affine @ [[0, image.array.shape[0] - 1], [0, 0], [0, 0], [1, 1]])[0]
    assert first == -last  # so that reversing the first axis is a mirror in x = 0
    one, other = (found.of_mask(array, image.affine, None) for array in (image.array, image.array[::-1]))
    assert other.side == {"left": "right", "right": "left", "both": "both"}[one.side]
    assert (other.left_ml, other.right_ml) == (one.right_ml, one.left_ml) and one.left_ml != one.right_ml
    assert (other.volume_ml, other.lesions, other.diameter_mm) == (one.volume_ml, one.lesions, one.diameter_mm)


@pytest.mark.parametrize("name", again.AFFINES)
def test_a_mirrored_affine_swaps_the_sides(name):
    affine = again.affine_of(name)
    mask, mirror = again.blob(5), np.diag([-1.0, 1, 1, 1])
    one, other = found.of_mask(mask, affine, None), found.of_mask(mask, mirror @ affine, None)
    assert (other.left_ml, other.right_ml, other.volume_ml) == (one.right_ml, one.left_ml, one.volume_ml)


def test_negative_first_coordinates_are_the_left_and_the_plane_is_half_of_each():
    affine = again.affine_of("straight", (21, 5, 5))
    mask = np.zeros((21, 5, 5), np.uint8)
    mask[:10, 2, 2] = 1
    assert found.of_mask(mask, affine, None).side == "left"
    mask[10, 2, 2] = 1  # x = 0: half a voxel in 11 is under 5 %
    affine[:3, :3] *= 10
    affine[:3, 3] *= 10
    findings = found.of_mask(mask, affine, None)
    assert (findings.side, findings.left_ml, findings.right_ml) == ("left", 10.5, 0.5)
    mask[11, 2, 2] = 1
    findings = found.of_mask(mask, affine, None)
    assert (findings.side, findings.left_ml, findings.right_ml, findings.volume_ml) == ("both", 10.5, 1.5, 12.0)


LINE = np.arange(150)
SHAPES = {
    "one voxel": ([3], [4], [5]),
    "two corners": ([3, 4], [4, 5], [5, 6]),
    "a long row": (LINE, 0 * LINE, 0 * LINE),
    "a long column": (0 * LINE, 0 * LINE, LINE),
    "a diagonal": (LINE, LINE, LINE),
    "a plane": tuple(np.indices((1, 90, 70)).reshape(3, -1)),
    "an oblique plane": (np.repeat(LINE, 5), np.repeat(LINE, 5), np.tile(np.arange(5), 150)),
    "a plane and a voxel": tuple(np.concatenate([np.indices((1, 90, 70)).reshape(3, -1), [[1], [40], [30]]], axis=1)),
    "an L": (np.r_[LINE, 0 * LINE], np.r_[0 * LINE, LINE], np.r_[0 * LINE, 0 * LINE]),
}  # fmt: skip


@pytest.mark.parametrize("name", ["straight", "rotated", "sheared"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_diameter_of_what_is_flat_or_thin(shape, name):
    mask = np.zeros((150, 150, 150), bool)
    mask[tuple(np.asarray(axis) for axis in SHAPES[shape])] = True
    affine = again.affine_of(name)
    counted, findings = again.counted(mask, affine), found.of_mask(mask, affine, None)
    assert findings.lesions == counted.lesions == 1
    assert findings.diameter_mm == pytest.approx(counted.diameter_mm, abs=0.05 + TINY, rel=0)


def test_the_diameter_is_within_one_component_and_the_longest_need_not_be_in_the_largest_box():
    """With 10 mm slices a box that is long in voxels is short in mm; and two distant components have no distance."""
    mask = np.zeros((40, 40, 10), bool)
    mask[:30, 0, 0] = True  # 29 mm
    mask[35, 35, 2:8] = True  # 50 mm
    findings = found.of_mask(mask, np.diag([1.0, 1, 10, 1]), None)
    assert (findings.lesions, findings.diameter_mm) == (2, 50.0)
    sheared = np.eye(4)
    sheared[0, 1] = -0.8  # of the diagonals of a box, one is twice the other
    mask = np.zeros((40, 40, 40), bool)
    mask[np.arange(30), np.arange(30)[::-1], 0] = mask[39, 39] = True
    assert found.of_mask(mask, sheared, None).diameter_mm == 59.7  # 29 of (1.8, -1); the other is 39 mm long


def test_territories_of_one_name_stay_apart_by_number():
    labels = np.zeros((10, 4, 4), int)
    labels[:5], labels[5:] = 13, 14
    mask = np.zeros((10, 4, 4), bool)
    mask[3:6] = True
    findings = found.of_mask(mask, np.eye(4), Atlas(labels, np.eye(4), {13: "occipital", 14: "occipital"}))
    assert findings.territories == (found.Territory(13, "occipital", 0.4, 0.03), found.Territory(14, "occipital", 0.2, 0.02))


def test_equal_parts_are_in_the_order_of_numbers_and_one_without_a_name_has_its_number():
    labels = np.repeat([7, 300, 2, 0], 2)[:, None, None] * np.ones((8, 3, 3), int)
    findings = found.of_mask(np.ones((8, 3, 3)), np.eye(4), Atlas(labels, np.eye(4), {2: "second"}))
    assert [(one.number, one.name) for one in findings.territories] == [(2, "second"), (7, "territory 7"), (300, "territory 300")]
    assert findings.outside_ml == 0.02


@pytest.mark.parametrize("name", again.AFFINES)
def test_an_atlas_on_another_grid_is_looked_up_by_world_coordinates(name):
    """A mask of its own shape and affine over an atlas of 1.5 mm, part of which lies outside it."""
    mask, affine = again.blob(7, share=0.2), again.affine_of(name)
    labels = again.blocks((20, 20, 20), 27)
    own = np.diag([1.5, 1.5, 1.5, 1.0])
    own[:3, 3] = (-13.21, -14.83, -12.37)
    findings = found.of_mask(mask, affine, numbered(labels, own))
    check(findings, again.counted(mask, affine, labels, own))
    assert len(findings.territories) > 5


def test_an_atlas_of_whole_blocks_of_voxels_gives_the_same_numbers():
    """Voxels of 2 mm that each cover eight of the mask's: no centre is on a border, nothing differs but how half a digit is rounded."""
    coarse = again.blocks((12, 10, 9))
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine, double = np.eye(4), np.diag([2.0, 2, 2, 1])
    double[:3, 3] = 0.5
    mask = again.blob(3)
    one, other = (found.of_mask(mask, affine, numbered(*atlas)).territories for atlas in ((coarse, double), (fine, affine)))
    assert [(a.number, a.ml) for a in one] == [(b.number, b.ml) for b in other] and len(one) > 5
    assert [a.share for a in one] == pytest.approx([b.share for b in other], abs=1e-4 + TINY, rel=0)


@pytest.mark.parametrize("patient", again.IDS)
def test_every_second_voxel_of_the_real_atlas_moves_shares_by_no_more_than_borders(data_root, patient):
    """Of an atlas at 2 mm the nearest voxel is at most one away, so only what has another territory beside it can move.

    share = a / s: |a'/s' - a/s| <= |a' - a| / s' + a |1/s' - 1/s|, with |a' - a| at most the lesion on a border of the territory, a / s at
    most 1, and 0.00005 of rounding for each of the two.
    """
    atlas, image = again.soop_atlas(data_root), again.soop_lesion(data_root, patient)
    affine = atlas.affine @ np.diag([2.0, 2, 2, 1])
    (box,) = ndimage.find_objects(ndimage.binary_dilation(image.array > 0).astype(int))  # one voxel around the lesion: all that borders see
    coarse = numbered(np.ascontiguousarray(atlas.labels[::2, ::2, ::2]), affine)
    fine, other = (found.of_mask(image.array, image.affine, one) for one in (atlas, coarse))
    assert (fine.volume_ml, fine.left_ml, fine.diameter_mm) == (other.volume_ml, other.left_ml, other.diameter_mm)
    shares = {one.number: one.share for one in other.territories}
    for one in fine.territories:
        own = atlas.labels[box] == one.number
        border = ndimage.binary_dilation(own, np.ones((3, 3, 3))) & ~ndimage.binary_erosion(own, np.ones((3, 3, 3)))
        size, coarse_size = atlas.sizes[one.number], coarse.sizes[one.number]
        moved = (border & (image.array[box] > 0)).sum() / 1000 / coarse_size + one.share * abs(size / coarse_size - 1)
        assert abs(shares.get(one.number, 0.0) - one.share) <= moved + 1e-4
        assert abs(coarse_size / size - 1) < 0.1  # the bound is of use


def test_a_share_is_at_most_1():
    """A mask voxel of 8 mm whose centre is in a territory of 1 mm."""
    labels = np.zeros((9, 9, 9), int)
    labels[4, 4, 4] = 1
    findings = found.of_mask(np.ones((1, 1, 1)), np.diag([8.0, 8, 8, 1]) + np.eye(4, k=3) * 4, numbered(labels, np.eye(4)))
    assert findings.territories == () and findings.outside_ml == 0.51
    affine = np.diag([8.0, 8, 8, 1])
    affine[:3, 3] = 4
    assert found.of_mask(np.ones((1, 1, 1)), affine, numbered(labels, np.eye(4))).territories == (
        found.Territory(1, "territory 1", 1.0, 0.51),
    )


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_every_type_of_mask_and_order_of_memory(kind):
    mask, affine = again.blob(2), again.affine_of("rotated")
    expected = found.of_mask(mask, affine, None)
    values = np.asfortranarray(mask.astype(kind) * (1 if kind is bool else 3))
    values.flags.writeable = False
    assert found.of_mask(values, affine, None) == expected
    if np.dtype(kind).kind == "f":  # fractions: more than half a voxel is lesion
        assert found.of_mask(np.where(mask, 0.51, 0.5).astype(kind), affine, None) == expected


def test_an_empty_mask_shows_nothing():
    expected = found.Findings("none", 0.0, 0.0, 0.0, 0, 0.0)
    atlas, image = numbered(again.blocks(), np.eye(4)), {"dwi": (np.ones((24, 20, 18)), np.eye(4))}
    assert found.of_mask(np.zeros((24, 20, 18), np.uint8), np.eye(4), atlas, image) == expected


def test_a_mask_that_is_no_volume_is_refused():
    for array, affine in ((np.ones((4, 4, 4, 2)), np.eye(4)), (np.ones((4, 4, 1)), None)):
        with pytest.raises(ReadError, match="no volume in mm"):
            found.of_mask(array, affine, None)


numbers = st.floats(0, 1e6, allow_nan=False)
territory = st.builds(found.Territory, number=st.integers(1, 10**6), name=st.text(), share=st.floats(0, 1), ml=numbers)
any_findings = st.builds(
    found.Findings, side=st.sampled_from(["left", "right", "both", "none"]), volume_ml=numbers, left_ml=numbers, right_ml=numbers,
    lesions=st.integers(0, 10**6), diameter_mm=numbers, territories=st.lists(territory, max_size=4).map(tuple), outside_ml=numbers,
    signals=st.lists(st.builds(found.Signal, image=st.text(), ratio=numbers), max_size=3).map(tuple),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(any_findings)
def test_findings_come_back_from_json(findings):
    back = found.from_json(json.loads(json.dumps(found.to_json(findings))))
    assert back == findings and hash(back) == hash(findings)


WRITTEN = found.to_json(found.of_mask(again.blob(0), np.eye(4), None))


@pytest.mark.parametrize("values", [None, {}, {"side": "left"}, [1], WRITTEN | {"territories": [{"number": 1}]}, WRITTEN | {"outcome": 1}])
def test_what_is_no_findings_is_refused(values):
    with pytest.raises(InputError, match="not as they were written"):
        found.from_json(values)
