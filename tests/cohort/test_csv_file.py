"""CSV files as people have them."""

import pytest

from jaxstroke.cohort.csv_file import read_csv
from jaxstroke.cohort.labels import number
from jaxstroke.errors import InputError


def frame_of(tmp_path, content: bytes):
    (tmp_path / "t.csv").write_bytes(content)
    return read_csv(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "content",
    [
        "id,näme\n007,é\n".encode(),
        "\ufeffid,näme\r\n007,é\r\n\r\n".encode(),
        'id;näme\n007;"é"\n'.encode(),
        "id\tnäme\n007\té".encode(),
        "id, näme,,\n 007 , é,,\n,,,\n".encode(),
        "id;näme\r007;é\r".encode(),
        "id;näme\n007;é\n".encode("utf-16"),
    ],
)
def test_variants_read_alike(tmp_path, content):
    frame, _ = frame_of(tmp_path, content)
    assert list(frame.columns) == ["id", "näme"]
    assert frame.to_dict("records") == [{"id": "007", "näme": "é"}]


def test_quotes_keep_delimiters_and_line_ends(tmp_path):
    frame, _ = frame_of(tmp_path, b'id,report\n1,"old, small\nlesion ""left"""\n')
    assert frame["report"][0] == 'old, small\nlesion "left"'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"id,age\n", "no patients"),
        (b"id,age\n1,2\n1,2,3\n", "line 3"),
        (b"id,age\n1\n", "line 2"),
        (b"id,id\n1,2\n", "'id' twice"),
        (b"id,,age\n1,2,3\n", "column 2 has no name"),
        (b"id,age\n\xe9,2\n", "UTF-8"),
        (b"id,a\x00ge\n1,2\n", "binary"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b'id,age\n1,"2\n', "quote"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        frame_of(tmp_path, content)


def test_absent_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(InputError, match="folder"):
        read_csv(tmp_path)


def test_numbers():
    assert [number(cell) for cell in ("1", "-2.5", ".5", "1e3", "22,8", "1 2", "nan", "")] == [1, -2.5, 0.5, 1000, None, None, None, None]
    assert number("22,84", decimal_comma=True) == 22.84
    assert number("1.234,5", decimal_comma=True) is None
