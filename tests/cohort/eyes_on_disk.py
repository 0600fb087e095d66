"""Files of eyes made up for tests: a Heidelberg .vol and DICOM of ophthalmic photography and tomography, as bytes."""

import struct

import numpy as np
import slices_on_disk as made
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, OphthalmicPhotography8BitImageStorage, OphthalmicTomographyImageStorage

NAME, NUMBER = b"Doe^Jane^QZX", b"4711QZX"  # of the patient, in every field that may hold them
NOTHING = np.float32(3.4028235e38)  # where the device has no data
PLACES = {"width": 12, "count": 16, "height": 20, "across": 48, "down": 52, "header": 100}


def reflectivity(seed: int, shape=(3, 12, 16)) -> np.ndarray:
    """(n, z, x) float32 between 0 and 1."""
    return np.random.default_rng(seed).random(shape, np.float32)


def vol_bytes(scans, infrared, *, version=b"HSF-OCT-103", header=256, changes=(), behind=b"") -> bytes:
    """A .vol. scans: (n, z, x) float32 reflectivity; infrared: (h, w) uint8; changes: {name in PLACES: number} that the header says."""
    scans, infrared = np.asarray(scans, "<f4"), np.asarray(infrared, np.uint8)
    start = bytearray(2048)
    start[:12] = version.ljust(12, b"\0")
    count, height, width = scans.shape
    said = {"width": width, "count": count, "height": height, "across": infrared.shape[1], "down": infrared.shape[0], "header": header}
    said |= dict(changes)
    for name, number in said.items():
        struct.pack_into("<i", start, PLACES[name], number)
    struct.pack_into("<3d", start, 24, 0.0115, 0.12, 0.0039)
    start[84:88] = b"OD\0\0"
    struct.pack_into("<q", start, 88, 132_000_000_000_000_000)  # when the exam was
    for place, length in ((104, 16), (120, 16), (140, 21), (176, 24), (224, 34), (300, 40)):
        text = NUMBER if place < 200 else NAME
        start[place : place + length] = text.ljust(length, b"\0")[:length]
    own = bytearray(header)
    own[:10] = b"HSF-BS-103"[:header]
    if header >= 200:
        own[100 : 100 + len(NAME)] = NAME
    return bytes(start) + infrared.tobytes() + b"".join(bytes(own) + scan.tobytes() for scan in scans) + behind


def eye_dataset(pixels: np.ndarray, *, kind=OphthalmicTomographyImageStorage, colours="", stored=0, **fields) -> Dataset:
    """DICOM of frames (n, h, w) or (n, h, w, 3), uint8 or uint16; n alone says whether it has several."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.ImageType = kind, f"{made.ROOT}9.1", ["ORIGINAL", "PRIMARY"]
    dataset.Modality = "OPT" if kind == OphthalmicTomographyImageStorage else "OP"
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = NAME.decode(), NUMBER.decode(), "20200101"
    bits = 8 * pixels.dtype.itemsize
    dataset.SamplesPerPixel = pixels.shape[3] if pixels.ndim == 4 else 1
    dataset.PhotometricInterpretation = colours or ("RGB" if pixels.ndim == 4 else "MONOCHROME2")
    if pixels.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[1:3]
    dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation = bits, stored or bits, 0
    dataset.HighBit = dataset.BitsStored - 1
    if len(pixels) > 1:
        dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def eye_bytes(pixels: np.ndarray, syntax=ExplicitVRLittleEndian, **options) -> bytes:
    """The file of `eye_dataset`."""
    return made.content_of_dataset(eye_dataset(pixels, **options), syntax)


def compressed_eye(pixels: np.ndarray, streams: list[bytes], syntax, **options) -> bytes:
    """The file with its frames as streams that something has compressed."""
    dataset = eye_dataset(pixels, **options)
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return made.content_of_dataset(dataset, syntax)


FUNDUS = OphthalmicPhotography8BitImageStorage
