"""Paper 3's preparation: window with everything outside erased, padding on both sides, area means, the file's own axes."""

import nibabel
import numpy as np
import pytest

from jaxstroke.preprocess import inverse, patient, reference, resize

SHAPE = (40, 30, 30)


def settings(kit, shape=SHAPE):
    return kit.settings(
        column="ct", kind="volume", shape=shape, sampling="resize", normalise="window_erased", window=(15.0, 100.0), register=False,
        brain_mask="none",
    )  # fmt: skip


def record(kit, path, shape=SHAPE) -> dict:
    plan = reference.Plan({"ct": settings(kit, shape)}, (), 0.3)
    return patient.prepare_image(plan, reference.Job("1", "1", "", {"ct": (str(path),)}), "ct", {})


def scan(seed: int, shape) -> np.ndarray:
    """Hounsfield units from air to bone, int16."""
    return np.random.default_rng(seed).integers(-100, 220, shape).astype(np.int16)


@pytest.mark.parametrize("slices", [28, 33, 40, 54])
def test_equals_monais_transforms_on_a_synthetic_scan(kit, tmp_path, slices):
    kit.save(tmp_path / "ct.nii.gz", scan(slices, (52, 47, slices)))
    compare(kit, tmp_path / "ct.nii.gz", SHAPE)


def test_equals_monais_transforms_on_a_real_scan(kit, data_root):
    """A skull-stripped template in Hounsfield units."""
    path = data_root / "clinical-t2-lesion" / "scct_stripped.nii.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    found = compare(kit, path, (40, 96, 96))
    assert 0.03 < (found > 0).mean() < 0.9


def compare(kit, path, shape) -> np.ndarray:
    """The record against the published chain of MONAI's transforms on the same file."""
    transforms = pytest.importorskip("monai.transforms", reason="MONAI is not installed: pip install -e '.[peers]'")
    array = np.asarray(nibabel.load(path).dataobj, np.float32)[None]  # channel first, as its reader gives it
    chain = transforms.Compose(
        [
            transforms.Rotate90(k=3),
            transforms.Flip(spatial_axis=1),
            lambda x: (x - 15) / 85,
            transforms.ThresholdIntensity(threshold=0, above=True, cval=0),
            transforms.ThresholdIntensity(threshold=1, above=False, cval=0),
            transforms.SpatialPad((-1, -1, shape[0])),
            transforms.Resize((shape[1], shape[2], shape[0])),
            transforms.Transpose((0, 3, 1, 2)),
        ]
    )
    made = record(kit, path, shape)
    assert not made["missing"], made["reason"]
    found = made["array"][..., 0] * made["scale"] + made["offset"]
    np.testing.assert_allclose(found, np.asarray(chain(array))[0], atol=1e-4)
    assert made["array"].dtype == np.int16 and made["mask"].all()
    return found


def test_boxes_are_means_that_cover_the_source():
    for length, source in ((3, 3), (3, 9), (4, 10), (10, 4), (301, 512)):
        weights = resize.box_weights(length, source)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
        assert (weights.sum(0) > 0).all()
    np.testing.assert_allclose(resize.box_weights(2, 3), [[0.5, 0.5, 0], [0, 0.5, 0.5]])


def test_a_stored_voxel_finds_its_way_back_to_the_file(kit, tmp_path):
    """One bright block lies where the recorded transforms say."""
    array = np.full((60, 45, 21), 16, np.int16)
    array[30:34, 12:15, 9] = 80
    kit.save(tmp_path / "ct.nii.gz", array)
    made = record(kit, tmp_path / "ct.nii.gz")
    stored = np.array(np.nonzero(made["array"][..., 0] == made["array"].max())).T
    centre = inverse.stored_to_source(made, np.round(stored.mean(0))[None])[0]
    np.testing.assert_allclose(centre, [31.5, 13, 9], atol=1.0)
    back = inverse.source_to_stored(made, np.array([[31.5, 13.0, 9.0]]))[0]
    np.testing.assert_allclose(back, stored.mean(0), atol=0.75)


def test_another_unit_is_refused(kit, tmp_path):
    kit.save(tmp_path / "ct.nii.gz", np.random.default_rng(0).random((20, 20, 20)).astype(np.float32))
    assert "another unit" in record(kit, tmp_path / "ct.nii.gz")["reason"]


@pytest.mark.parametrize("native", [(28, 28, 28), (31, 40, 29), (45, 33, 20)])
def test_padding_moves_voxels_and_changes_none(kit, tmp_path, native):
    """Shorter axes are filled, longer ones cut, on both sides; the recorded transforms find each voxel again."""
    array = np.random.default_rng(0).integers(0, 256, native, np.uint8)
    kit.save(tmp_path / "ct.nii.gz", array)
    chosen = settings(kit, (32, 32, 32)) | {"sampling": "pad", "normalise": "scale", "window": (0.0, 255.0), "dtype": "uint8"}
    plan = reference.Plan({"ct": chosen}, (), 0.3)
    made = patient.prepare_image(plan, reference.Job("1", "1", "", {"ct": (str(tmp_path / "ct.nii.gz"),)}), "ct", {})
    stored = made["array"][..., 0]
    places = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1).reshape(-1, 3)
    source = inverse.stored_to_source(made, places)
    np.testing.assert_array_equal(source, np.rint(source))
    inside = ((source >= 0) & (source < native)).all(1)
    found = stored[tuple(places.T)]
    np.testing.assert_array_equal(found[inside], array[tuple(source[inside].astype(int).T)])
    assert not found[~inside].any() and inside.sum() == np.minimum(native, 32).prod()
    for axis in range(3):
        filled = np.flatnonzero(stored.any(axis=tuple(other for other in range(3) if other != axis)))
        assert filled[0] + filled[-1] in (30, 31)  # as much before as behind, or one more behind
