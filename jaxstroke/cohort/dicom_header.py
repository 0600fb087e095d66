"""What the header of a DICOM file says of its frames: where they lie, how stored values become physical ones, what tells them apart.

Directions and places are DICOM's own here, in mm and LPS: x towards the patient's left, y to the back, z to the head.
"""

from dataclasses import dataclass

import numpy as np
from pydicom.uid import UID_dictionary

from jaxstroke.cohort.dicom_parts import FRAMES, TABLE, items, numbers, text, whole
from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.image import FARTHEST

SKEW = 0.01  # by which directions may miss a length of one or a right angle
NO_IMAGE = "objects without an image (reports, presentation states, doses)"
COPY = "secondary captures"
COLOUR = "colour pictures"
LOCALISER = "localisers"
MOSAIC = "mosaics of slices"
NO_PLACE = "pictures without a position in space"
GREY = ("MONOCHROME1", "MONOCHROME2")
OTHERS = {"Parametric Map Storage"}  # images whose class does not say so in its name
# Measure: the sequence that holds it in files of several frames, and how many numbers it has.
MEASURES = {
    "ImagePositionPatient": ("PlanePositionSequence", 3), "ImageOrientationPatient": ("PlaneOrientationSequence", 6),
    "PixelSpacing": ("PixelMeasuresSequence", 2), "SliceThickness": ("PixelMeasuresSequence", 1),
    "RescaleSlope": ("PixelValueTransformationSequence", 1), "RescaleIntercept": ("PixelValueTransformationSequence", 1),
}  # fmt: skip
# What may tell apart slices of one place, as a message calls it: its name, and sequence and name in files of several frames.
APART = {
    "temporal position": ("TemporalPositionIdentifier", "FrameContentSequence", "TemporalPositionIndex"),
    "b-value": ("DiffusionBValue", "MRDiffusionSequence", "DiffusionBValue"),
    "echo time": ("EchoTime", "MREchoSequence", "EffectiveEchoTime"),
    "trigger time": ("TriggerTime", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "acquisition number": ("AcquisitionNumber", "FrameContentSequence", "FrameAcquisitionNumber"),
    "acquisition time": ("AcquisitionTime", "FrameContentSequence", "FrameAcquisitionDateTime"),
    "content time": ("ContentTime", "FrameContentSequence", "FrameReferenceDateTime"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Frame:
    """A slice. It holds identifiers for comparison alone: no message and no record may show `key` or `times`.

    file, number  which of the files, which of its frames
    position      (3,) mm, centre of the first pixel
    rows          (2, 3) directions in which columns and rows are counted
    spacing       mm between columns, between rows
    size          columns, rows
    thickness     mm, 0 where unknown
    slope, intercept   value = stored * slope + intercept
    hounsfield    the values are HU
    bits          that a stored value takes
    key           what the slices of a series have in common
    times         in the order of APART: what may tell apart slices of one place, None where unknown
    samples       values of a pixel: 1, or 3 of a colour photograph
    """

    file: int
    number: int
    position: np.ndarray
    rows: np.ndarray
    spacing: tuple[float, float]
    size: tuple[int, int]
    thickness: float
    slope: float
    intercept: float
    hounsfield: bool
    bits: int
    key: tuple
    times: tuple[float | None, ...]
    samples: int = 1

    @property
    def normal(self) -> np.ndarray:
        """(3,) direction across the slice."""
        return np.cross(*self.rows)


def frames_of(dataset, file: int) -> tuple[tuple[Frame, ...], str]:
    """The frames of a file, or none and the kind of what is passed over. Raises ReadError where a slice's header is damaged."""
    kind = passed_over(dataset)
    if kind:
        return (), kind
    count = whole(dataset, "NumberOfFrames")
    per_frame, shared = (items(dataset, name) for name in FRAMES)
    if per_frame and len(per_frame) != (count or 1):
        raise ReadError("its header describes another number of frames than it says")
    if not per_frame and (count or 1) > 1:
        return (), NO_PLACE
    common = common_of(dataset)
    groups = [(frame, *shared[:1]) for frame in per_frame] or [()]
    found = [frame_of(dataset, group, file, number, common) for number, group in enumerate(groups)]
    return ((), NO_PLACE) if any(frame is None for frame in found) else (tuple(found), "")


def passed_over(dataset) -> str:
    """The kind of an object that is no slice of a patient, "" for a slice."""
    known, name = class_of(dataset)
    if name and "Image Storage" not in name and name not in OTHERS:
        return NO_IMAGE
    if "Secondary Capture" in name:
        return COPY
    if None in (whole(dataset, "Rows"), whole(dataset, "Columns")):
        if known and not name:
            return NO_IMAGE  # a vendor's own kind of object
        raise ReadError("it is truncated or damaged: its header says no size")
    if (whole(dataset, "SamplesPerPixel") or 1) > 1 or text(dataset, "PhotometricInterpretation") not in GREY:
        return COLOUR
    image_type = text(dataset, "ImageType").split("\\")
    return LOCALISER if "LOCALIZER" in image_type else MOSAIC if "MOSAIC" in image_type else ""


def class_of(dataset) -> tuple[bool, str]:
    """Whether an object says what it is, and the standard's name for that, "" where it is not of the standard."""
    found = text(dataset, "SOPClassUID") or text(dataset.file_meta, "MediaStorageSOPClassUID")
    return bool(found), UID_dictionary.get(found, ("",))[0]


def common_of(dataset) -> dict:
    """What all frames of a file share: fields of Frame."""
    size = (whole(dataset, "Columns"), whole(dataset, "Rows"))
    bits = whole(dataset, "BitsAllocated")
    if min(size) < 1 or bits is None or not 1 <= bits <= 64:
        raise ReadError("its header says no possible size")
    if TABLE in dataset:
        raise ReadError("its stored values mean something by a lookup table alone (modality LUT), which is not read: store a rescale")
    modality, rescaled = text(dataset, "Modality"), text(dataset, "RescaleType")
    key = (text(dataset, "SeriesInstanceUID"), text(dataset, "FrameOfReferenceUID"), modality, class_of(dataset)[1], size)
    return {"size": size, "bits": bits, "hounsfield": modality == "CT" and rescaled in ("", "HU", "US"), "key": key}


def frame_of(dataset, groups: tuple, file: int, number: int, common: dict) -> Frame | None:
    """A frame, None where it has no position. groups: items that describe it before the dataset does, () in a file of one slice."""
    measures = {name: measured(dataset, groups, name) for name in MEASURES}
    position, directions, spacing = (measures[name] for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
    if position is None or directions is None:
        return None
    if spacing is None or min(spacing) <= 0:
        raise ReadError("its header says no distance between pixels")
    if np.abs(position).max() > FARTHEST:
        raise ReadError("its position holds no lengths in mm")
    (thickness,) = measures["SliceThickness"] or [0.0]
    slope, intercept = rescale_of(measures)
    return Frame(
        file, number, np.array(position), directions_of(directions), (spacing[1], spacing[0]), thickness=max(thickness, 0.0), slope=slope,
        intercept=intercept, times=tuple(moment(dataset, groups, name) for name in APART), **common,
    )  # fmt: skip


def rescale_of(measures: dict) -> tuple[float, float]:
    """Slope and intercept."""
    (slope,), (intercept,) = measures["RescaleSlope"] or [1.0], measures["RescaleIntercept"] or [0.0]
    if slope == 0:
        raise ReadError("its rescale slope is 0")
    return slope, intercept


def flat_frame(dataset) -> Frame:
    """The one frame of a file as a picture: wherever it lies, it stands at the origin, with pixels of 1 mm."""
    groups = tuple(items(dataset, name)[0] for name in FRAMES if items(dataset, name))
    slope, intercept = rescale_of({name: measured(dataset, groups, name) for name in ("RescaleSlope", "RescaleIntercept")})
    return Frame(
        0, 0, np.zeros(3), np.eye(2, 3), (1.0, 1.0), thickness=0.0, slope=slope, intercept=intercept, times=(None,) * len(APART),
        **common_of(dataset),
    )  # fmt: skip


def measured(dataset, groups: tuple, name: str) -> list[float] | None:
    """The numbers of a measure, from the first that has it of a frame's own group, the shared one and the dataset."""
    sequence, count = MEASURES[name]
    inside = [numbers(item, name, count) for group in groups for item in items(group, sequence)[:1]]
    return next((found for found in inside if found), None) or numbers(dataset, name, count)


def moment(dataset, groups: tuple, name: str) -> float | None:
    """A time or number that only serves to bring slices of one place in order; None where it is not there or not readable."""
    plain, sequence, nested = APART[name]
    try:
        inside = [numbers(item, nested, 1) for group in groups for item in items(group, sequence)[:1]]
        found = next((found for found in inside if found), None) or numbers(dataset, plain, 1)
    except ReadError:
        return None
    return found[0] if found else None


def directions_of(numbers_of_header: list[float]) -> np.ndarray:
    """(2, 3) unit directions at a right angle to the last digit. Raises ReadError where the header's are far from it."""
    rows = np.reshape(numbers_of_header, (2, 3))
    with np.errstate(over="ignore", invalid="ignore"):
        lengths, skew = np.linalg.norm(rows, axis=1), abs(rows[0] @ rows[1])
    if not (np.abs(lengths - 1) < SKEW).all() or not skew < SKEW:
        raise ReadError("its orientation is broken: the directions of rows and columns are no right angle")
    along = rows[0] / lengths[0]
    down = rows[1] - (rows[1] @ along) * along
    return np.stack([along, down / np.linalg.norm(down)])
