"""Every file of the real data sets is read or refused with a reason, as a picture and as a volume."""

import collections

import numpy as np
import pytest

from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.readers import NoPicture, read_image, read_pictures


def became(path, read) -> tuple[str, str]:
    """(ending, what became of a file): "read", or the kind of refusal, which must give a reason without the path."""
    ending = path.suffix.lower()
    try:
        images = read(path)
    except ReadError as error:
        assert len(str(error)) > 10 and path.name not in str(error)
        return ending, type(error).__name__
    for image in images if isinstance(images, tuple) else (images,):
        assert image.array.size and np.isfinite([image.array.min(), image.array.max()]).all()
    return ending, "read"


def all_files(data_root):
    return sorted(path for path in data_root.rglob("*") if path.is_file())


def test_every_file_as_a_picture(data_root):
    counts = collections.Counter(became(path, read_pictures) for path in all_files(data_root))
    endings = (".jpg", ".png", ".dcm", ".vol")
    assert {(ending, what) for ending, what in counts if ending in endings} == {(ending, "read") for ending in endings}
    assert {what for ending, what in counts if ending not in endings} == {NoPicture.__name__}


def test_slices_of_a_head_ct_as_pictures_are_in_hounsfield_units(data_root):
    """Air as it is filled in around the field of view, and brain as bright as brain is."""
    folder = data_root / "head-ct-ge-tilt"
    for path in sorted(folder.glob("*.dcm"))[::9]:
        (image,) = read_pictures(path)
        assert image.hounsfield and image.array.shape == (512, 512, 1)
        assert image.array.min() == -1024 and 5 < np.median(image.array[(image.array > 0) & (image.array < 80)]) < 50


@pytest.mark.slow
def test_every_file_as_a_volume_or_series(data_root):
    """Slices alone are no series, archives are read by the row; all else that is an image is read."""
    counts = collections.Counter(became(path, read_image) for path in all_files(data_root) if not path.name.endswith(".csv.gz"))
    assert {what for ending, what in counts if ending in (".gz", ".jpg", ".png")} == {"read"}
    assert {what for ending, what in counts if ending not in (".gz", ".jpg", ".png")} == {ReadError.__name__}
    assert read_image(data_root / "head-ct-ge-tilt").array.ndim == 3
