"""Pictures are what a viewer shows; what is none, too large or damaged is refused with a reason."""

import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import slices_on_disk as made
from picture_files import noise, picture_bytes

from jaxstroke.cohort.readers import NoPicture, ReadError, read_image, read_pictures

COLOUR = np.arange(1, 61, dtype=np.uint8).reshape(4, 5, 3)
HALF_SEEN = np.dstack([COLOUR, np.tile(np.array([0, 51, 102, 204, 255], np.uint8), (4, 1))])


def as_shown(tmp_path, content: bytes, name="a.png") -> np.ndarray:
    (tmp_path / name).write_bytes(content)
    (image,) = read_pictures(tmp_path / name)
    assert image.affine is None and not image.hounsfield
    return image.array


def why_not(tmp_path, content: bytes, name="a.jpg", kind=ReadError) -> str:
    with pytest.raises(kind) as caught:
        as_shown(tmp_path, content, name)
    assert str(tmp_path) not in str(caught.value) and type(caught.value) is kind
    return str(caught.value)


def test_grey_and_colour_are_read_as_they_are(tmp_path):
    np.testing.assert_array_equal(as_shown(tmp_path, picture_bytes(COLOUR)), COLOUR)
    np.testing.assert_array_equal(as_shown(tmp_path, picture_bytes(COLOUR[..., 0])), COLOUR[..., :1])
    np.testing.assert_array_equal(as_shown(tmp_path, picture_bytes(COLOUR[..., 0] > 30))[..., 0], np.where(COLOUR[..., 0] > 30, 255, 0))
    palette = PIL.Image.fromarray(COLOUR).convert("P", palette=PIL.Image.Palette.ADAPTIVE, colors=20)
    np.testing.assert_array_equal(as_shown(tmp_path, picture_bytes(palette)), np.asarray(palette.convert("RGB")))
    assert read_image(tmp_path / "a.png").array.shape == (4, 5, 3)


def test_what_is_transparent_lies_over_black(tmp_path):
    opacity = HALF_SEEN[..., 3:] / 255
    found = as_shown(tmp_path, picture_bytes(HALF_SEEN))
    np.testing.assert_allclose(found, COLOUR * opacity, atol=0.5)
    grey = as_shown(tmp_path, picture_bytes(PIL.Image.fromarray(HALF_SEEN[..., [0, 3]])))
    np.testing.assert_allclose(grey[..., 0], COLOUR[..., 0] * opacity[..., 0], atol=0.5)
    palette = PIL.Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.putdata([0, 1, 2])
    assert as_shown(tmp_path, picture_bytes(palette, transparency=1)).tolist() == [[[10, 20, 30], [0, 0, 0], [70, 80, 90]]]
    keyed = picture_bytes(COLOUR, transparency=(1, 2, 3))
    assert as_shown(tmp_path, keyed)[0, 0].tolist() == [0, 0, 0] and as_shown(tmp_path, keyed)[0, 1].tolist() == [4, 5, 6]


def test_grey_of_two_bytes_keeps_them(tmp_path):
    wide = (COLOUR[..., 0].astype(np.uint16)) * 1000
    found = as_shown(tmp_path, picture_bytes(wide))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], wide)


def test_inks_become_light(tmp_path):
    """A CMYK JPG as programs for print write it."""
    inks = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    found = as_shown(tmp_path, picture_bytes(inks, "JPEG", quality=95), "a.jpg")
    assert found.shape == (16, 16, 3) and found[8, 8, 0] > 240 and found[8, 8, 1:].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, orientation):
    upright = np.kron(np.array([[40, 90, 140], [190, 240, 10]], np.uint8), np.ones((8, 8), np.uint8))
    undo = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.T}
    undo |= {6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a.T, 2), 8: lambda a: np.rot90(a, -1)}
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = picture_bytes(np.ascontiguousarray(undo[orientation](upright)), "JPEG", exif=exif, quality=95)
    np.testing.assert_allclose(as_shown(tmp_path, content, "a.jpg")[..., 0], upright, atol=4)


def test_a_picture_is_known_by_its_first_bytes(tmp_path):
    content = picture_bytes(COLOUR)
    for name in ("a.jpg", "a.tif", "a.dcm", "a"):
        np.testing.assert_array_equal(as_shown(tmp_path, content, name), COLOUR)


def test_what_is_wrong_with_a_picture_is_said(tmp_path):
    jpg = picture_bytes(noise(0, (64, 64)), "JPEG")
    assert "truncated" in why_not(tmp_path, jpg[: len(jpg) // 2])
    assert "truncated" in why_not(tmp_path, picture_bytes(noise(0, (64, 64)))[:2000], "a.png")
    assert "not a PNG" in why_not(tmp_path, b"hello") and "0 bytes" in why_not(tmp_path, b"", "a.png")
    assert "not a PNG" in why_not(tmp_path, picture_bytes(COLOUR, "GIF"), "a.png")
    assert "zero everywhere" in why_not(tmp_path, picture_bytes(np.zeros((4, 4), np.uint8)))
    for name, content in (("notes.txt", b"hello"), ("Thumbs.db", b"\xd0\xcf\x11\xe0"), ("empty", b"")):
        assert "not a PNG" in why_not(tmp_path, content, name, NoPicture)
    with pytest.raises(ReadError, match="does not exist"):
        read_pictures(tmp_path / "none.jpg")
    with pytest.raises(ReadError, match="folder holds no files"):
        read_pictures(tmp_path)


@pytest.mark.parametrize("size", [(12_000, 12_000), (65_535, 65_535)])
def test_a_bomb_is_not_unpacked(tmp_path, size):
    """A small file that claims more pixels than are read."""
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b""))
    packed = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    reason = why_not(tmp_path, b"\x89PNG\r\n\x1a\n" + b"".join(packed), "a.png")
    assert "pixels" in reason and "100,000,000" in reason


@pytest.mark.parametrize("place", [True, False])
def test_a_single_slice_is_a_picture_in_hounsfield_units(tmp_path, place):
    gone = {} if place else {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    (tmp_path / "a.dcm").write_bytes(made.content_of_dataset(made.slice_at((0, 0, 8.0), **gone)))
    (image,) = read_pictures(tmp_path / "a.dcm")
    expected = made.linear(made.places((0, 0, 8.0), made.AXIAL))
    assert image.hounsfield and image.affine is None
    np.testing.assert_allclose(image.array[..., 0], np.maximum(expected, -1024), atol=1.0)


def test_a_single_frame_with_its_own_scale_is_a_picture(tmp_path):
    (tmp_path / "a.dcm").write_bytes(made.content_of_dataset(made.enhanced([(0, 0, 8.0)], scales=[(0.5, -1000.0)])))
    (image,) = read_pictures(tmp_path / "a.dcm")
    np.testing.assert_allclose(image.array[..., 0], made.linear(made.places((0, 0, 8.0), made.AXIAL)), atol=0.3)


def test_what_is_no_slice_in_hounsfield_units_is_refused(tmp_path):
    def reason(dataset):
        return why_not(tmp_path, made.content_of_dataset(dataset), "a.dcm")

    assert "not HU" in reason(made.slice_at((0, 0, 0), Modality="MR"))
    assert "localisers" in reason(made.slice_at((0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    assert "several slices" in reason(made.enhanced([(0, 0, 0), (0, 0, 4)]))
    content = made.content_of_dataset(made.slice_at((0, 0, 0)))
    assert "truncated" in why_not(tmp_path, content[:-20], "a.dcm") and "not a PNG" in why_not(tmp_path, b"hello", "a.dcm")
