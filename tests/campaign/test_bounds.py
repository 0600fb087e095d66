"""What may cost memory or time without end: bombs, huge claims, pipes and devices. And the report that lists every bad file of a cohort."""

import contextlib
import csv
import gzip
import os
import struct
import subprocess
import sys
import time
import zlib

import attempts
import frames
import memory
import mutations
import nibabel
import numpy as np
import pictures
import pytest
import reading
import tables
import volumes

from jaxstroke.cohort import files, table
from jaxstroke.cohort.readers import ReadError, read_image
from jaxstroke.errors import InputError
from jaxstroke.preprocess.prepare import prepare

MEMORY = 2**31  # bytes of addresses: libraries take half of it
READ = """
import resource, sys
from memory import peak
from jaxstroke.cohort.readers import ReadError, read_image
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
try:
    print(read_image(sys.argv[1]).array.shape)
except ReadError as error:
    print("refused:", error)
print(peak(), "MB")
"""


def header_of(shape, dtype=np.uint8) -> bytes:
    """The first bytes of a file that claims this shape."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header["dim"] = [len(shape), *shape, *[1] * (7 - len(shape))]
    header["vox_offset"] = 352
    return header.binaryblock + bytes(4)


def zeros(count: int) -> bytes:
    """So many bytes of zeros, compressed: a thousandth of that."""
    piece = 2**24
    return gzip.compress(bytes(piece), 9, mtime=0) * (count // piece) + gzip.compress(bytes(count % piece), 9, mtime=0)


def png_of(width: int, height: int) -> bytes:
    """A PNG of zeros."""
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(width + 1)) for _ in range(height)) + rows.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)


BOMBS = {
    "10^9 voxels claimed.nii": (lambda: header_of((1000, 1000, 1000)) + bytes(1000), "3.7 GiB, at most 2 are read"),
    "10^9 voxels claimed.nii.gz": (lambda: gzip.compress(header_of((1000, 1000, 1000))), "3.7 GiB, at most 2 are read"),
    "4 * 10^8 voxels claimed.nii.gz": (lambda: gzip.compress(header_of((1000, 1000, 400))), "truncated"),
    "10^9 voxels of zeros.nii.gz": (lambda: gzip.compress(header_of((1000, 1000, 1000))) + zeros(10**9), "3.7 GiB, at most 2 are read"),
    "gigabytes behind a small image.nii.gz": (lambda: gzip.compress(header_of((10, 10, 10))) + zeros(4 * 10**9),
    "goes on after the voxels"),
    "gigabytes and no header.nii.gz": (lambda: zeros(4 * 10**9), "not a NIfTI file"),
    "an extension of gigabytes.nii.gz": (
        lambda: gzip.compress(header_of((9, 9, 9))[:108] + struct.pack("<f", 2e9) + header_of((9, 9, 9))[112:]) + zeros(2 * 10**9),
        "voxels from byte 2e+09 on",
    ),
    "60,000 x 60,000 pixels a frame.dcm": (lambda: frames.claiming(60_000, 60_000), "40.2 GiB, at most 2 are read"),
    "frames that grow.dcm": (lambda: frames.growing(6), "of another size than its header says"),
    "15,000 x 15,000 pixels.png": (lambda: png_of(15_000, 15_000), "at most 100,000,000"),
    "10,100 x 10,100 pixels.png": (lambda: png_of(10_100, 10_100), "at most 100,000,000"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(tmp_path, name):
    make, words = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(make())
    assert path.stat().st_size < 2**23
    environment = os.environ | {"PYTHONPATH": f"{attempts.ROOT}:{attempts.HERE}", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READ.format(memory=MEMORY), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said, megabytes = done.stdout.strip().splitlines()
    assert said.startswith("refused:") and words in said
    assert int(megabytes.split()[0]) < 250


def test_members_of_a_gzip_file_are_joined_whatever_their_number():
    """As bgzip writes them, and as tapes pad them; each byte is handed over a few times at most."""
    content = volumes.generated()["int16"]
    pieces = [gzip.compress(content[start : start + 50]) for start in range(0, len(content), 50)]
    assert files.inflated(b"".join(pieces), 10**6) == content
    assert files.inflated(pieces[0] + bytes(200_000) + pieces[1] + bytes(70_000), 10**6) == content[:100]
    assert files.inflated(b"".join(pieces), 120) == content[:120]
    assert files.inflated(gzip.compress(b"") * 3 + pieces[0], 10**6) == content[:50]
    for broken in (b"".join(pieces)[:-3], pieces[0] + b"x", pieces[0] + pieces[1][:9]):
        with pytest.raises(ReadError, match="truncated or damaged"):
            files.inflated(broken, 10**6)
    with mutations.within(20), pytest.raises(ReadError, match="more than 100000 parts"):
        files.inflated(gzip.compress(b"") * 2_000_000, 10**6)


def test_a_file_larger_than_memory_may_be_is_refused_unread(tmp_path):
    path = tmp_path / "a.nii"
    with path.open("wb") as file:
        file.write(header_of((10, 10, 10)))
        file.truncate(40 * 2**30)  # sparse
    before = memory.peak()
    with pytest.raises(ReadError, match=r"40\.0 GiB"):
        read_image(path)
    assert memory.peak() - before < 100


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    (tmp_path / "folder.nii.gz").mkdir()
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "endless.nii").symlink_to("/dev/zero")
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "nothing")
    (tmp_path / "round.nii").symlink_to(tmp_path / "round.nii")
    words = {"folder.nii.gz": "a folder", "pipe.nii.gz": "a pipe", "endless.nii": "a device", "dangling.nii": "does not exist"}
    for name, reason in (words | {"round.nii": "cannot be opened", "x" * 5000 + ".nii": "cannot be opened"}).items():
        with mutations.within(10), pytest.raises(ReadError, match=reason):
            read_image(tmp_path / name)
    for name in ("gs://bucket/scan.nii.gz", "foo://x/scan.nii.gz", "http://host/scan.nii.gz"):
        with mutations.within(10), pytest.raises(ReadError, match="cannot be opened"):
            read_image(name)


def test_a_table_that_is_a_pipe_or_a_scan_is_refused_at_once(tmp_path, config_file):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "scan.csv").write_bytes(volumes.generated()["int16"])
    config = config_file.get_config("own")
    for name, reason in (("pipe.csv", "a pipe"), ("scan.csv", "UTF-8|binary")):
        with config.unlocked():
            config.cohort.table = str(tmp_path / name)
        with mutations.within(10), pytest.raises(InputError, match=f"{name}.*({reason})"):
            table.read_cohort(config, tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only an administrator may give a file to nobody")
def test_files_of_an_owner_without_a_name(tmp_path):
    """In a container the number of the user often has no name, for which etils' own `stat` asks."""
    path = tmp_path / "a.nii"
    path.write_bytes(volumes.generated()["int16"])
    os.chown(path, 54321, 54321)
    assert read_image(path).array.shape == volumes.SHAPE
    assert files.size_and_time(path)[0] == path.stat().st_size


