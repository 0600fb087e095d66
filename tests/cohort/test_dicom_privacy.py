"""No text of a header leaves the reader: a marker in every element that may identify a patient is in nothing that the program writes.

The elements are those of the Basic Application Confidentiality Profile (DICOM PS3.15, table E.1-1) that can hold a text, which are all
texts of pydicom's dictionary but those the reader has to understand; so nothing depends on a copy of that table.
"""

import csv
import pathlib
import sys

import pydicom
import pytest
import slices_on_disk as made
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from jaxstroke import main
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
CONFIG = str(pathlib.Path(__file__).resolve().parents[2] / "configs" / "mri_cnn_lstm.py")
IMAGES = (
    "--config.model.images=('dwi',)", "--config.model.widths=(4,)", "--config.images.dwi.shape=(3,8,8)",
    "--config.images.dwi.spacing=(8,4,4)", "--config.images.dwi.brain_mask=none",
)  # fmt: skip
PREPARE = ("--mode=prepare", "--config.cohort.max_failed_share=0.9", "--config.device.cache=", *IMAGES)


@pytest.fixture(autouse=True)
def keep_program_state(monkeypatch):
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", sys.argv)


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


def write_hospital(folder: pathlib.Path) -> pathlib.Path:
    """A table of patients whose series are whole, tilted, uneven, several, time points, and broken in many ways."""
    stacks = {
        "whole": made.stack([0, 4, 8, 12, 16, 20], made.linear),
        "tilted": made.stack([0, 4, 8, 12, 13.1, 20.5, 27.9], made.linear, made.tilted(18.5)),
        "gap": made.stack([0, 4, 8, 60], made.linear),
        "two": [*made.stack([0, 4, 8, 12]), *made.stack([0, 4, 8, 12], made.cube((0, 0, 5), 4))],
        "slope": made.stack([0, 4, 8], RescaleSlope=0),
        "spacing": made.stack([0, 4, 8], PixelSpacing=None),
        "colour": made.stack([0, 4, 8], PhotometricInterpretation=MARKER),
        "modality": made.stack([0, 4, 8], made.linear, Modality=MARKER, SOPClassUID=f"1.2.{NUMBER}"),
        "bits": made.stack([0, 4, 8], BitsStored=99),
    }  # fmt: skip
    files = {name: [planted(one) for one in stack] for name, stack in stacks.items()}
    whole = files["whole"]
    files["cut"] = [whole[0], whole[1][:-700], whole[2]]
    files["header"] = [whole[0], whole[1][: len(whole[1]) // 3], whole[2]]
    files["number"] = [content.replace(b"DS\x04\x004.0 ", b"DS\x04\x00QXM ") for content in whole]  # a thickness that is a word
    files["syntax"] = [content.replace(str(ExplicitVRLittleEndian).encode(), b"1.2.840.10008.1.9.9") for content in whole]
    files["several"] = [*whole, *(planted(one) for one in made.stack([0, 2, 4, 6], series="8", SliceThickness=2.0))]
    lines = ["patient_id,dwi,age,nihss,sex,mrs"]
    for number, (name, contents) in enumerate(files.items()):
        (folder / name).mkdir(parents=True)
        for place, content in enumerate(contents):
            (folder / name / f"{place}.dcm").write_bytes(content)
        lines.append(f"{number:03d},{name},60,5,F,{number % 7}")
    (folder / "my.csv").write_text("\n".join(lines) + "\n")
    return folder / "my.csv"


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


@pytest.mark.parametrize("workers", [1, 2])
def test_no_text_of_a_header_is_in_anything_that_prepare_writes(tmp_path, capfd, workers):
    table = write_hospital(tmp_path / "hospital")
    arguments = [f"--config={CONFIG}:own", f"--workdir={tmp_path / 'runs' / 'run'}", f"--config.cohort.table={table}", *PREPARE]
    assert main.main(["main", *arguments, f"--config.cohort.workers={workers}"]) == 0
    said = capfd.readouterr()
    lines = list(csv.DictReader((tmp_path / "runs" / "run" / "prepare_report.csv").read_text().splitlines()))
    failed = {line["path"].rpartition("/")[2]: line["reason"] for line in lines if line["used"] == "no"}
    remarks = [(line["path"].rpartition("/")[2], line["reason"]) for line in lines if line["used"] == "yes"]
    assert set(failed) == {"gap", "two", "slope", "spacing", "colour", "bits", "cut", "header", "number", "syntax"}
    assert [name for name, _ in remarks] == ["tilted", "tilted", "several"]
    assert not any(reason.startswith(("could not be used", "it could not be read as")) for reason in failed.values())
    written = everything_in(tmp_path / "runs") + said.out.encode() + said.err.encode()
    assert len(written) > 5000
    for secret in (MARKER, NUMBER, made.ROOT, "VENDOR", "QXM", "1.2.840.10008.1.9.9"):
        assert secret.encode() not in written, secret
    assert "Warning" not in said.err and "pydicom" not in said.err


def test_a_cohort_that_stops_names_no_text_of_a_header(tmp_path, capfd):
    table = write_hospital(tmp_path / "hospital")
    arguments = [f"--config={CONFIG}:own", f"--workdir={tmp_path / 'runs' / 'run'}", f"--config.cohort.table={table}", *PREPARE]
    assert main.main(["main", *arguments, "--config.cohort.max_failed_share=0.1", "--config.cohort.workers=1"]) == 2
    said = capfd.readouterr()
    assert "max_failed_share" in said.err and "Traceback" not in said.err
    written = everything_in(tmp_path / "runs") + said.out.encode() + said.err.encode()
    assert all(secret.encode() not in written for secret in (MARKER, NUMBER, made.ROOT))
