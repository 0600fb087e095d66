"""Reports given in the table: in a cell, of several lines or of one, or in a .txt file that the cell names."""

import os

import pytest
from ml_collections import ConfigDict

from jaxstroke import config as settings
from jaxstroke.cohort import report_cells
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError


@pytest.fixture
def config(tmp_path):
    config = settings.base()
    config.cohort.table, config.cohort.text, config.text.source = str(tmp_path / "data" / "my.csv"), "report", "given"
    config.cohort.outcomes = ConfigDict({"poor": ("mrs", ">", 2)})
    (tmp_path / "data").mkdir()
    return config


def texts(config, tmp_path, *cells):
    """What the units say, of a table with these reports as it is written: a cell in quotes may have several lines."""
    lines = [f"p{number},{cell},{number % 2 * 6}" for number, cell in enumerate(cells)]
    (tmp_path / "data" / "my.csv").write_text("\n".join(["patient_id,report,mrs", *lines]) + "\n", encoding="utf-8")
    return [unit.text for unit in cohort_of(config, tmp_path).units]


def cohort_of(config, tmp_path):
    return read_cohort(config, tmp_path / "run")


def refused(config, tmp_path, cell, *words):
    with pytest.raises(InputError) as caught:
        texts(config, tmp_path, cell)
    for word in ("patient 'p0'", "column 'report'", *words):
        assert word in str(caught.value)


def test_a_cell_is_the_report_or_the_path_of_one(config, tmp_path):
    (tmp_path / "data" / "reports").mkdir()
    (tmp_path / "data" / "reports" / "one.txt").write_text("Side: left.\nSize: große Läsion.\n\n", encoding="utf-8")
    (tmp_path / "elsewhere.TXT").write_bytes(b"\xef\xbb\xbfSide: right.\r\n")
    cells = ("reports/one.txt", str(tmp_path / "elsewhere.TXT"), '"Side: both, mainly ""left"".\nSize: small."', "n/a", "", "Side: none.")
    assert texts(config, tmp_path, *cells) == [
        "Side: left.\nSize: große Läsion.", "Side: right.", 'Side: both, mainly "left".\nSize: small.', "", "", "Side: none.",
    ]  # fmt: skip


def test_text_of_several_lines_is_no_path(config, tmp_path):
    assert texts(config, tmp_path, '"Side: left.\nSee also appendix.txt"') == ["Side: left.\nSee also appendix.txt"]
    assert not report_cells.is_file("x" * 5000 + ".txt")


@pytest.mark.parametrize("source", ["none", "template"])
def test_files_are_read_only_where_reports_are_given(config, tmp_path, source):
    config.text.source = source
    assert texts(config, tmp_path, "not/there.txt", "a report") == ["not/there.txt", "a report"]


def test_the_digest_holds_what_a_file_says(config, tmp_path):
    file, digests = tmp_path / "data" / "one.txt", []
    for content in ("Side: left.", "Side: right.", "Side: left.\n"):
        file.write_text(content)
        texts(config, tmp_path, "one.txt")
        digests.append(cohort_of(config, tmp_path).digest)
    assert digests[0] == digests[2] != digests[1]
    texts(config, tmp_path, "Side: left.")
    assert cohort_of(config, tmp_path).digest == digests[0]  # wherever the report stands


def test_a_file_that_cannot_be_used_stops_with_patient_column_and_file(config, tmp_path):
    folder = tmp_path / "data"
    refused(config, tmp_path, "not/there.txt", os.path.join(str(folder), "not/there.txt"), "does not exist", "leave the cell empty")
    for name, content, word in (
        ("latin.txt", "große".encode("latin-1"), "UTF-8"), ("empty.txt", b"", "empty"), ("blank.txt", b" \n", "empty"),
        ("binary.txt", b"a\0b", "binary"), ("long.txt", b"x" * (report_cells.LARGEST + 1), "100 kB"),
    ):  # fmt: skip
        (folder / name).write_bytes(content)
        refused(config, tmp_path, name, name, word)
    (folder / "folder.txt").mkdir()
    refused(config, tmp_path, "folder.txt", "folder, not a file")
    (folder / "long.txt").write_bytes(b"x" * report_cells.LARGEST)
    assert texts(config, tmp_path, "long.txt") == ["x" * report_cells.LARGEST]


def test_a_report_of_many_lines_survives_every_delimiter(config, tmp_path):
    (tmp_path / "data" / "my.csv").write_bytes(
        'patient_id;report;mrs\r\np0;"Side: left.\r\n\r\nSize: 2,5 ml; small.";3\r\np1;;1\r\n'.encode("utf-16")
    )
    first, second = cohort_of(config, tmp_path).units
    assert first.text.split() == ["Side:", "left.", "Size:", "2,5", "ml;", "small."] and second.text == ""