def test_many_short_frames_make_no_large_arrays(tmp_path):
    """9,000 time points of one voxel are 9,000 slices of the stored size where all are placed on the grid before a few are chosen."""
    path = tmp_path / "a.nii"
    path.write_bytes(header_of((4, 4, 4, 9000), np.int16) + np.full(4 * 4 * 4 * 9000, 7, np.int16).tobytes())
    settings = {"axis": "time", "shape": (3, 384, 384), "spacing": (1.0, 1.0, 1.0), "brain_mask": "none", "normalise": "none"}
    before = memory.peak()
    record = reading.prepared(path, path, reading.BASE | settings)
    assert record["reason"] == "" and record["array"].shape == (3, 384, 384, 1)
    assert memory.peak() - before < 500  # all frames would take 5 GB


def test_every_bad_file_of_a_cohort_is_listed(tmp_path, config_file):
    """60 damaged scans in one cohort: each that cannot be used has its line with patient, image, file and reason; the others are used."""
    lines, written = ["patient_id,dwi,age,nihss,sex,mrs"], {}
    for number in range(60):
        name, content, _ = volumes.make(attempts.SEED, 10_000 + number)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(content)
        lines.append(f"{number:03d},{path.name},{50 + number},{number % 30},F,{number % 7}")
        written[f"{number:03d}"] = str(path)
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    config = config_file.get_config("own")
    with config.unlocked():
        config.cohort.table, config.cohort.workers, config.cohort.max_failed_share = str(tmp_path / "my.csv"), 1, 1.0
        config.model.images = ("dwi",)
        config.images.dwi.shape, config.images.dwi.spacing = (3, 8, 8), (20.0, 24.0, 24.0)
    prepared = prepare(config, table.read_cohort(config, tmp_path), tmp_path / "run", tmp_path / "records", ("dwi",))
    rows = list(csv.DictReader((tmp_path / "run" / "prepare_report.csv").read_text().splitlines()))
    assert 10 < len(rows) < 60 and {row["image"] for row in rows} == {"dwi"}
    assert all(written[row["patient_id"]] == row["path"] and len(row["reason"]) > 5 for row in rows)
    assert not any(row["reason"].startswith("could not be used") for row in rows)
    assert set(prepared.left_out) == {row["patient_id"] for row in rows}


def test_an_input_that_takes_too_long_is_a_fault():
    """The watch that the campaign relies on, also where the program catches every error."""

    def endless():
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    with pytest.raises(mutations.TooSlow), mutations.within(0.2):
        endless()


def test_a_mutation_is_made_again_by_its_number():
    for make in (volumes.make, pictures.make, frames.make, tables.make):
        assert make(3, 17) == make(3, 17) != make(3, 18)
