"""The same table in every dialect that programs save reads to the same cohort; a dialect that says less than that is refused by name."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstroke.cohort import table
from jaxstroke.errors import InputError

HEADER = ("patient_id", "dwi", "adc", "flair", "tmax", "age", "nihss", "sex", "mrs", "report")
WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30).map(str.strip)
IDS = WORDS.filter(lambda word: word not in ("", "\ufeff") and not word.startswith("\ufeff"))
NUMBERS = st.one_of(st.just(""), st.integers(0, 42).map(str), st.decimals(0, 42, places=2).map(str))
ROW = st.tuples(IDS, NUMBERS, NUMBERS, st.sampled_from(("F", "M", "")), st.integers(0, 6).map(str), WORDS)
TABLES = st.lists(ROW, min_size=1, max_size=5, unique_by=lambda row: row[0])
HAND = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a program saves a table. empty: unnamed columns at the end; blank: empty lines before, between and after."""

    delimiter: str
    end: str
    encoding: str
    quotes: bool
    decimal_comma: bool
    named: bool
    empty: int
    blank: bool


DIALECTS = st.builds(
    Dialect,
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(("\n", "\r\n", "\r")),
    encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16")),
    quotes=st.booleans(),
    decimal_comma=st.booleans(),
    named=st.booleans(),
    empty=st.integers(0, 2),
    blank=st.booleans(),
)


def written(rows, dialect: Dialect) -> bytes:
    """The table's bytes. A decimal comma only where ';' tells it from the delimiter."""

    def cell(text: str) -> str:
        needed = dialect.quotes or any(mark in text for mark in (dialect.delimiter, '"', "\n", "\r"))
        return '"' + text.replace('"', '""') + '"' if needed else text

    def number(text: str) -> str:
        return text.replace(".", ",") if dialect.decimal_comma and dialect.delimiter == ";" else text

    lines = [f"sep={dialect.delimiter}"] if dialect.named else []
    lines += [""] * dialect.blank if not dialect.named else []
    for row in (HEADER, *((id_, "", "", "", "", number(age), number(nihss), *more) for id_, age, nihss, *more in rows)):
        lines.append(dialect.delimiter.join([*map(cell, row), *[""] * dialect.empty]))
        lines += [""] * dialect.blank
    return dialect.end.join([*lines, ""]).encode(dialect.encoding)


def units_of(config_file, folder, content: bytes):
    (folder / "table.csv").write_bytes(content)
    config = config_file.get_config("own")
    with config.unlocked():
        config.cohort.table, config.cohort.text = str(folder / "table.csv"), "report"
    return table.read_cohort(config, folder)


def check_dialect(config_file, folder, rows, dialect):
    cohort = units_of(config_file, folder, written(rows, dialect))
    missing = {"", *config_file.get_config("own").cohort.missing}
    assert [unit.patient for unit in cohort.units] == [row[0] for row in rows]
    for unit, (_, age, nihss, sex, mrs, report) in zip(cohort.units, rows, strict=True):
        numbers = {name: float(text) if text else None for name, text in (("age", age), ("nihss", nihss))}
        assert unit.clinical == numbers | {"sex": sex or None}
        assert unit.labels == {"poor": float(int(mrs) > 2), "mrs": float(mrs)}
        assert unit.text == ("" if report in missing else report)
    plain = Dialect(",", "\n", "utf-8", True, False, False, 0, False)
    assert cohort.digest == units_of(config_file, folder, written(rows, plain)).digest


@settings(HAND, max_examples=60)
@given(rows=TABLES, dialect=DIALECTS)
def test_every_dialect_reads_alike(config_file, tmp_path, rows, dialect):
    check_dialect(config_file, tmp_path, rows, dialect)


@pytest.mark.slow
@settings(HAND, max_examples=1000)
@given(rows=TABLES, dialect=DIALECTS)
def test_every_dialect_reads_alike_in_a_thousand_tables(config_file, tmp_path, rows, dialect):
    check_dialect(config_file, tmp_path, rows, dialect)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16-be", "utf-32", "mac-roman"])
def test_an_encoding_that_a_file_does_not_tell_is_refused_with_the_cure(config_file, tmp_path, encoding):
    rows = [("p1", "50", "3", "F", "1", "Größe"), ("p2", "60", "4", "M", "4", "naïve")]
    content = written(rows, Dialect(";", "\r\n", encoding, False, True, False, 0, False))
    with pytest.raises(InputError, match=r"table\.csv.*export it as 'CSV UTF-8'"):
        units_of(config_file, tmp_path, content)
