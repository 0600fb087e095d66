"""Headers with a marker in every element that may identify a patient, and all that a run wrote, to look for it.

The elements are those of the Basic Application Confidentiality Profile (DICOM PS3.15, table E.1-1) that can hold a text, which are all
texts of pydicom's dictionary but those the reader has to understand; so nothing depends on a copy of that table.
"""

import pathlib

import pydicom
import slices_on_disk as made
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from jaxstroke.preprocess import records

MARKER = "ZQXMARK"
NUMBER = "90817263"  # where digits alone are allowed
TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
DIGITS = {"DA": "19081726", "TM": "081726", "DT": f"19081726{NUMBER[:6]}", "AS": "081Y", "IS": NUMBER, "DS": NUMBER}
NEEDED = {"ImageType", "Modality", "PhotometricInterpretation", "RescaleType", "SpecificCharacterSet"}  # texts that decide what a file is
NUMBERS_USED = {
    "RescaleSlope", "RescaleIntercept", "PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient",
    "NumberOfFrames", "InstanceNumber",
}  # fmt: skip


def identifying() -> dict[int, tuple[str, object]]:
    """Tag -> kind and value with the marker, of every public element that can hold it: texts, identifiers, dates, numbers as text."""
    found = {}
    for tag, (kind, _, _, _, keyword) in DicomDictionary.items():
        if tag >> 16 in (0x0000, 0x0002, 0xFFFA, 0xFFFC) or not keyword or keyword in NEEDED | NUMBERS_USED or keyword == "SOPClassUID":
            continue
        if kind in TEXTS:
            found[tag] = (kind, MARKER)
        elif kind == "UI":
            found[tag] = (kind, f"1.2.826.{NUMBER}.{tag}")
        elif kind in DIGITS:
            found[tag] = (kind, DIGITS[kind])
    return found


def marked(dataset: Dataset) -> Dataset:
    """A slice with the marker wherever it can be, in a sequence and in private elements too."""
    series = dataset.SeriesInstanceUID.rpartition(".")[2]
    for tag, (kind, value) in identifying().items():
        dataset.add_new(tag, kind, value)
    dataset.SeriesInstanceUID = f"1.2.{NUMBER}.{series}"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", MARKER]
    inner = Dataset()
    inner.PatientName, inner.CodeMeaning, inner.StudyInstanceUID = f"{MARKER}^{MARKER}", MARKER, f"1.2.{NUMBER}"
    dataset.RequestAttributesSequence = pydicom.Sequence([inner])
    block = dataset.private_block(0x0029, f"{MARKER} VENDOR", create=True)
    block.add_new(0x10, "LO", MARKER)
    block.add_new(0x11, "OB", MARKER.encode() * 9)
    dataset.add_new(0x00291099, "UN", MARKER.encode())
    return dataset


def planted(dataset: Dataset) -> bytes:
    """The file of a marked slice; its group 2 has the marker as well, as far as it can."""
    with pydicom.config.disable_value_validation():
        content = made.content_of_dataset(marked(dataset))
        file = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
        file.file_meta.SourceApplicationEntityTitle = MARKER
        file.file_meta.ImplementationVersionName = MARKER
        buffer = pydicom.filebase.DicomBytesIO()
        pydicom.dcmwrite(buffer, file)
    content = buffer.getvalue()
    assert content.count(MARKER.encode()) > 1000 and content.count(NUMBER.encode()) > 100
    return content


def everything_in(folder: pathlib.Path) -> bytes:
    """All that a run wrote, records unpacked."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.append(path.read_bytes())
        if path.name == records.MANIFEST:
            held = records.open_records(path.parent)
            for place in range(len(held)):
                record = held[place]
                found.append(repr(record).encode() + b"".join(value.tobytes() for value in record.values() if hasattr(value, "tobytes")))
            held.close()
    return b"\n".join(found)
