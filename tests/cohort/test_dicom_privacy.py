"""No text of a header leaves the reader: a marker in every element that may identify a patient is in nothing that the program writes."""

import csv
import pathlib
import sys

import pytest
import slices_on_disk as made
from marked_headers import MARKER, NUMBER, everything_in, planted
from pydicom.uid import ExplicitVRLittleEndian

from jaxstroke import main

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


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
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
