"""A DICOM file as pictures: a single slice in HU, wherever it lies, or the frames of an eye.

Of a header only layout, kind and rescale are looked at.
"""

from jaxstroke.cohort import dicom_eye
from jaxstroke.cohort.dicom_header import flat_frame, passed_over
from jaxstroke.cohort.dicom_parts import header_of, quiet, whole
from jaxstroke.cohort.dicom_pixels import decoded, physical
from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.image import Image


def read_pictures(content: bytes, part: str) -> tuple[Image, ...]:
    """The bytes of a DICOM file: one (h, w, 1) in HU, rows downwards as a viewer shows them, or the frames of an eye, see `dicom_eye`.

    Raises ReadError where it is damaged, neither of the two, or a slice of several frames or not in HU: then nothing says how bright its
    values are meant to be.
    """
    try:
        with quiet():
            dataset = header_of(content)
            return dicom_eye.read(content, dataset, part) if dicom_eye.is_eye(dataset) else (_slice(content, dataset),)
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(f"it could not be read as a DICOM slice ({type(error).__name__})") from None


def _slice(content: bytes, dataset) -> Image:
    kind = passed_over(dataset)
    if kind:
        raise ReadError(f"it is no slice of a scan (one of {kind})")
    if (whole(dataset, "NumberOfFrames") or 1) > 1:
        raise ReadError("it holds several slices: save each as a file, or take it as a volume")
    frame = flat_frame(dataset)
    if not frame.hounsfield:
        raise ReadError("its values are not HU, so that no window fits: save it as PNG or JPG as it is to be seen")
    return Image(physical(decoded(content, [frame]), [frame])[0][..., None], None, False, hounsfield=True)
