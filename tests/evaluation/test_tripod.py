"""The checklist is whole, claims only what the files hold, and leaves the rest blank."""

import pytest

from jaxstroke.evaluation import metrics, tripod

RUN = {
    "config": {
        "cohort": {"table": "my.csv", "group": "centre", "ranges": {"age": [0, 120], "mrs": [0, 6]}, "outcomes": {"poor": ["mrs", ">", 2]}},
        "images": {"dwi": {}}, "clinical": {"numeric": ["age"], "categorical": {"sex": []}},
        "split": {"kind": "kfold", "folds": 5, "repeats": 1, "seed": 0, "inner_share": 0.2},
        "model": {"name": "mri_cnn_lstm", "images": [], "clinical": [], "fusion": "poe"}, "train": {"imbalance": "weights"},
    },
    "versions": {"jaxstroke": "0.1.0"},
}  # fmt: skip
COHORT = {"flow": [["rows in the table", 80], ["without outcome", -20], ["used", 60]], "characteristics": [{}]}


@pytest.fixture
def content(simulated):
    halves = {"centre": {"A": {f"{n:03d}" for n in range(30)}, "B": {f"{n:03d}" for n in range(30, 60)}}}
    return metrics.compute(simulated(), 50, groups=halves)


def items(content, run, cohort):
    return {item["number"]: item for _, section in tripod.checklist(content, run, cohort, "poor") for item in section}


def test_all_items_in_order_each_with_an_answer_or_a_blank(content):
    found = items(content, RUN, COHORT)
    assert len(found) == 52
    assert list(found) == sorted(found, key=lambda number: (int(number.rstrip("abcdefg")), number))
    assert all(item["filled"] or item["left"] for item in found.values())
    known = tripod.answers(content, RUN, COHORT, "poor")
    assert set(known) <= set(found)


def test_what_the_run_knows_is_filled_in(content):
    found = {number: item["filled"] for number, item in items(content, RUN, COHORT).items()}
    assert "my.csv" in found["5a"] and "centre" in found["6a"] and "mrs > 2" in found["8a"] and "without outcome (20)" in found["6b"]
    assert found["7"].endswith("missing: age 0 to 120.")  # an outcome out of range is no missing value
    assert found["9b"] == "image dwi, age, sex." and "5 folds, 1 repeat, seed 0" in found["12a"] and "20 %" in found["12a"]
    assert found["13"] == "Classes are weighted in the loss." and found["12f"] == ""  # these rows hold no recalibration
    assert f"{content['tasks']['poor']['auc']['value']:.3f}" in found["23a"] and "centre" in found["23b"] and "60 patients" in found["21"]


def test_early_stopping_is_named_only_where_there_was_some(content):
    last = RUN | {"config": RUN["config"] | {"train": {"imbalance": "weights", "watch": "last"}}}
    assert "early stopping" in items(content, RUN, COHORT)["12a"]["filled"]
    assert "20 % served recalibration" in items(content, last, COHORT)["12a"]["filled"]


def test_nothing_is_claimed_that_no_file_says(content):
    bare = content | {"subgroups": []}
    found = items(bare, {"config": {}}, {})
    for number in ("5a", "5b", "6a", "6b", "8a", "9b", "12a", "12c", "13", "14", "20a", "20b", "23b"):
        assert found[number]["filled"] == ""
    for number in ("17", "18a", "19", "25", "26"):
        assert items(content, RUN, COHORT)[number]["filled"] == "" and found[number]["left"]


def test_an_external_evaluation_is_called_one(content):
    found = items(content | {"split": "external"}, RUN, COHORT)
    assert "External evaluation" in found["1"]["filled"] and "external validation" in found["20c"]["filled"]
    inside = items(content, RUN, COHORT)
    assert found["5a"]["filled"] == "" != inside["5a"]["filled"]  # the config's table is that of training
    assert found["12a"]["filled"] == f"In development: {inside['12a']['filled']}"
    assert found["12f"]["filled"].startswith("Nothing is updated") and "development's validation patients" in found["15"]["filled"]
    assert "development" not in inside["15"]["filled"]
