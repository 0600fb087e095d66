"""A series of DICOM slices as a volume: whatever the order, tilt and distances of slices, a point keeps its place in the world."""

import io
import itertools
import pathlib
import warnings

import nibabel
import numpy as np
import PIL.Image
import pydicom
import pytest
import slices_on_disk as made
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from jaxstroke.cohort.dicom import Rules
from jaxstroke.cohort.dicom_pixels import coded_size
from jaxstroke.cohort.readers import ReadError, read_image

EVEN = [0, 4, 8, 12, 16, 20]


def refusal(path, rules=None) -> str:
    with pytest.raises(ReadError) as caught:
        read_image(path, *([rules] if rules else []))
    assert "Doe" not in str(caught.value) and "4711" not in str(caught.value) and made.ROOT not in str(caught.value)
    assert not str(caught.value).startswith("it could not be read as a DICOM series")
    return str(caught.value)


def check_linear(image, tolerance=1.01):
    """The voxels hold the linear world's value of their place; the two outermost pixels may be mixed with what lies outside."""
    expected = made.linear(made.world_of(image))
    covered = image.array > -999
    inner = covered.copy()
    for axis, move in itertools.product((0, 1), (1, -1)):
        inner &= np.roll(covered, move, axis)
    inner[[0, -1]] = inner[:, [0, -1]] = False
    assert inner.sum() > 0.3 * inner.size
    assert np.abs(image.array - expected)[inner].max() <= tolerance


@pytest.mark.parametrize("ending", [".dcm", "", ".IMA"])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_slices_are_sorted_by_place_and_hold_hounsfield_units(tmp_path, ending, syntax):
    image = read_image(made.write_series(tmp_path / "ct", made.stack(EVEN), ending=ending, syntax=syntax))
    assert image.array.shape == (*made.SIZE, 6) and image.array.dtype == np.int16 and not image.time and image.notes == ()
    np.testing.assert_allclose(image.affine, [[-1.2, 0, 0, 14], [0, -1.5, 0, 12], [0, 0, 4, 5], [0, 0, 0, 1]])
    np.testing.assert_allclose(image.array, made.linear(made.world_of(image)), atol=1.01)


@pytest.mark.parametrize("orientation", [made.AXIAL, made.SAGITTAL, (0.8, 0.6, 0, -0.6, 0.8, 0), (1.0, 0, 0, 0, 0, -1)])
def test_a_nifti_of_the_same_data_has_the_same_world(tmp_path, orientation):
    normal = np.cross(orientation[:3], orientation[3:])
    datasets = [made.slice_at(np.array([3.0, -7, 11]) + height * normal, made.linear, orientation) for height in (9, 3, 6, 0, -3)]
    image = read_image(made.write_series(tmp_path / "ct", datasets))
    check_linear(image)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.array), image.affine), tmp_path / "a.nii.gz")
    again = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.array, image.array)
    np.testing.assert_allclose(again.affine, image.affine, atol=1e-5)


def test_each_slice_has_its_own_rescale(tmp_path):
    datasets = made.stack(EVEN[:3]) + [made.slice_at(position, slope=0.5, intercept=-900.0) for position in made.along_table(EVEN[3:])]
    image = read_image(made.write_series(tmp_path / "ct", datasets))
    assert image.array.dtype == np.float32
    np.testing.assert_allclose(image.array, made.linear(made.world_of(image)), atol=1.01)


def test_filling_around_a_round_field_is_air_and_other_modalities_keep_it(tmp_path):
    def world(places):
        return np.where(np.abs(places[..., 0]) > 10, -3000.0, 40.0)

    ct = read_image(made.write_series(tmp_path / "ct", made.stack(EVEN, world)))
    assert set(np.unique(ct.array)) == {-1024, 40}
    mr = read_image(made.write_series(tmp_path / "mr", made.stack(EVEN, world, Modality="MR")))
    assert set(np.unique(mr.array)) == {-3000, 40}


