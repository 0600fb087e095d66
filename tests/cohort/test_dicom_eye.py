"""DICOM of eyes as pictures: every frame as bright as a viewer shows it, grey and colour, plain and compressed."""

import io

import eyes_on_disk as eyes
import numpy as np
import PIL.Image
import pytest
from picture_files import noise, picture_bytes
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage,
    OphthalmicPhotography16BitImageStorage,
    RLELossless,
)

from jaxstroke.cohort.readers import ReadError, read_image, read_pictures

FRAMES = np.stack([noise(seed, (14, 10)) for seed in range(4)])
COLOUR = noise(9, (1, 14, 10, 3))


def frames_of(tmp_path, content: bytes, part="scans") -> np.ndarray:
    """(n, h, w, c)"""
    (tmp_path / "eye.dcm").write_bytes(content)
    found = read_pictures(tmp_path / "eye.dcm", part)
    assert all(image.affine is None and not image.hounsfield and not image.notes for image in found)
    return np.stack([image.array for image in found])


def why_not(tmp_path, content: bytes, part="scans") -> str:
    with pytest.raises(ReadError) as caught:
        frames_of(tmp_path, content, part)
    assert not any(mark.decode() in str(caught.value) for mark in (eyes.NAME, eyes.NUMBER))
    assert "could not be read as a DICOM slice" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_b_scan_is_a_picture(tmp_path, kind):
    pixels = FRAMES.astype(kind) * (1 if kind == np.uint8 else 257)
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(pixels))[..., 0], pixels)
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(pixels, ImplicitVRLittleEndian))[..., 0], pixels)
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(pixels[:1]))[..., 0], pixels[:1])
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(pixels, RLELossless))[..., 0], pixels)


def test_big_endian_frames_of_two_bytes(tmp_path):
    pixels = FRAMES.astype(np.uint16) * 257
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(pixels, ExplicitVRBigEndian))[..., 0], pixels)


@pytest.mark.parametrize("stored", [10, 12, 16])
def test_the_bits_that_are_stored_say_what_is_white(tmp_path, stored):
    top = 2**stored - 1
    pixels = np.array([[[1, top // 2, top]] * 4], np.uint16)
    content = eyes.eye_bytes(pixels, stored=stored, kind=OphthalmicPhotography16BitImageStorage)
    np.testing.assert_allclose(frames_of(tmp_path, content)[0, 0, :, 0], np.array([1, top // 2, top]) * (65535 / top), atol=0.5)
    if stored < 16:
        overlaid = eyes.eye_bytes(pixels | np.uint16(1 << 15), stored=stored, kind=OphthalmicPhotography16BitImageStorage)
        np.testing.assert_array_equal(frames_of(tmp_path, overlaid), frames_of(tmp_path, content))


def test_white_may_be_the_smallest_value(tmp_path):
    found = frames_of(tmp_path, eyes.eye_bytes(FRAMES, colours="MONOCHROME1"))
    np.testing.assert_array_equal(found[..., 0], 255 - FRAMES)


def test_a_fundus_photograph_keeps_its_colours(tmp_path):
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(COLOUR, kind=eyes.FUNDUS)), COLOUR)
    planes = np.ascontiguousarray(COLOUR.transpose(0, 3, 1, 2)).reshape(COLOUR.shape)
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(planes, kind=eyes.FUNDUS, PlanarConfiguration=1)), COLOUR)
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(COLOUR, RLELossless, kind=eyes.FUNDUS)), COLOUR)
    several = noise(3, (3, 14, 10, 3))
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(several, kind=eyes.FUNDUS)), several)


def smooth(seed: int, shape) -> np.ndarray:
    """A picture that JPEG keeps."""
    low = np.random.default_rng(seed).integers(20, 235, (2, 2, *shape[2:]), np.uint8)
    big = [PIL.Image.fromarray(low[..., channel]).resize(shape[1::-1], PIL.Image.Resampling.BICUBIC) for channel in range(low.shape[2])]
    return np.stack([np.asarray(one) for one in big], -1)


def test_jpeg_in_colour_is_what_pillow_shows(tmp_path):
    shown = smooth(0, (24, 32, 3))
    stream = picture_bytes(shown, "JPEG", quality=95)
    content = eyes.compressed_eye(shown[None], [stream], JPEGBaseline8Bit, kind=eyes.FUNDUS, colours="YBR_FULL_422")
    found = frames_of(tmp_path, content)
    np.testing.assert_allclose(found[0].astype(int), np.asarray(PIL.Image.open(io.BytesIO(stream))), atol=3)
    np.testing.assert_allclose(found[0].astype(int), shown, atol=8)


