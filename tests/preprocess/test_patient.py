import nibabel
import numpy as np
import pytest

from jaxstroke.preprocess import inverse, patient
from jaxstroke.preprocess.reference import Job, Plan


def run(images: dict, paths: dict, name: str, references=(), least=0.3) -> dict:
    job = Job("p1", "p1", "", {key: value if isinstance(value, tuple) else (value,) for key, value in paths.items()})
    return patient.prepare_image(Plan(images, references, least), job, name, {})


def value(record):
    return record["array"] * record["scale"] + record["offset"]


def oblique():
    a = np.deg2rad(17)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0.1, 1]]) @ np.diag([-1.2, 0.8, 4.0])
    affine[:3, 3] = [30, -50, 12]
    return affine


@pytest.mark.parametrize("spacing", [(8.0, 3.0, 3.0), (0.0, 3.0, 3.0), (0.0, 0.0, 0.0)])
def test_a_planted_point_is_found_and_led_back_to_its_voxel(tmp_path, kit, spacing):
    """An oblique anisotropic file on the grid of another oblique file; voxel -> stored -> voxel within one source voxel."""
    affine, planted = oblique(), np.array([31, 40, 9])
    array = np.zeros((60, 70, 20), np.float32)
    array[5:55, 5:65, 1:19] = 1.0
    array[tuple(planted)] = 4000.0
    other = np.eye(4)
    other[:3, :3] = affine[:3, :3] @ np.diag([-1, 1, 1]) * 1.1
    other[:3, 3] = (affine @ [57, 3, 1, 1])[:3]
    paths = {"t2": kit.save(tmp_path / "t2.nii.gz", array, affine), "dwi": kit.save(tmp_path / "dwi.nii", kit.head(0, (50, 60, 16)), other)}
    settings = kit.settings(spacing=spacing, shape=(12, 32, 32), normalise="none", brain_mask="none")
    record = run({"t2": settings, "dwi": settings | {"brain_mask": "foreground"}}, paths, "t2", ("dwi", "t2"))
    assert record["reason"] == "" and record["reference"] == "dwi"
    hit = np.array(np.unravel_index(value(record)[..., 0].argmax(), record["array"].shape[:3]))
    expected = inverse.source_to_stored(record, planted[None].astype(float))[0]
    assert np.abs(hit - expected).max() <= 1.0
    step = np.abs(np.array(record["transforms"][0]["matrix"])[:3, :3]).sum(1) * (1 + (spacing[0] == 0))
    assert (np.abs(inverse.stored_to_source(record, hit[None].astype(float))[0] - planted) <= np.maximum(step, 1)).all()
    on_file = inverse.to_source_grid(record, value(record)[..., 0])
    assert on_file.shape == array.shape
    found = np.array(np.unravel_index(on_file.argmax(), on_file.shape))
    assert (np.abs(found - planted) <= np.maximum(step, 1)).all()


def test_fractional_inverse_is_exact(tmp_path, kit):
    path = kit.save(tmp_path / "a.nii.gz", kit.head(1), oblique())
    record = run({"a": kit.settings(brain_mask="none")}, {"a": path}, "a")
    stored = np.random.default_rng(0).uniform(0, 4, (50, 3))
    stored[:, 0] = np.round(stored[:, 0])
    there = inverse.stored_to_source(record, stored)
    np.testing.assert_allclose(inverse.source_to_stored(record, there), stored, atol=1e-6)
    np.testing.assert_allclose(record["affine"], nibabel.load(path).affine)
    assert record["shape"] == [30, 30, 10]


def test_flipped_and_permuted_file_gives_the_same_record(tmp_path, kit):
    array = kit.head(2, (30, 32, 12))
    image = nibabel.Nifti1Image(array, oblique())
    settings = {"a": kit.settings(normalise="percentile")}
    first = run(settings, {"a": kit.save(tmp_path / "a.nii.gz", array, oblique())}, "a")
    for code in ("LPS", "SRA", "ILP"):
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(code))
        other = image.as_reoriented(turn)
        record = run(settings, {"a": kit.save(tmp_path / f"{code}.nii.gz", np.asarray(other.dataobj), other.affine)}, "a")
        np.testing.assert_allclose(value(record), value(first), atol=2e-4)
        np.testing.assert_array_equal(record["mask"], first["mask"])