@pytest.mark.parametrize("heights", [EVEN, [0, 4, 8, 12, 13.1, 20.5, 27.9]], ids=["even", "uneven"])
@pytest.mark.parametrize("turn", [0.0, 25.0])
def test_a_tilt_is_corrected_and_a_point_stays_where_it_is(tmp_path, heights, turn):
    leaning = made.tilted(18.5, turn)
    image = read_image(made.write_series(tmp_path / "ct", made.stack(heights, made.linear, leaning)))
    assert image.notes[0] == "tilt of 18.5 degrees corrected" and len(image.notes) == 1 + (heights is not EVEN)
    sides = image.affine[:3, :3]
    np.testing.assert_allclose(sides.T @ sides, np.diag(np.diag(sides.T @ sides)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(sides, axis=0)[:2], made.SPACING[::-1])
    check_linear(image, 1.2)  # the last plane lies a tenth of a millimetre beyond the last of the uneven slices
    centre = made.places(made.along_table(heights)[3], leaning)[10, 12]
    bright = read_image(made.write_series(tmp_path / "cube", made.stack(heights, made.cube(centre, 4.1), leaning)))
    found = made.world_of(bright)[bright.array > 500].mean(axis=0)
    index = np.linalg.solve(bright.affine, [*centre, 1]) - np.linalg.solve(bright.affine, [*found, 1])
    assert np.abs(index[:3]).max() < 1
    assert bright.array[tuple(np.rint(np.linalg.solve(bright.affine, [*centre, 1])[:3]).astype(int))] > 900
    assert bright.array.min() == -1000  # air around what the slices cover
    assert "tilt of 18.5 degrees" in refusal(tmp_path / "ct", Rules(tilt="refuse"))


def test_a_tilt_outside_tomography_is_surrounded_by_zero(tmp_path):
    image = read_image(made.write_series(tmp_path / "mr", made.stack(EVEN, made.cube((0, 0, 0), 1), made.tilted(15), Modality="MR")))
    assert image.array.min() == 0


def test_slices_that_do_not_lie_behind_each_other_are_refused(tmp_path):
    datasets = made.stack(EVEN)
    for dataset in datasets[::2]:
        dataset.ImagePositionPatient = [float(dataset.ImagePositionPatient[0]) + 80, *dataset.ImagePositionPatient[1:]]
    assert "behind each other" in refusal(made.write_series(tmp_path / "ct", datasets))


def test_slices_moved_one_by_one_are_moved_back(tmp_path):
    positions = made.along_table(EVEN) + np.array([[0, 0, 0], [1.7, 0, 0], [-0.9, 0.5, 0], [0, 2.0, 0], [0.4, 0, 0], [0, 0, 0]])
    image = read_image(made.write_series(tmp_path / "ct", [made.slice_at(position) for position in positions]))
    assert image.notes == ("shift of slices by up to 2.0 mm corrected",)
    check_linear(image)


@pytest.mark.parametrize(
    ("heights", "step", "planes", "words"),
    [
        ([0, 4.2, 8.4, 12.6, 13.7, 21.1, 28.5], 4.2, 8, "uneven steps of 1.1 to 7.4 mm across the slices resampled to 4.2 mm"),
        ([0, 2.5, 5, 7.5, 12.5, 17.5, 22.5, 27.5], 2.5, 12, "4 missing slices interpolated (a gap of 5.0 mm)"),
        ([0, 4, 8, 16, 20], 4.0, 6, "1 missing slice interpolated (a gap of 8.0 mm)"),
        ([0, 3, 6, 10, 14, 18, 22.5], 3.0, 9, "uneven steps of 3.0 to 4.5 mm across the slices resampled to 3.0 mm"),
    ],
)
def test_uneven_slices_are_resampled_and_noted(tmp_path, heights, step, planes, words):
    image = read_image(made.write_series(tmp_path / "ct", made.stack(heights)))
    assert image.notes == (words,) and image.array.shape == (*made.SIZE, planes)
    assert np.linalg.norm(image.affine[:3, 2]) == pytest.approx(step)
    whole = planes if step * (planes - 1) <= heights[-1] else planes - 1  # the last plane may lie half a step beyond the last slice
    np.testing.assert_allclose(image.array[..., :whole], made.linear(made.world_of(image))[..., :whole], atol=1.01)


def test_distances_that_are_rounded_are_even(tmp_path):
    image = read_image(made.write_series(tmp_path / "ct", made.stack([0, 4.05, 7.98, 12.02, 16.0, 20.0])))
    assert image.notes == () and image.array.dtype == np.int16
    assert np.linalg.norm(image.affine[:3, 2]) == pytest.approx(4)


def test_a_gap_beyond_the_limit_is_refused(tmp_path):
    folder = made.write_series(tmp_path / "ct", made.stack([0, 4, 8, 28, 32]))
    assert "20.0 mm lie between two of its slices, more than config.cohort.dicom.gap = 15" in refusal(folder)
    assert "missing slices" in read_image(folder, Rules(gap=20.5)).notes[0]


def test_slices_that_are_there_twice_are_dropped_and_differing_ones_refused(tmp_path):
    folder = made.write_series(tmp_path / "ct", made.stack(EVEN))
    made.write_series(folder / "again", made.stack(EVEN[2:4]), ending="")
    image = read_image(folder)
    assert image.array.shape == (*made.SIZE, 6) and image.notes == ("2 slices that are there twice left out",)
    made.write_series(folder / "more", made.stack(EVEN[:2], made.cube((0, 0, 0), 4)), ending="")
    assert "2 of 6 places have slices that differ, and nothing tells them apart" in refusal(folder)


def test_time_points_are_told_apart_and_ordered(tmp_path):
    datasets = []
    for point in (2, 0, 1):
        datasets += made.stack(EVEN, lambda world, point=point: made.linear(world) + 100 * point, TemporalPositionIdentifier=point + 1)
    image = read_image(made.write_series(tmp_path / "ctp", datasets))
    assert image.array.shape == (*made.SIZE, 6, 3) and image.time and image.notes == ("3 volumes told apart by temporal position",)
    np.testing.assert_allclose(np.diff(image.array.astype(float), axis=-1), 100, atol=0.01)


def test_of_several_series_the_axial_thin_and_large_one_is_read(tmp_path):
    folder = made.write_series(tmp_path / "all" / "thick", made.stack(EVEN, series="1", SliceThickness=5.0))
    folder = folder.parent
    made.write_series(folder / "thin", made.stack(range(0, 12, 2), series="2", SliceThickness=2.0))
    made.write_series(folder / "sagittal", [made.slice_at((x, 0, 0), orientation=made.SAGITTAL, series="3") for x in range(9)])
    image = read_image(folder)
    assert np.linalg.norm(image.affine[:3, 2]) == pytest.approx(2)
    assert image.notes == ("2 of 3 series left out; read: 6 axial slices of 2 mm",)
    words = refusal(folder, Rules(series="refuse"))
    assert "3 series (6 axial slices of 2 mm; 6 axial slices of 5 mm; 9 sagittal slices of 4 mm)" in words and "'choose'" in words
    made.write_series(folder / "larger", made.stack(range(0, 20, 2), series="4", SliceThickness=2.0))
    assert read_image(folder).array.shape[2] == 10
    made.write_series(folder / "other kernel", made.stack(range(0, 20, 2), made.cube((0, 0, 9), 3), series="5", SliceThickness=2.0))
    assert "no rule prefers one" in refusal(folder)


def test_files_named_one_by_one_are_one_series(tmp_path):
    """As the cell of a table names them, though a program that took names away gave each slice a series of its own."""
    datasets = [made.slice_at(position, series=str(number)) for number, position in enumerate(made.along_table(EVEN))]
    folder = made.write_series(tmp_path / "ct", datasets)
    assert "fewer than 3 slices" in refusal(folder)
    image = read_image("|".join(map(str, folder.iterdir())))
    np.testing.assert_allclose(image.array, made.linear(made.world_of(image)), atol=1.01)


def test_slices_of_another_size_are_left_out_and_noted(tmp_path):
    odd = made.slice_at((0, 0, 50))
    odd.Columns, odd.Rows, odd.PixelData = 10, 5, bytes(100)
    image = read_image(made.write_series(tmp_path / "ct", [*made.stack(EVEN), odd]))
    assert image.array.shape == (*made.SIZE, 6) and image.notes == ("1 of its slices left out, of another size or direction",)


def passed_over() -> dict[str, pydicom.Dataset]:
    """What lies beside the slices of a hospital's folder."""
    report = pydicom.Dataset()
    report.SOPClassUID, report.SOPInstanceUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.67", f"{made.ROOT}9.7", "SR"
    private = pydicom.Dataset()
    private.SOPClassUID, private.SOPInstanceUID = "1.3.12.2.1107.5.9.1", f"{made.ROOT}9.8"
    colour = made.slice_at((0, 0, 0))
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    return {
        "objects without an image": report, "objects without": private, "colour pictures": colour,
        "localisers": made.slice_at((0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "secondary captures": made.slice_at((0, 0, 0), SOPClassUID=SecondaryCaptureImageStorage),
        "mosaics": made.slice_at((0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]),
        "pictures without a position": made.slice_at((0, 0, 0), ImagePositionPatient=None),
        "series of fewer than 3 slices": made.slice_at((0, 0, 0), series="7"),
    }  # fmt: skip


def test_what_is_no_slice_is_passed_over(tmp_path):
    folder = made.write_series(tmp_path / "ct", made.stack(EVEN))
    for number, (words, dataset) in enumerate(passed_over().items()):
        made.write_series(folder, [dataset], first=100 + number)
        assert words in refusal(made.write_series(tmp_path / str(number), [dataset]))
    (folder / "LICENSE").write_text("free\n" * 99)
    (folder / ".hidden.dcm").write_text("no DICOM file")
    assert read_image(folder).array.shape == (*made.SIZE, 6)


def test_slices_of_many_directions_are_a_localiser(tmp_path):
    three = [made.slice_at(np.cross(o[:3], o[3:]) * h, orientation=o) for o in (made.AXIAL, made.SAGITTAL) for h in (0, 5, 10)]
    assert "localisers: 6" in refusal(made.write_series(tmp_path / "three", three))
    around = [made.slice_at((0, 0, 0), orientation=made.tilted(angle)) for angle in range(25)]
    assert "localisers: 25" in refusal(made.write_series(tmp_path / "around", around))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("own_scales", [False, True])
def test_frames_of_one_file_are_slices(tmp_path, own_scales, syntax):
    positions = made.along_table([8, 0, 16, 4, 12])
    scales = [(0.5 + number, -1000.0 - number) for number in range(5)] if own_scales else None
    path = tmp_path / "enhanced"
    path.write_bytes(made.content_of_dataset(made.enhanced(positions, scales=scales), syntax))
    image = read_image(path)
    assert image.array.shape == (*made.SIZE, 5)
    np.testing.assert_allclose(image.array, made.linear(made.world_of(image)), atol=2.3)


def test_frames_of_a_tilted_scanner(tmp_path):
    path = tmp_path / "enhanced.dcm"
    path.write_bytes(made.content_of_dataset(made.enhanced(made.along_table([8, 0, 16, 4, 12]), orientation=made.tilted(12))))
    image = read_image(path)
    assert image.notes == ("tilt of 12.0 degrees corrected",)
    check_linear(image)


def test_frames_without_places_are_no_slices(tmp_path):
    dataset = made.enhanced(made.along_table(EVEN))
    dataset.NumberOfFrames = 5
    path = tmp_path / "a.dcm"
    path.write_bytes(made.content_of_dataset(dataset))
    assert "another number of frames" in refusal(path)
    del dataset.PerFrameFunctionalGroupsSequence
    path.write_bytes(made.content_of_dataset(dataset))
    assert "pictures without a position in space: 1" in refusal(path)


def relabelled(dataset, syntax) -> bytes:
    """A file whose pixels are said to be compressed."""
    content = made.content_of_dataset(dataset)
    old, new = str(ExplicitVRLittleEndian).encode() + b"\0", str(syntax).encode()
    at = content.index(old) - 2
    length = len(new) + len(new) % 2
    return content[:at] + length.to_bytes(2, "little") + new.ljust(length, b"\0") + content[at + 2 + len(old) :]


def test_compression_without_a_decoder_is_named_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "available_plugins", ())
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "is_available", False)
    for number, dataset in enumerate(made.stack(EVEN)):
        (tmp_path / f"{number}.dcm").write_bytes(relabelled(dataset, JPEGLosslessSV1))
    words = refusal(tmp_path)
    assert JPEGLosslessSV1.name in words and "pip install 'jaxstroke[dicom]'" in words


@pytest.mark.parametrize(
    ("syntax", "words"),
    [("1.2.840.10008.1.2.4.51", "JPEG Extended"), ("1.2.840.10008.1.2.4.100", "MPEG2"), ("1.2.3.4", "not of the standard")],
)
def test_ways_to_store_pixels_that_are_not_read(tmp_path, syntax, words):
    for number, dataset in enumerate(made.stack(EVEN)):
        (tmp_path / f"{number}.dcm").write_bytes(relabelled(dataset, syntax))
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"PixelSpacing": [0.0, 1.0]}, "no distance between pixels"), ({"PixelSpacing": None}, "no distance between pixels"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no right angle"), ({"ImageOrientationPatient": [1, 0, 0]}, "6 finite numbers"),
        ({"ImageOrientationPatient": [1e200, 0, 0, 0, 1e200, 0]}, "no right angle"), ({"RescaleSlope": 0}, "slope is 0"),
        ({"RescaleSlope": "1e300"}, "NaN or Inf"), ({"Rows": 60000, "Columns": 60000}, "GiB, at most 2"), ({"Rows": None}, "no size"),
        ({"BitsAllocated": 24}, "24 bits"), ({"HighBit": 11}, "place of a pixel's bits"), ({"PixelData": b"1234"}, "truncated"),
        ({"PixelData": None}, "truncated"), ({"PixelSpacing": [1e-4, 1e-4]}, "spacing is broken"), ({"Columns": 0}, "no possible size"),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, "lookup table"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_series_is_said(tmp_path, fields, words):
    assert words in refusal(made.write_series(tmp_path / "ct", made.stack(EVEN, **fields)))


def test_the_file_that_is_wrong_is_named_by_its_number(tmp_path):
    folder = made.write_series(tmp_path / "ct", made.stack(EVEN))
    (folder / "IM0003.dcm").write_bytes((folder / "IM0003.dcm").read_bytes()[:-100])
    assert "file 4 of 6, by name: it is truncated" in refusal(folder)
    (folder / "IM0003.dcm").write_bytes((folder / "IM0003.dcm").read_bytes()[:400])
    assert "file 4 of 6, by name: it is truncated or damaged" in refusal(folder)
    for content in (b"", b"hello" * 99):
        (folder / "IM0003.dcm").write_bytes(content)
        assert "file 4 of 6, by name: it is not a DICOM file" in refusal(folder)


def test_what_a_path_may_not_be(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "nothing").write_text("")
    assert "the folder is empty" in refusal(tmp_path / "empty")
    assert "not a format that is read here" in refusal(tmp_path / "text")
    assert "0 bytes" in refusal(tmp_path / "nothing")
    assert "does not exist" in refusal(tmp_path / "absent.dcm")
    assert "does not exist" in refusal(f"{tmp_path}/a.dcm|{tmp_path}/b.dcm")
    (tmp_path / "empty" / "notes").write_text("hello")
    assert "other files: 1" in refusal(tmp_path / "empty")


def test_files_without_the_customary_start(tmp_path):
    for number, dataset in enumerate(made.stack(EVEN)):
        content = made.content_of_dataset(dataset, [ExplicitVRLittleEndian, ImplicitVRLittleEndian][number % 2])
        (tmp_path / str(number)).write_bytes(content[content.index(b"\x08\0\x08\0") :])
    assert read_image(tmp_path).array.shape == (*made.SIZE, 6)


def test_a_deflated_bomb_is_refused(tmp_path):
    dataset = made.stack(EVEN)[0]
    dataset.add_new(0x00091001, "OB", bytes(5 * 10**7))  # 50 MB of private zeros in 50 kB
    (tmp_path / "a.dcm").write_bytes(made.content_of_dataset(dataset, DeflatedExplicitVRLittleEndian))
    assert "damaged" in refusal(tmp_path / "a.dcm")


def test_the_real_head_of_a_tilted_scanner(data_root):
    folder = data_root / "head-ct-ge-tilt"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set JAXSTROKE_DATA to a folder with it")
    image = read_image(folder)
    assert image.array.shape == (512, 611, 37) and not image.time
    np.testing.assert_allclose(np.linalg.norm(image.affine[:3, :3], axis=0), [0.4883, 0.4883, 4.002], atol=1e-3)
    assert image.notes == ("tilt of 18.5 degrees corrected", "uneven steps of 1.1 to 7.0 mm across the slices resampled to 4.0 mm")
    assert image.array.min() == -1024 and 1000 < image.array.max() < 3000
    middle = image.array[206:306, 250:350, 18:24]
    assert 15 < np.median(middle) < 50  # brain
    assert np.median(image.array[250:260, 5:15, 30]) < -900  # air in front of the forehead


def test_pydicoms_own_files_are_read_or_refused(capfd):
    """All that come with the library, and what a user would see of them: nothing but the reason."""
    count = 0
    for path in shipped():
        count += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                image = read_image(path)
        except ReadError as error:
            assert not str(error).startswith("it could not be read as a DICOM series")
            assert not leaked(path, str(error))
        else:
            assert np.isfinite(image.array).all() and image.array.ndim == 3
    assert count > 100
    said = capfd.readouterr()
    assert said.out == said.err == ""


def shipped() -> list:
    """Test files in the installed package, none of them fetched."""
    root = pathlib.Path(pydicom.__file__).parent / "data"
    return sorted(
        p for p in root.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".json", ".txt", ".md", ".dump", ".icc", ".gz")
    )


