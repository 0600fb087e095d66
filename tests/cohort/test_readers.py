"""Readers: what nibabel and Pillow say of a file, and a reason for every file that cannot be used."""

import gzip
import pickle

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstroke.cohort.readers import ReadError, read_image
from jaxstroke.errors import InputError

AFFINE = np.array([[-2.0, 0.1, 0, 9], [0, 3.0, 0, -7], [0, 0.2, 4.0, 5], [0, 0, 0, 1]])


def volume_bytes(array, affine=AFFINE, kind=nibabel.Nifti1Image) -> bytes:
    return kind(array, affine).to_bytes()


def counting(shape=(3, 4, 5), dtype=np.int16):
    return np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)


def read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return read_image(tmp_path / name)


def reason(tmp_path, name, content):
    with pytest.raises(ReadError) as caught:
        read(tmp_path, name, content)
    assert "patient" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_voxels_and_affine_are_nibabels(tmp_path, dtype, kind):
    array = counting(dtype=dtype)
    written = kind(array, AFFINE, header=kind.header_class(endianness=">" if str(dtype).startswith(">") else "<"))
    written.header.set_data_dtype(dtype)
    content = written.to_bytes()
    for name, stored in (("a.nii", content), ("a.nii.gz", gzip.compress(content)), ("misnamed.nii.gz", content)):
        image = read(tmp_path, name, stored)
        np.testing.assert_array_equal(image.array, array)
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
        assert image.array.dtype.isnative
        assert not image.time
    assert image.array.dtype == (np.float32 if np.dtype(dtype).kind == "f" else np.dtype(dtype).newbyteorder("="))


def test_scaling_is_applied_where_the_header_asks(tmp_path):
    image = nibabel.Nifti1Image(counting(), AFFINE)
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    found = read_image(tmp_path / "scaled.nii.gz").array
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, nibabel.load(tmp_path / "scaled.nii.gz").get_fdata(), atol=1e-5)


def test_axes(tmp_path):
    assert read(tmp_path, "a.nii", volume_bytes(counting((3, 4, 5, 6)))).time
    single = read(tmp_path, "a.nii", volume_bytes(counting((3, 4, 5, 1))))
    assert single.array.shape == (3, 4, 5)
    assert not single.time
    assert read(tmp_path, "a.nii", volume_bytes(counting((3, 4)))).array.shape == (3, 4, 1)
    assert "four axes" in reason(tmp_path, "a.nii", volume_bytes(counting((3, 4, 5, 2, 2))))


def test_what_is_wrong_with_a_volume_is_said(tmp_path):
    whole = volume_bytes(counting())
    assert "0 bytes" in reason(tmp_path, "a.nii.gz", b"")
    assert "truncated" in reason(tmp_path, "a.nii.gz", gzip.compress(whole)[:-9])
    assert "truncated" in reason(tmp_path, "a.nii", whole[:-2])
    assert "header is not whole" in reason(tmp_path, "a.nii", whole[:100])
    assert "not a NIfTI" in reason(tmp_path, "a.nii", b"hello world")
    for value in (np.nan, np.inf):
        assert "NaN or Inf" in reason(tmp_path, "a.nii", volume_bytes(np.array([[[1.0, value]]], np.float32)))
    flat = whole[:296] + bytes(16) + whole[312:]  # srow_y
    assert "affine" in reason(tmp_path, "a.nii", flat)
    assert "colours" in reason(tmp_path, "a.nii", volume_bytes(counting().astype(np.complex64)))
    assert "format" in reason(tmp_path, "a.txt", b"hello")
    with pytest.raises(ReadError, match="does not exist"):
        read_image(tmp_path / "none.nii.gz")


def test_header_without_voxels(tmp_path):
    content = bytearray(volume_bytes(counting()))
    content[42:44] = (0).to_bytes(2, "little")  # dim[1]
    assert "no voxels" in reason(tmp_path, "a.nii", bytes(content))


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 351), value=st.integers(0, 255), more=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused_and_never_crashes(tmp_path_factory, place, value, more):
    content = bytearray(volume_bytes(counting(dtype=np.float32)))
    content[place : place + 2] = bytes((value, more))
    try:
        image = read(tmp_path_factory.mktemp("damaged", numbered=True), "a.nii", bytes(content))
    except ReadError:
        return
    assert np.isfinite(image.array).all()
    assert abs(np.linalg.det(image.affine)) > 0


def test_read_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(ReadError("why")))
    assert isinstance(error, InputError)
    assert str(error) == "why"


def test_real_files_are_read_as_nibabel_reads_them(data_root):
    paths = [*sorted((data_root / "motor-multimodal").glob("*.nii.gz"))[:2], *(data_root / "clinical-t2-lesion").glob("*.nii.gz")]
    paths += sorted((data_root / "soop" / "lesions").glob("*.nii.gz"))[:3]
    assert paths
    for path in paths:
        expected, image = nibabel.load(path), read_image(path)
        np.testing.assert_allclose(image.array, expected.get_fdata(dtype=np.float32), rtol=1e-6)
        np.testing.assert_allclose(image.affine, expected.affine, atol=1e-6)