def test_registered_modules_share_slices_and_places(tmp_path, kit):
    """A FLAIR on another voxel grid shows the same head at the same stored voxels as the DWI."""
    coarse = np.diag([4.0, 4.0, 4.0, 1.0])
    coarse[:3, 3] = [-44, -46, -30]
    shape = (23, 24, 16)
    world = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ coarse[:3, :3].T + coarse[:3, 3]
    inside = (((world - [1.5, -1.5, -3]) / [30.5, 37, 21.6]) ** 2).sum(-1) < 1  # the ellipsoid of kit.head on kit.affine
    images = {"dwi": kit.settings(), "flair": kit.settings(normalise="percentile")}
    flair = (inside * (50 + world[..., 2])).astype(np.float32)
    paths = {"dwi": kit.save(tmp_path / "d.nii.gz", kit.head(0)), "flair": kit.save(tmp_path / "f.nii", flair, coarse)}
    dwi, flair = (run(images, paths, name, ("dwi", "flair")) for name in images)
    assert dwi["reason"] == flair["reason"] == "" and flair["reference"] == "dwi"
    np.testing.assert_array_equal(dwi["mask"], flair["mask"])
    np.testing.assert_allclose(np.array(dwi["transforms"][0]["affine"]), np.array(flair["transforms"][0]["affine"]))
    a, b = dwi["array"] != 0, flair["array"] != 0
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.85


def test_without_the_reference_the_next_registered_image_gives_the_grid(tmp_path, kit):
    paths = {"adc": kit.save(tmp_path / "a.nii.gz", kit.head(0)), "flair": kit.save(tmp_path / "f.nii.gz", kit.head(1)), "dwi": ()}
    images = dict.fromkeys(("dwi", "adc", "flair"), kit.settings())
    references = ("dwi", "adc", "flair")
    assert run(images, paths, "flair", references)["reference"] == "adc"
    assert run(images, paths, "adc", references)["reference"] == "adc"
    missing = run(images, paths, "dwi", references)
    assert missing["missing"] and missing["reason"] == ""


@pytest.mark.parametrize(("shift", "reason"), [(60.0, "overlaps that of 'dwi' by"), (900.0, "field of view does not overlap")])
def test_unregistered_module_is_refused_by_name(tmp_path, kit, shift, reason):
    moved = kit.affine.copy()
    moved[1, 3] += shift
    paths = {"dwi": kit.save(tmp_path / "d.nii.gz", kit.head(0)), "adc": kit.save(tmp_path / "a.nii.gz", kit.head(1), moved)}
    record = run(dict.fromkeys(("dwi", "adc"), kit.settings()), paths, "adc", ("dwi", "adc"), least=0.5)
    assert record["missing"] and reason in record["reason"]


def test_lesion_volume_is_that_of_the_file(tmp_path, kit):
    lesion = np.zeros((30, 30, 10), np.int16)
    lesion[9:16, 12:15, 4:6] = 3
    path = kit.save(tmp_path / "l.nii.gz", lesion)
    settings = kit.settings(normalise="mask", brain_mask="none", dtype="uint8", register=False, spacing=(12.0, 6.0, 6.0), shape=(5, 16, 16))
    record = run({"lesion": settings}, {"lesion": path}, "lesion")
    assert record["volume_ml"] == pytest.approx(7 * 3 * 2 * 54 / 1000)
    assert value(record).sum() * 12 * 36 / 1000 == pytest.approx(record["volume_ml"], rel=0.02)
    logarithm = run({"lesion": settings | {"normalise": "mask_log"}}, {"lesion": path}, "lesion")
    assert logarithm["volume_ml"] == record["volume_ml"]
    np.testing.assert_allclose(np.expm1(value(logarithm) * np.log(101)) / 100, value(record), atol=0.02)
    assert record["array"].dtype == np.uint8 and record["mask"].tolist() == [1] * 5


def test_mask_column_strips_and_normalises_inside(tmp_path, kit):
    array = kit.head(3)
    mask = np.zeros(array.shape, np.uint8)
    mask[10:20, 10:20, 3:8] = 1
    array[mask == 0] += 500
    paths = {"dwi": kit.save(tmp_path / "d.nii.gz", array), "brain": kit.save(tmp_path / "m.nii.gz", mask)}
    settings = kit.settings(brain_mask="brain", spacing=(6.0, 3.0, 3.0), shape=(9, 16, 16))
    stored = value(run({"dwi": settings}, paths, "dwi"))
    inside = stored[stored != 0]
    assert abs(inside.mean()) < 0.05 and abs(inside.std() - 1) < 0.05
    assert 0.8 * mask.sum() < len(inside) < 1.05 * mask.sum()
    assert "its brain mask (column 'brain') is missing" in run({"dwi": settings}, {"dwi": paths["dwi"]}, "dwi")["reason"]