def leaked(path, words: str) -> list[str]:
    """Texts of a header that are in a message."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        texts = [
            str(dataset.get(name, "")) for name in ("PatientName", "PatientID", "StudyInstanceUID", "SeriesDescription", "InstitutionName")
        ]
    return [text for text in texts if len(text) > 3 and text in words]


def series_of(name: str, folder) -> str:
    """Three slices with the pixels of a file of pydicom's own."""
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(pathlib.Path(pydicom.__file__).parent / "data" / "test_files" / name)
        for number in range(3):
            dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 5 * number], list(made.AXIAL)
            pydicom.dcmwrite(folder / str(number), dataset)
    return str(folder)


@pytest.mark.parametrize("name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_bigendian", "MR_small_implicit", "MR_small_padded"])
def test_the_same_picture_stored_in_other_ways_is_the_same(tmp_path, name):
    expected = read_image(series_of("MR_small.dcm", tmp_path / "plain"))
    found = read_image(series_of(f"{name}.dcm", tmp_path / "stored"))
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.affine, expected.affine)


def test_bits_beside_a_value_are_not_part_of_it(tmp_path):
    """Old scanners kept drawings in the upper four of sixteen bits."""
    datasets = made.stack(EVEN, slope=1.0, intercept=0.0, world=lambda places: np.abs(made.linear(places)))
    plain = read_image(made.write_series(tmp_path / "plain", datasets))
    for dataset in datasets:
        stored = np.frombuffer(dataset.PixelData, "<u2") | 0x9000
        dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = stored.tobytes(), 12, 11, 0
    np.testing.assert_array_equal(read_image(made.write_series(tmp_path / "drawn", datasets)).array, plain.array)


def test_the_size_in_a_compressed_stream():
    picture, jpeg, other = PIL.Image.new("L", (30, 20)), io.BytesIO(), io.BytesIO()
    picture.save(jpeg, "JPEG")
    picture.save(other, "JPEG2000")
    assert coded_size(jpeg.getvalue()) == coded_size(other.getvalue()) == (30, 20)
    lossless = bytes.fromhex("ffd8 ffc3 000b 10 0040 0030 01 011100 ffc4 0004 0000 ffda 0008 0101 0001 0000 ff00")
    assert coded_size(lossless) == (48, 64)
    assert coded_size(lossless.replace(b"\xff\xc4", b"\xfe\xc4")) is None  # what ends a decoder's program is not handed to it
    assert coded_size(lossless[:20]) is coded_size(b"") is coded_size(b"\xff\xd8\xff") is None
