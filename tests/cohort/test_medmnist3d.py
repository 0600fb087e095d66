"""MedMNIST's volumes: whole files, files of one split, a folder to be predicted, rows read from the archive, and the real adrenal set."""

import numpy as np
import pandas as pd
import pytest

from jaxstroke import config as settings
from jaxstroke.cohort import npz
from jaxstroke.cohort.public import medmnist3d
from jaxstroke.cohort.readers import ReadError, read_image
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError
from jaxstroke.preprocess import prepare as preparation
from jaxstroke.preprocess.load import load_arrays


def volumes(count, size=28, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, size), np.uint8)


def labels(count):
    return (np.arange(count) % 2).astype(np.uint8)[:, None]


def whole(path, splits, size=28, save=np.savez_compressed):
    arrays = {f"{split}_images": volumes(count, size, seed) for seed, (split, count) in enumerate(splits.items())}
    save(path, **arrays, **{f"{split}_labels": labels(count) for split, count in splits.items()})
    return arrays


def make_config(root, size=28):
    config = settings.base()
    config.cohort.recipe = "medmnist3d"
    config.cohort.root = str(root)
    config.cohort.workers = 1
    config.cohort.medmnist3d.size = size
    config.cohort.outcomes.hyperplasia = ("label", "==", 1)
    config.images.ct = settings.image(
        "image", kind="volume", shape=(32, 32, 32), sampling="pad", normalise="scale", window=(0.0, 255.0), dtype="uint8", register=False,
        brain_mask="none",
    )  # fmt: skip
    return config


def test_a_whole_file_gives_official_splits_in_order(tmp_path):
    whole(tmp_path / "adrenalmnist3d.npz", {"val": 2, "train": 3, "test": 2})
    frame = medmnist3d.table(tmp_path, 28)
    assert list(frame["patient_id"]) == ["train_0", "train_1", "train_2", "val_0", "val_1", "test_0", "test_1"]
    assert list(frame["label"]) == ["0", "1", "0", "0", "1", "0", "1"]
    assert frame["image"][1] == f"{tmp_path.resolve()}/adrenalmnist3d.npz#train_images/1"


@pytest.mark.parametrize("prefix", ["", "test_"])
def test_a_split_beside_a_whole_file_and_of_the_asked_size(tmp_path, prefix):
    whole(tmp_path / "nodulemnist3d_64.npz", {"train": 2, "val": 1}, size=64)
    whole(tmp_path / "nodulemnist3d.npz", {"train": 5})
    np.savez(tmp_path / "nodulemnist3d_64_test.npz", **{f"{prefix}images": volumes(2, 64), f"{prefix}labels": labels(2).ravel()})
    frame = medmnist3d.table(tmp_path, 64)
    assert list(frame["split"]) == ["train", "train", "val", "test", "test"]
    assert frame["image"].iloc[-1].endswith(f"nodulemnist3d_64_test.npz#{prefix}images/1")
    assert list(medmnist3d.table(tmp_path, 28)["split"]) == ["train"] * 5


def test_a_split_without_labels_can_be_predicted_but_not_trained(tmp_path):
    np.savez_compressed(tmp_path / "adrenalmnist3d_test.npz", images=volumes(3))
    assert list(medmnist3d.table(tmp_path, 28)) == ["patient_id", "image", "split"]
    config = make_config(tmp_path)
    assert [unit.unit for unit in read_cohort(config, tmp_path / "run", labelled=False).units] == ["test_0", "test_1", "test_2"]
    with pytest.raises(InputError, match="no column 'label'"):
        read_cohort(config, tmp_path / "run")


def refusal(root, size=28):
    with pytest.raises(InputError) as caught:
        medmnist3d.table(root, size)
    return str(caught.value)


