"""Rows on the patients: counts in words, and nothing of fewer than five of them."""

import pytest

from jaxstroke.evaluation import patients

COHORT = {
    "flow": [["rows in the table", 80], ["without outcome", -20], ["used", 60]],
    "missing": {"bmi": 6, "age": 0, "dwi": 15},
    "n": 60,
    "characteristics": [
        {"name": "age", "numbers": {"all": [60, 61.0, 70.0, 80.0], "without": [40, 60.0, 69.0, 78.0], "with": [20, 65.0, 72.0, 81.0]}},
        {"name": "bmi", "numbers": {"all": [54, 21.25, 25.0, 30.12], "without": [50, 21.0, 25.0, 30.0], "with": [4, 22.0, 25.5, 29.0]}},
        {
            "name": "sex",
            "levels": {"F": {"all": 33, "without": 22, "with": 11}, "M": {"all": 27, "without": 24, "with": 3}},
            "known": {"all": 60, "without": 46, "with": 14},
        },
    ],
}


def test_flow_ends_with_the_outcome():
    content = {"models": {"network": {"poor": {"n": 60, "events": 20}}}, "tasks": {"poor": {}}}
    found = patients.flow(COHORT, content, "poor")
    assert found["steps"] == [("rows in the table", 80, False), ("without outcome", 20, True), ("used", 60, False)]
    assert found["ends"] == [("with the outcome", 20), ("without it", 40)]


def test_characteristics_have_the_digits_of_their_row_and_hide_the_few():
    found = patients.characteristics(COHORT)
    assert found["groups"] == ["all", "without", "with"] and not found["long"]
    rows = {(row["name"], row["level"]): row["cells"] for row in found["rows"]}
    assert rows["age", ""] == [("70", "61 to 80"), ("69", "60 to 78"), ("72", "65 to 81")]
    assert rows["bmi", ""] == [("25.0", "21.2 to 30.1"), ("25.0", "21.0 to 30.0"), ("–", "")]
    assert list(rows) == [("age", ""), ("bmi", ""), ("sex", "M")]  # of two levels one says it all
    assert rows["sex", "M"] == [("27", "45.0 %"), ("24", "52.2 %"), ("fewer than 5", "")]


@pytest.mark.parametrize(
    ("values", "digits"), [([61.0, 70.0, 80.0], 0), ([0.02, 0.034, 0.05], 4), ([1.25, 2.5, 9.0], 2), ([99.5, 120.0, 130.0], 0)]
)
def test_three_digits_that_count(values, digits):
    assert patients.digits_of([[10, *values]]) == digits


def test_missing_values_sorted_and_the_complete_named():
    found = patients.missing(COHORT)
    assert [(row["name"], row["n"], row["percent"]) for row in found["rows"]] == [("dwi", 15, "25.0"), ("bmi", 6, "10.0")]
    assert found["complete"] == ["age"] and patients.missing({}) == {"rows": [], "complete": []}


def line(column, group, n, auc):
    value = {"value": auc, "ci95": None if auc is None else [auc - 0.1, auc + 0.1]}
    return {
        "task": "poor", "column": column, "group": group, "n": n, "patients": n, "events": n // 2, "auc": value, "observed": 0.5,
        "predicted": 0.4,
    }  # fmt: skip


def test_subgroups_by_column_and_nothing_of_too_few():
    content = {"subgroups": [line("", "all patients", 60, 0.8), line("sex", "F", 56, 0.7), line("sex", "not known", 4, None)]}
    content["interactions"] = []
    found = patients.subgroups(content, "poor")
    assert [(column, [row["group"] for row in rows]) for column, rows in found["columns"]] == [
        ("", ["all patients"]),
        ("sex", ["F", "not known"]),
    ]
    few = found["columns"][1][1][1]
    assert few["patients"] == "fewer than 5" and few["auc"] == "too few" and few["events"] == few["observed"] == few["predicted"] == "–"
    assert found["columns"][1][1][0]["observed"] == "50.0" and found["binary"]
    assert found["tests"] == [] and patients.subgroups({"subgroups": []}, "poor")["columns"] == []


def test_the_words_of_an_interaction_claim_no_equality():
    tested = {"groups": ["F", "M"], "chi2": 5.2, "df": 1, "p": 0.0226, "p_holm": 0.0452, "untested": ""}
    assert patients.interaction(tested) == (
        "the AUCs of 2 groups differ by more than chance explains (chi-square 5.20, 1 degree of freedom, p 0.023; Holm p 0.045)"
    )
    assert "could be chance" in patients.interaction(tested | {"p_holm": 0.06})
    assert patients.interaction(tested | {"untested": "patients in two groups"}) == "not tested: patients in two groups"
