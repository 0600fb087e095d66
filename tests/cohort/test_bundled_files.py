"""The files that pydicom and nibabel test themselves with: each is read, or refused by a sentence that quotes nothing of its header."""

import pathlib
import re

import nibabel
import numpy as np
import pydicom
import pytest

from jaxstroke.cohort.dicom import Rules
from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.readers import read_image, read_pictures

DICOM = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"
NIFTI = pathlib.Path(nibabel.__file__).parent / "tests" / "data"
SLICES = sorted(path for path in DICOM.rglob("*") if path.is_file() and path.suffix == ".dcm")
OTHERS = sorted(path for path in NIFTI.glob("*") if path.is_file())
RULES = Rules(series="choose", tilt="correct", gap=15.0)
IDENTIFYING = ("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "InstitutionName", "ReferringPhysicianName")


def attempt(path):
    """(image, "") or (None, why not)."""
    try:
        return read_image(str(path), RULES), ""
    except ReadError as error:
        return None, str(error)


def identifiers(path) -> list[str]:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        return [str(header[name].value) for name in IDENTIFYING if name in header and len(str(header[name].value)) > 3]
    except Exception:  # a file that pydicom itself cannot read has nothing to leak
        return []


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of `identifiers`
@pytest.mark.parametrize("path", SLICES, ids=lambda path: str(path.relative_to(DICOM)))
def test_files_of_pydicom(path):
    image, reason = attempt(path)
    if image is None:
        assert len(reason) > 10 and not any(value in reason for value in identifiers(path))
    else:
        assert np.isfinite(image.array).all() and np.isfinite(image.affine).all() and image.array.ndim in (3, 4)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of `identifiers`
def test_files_of_pydicom_as_pictures():
    """Slices of a CT are read in HU; every other file is refused, by a sentence without a word of its header."""
    read = []
    for path in SLICES:
        try:
            (image,) = read_pictures(path)
            assert image.hounsfield and image.array.ndim == 3 and image.affine is None
            read.append(path.name)
        except ReadError as error:
            assert len(str(error)) > 10 and not any(value in str(error) for value in identifiers(path))
            assert "could not be read as a DICOM slice" not in str(error)
    assert "CT_small.dcm" in read and "MR_small.dcm" not in read


def test_one_slice_is_no_volume_and_three_of_it_are(tmp_path):
    """The same slice at three places: plain, big endian, run-length, JPEG 2000."""
    for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"):
        assert "fewer than 3 slices" in attempt(DICOM / name)[1]
        (tmp_path / name).mkdir()
        for number in range(3):
            slice_ = pydicom.dcmread(DICOM / name)
            slice_.ImagePositionPatient[2] = float(slice_.ImagePositionPatient[2]) + 5 * number
            slice_.SOPInstanceUID += f".{number}"
            slice_.save_as(tmp_path / name / f"{number}.dcm")
        image, reason = attempt(tmp_path / name)
        assert image is not None, reason
        stored = pydicom.dcmread(DICOM / name).pixel_array.T
        slope, intercept = (float(slice_.get(key, other)) for key, other in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
        for plane in np.moveaxis(image.array, 2, 0):
            np.testing.assert_allclose(plane, np.maximum(stored * slope + intercept, -1024 if "CT" in name else -np.inf))


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_files_of_nibabel(path):
    image, reason = attempt(path)
    if image is None:
        assert re.search(r"\w{4}", reason)
        return
    assert path.name.endswith((".nii", ".nii.gz", ".dcm"))
    if not path.name.endswith(".dcm"):
        found = nibabel.load(path)
        np.testing.assert_allclose(image.array, np.asarray(found.dataobj).reshape(image.array.shape), rtol=1e-5)
        np.testing.assert_allclose(image.affine, found.affine)


def test_whole_nifti_files_of_nibabel_are_read():
    read = {path.name for path in OTHERS if attempt(path)[0] is not None}
    assert {"anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"} <= read