def test_folders_that_cannot_be_read_are_named(tmp_path):
    assert "--config.cohort.root" in refusal("") and "--config.cohort.root" in refusal(tmp_path)
    path = tmp_path / "adrenalmnist3d.npz"
    whole(path, {"train": 2})
    assert "adrenalmnist3d.npz" in refusal(tmp_path, 64)
    assert "medmnist3d.size is 32" in refusal(tmp_path, 32)
    np.savez(tmp_path / "adrenalmnist3d_train.npz", images=volumes(1))
    assert "both" in refusal(tmp_path) and "'train'" in refusal(tmp_path)
    (tmp_path / "adrenalmnist3d_train.npz").unlink()
    np.savez(tmp_path / "vesselmnist3d.npz", train_images=volumes(1))
    assert "2 sets (adrenalmnist3d, vesselmnist3d)" in refusal(tmp_path)
    (tmp_path / "vesselmnist3d.npz").unlink()
    for arrays, reason in (
        ({"train_images": volumes(2, 20)}, "2 x 20 x 20 x 20"),
        ({"train_images": volumes(2), "train_labels": labels(3)}, "2 volumes"),
        ({"images": volumes(2)}, "train_images"),
        ({"train_images": np.array([{}] * 2, object)}, "cannot be read"),
    ):
        np.savez(path, **arrays)
        assert reason in refusal(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_are_read_in_any_order(tmp_path, save):
    arrays = whole(tmp_path / "adrenalmnist3d.npz", {"train": 5, "val": 2}, save=save)
    for split, row in (("train", 1), ("train", 4), ("val", 0), ("train", 0), ("val", 1)):
        image = read_image(f"{tmp_path}/adrenalmnist3d.npz#{split}_images/{row}")
        np.testing.assert_array_equal(image.array, arrays[f"{split}_images"][row])
        np.testing.assert_array_equal(image.affine, np.eye(4))


def test_a_replaced_archive_is_read_anew(tmp_path):
    path = tmp_path / "adrenalmnist3d.npz"
    for seed in (0, 1):
        np.savez(path, train_images=volumes(2, seed=seed), note=np.zeros(seed))
        np.testing.assert_array_equal(read_image(f"{path}#train_images/1").array, volumes(2, seed=seed)[1])


def test_rows_that_cannot_be_read_have_a_reason(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, flat=np.ones((3, 4)), good=volumes(2), holes=np.full((1, 2, 2, 2), np.nan))
    for cell, reason in (
        ("good/2", "fewer rows"), ("none/0", "no such array"), ("flat/0", "no volume"), ("holes/0", "NaN"),
    ):  # fmt: skip
        with pytest.raises(ReadError, match=reason):
            read_image(f"{path}#{cell}")
    with pytest.raises(ReadError, match="does not exist"):
        read_image(f"{tmp_path}/b.npz#good/0")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ReadError, match="damaged"):
        read_image(f"{path}#good/0")


def test_only_rows_of_archives_have_another_file_behind_them():
    assert npz.file_of("/a/b#1.npz#train_images/12") == "/a/b#1.npz"
    for path in ("/a/scan#2/x.nii.gz", "/a/b.npz", "/a/b.npz#train_images"):
        assert npz.file_of(path) == path and npz.split(path) is None


def test_prepared_voxels_are_the_files_padded_and_nothing_else(tmp_path):
    arrays = whole(tmp_path / "adrenalmnist3d.npz", {"train": 3, "val": 2})
    config = make_config(tmp_path)
    cohort = read_cohort(config, tmp_path / "run")
    prepared = preparation.prepare(config, cohort, tmp_path / "run", tmp_path / "records")
    assert not prepared.failures
    array, mask, scale, offset, _ = load_arrays(prepared, "ct", cohort.units)
    assert array.dtype == np.uint8 and mask.all() and not offset.any()
    np.testing.assert_allclose(scale, 1 / 255)
    np.testing.assert_array_equal(array[4, 2:-2, 2:-2, 2:-2, 0], arrays["val_images"][1].T)
    assert array.astype(int).sum() == sum(made.astype(int).sum() for made in arrays.values())
    again = preparation.prepare(config, cohort, tmp_path / "run", tmp_path / "records")
    assert again.volumes_per_second == 0 and again.contents == prepared.contents
    whole(tmp_path / "adrenalmnist3d.npz", {"train": 3, "val": 2, "test": 1})  # another file behind the same rows
    assert preparation.prepare(config, cohort, tmp_path / "run", tmp_path / "records").volumes_per_second > 0


def test_the_digest_does_not_depend_on_the_folder(tmp_path):
    digests = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        whole(tmp_path / place / "adrenalmnist3d.npz", {"train": 2})
        digests.add(read_cohort(make_config(tmp_path / place), tmp_path / f"run-{place}").digest)
    assert len(digests) == 1


@pytest.mark.parametrize("size", [28, 64])
def test_the_adrenal_set_as_published(data_root, tmp_path, size):
    root = data_root / "adrenalmnist3d"
    if not (root / "adrenalmnist3d_64.npz").exists():
        pytest.skip(f"{root} has no adrenalmnist3d_64.npz")
    cohort = read_cohort(make_config(root, size), tmp_path)
    frame = pd.read_csv(tmp_path / "cohort.csv")
    assert frame["split"].value_counts().to_dict() == {"train": 1188, "val": 98}
    with np.load(root / ("adrenalmnist3d.npz" if size == 28 else "adrenalmnist3d_64.npz")) as archive:
        np.testing.assert_array_equal(frame["label"], np.concatenate([archive["train_labels"], archive["val_labels"]]).ravel())
        expected = archive["val_images"][[3, 97]]
    for row, volume in zip((1188 + 3, 1188 + 97), expected, strict=True):
        np.testing.assert_array_equal(read_image(cohort.units[row].paths["ct"][0]).array, volume)
