"""The rule `within`: dates to labels, what is not known, and what cannot be."""

import pytest
from ml_collections import ConfigDict

from jaxstroke import config as settings
from jaxstroke.cohort import labels
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError

RULE = ("stroke", "within", ("scan", "seen", 365))
HEADER = "patient_id,scan,stroke,seen,mrs,age"
CASES = (  # scan, stroke, seen, label, (days, event) or None
    ("2020-01-01", "2020-06-01", "2022-01-01", 1.0, (152.0, True)),
    ("2020-01-01", "2020-12-31", "", 1.0, (365.0, True)),  # on the last day of the horizon
    ("2020-01-01", "2021-01-01", "", 0.0, (366.0, True)),  # the day after it
    ("2020-01-01", "", "2020-12-31", 0.0, (365.0, False)),  # followed to the horizon
    ("2020-01-01", "", "2020-12-30", None, (364.0, False)),  # one day less: censored
    ("2020-01-01", "", "2020-01-01", None, (0.0, False)),
    ("2020-01-01T23:00", "2020-01-02 01:00:00", "", 1.0, (1.0, True)),  # calendar days
    ("2020-01-01", "2020-01-01", "2021-01-01", None, None),  # on the day of the scan: not at risk
    ("2020-01-01", "2019-05-31", "", None, None),
    ("2020-01-01", "", "", None, None),
    ("", "2020-01-01", "2020-01-01", None, None),
)


@pytest.fixture
def config(tmp_path):
    config = settings.base()
    config.cohort.table = str(tmp_path / "dates.csv")
    config.cohort.outcomes = ConfigDict({"stroke": RULE, "poor": ("mrs", ">", 2)})
    config.clinical.numeric = ("age",)
    return config


def cohort_of(config, rows, labelled=True, header=HEADER):
    with open(config.cohort.table, "w") as file:
        file.write("\n".join((header, *rows)) + "\n")
    return read_cohort(config, "", labelled)


def dated(scan, stroke, seen, patient="p0", mrs="3"):
    return f"{patient},{scan},{stroke},{seen},{mrs},70"


def refuses(config, rows, *words):
    with pytest.raises(InputError) as caught:
        cohort_of(config, rows)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


def test_every_case_has_its_label_and_its_time(config):
    cohort = cohort_of(config, [dated(*case[:3], patient=f"p{place}") for place, case in enumerate(CASES)])
    assert [unit.labels["stroke"] for unit in cohort.units] == [case[3] for case in CASES]
    assert [unit.follow_up.get("stroke") for unit in cohort.units] == [case[4] for case in CASES]
    assert all(("stroke" in unit.unlabelled) == (unit.labels["stroke"] is None) for unit in cohort.units)
    assert {unit.labels["poor"] for unit in cohort.units} == {1.0}
    assert dict(cohort.notes) == {
        "stroke: followed for less than 365 days without stroke": 2, "stroke: stroke on or before scan": 2,
        "stroke: neither stroke nor seen": 1, "stroke: scan is missing": 1,
    }  # fmt: skip


def test_numbers_of_days_do_as_dates_do(config):
    rows = [dated("10", "375.0", "900"), dated("10", "375.5", "", "p1"), dated("0.1", "", "365.1", "p2"), dated("-5", "", "300", "p3")]
    cohort = cohort_of(config, rows)
    assert [unit.labels["stroke"] for unit in cohort.units] == [1.0, 0.0, 0.0, None]
    assert cohort.units[2].follow_up["stroke"] == (365.0, False)  # 365.1 - 0.1 is a little less in floating point


def test_who_is_left_out_and_why_is_in_the_flow(config):
    rows = [dated(*case[:3], patient=f"p{place}", mrs="") for place, case in enumerate(CASES)]
    left = dict(cohort_of(config, rows).flow)
    assert left["used"] == 4 + 1 and left["stroke: followed for less than 365 days without stroke"] == -2
    assert left["stroke: stroke on or before scan"] == -2 and "without outcome" not in left


