"""Damaged DICOM series: made-up ones of many files and of one, their elements and bytes changed, and what else lies in such folders."""

import functools
import io
import pathlib
import random
import sys

import mutations
import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import slices_on_disk as made  # noqa: E402

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless)
HEIGHTS = {"even": range(0, 40, 4), "uneven": [0, 4.2, 8.4, 12.6, 13.7, 21.1, 28.5], "few": [0, 5, 10]}
REAL = "head-ct-ge-tilt"
NUMBERS = ("0", "1", "-1", "1e300", "-1e300", "nan", "inf", "1e-30", "65535", "999999999999", "x", "", "1\\2", "1.5", "0.5")
SHORTS = (0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 32, 64, 255, 4096, 32768, 65535)
ELEMENTS = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PhotometricInterpretation", "ImageType", "SOPClassUID", "Modality", "SeriesInstanceUID", "FrameOfReferenceUID", "PixelData",
    "EchoTime", "AcquisitionTime",
)  # fmt: skip


def head(places: np.ndarray) -> np.ndarray:
    """HU of a ball of brain with structure in air."""
    inside = ((places - [0, 0, 20]) ** 2).sum(axis=-1) < 13**2
    return np.where(inside, 40 + 20 * np.sin(places).sum(axis=-1), -1000)


@functools.cache
def generated() -> dict[str, tuple[bytes, ...]]:
    """Name -> bytes of the files of a whole series of every kind that is read."""
    found = {}
    for place, syntax in enumerate(SYNTAXES):
        for name, heights in HEIGHTS.items():
            orientation = made.tilted(14.0) if place % 2 else made.AXIAL
            slices = made.stack(heights, head, orientation)
            found[f"{syntax.name}, {name}"] = tuple(made.content_of_dataset(one, syntax) for one in slices)
            if syntax != ExplicitVRBigEndian:
                one = made.enhanced(made.along_table(heights), head, orientation)
                found[f"{syntax.name}, {name}, one file"] = (made.content_of_dataset(one, syntax),)
    return found


@functools.cache
def real(data: str) -> dict[str, tuple[bytes, ...]]:
    """A few slices of a real series; none where the folder is absent."""
    paths = sorted((pathlib.Path(data) / REAL).glob("*.dcm"))[::4] if data else []
    return {REAL: tuple(path.read_bytes() for path in paths)} if paths else {}


def claiming(rows: int, columns: int) -> bytes:
    """A small file of three frames that claims so many pixels."""
    dataset = made.enhanced(made.along_table(HEIGHTS["few"]))
    dataset.Rows, dataset.Columns = rows, columns
    return made.content_of_dataset(dataset)


def growing(megabytes: int) -> bytes:
    """A file of three frames, one of which is run-length pairs that make 64 times as much."""
    header = (2).to_bytes(4, "little") + (64).to_bytes(4, "little") + (128).to_bytes(4, "little") + bytes(52)
    pairs = b"\x81\0" * (megabytes * 2**19)
    content = made.content_of_dataset(made.enhanced(made.along_table(HEIGHTS["few"])), RLELossless)
    file = pydicom.dcmread(io.BytesIO(content))
    file.PixelData = pydicom.encaps.encapsulate([header + pairs, header + bytes(128), header + bytes(128)])
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file)
    return buffer.getvalue()


def make(seed: int, number: int, data: str = "") -> tuple[str, dict[str, bytes], str]:
    """Name of the folder, its files, and what was done, of one input."""
    draw = mutations.chance("slices", seed, number)
    seeds = real(data) if draw.random() < 0.1 and real(data) else generated()
    name = draw.choice(sorted(seeds))
    contents, words = list(seeds[name]), []
    for _ in range(draw.choice((1, 1, 2))):
        place = draw.randrange(len(contents))
        how = draw.random()
        if how < 0.5:
            contents[place], word = change_element(contents[place], draw)
        elif how < 0.6:
            contents[place], word = b"", "an empty file"
        elif how < 0.9:
            contents[place], word = mutations.any_of(contents[place], draw)
        else:
            contents, word = change_folder(contents, place, draw)
        words.append(f"file {place}: {word}")
    ending = draw.choice((".dcm", ""))
    return "input", {f"{place:03d}{ending}": content for place, content in enumerate(contents)}, f"{name}: {'; '.join(words)}"


def change_folder(contents: list[bytes], place: int, draw: random.Random) -> tuple[list[bytes], str]:
    """A file there twice, missing, or not a slice."""
    what = draw.choice(("twice", "gone", "text"))
    if what == "twice":
        return [*contents, contents[place]], what
    if what == "gone" and len(contents) > 1:
        return contents[:place] + contents[place + 1 :], what
    return [*contents, b"a note " * 50], "a text beside it"


def change_element(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """An element of the header, or of a frame's item, set to something extreme or taken away, as a whole file again."""
    name = draw.choice(ELEMENTS)
    try:
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)
        target = holder(dataset, name, draw)
        value = value_for(name, draw)
        if value is None or name not in target:
            target.pop(name, None)
        elif name == "PixelData":
            target[name].value = value
        else:
            target[name]._value = value  # past pydicom's own checks of what may be written
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset)
    except Exception:  # not everything can be written
        return mutations.flip(content, draw)
    return buffer.getvalue(), f"{name} = {str(value)[:30]}"


def holder(dataset, name: str, draw: random.Random):
    """The item of a frame that has the element, or the dataset."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for group in (draw.choice(frames) if frames else (), *(dataset.get("SharedFunctionalGroupsSequence") or ())):
        for element in group:
            if element.VR == "SQ" and element.value and name in element.value[0]:
                return element.value[0]
    return dataset


def value_for(name: str, draw: random.Random):
    """Something of the element's kind that it should not be; None: it goes."""
    if draw.random() < 0.15:
        return None
    counts = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    kind = pydicom.datadict.dictionary_VR(name)
    if name == "PixelData":
        return draw.choice((b"", bytes(100), draw.randbytes(5000), bytes(10**6)))
    if kind == "US":
        return draw.choice(SHORTS)
    if kind in ("DS", "IS", "FD"):
        values = [draw.choice((*NUMBERS, "1", "0", "1", "0")) for _ in range(counts.get(name, 1) + draw.choice((0, 0, 0, 0, 1, -1)))]
        return values if len(values) != 1 else values[0]
    return draw.choice(("", "x" * 70, "1.2.840.10008.5.1.4.1.1.4", "RGB", "MONOCHROME1", "LOCALIZER", "SEG", "\0\0", "\u00e4"))