def test_native_slices_are_chosen_evenly_among_those_with_brain(tmp_path, kit):
    array = kit.head(4, (30, 30, 40))
    affine = kit.affine.copy()
    affine[2, 2] = 2.0
    path = kit.save(tmp_path / "d.nii.gz", array, affine)
    record = run({"dwi": kit.settings(spacing=(0.0, 6.0, 6.0), shape=(6, 16, 16))}, {"dwi": path}, "dwi")
    held = np.flatnonzero(array.any(axis=(0, 1)))
    index = np.array(record["transforms"][1]["index"])
    assert record["mask"].tolist() == [1] * 6 and abs(index[0] - held[0]) <= 1 and abs(index[-1] - held[-1]) <= 1
    few = run({"dwi": kit.settings(spacing=(0.0, 6.0, 6.0), shape=(50, 16, 16))}, {"dwi": path}, "dwi")
    assert abs(few["mask"].sum() - len(held)) <= 2 and few["array"][few["mask"] == 0].max() == 0


def test_time_points_of_a_4d_file(tmp_path, kit):
    series = np.stack([kit.head(0) + kit.head(0).astype(bool) * 100 * t for t in range(6)], axis=-1)
    path = kit.save(tmp_path / "p.nii.gz", series)
    settings = kit.settings(axis="time", shape=(4, 16, 16), normalise="percentile")
    record = run({"pwi": settings}, {"pwi": path}, "pwi")
    assert record["array"].shape == (4, 16, 16, 1) and record["transforms"][1] == {"name": "time", "index": [0, 2, 3, 5]}
    means = value(record)[:, 6:10, 6:10].mean(axis=(1, 2, 3))
    assert (np.diff(means) > 0.1).all()
    assert "it is 4D (6 time points)" in run({"pwi": settings | {"axis": "slice"}}, {"pwi": path}, "pwi")["reason"]


def test_several_volumes_in_a_slice_cell_and_broken_files_are_reasons(tmp_path, kit):
    good = kit.save(tmp_path / "d.nii.gz", kit.head(0))
    images = {"dwi": kit.settings()}
    assert "one volume is expected" in run(images, {"dwi": (good, good)}, "dwi")["reason"]
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "d.nii.gz").read_bytes()[:2000])
    record = run(images | {"dwi": kit.settings(axis="time")}, {"dwi": (good, str(tmp_path / "cut.nii.gz"))}, "dwi")
    assert record["missing"] and record["reason"] and record["file"] == 1 and "array" not in record
    nan = kit.head(0)
    nan[3, 3, 3] = np.nan
    assert run(images, {"dwi": kit.save(tmp_path / "n.nii.gz", nan)}, "dwi")["reason"]


def test_an_odd_file_does_not_stop_the_cohort(tmp_path, kit, monkeypatch):
    def strange(*_):
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(patient.slices, "axial_slices", strange)
    record = run({"dwi": kit.settings()}, {"dwi": kit.save(tmp_path / "d.nii.gz", kit.head(0))}, "dwi")
    assert record["missing"] and "ZeroDivisionError" in record["reason"]


def test_an_empty_lesion_mask_is_no_lesion_but_an_empty_scan_is_no_scan(tmp_path, kit):
    path = kit.save(tmp_path / "a.nii.gz", np.zeros((10, 12, 8), np.uint8), np.eye(4))
    lesion = run({"a": kit.settings(normalise="mask", brain_mask="none", dtype="uint8")}, {"a": path}, "a")
    assert lesion["volume_ml"] == 0.0 and not lesion["missing"] and not lesion["array"].any()
    assert "zero everywhere" in run({"a": kit.settings(brain_mask="none")}, {"a": path}, "a")["reason"]


def test_an_empty_brain_mask_is_named(tmp_path, kit):
    scan = kit.save(tmp_path / "a.nii.gz", kit.head(1), np.eye(4))
    mask = kit.save(tmp_path / "m.nii.gz", np.zeros((30, 30, 10)), np.eye(4))
    record = run({"a": kit.settings(brain_mask="m")}, {"a": scan, "m": mask}, "a")
    assert "column 'm'" in record["reason"] and "zero everywhere" in record["reason"]