def test_with_weights_the_censored_stay_and_the_others_go(config):
    """Weights are fitted on the times of those who were lost, also where they have no other outcome."""
    config.evaluate.censoring = "weights"
    config.cohort.complete = ("stroke",)
    cohort = cohort_of(config, [dated(*case[:3], patient=f"p{place}", mrs="") for place, case in enumerate(CASES)])
    assert [unit.follow_up["stroke"] for unit in cohort.units] == [case[4] for case in CASES if case[4]]


def test_the_digest_of_a_cohort_holds_its_times(config):
    first, second = (cohort_of(config, [dated("2020-01-01", "", seen)]).digest for seen in ("2020-03-01", "2020-03-02"))
    assert first != second


def test_dates_that_cannot_be_are_refused_by_patient_and_column_without_the_value(config):
    good = dated("2020-01-01", "2020-06-01", "2022-01-01")
    for row, words in (
        (dated("2020-01-01", "", "2019-12-31", "p1"), ("'p1'", "column 'seen' is before column 'scan'")),
        (dated("2020-01-01", "2020-06-01", "2020-05-31", "p1"), ("'p1'", "column 'seen' is before column 'stroke'")),
        (dated("2020-01-01", "31.05.2021", "", "p1"), ("'p1'", "column 'stroke'", "2021-05-31")),
        (dated("2020-01-01", "44000", "", "p1"), ("'p1'", "column 'stroke' is a number", "dates alone")),
        (dated("20200101", "", "", "p1"), ("'p1'", "column 'scan' is neither a date")),
    ):
        said = refuses(config, [good, row], *words)
        assert not any(cell and cell in said for cell in row.split(",")[1:4])


def test_one_date_among_numbers_is_refused(config):
    refuses(config, [dated("1", "2", "3"), dated("1", "2", "2020-01-01", "p1")], "'p1'", "column 'seen' is a date")


def test_a_table_to_be_predicted_needs_no_dates_and_survives_wrong_ones(config):
    config.cohort.outcomes = ConfigDict({"stroke": RULE})
    assert cohort_of(config, ["p0,70"], labelled=False, header="patient_id,age").units[0].labels == {"stroke": None}
    rows = [dated("2020-01-01", "", "2019-12-31"), dated("x", "2020-01-01", "", "p1"), dated("2020-01-01", "2020-02-01", "", "p2")]
    assert [unit.labels["stroke"] for unit in cohort_of(config, rows, labelled=False).units] == [None, None, 1.0]


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (("stroke", "within", 365), "needs (column with the start"),
        (("stroke", "within", ("scan", "seen")), "horizon in days"),
        (("stroke", "within", ("scan", "seen", 0)), "horizon in days"),
        (("stroke", "within", ("scan", "seen", "365")), "horizon in days"),
        (("stroke", "within", ("scan", "", 365)), "end of follow-up"),
        (("stroke", "within", ("scan", "stroke", 365)), "three columns"),
        (("stroke", "withn", ("scan", "seen", 365)), "within"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_key(rule, word):
    with pytest.raises(InputError, match="config.cohort.outcomes.stroke") as caught:
        labels.check_rule("stroke", rule)
    assert word in str(caught.value)


def test_columns_of_the_future_are_no_inputs_and_absent_ones_are_named(config):
    row = dated("2020-01-01", "2020-06-01", "2022-01-01")
    config.clinical.numeric = ("age", "seen")
    refuses(config, [row], "'seen'", "known only after the start of 'stroke'")
    config.clinical.numeric = ("age",)
    config.cohort.ranges = ConfigDict({"scan": (0, 10)})
    refuses(config, [row], "config.cohort.ranges.scan")
    config.cohort.outcomes = ConfigDict({"stroke": ("stroke", "within", ("scan", "last_seen", 365))})
    refuses(config, [row], "no column 'last_seen'", "config.cohort.outcomes.stroke")
