"""The brain in an unstripped head CT, and the three windows as channels."""

import nibabel
import numpy as np
import pytest

from jaxstroke.cohort import head_ct, phantom
from jaxstroke.cohort.readers import ReadError
from jaxstroke.preprocess import brain, ct, normalise, patient, reference, volume


def draw_head(shape=(36, 96, 96), spacing=(5.0, 2.2, 2.2), seed=0):
    """A synthetic head from the scanner: (HU, inside of the skull, affine), arrays x y z."""
    rng = np.random.default_rng(seed)
    lengths, affine = phantom.grid("ct", shape, spacing)
    place, ml = phantom.points(lengths, affine), float(np.prod(spacing)) / 1000
    axes = phantom.half_axes(shape, spacing, head_ct.LARGEST)
    lesion, _ = phantom.grow(head_ct.draw_haematoma(rng, axes, True), 30.0, place, axes * head_ct.brain_edge(0.0), ml)
    whole, _ = head_ct.draw(head_ct.Head(axes, 0.0, lesion, 1.3, 0.5, 4.0), place, (ml * 1000) ** (1 / 3), rng)
    return whole, phantom.radius_of(place, axes) < 1, affine


def dice(found: brain.Foreground, truth: np.ndarray, affine: np.ndarray) -> float:
    mask = found.on(volume.Grid(truth.shape, affine))
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_brain_is_found_under_the_skull(seed):
    whole, truth, affine = draw_head(seed=seed)
    assert dice(ct.find(whole, affine), truth, affine) > 0.95


def test_thick_and_fine_voxels_give_the_same_brain():
    whole, truth, affine = draw_head()
    fine = np.repeat(np.repeat(whole, 3, 0), 3, 1)
    step = np.diag([1 / 3, 1 / 3, 1.0, 1.0])
    step[:2, 3] = -1 / 3  # the middle of the three is where the voxel was
    assert dice(ct.find(fine, affine @ step), truth, affine) > 0.95


def test_a_bony_gap_does_not_let_the_scalp_in():
    """A burr hole and a craniectomy: what is found grows by no more than what lies over the gap."""
    whole, truth, affine = draw_head()
    for half in (2, 12):
        opened = whole.copy()
        gap = opened[-40:, 48 - half : 48 + half, 18 - half // 2 : 18 + half // 2 + 1]
        gap[gap > ct.BONE] = 40
        assert dice(ct.find(opened, affine), truth, affine) > 0.9


def test_an_eye_that_hangs_on_by_its_nerve_is_left_out():
    whole, truth, affine = draw_head()
    place = np.stack(np.meshgrid(*[np.arange(n) for n in whole.shape], indexing="ij"))
    eye = ((place - np.array([30, 93, 18])[:, None, None, None]) ** 2).sum(0) < 2**2
    whole[29:31, 70:93, 18] = 35  # 4 mm wide
    whole[eye] = 35
    found = ct.find(whole, affine).on(volume.Grid(truth.shape, affine))
    assert not (found & eye).any()


def test_what_is_no_unstripped_ct_is_refused():
    whole, truth, affine = draw_head()
    with pytest.raises(ReadError, match="stripped already"):
        ct.find(np.where(truth, whole, 0), affine)
    with pytest.raises(ReadError, match="no brain"):
        ct.find(np.where(whole > 200, whole, -1000), affine)


def test_real_heads_brain_has_a_brains_volume(data_root):
    """Planes of a GE scanner, stacked as if upright: the mask goes by planes and volume, not by the tilt."""
    pydicom = pytest.importorskip("pydicom")
    folder = data_root / "head-ct-ge-tilt"
    if not folder.exists():
        pytest.skip(f"{folder} is absent")
    files = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    files.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    planes = np.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in files], -1).transpose(1, 0, 2)
    found = ct.find(planes, np.diag([0.488, 0.488, 5.6, 1.0]))
    assert 900 < found.mask.sum() * volume.voxel_ml(found.affine) < 1500
    assert not found.mask[:, :, -1].any()  # the vertex: bone alone
    centre = np.argwhere(found.mask).mean(0) / found.mask.shape
    assert (np.abs(centre[:2] - 0.5) < 0.15).all()


def prepared(kit, path, **changes) -> dict:
    settings = kit.settings(column="ct", kind="volume", shape=(16, 32, 32), spacing=(10.0, 6.6, 6.6), register=False) | changes
    job = reference.Job("1", "1", "", {"ct": (str(path),)})
    record = patient.prepare_image(reference.Plan({"ct": settings}, (), 0.3), job, "ct", {})
    assert not record["missing"], record["reason"]
    return record


@pytest.mark.parametrize("sampling", ["grid", "resize"])
def test_windows_are_channels_and_nothing_is_left_of_the_skull(kit, tmp_path, sampling):
    whole, truth, affine = draw_head()
    nibabel.save(nibabel.Nifti1Image(whole, affine), tmp_path / "ct.nii.gz")
    shared = {"normalise": "ct_windows", "channels": 3, "sampling": sampling}
    masked = prepared(kit, tmp_path / "ct.nii.gz", brain_mask="ct_brain", **shared)
    whole_head = prepared(kit, tmp_path / "ct.nii.gz", brain_mask="none", **shared)
    value, other = (one["array"] * one["scale"] + one["offset"] for one in (masked, whole_head))
    assert value.shape == (16, 32, 32, 3)
    inside = value[..., 2] > 0
    assert inside.mean() < (other[..., 2] > 0).mean()
    assert (value[~inside] == 0).all()
    assert other[..., 2].max() > 0.5 > value[..., 2].max()  # bone: only where nothing was masked
    tissue = other[8, 14:18, 14:18]  # the middle of the brain, in HU by two windows
    np.testing.assert_allclose(tissue[..., 0] * 80, tissue[..., 1] * 200 - 20, atol=0.5)


def test_values_of_the_windows():
    hu = np.array([-1000.0, 0, 40, 80, 180, 2000])[:, None].astype(np.float32)
    found = normalise.normalise("ct_windows", hu, np.ones(hu.shape, bool), (0.0, 1.0))
    np.testing.assert_allclose(found[:, 0], [0, 0, 0.5, 1, 1, 1])
    np.testing.assert_allclose(found[:, 1], [0, 0.1, 0.3, 0.5, 1, 1])
    np.testing.assert_allclose(found[:, 2], [0, 0.8 / 2.8, 0.84 / 2.8, 0.88 / 2.8, 0.98 / 2.8, 1], rtol=1e-6)
    with pytest.raises(ReadError, match="HU"):
        normalise.normalise("ct_windows", np.zeros((4, 1), np.float32), np.ones((4, 1), bool), (0.0, 1.0))