def test_grey_jpeg_frames(tmp_path):
    shown = np.stack([smooth(seed, (24, 32, 1))[..., 0] for seed in range(3)])
    content = eyes.compressed_eye(shown, [picture_bytes(one, "JPEG", quality=95) for one in shown], JPEGBaseline8Bit)
    np.testing.assert_allclose(frames_of(tmp_path, content)[..., 0].astype(int), shown, atol=4)


@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_2000_frames_are_exact(tmp_path, colour):
    pixels = noise(1, (2, 24, 32, 3)) if colour else noise(1, (2, 24, 32))
    streams = [picture_bytes(one, "JPEG2000", irreversible=False, no_jp2=True) for one in pixels]
    options = {"kind": eyes.FUNDUS, "colours": "YBR_RCT"} if colour else {}
    found = frames_of(tmp_path, eyes.compressed_eye(pixels, streams, JPEG2000Lossless, **options))
    np.testing.assert_array_equal(found if colour else found[..., 0], pixels)


def test_a_stream_that_claims_another_size_is_not_unpacked(tmp_path):
    small = smooth(0, (24, 32, 3))
    large = picture_bytes(np.zeros((2400, 3200, 3), np.uint8), "JPEG")
    content = eyes.compressed_eye(small[None], [large], JPEGBaseline8Bit, kind=eyes.FUNDUS, colours="YBR_FULL_422")
    assert "another size than its header says" in why_not(tmp_path, content)
    grey = picture_bytes(small[..., 0], "JPEG")
    content = eyes.compressed_eye(small[None], [grey], JPEGBaseline8Bit, kind=eyes.FUNDUS, colours="YBR_FULL_422")
    assert "another size than its header says" in why_not(tmp_path, content)


def test_copies_of_eyes_are_told_by_their_modality(tmp_path):
    kind = MultiFrameGrayscaleByteSecondaryCaptureImageStorage
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(FRAMES, kind=kind))[..., 0], FRAMES)
    assert "secondary captures" in why_not(tmp_path, eyes.eye_bytes(FRAMES, kind=kind, Modality="CT"))


def test_infrared_is_not_among_b_scans(tmp_path):
    assert "B-scans and no infrared" in why_not(tmp_path, eyes.eye_bytes(FRAMES), "infrared")
    np.testing.assert_array_equal(frames_of(tmp_path, eyes.eye_bytes(FRAMES[:1], kind=eyes.FUNDUS), "infrared")[..., 0], FRAMES[:1])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"PixelRepresentation": 1}, "signed"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette"),
        ({"SamplesPerPixel": 4}, "colours"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "8 or 16"),
        ({"BitsStored": 40}, "impossible place"),
        ({"NumberOfFrames": 5}, "truncated"),
        ({"NumberOfFrames": -1}, "number of frames"),
        ({"NumberOfFrames": 10**9}, "number of frames"),
        ({"Rows": 0}, "size"),
        ({"Rows": 60_000, "Columns": 60_000}, "60000 x 60000"),
        ({"Rows": 15}, "truncated"),
        ({"Rows": None}, "no size"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tmp_path, fields, words):
    dataset = eyes.eye_dataset(FRAMES)
    for name, value in fields.items():
        delattr(dataset, name) if value is None else setattr(dataset, name, value)
    assert words in why_not(tmp_path, eyes.made.content_of_dataset(dataset))


def test_damaged_files_and_analyses_are_refused(tmp_path):
    content = eyes.eye_bytes(FRAMES)
    for length in (140, 300, len(content) - 300, len(content) - 1):
        assert len(why_not(tmp_path, content[:length])) > 10
    assert "zero everywhere" in why_not(tmp_path, eyes.eye_bytes(0 * FRAMES))
    kind = OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage
    assert "objects without an image" in why_not(tmp_path, eyes.eye_bytes(FRAMES, kind=kind, Modality="OPT"))


def test_b_scans_are_no_volume(tmp_path):
    """They have no place in mm that is read here: as before, a series of them is refused."""
    (tmp_path / "eye.dcm").write_bytes(eyes.eye_bytes(FRAMES))
    with pytest.raises(ReadError, match="without a position"):
        read_image(tmp_path / "eye.dcm")
