"""DICOM series made up for tests: what a scanner would store of a world that is a function of place, in any position of its slices."""

import io
import pathlib
import random

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

AXIAL = (1.0, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1.0, 0, 0, 0, -1)
SIZE = (24, 20)  # columns, rows
SPACING = (1.5, 1.2)  # mm between rows, between columns
ROOT = "1.2.826.0.1.3680043.8.498."
SLOPE, INTERCEPT = 2.0, -1024.0


def linear(world: np.ndarray) -> np.ndarray:
    """HU that rise evenly in all directions, which linear interpolation keeps: 3 x + 2 y - z mm in RAS."""
    return world @ np.array([3.0, 2.0, -1.0])


def cube(centre, half: float):
    """A world of brain with a bright cube, centre in RAS."""
    return lambda world: np.where((np.abs(world - np.asarray(centre)) <= half).all(axis=-1), 1000.0, 40.0)


def tilted(degrees: float, turn: float = 0.0) -> tuple[float, ...]:
    """Orientation of slices of a gantry that leans by so many degrees, of a head turned by `turn` degrees about the table's axis."""
    lean, about = np.radians(degrees), np.radians(turn)
    rows = np.array([np.cos(about), np.sin(about), 0])
    return (*rows, *np.array([-np.sin(about) * np.cos(lean), np.cos(about) * np.cos(lean), -np.sin(lean)]))


def along_table(heights, start=(-14.0, -12.0, 5.0)) -> np.ndarray:
    """(n, 3) positions in LPS of slices at these mm along the table."""
    return np.array([[start[0], start[1], start[2] + height] for height in heights])


def places(position, orientation, spacing=SPACING, size=SIZE) -> np.ndarray:
    """(rows, columns, 3) RAS mm of the pixels of a slice."""
    along_row, down = np.reshape(orientation, (2, 3))
    column, row = np.arange(size[0]), np.arange(size[1])
    lps = np.asarray(position) + row[:, None, None] * spacing[0] * down + column[None, :, None] * spacing[1] * along_row
    return lps * np.array([-1, -1, 1])


def slice_at(position, world=linear, orientation=AXIAL, *, slope=SLOPE, intercept=INTERCEPT, series="1", **fields) -> Dataset:
    """One slice as a scanner stores it; fields: elements by keyword, None takes one away."""
    values = world(places(position, orientation))
    stored = np.rint((values - intercept) / slope)
    dataset = Dataset()
    dataset.ImageType, dataset.SOPClassUID, dataset.SOPInstanceUID = (
        ["ORIGINAL", "PRIMARY", "AXIAL"],
        CTImageStorage,
        f"{ROOT}9.{id(values)}",
    )
    dataset.Modality, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "CT", f"{ROOT}1.{series}", f"{ROOT}2"
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "Doe^Jane", "4711", "20200101"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [f"{x:.8g}" for x in position], [f"{x:.12g}" for x in orientation]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.RescaleSlope, dataset.RescaleIntercept = list(SPACING), 4.0, slope, intercept
    lay_out(dataset, stored)
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def lay_out(dataset: Dataset, stored: np.ndarray):
    """Pixels and what describes them."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = stored.astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"


def stack(heights, world=linear, orientation=AXIAL, **fields) -> list[Dataset]:
    """A slice at each of these mm along the table."""
    found = []
    for number, position in enumerate(along_table(heights)):
        found.append(slice_at(position, world, orientation, **fields))
        found[-1].InstanceNumber = 100 - number  # the wrong way round: nobody may sort by it
    return found


def content_of_dataset(dataset: Dataset, syntax=ExplicitVRLittleEndian) -> bytes:
    """The file of a dataset."""
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax if syntax != RLELossless else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    file = FileDataset("", dataset, file_meta=meta, preamble=bytes(128), is_implicit_VR=implicit, is_little_endian=little)
    if syntax == RLELossless:
        file.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file)
    return buffer.getvalue()


def write_series(folder, datasets: list[Dataset], *, ending=".dcm", first=0, syntax=ExplicitVRLittleEndian) -> pathlib.Path:
    """A file a slice, its names in an order of their own."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = list(range(first, first + len(datasets)))
    random.Random(7).shuffle(numbers)
    for number, dataset in zip(numbers, datasets, strict=True):
        (folder / f"IM{number:04d}{ending}").write_bytes(content_of_dataset(dataset, syntax))
    return folder


def item(**fields) -> Sequence:
    """A sequence of one item."""
    dataset = Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return Sequence([dataset])


def enhanced(positions, world=linear, orientation=AXIAL, *, scales=None) -> Dataset:
    """All slices as frames of one file, in the given order. scales: (slope, intercept) of each frame, None: shared."""
    slices = [slice_at(p, world, orientation, **scale_of(scales, n)) for n, p in enumerate(positions)]
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.ImageType = EnhancedCTImageStorage, f"{ROOT}9.1", ["ORIGINAL", "PRIMARY", "VOLUME"]
    dataset.Modality, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "CT", f"{ROOT}1.1", f"{ROOT}2"
    dataset.NumberOfFrames = len(slices)
    shared, per_frame = Dataset(), []
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=list(orientation))
    shared.PixelMeasuresSequence = item(PixelSpacing=list(SPACING), SliceThickness=4.0)
    if scales is None:
        shared.PixelValueTransformationSequence = item(RescaleSlope=SLOPE, RescaleIntercept=INTERCEPT, RescaleType="HU")
    for number, one in enumerate(slices):
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=one.ImagePositionPatient)
        if scales is not None:
            slope, intercept = scales[number]
            frame.PixelValueTransformationSequence = item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
        per_frame.append(frame)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(per_frame)
    lay_out(dataset, np.stack([np.frombuffer(one.PixelData, "<i2").reshape(SIZE[::-1]) for one in slices]))
    return dataset


def scale_of(scales, number: int) -> dict:
    return {} if scales is None else dict(zip(("slope", "intercept"), scales[number], strict=True))


def world_of(image) -> np.ndarray:
    """(x, y, z, 3) RAS mm of an image's voxels."""
    index = np.stack(np.meshgrid(*map(np.arange, image.array.shape[:3]), indexing="ij"), axis=-1)
    return index @ image.affine[:3, :3].T + image.affine[:3, 3]
