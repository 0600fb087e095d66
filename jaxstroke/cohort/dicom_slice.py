"""A single DICOM slice as a picture in HU: where it lies does not matter. Of a header only layout and rescale are looked at."""

from jaxstroke.cohort.dicom_header import flat_frame, passed_over
from jaxstroke.cohort.dicom_parts import header_of, quiet, whole
from jaxstroke.cohort.dicom_pixels import decoded, physical
from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.image import Image


def read_slice(content: bytes) -> Image:
    """The bytes of a DICOM file to (h, w, 1) in HU, rows downwards as a viewer shows them.

    Raises ReadError where it is damaged, no slice of a patient, of several frames, or not in HU: then nothing says how bright its values
    are meant to be.
    """
    try:
        with quiet():
            return _slice(content)
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(f"it could not be read as a DICOM slice ({type(error).__name__})") from None


def _slice(content: bytes) -> Image:
    dataset = header_of(content)
    kind = passed_over(dataset)
    if kind:
        raise ReadError(f"it is no slice of a scan (one of {kind})")
    if (whole(dataset, "NumberOfFrames") or 1) > 1:
        raise ReadError("it holds several slices: save each as a file, or take it as a volume")
    frame = flat_frame(dataset)
    if not frame.hounsfield:
        raise ReadError("its values are not HU, so that no window fits: save it as PNG or JPG as it is to be seen")
    return Image(physical(decoded(content, [frame]), [frame])[0][..., None], None, False, hounsfield=True)
