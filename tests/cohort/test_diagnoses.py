"""Outcomes of several classes, and of several names in one cell: what becomes of a cell, of folds, and what is said of a wrong one."""

import logging
from collections import Counter

import pytest
from ml_collections import ConfigDict

from jaxstroke import config as settings
from jaxstroke.cohort.splits import make_splits
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError

CLASSES = ("normal", "infarct", "bleeding")


def config_of(tmp_path, cells, outcomes, header="patient_id,dx"):
    """A config on a table with these cells in column `dx`."""
    config = settings.base()
    config.cohort.table = str(tmp_path / "my.csv")
    config.cohort.outcomes = ConfigDict(outcomes)
    rows = [header, *(f"p{number},{cell}" for number, cell in enumerate(cells))]
    (tmp_path / "my.csv").write_text("\n".join(rows) + "\n")
    return config


def labels(tmp_path, cells, outcomes, labelled=True):
    cohort = read_cohort(config_of(tmp_path, cells, outcomes), tmp_path, labelled)
    return {unit.patient: unit.labels for unit in cohort.units}, cohort


@pytest.mark.parametrize(
    ("classes", "cells", "expected"),
    [
        (CLASSES, ["infarct", " normal ", "bleeding", ""], [1, 0, 2]),
        ((0, 1, 5), ["5", "0.0", "1", "n/a"], [2, 0, 1]),
        ((0, "bleeding"), ["bleeding", "0", "bleeding"], [1, 0, 1]),
    ],
)
def test_a_class_is_its_place_and_an_empty_cell_is_unknown(tmp_path, classes, cells, expected):
    found, cohort = labels(tmp_path, cells, {"diagnosis": ("dx", "classes", classes)})
    assert [found[patient]["diagnosis"] for patient in found] == expected and cohort.notes == ()


@pytest.mark.parametrize(("classes", "cell"), [(CLASSES, "Infarct"), (CLASSES, "infarct|bleeding"), ((0, 1, 2), "3"), ((0, 1, 2), "one")])
def test_a_cell_that_is_no_class_names_patient_column_and_classes(tmp_path, classes, cell):
    names = ", ".join(map(str, classes))
    with pytest.raises(InputError) as caught:
        labels(tmp_path, [classes[0], classes[1], cell], {"diagnosis": ("dx", "classes", classes)})
    message = str(caught.value)
    assert f"patient 'p2', column 'dx' is none of the classes {names}." in message and f" {cell}." not in message
    found, _ = labels(tmp_path, [classes[0], cell], {"diagnosis": ("dx", "classes", classes)}, labelled=False)
    assert found["p1"]["diagnosis"] is None  # new patients are scored whatever the column holds


def test_a_class_that_nobody_has_is_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        _, cohort = labels(tmp_path, ["normal", "infarct", "normal"], {"diagnosis": ("dx", "classes", CLASSES)})
    assert cohort.notes == (("diagnosis = bleeding, used", 0),) and "diagnosis = bleeding, used: 0 rows" in caplog.text


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (("dx", "classes", ("normal",)), "two classes or more"),
        (("dx", "classes", "normal"), "two classes or more"),
        (("dx", "classes", ("normal", "")), "two classes or more"),
        (("dx", "classes", (True, False)), "two classes or more"),
        (("dx", "classes", (1, "1")), "class '1' is named twice"),
        (("dx", "classes", ("normal", "n/a")), "'n/a' is in config.cohort.missing too"),
        (("dx", "contains", "a|b"), "one name"),
        (("dx", "contains", ("a", "b")), "one name"),
        (("dx", "contains", " "), "one name"),
        (("dx", "contains", "None"), "'None' is in config.cohort.missing too"),
    ],
)
def test_wrong_rules_name_the_key(tmp_path, outcome, words):
    with pytest.raises(InputError) as caught:
        labels(tmp_path, ["normal", "n/a"], {"task": outcome})
    assert "config.cohort.outcomes.task" in str(caught.value) and words in str(caught.value)


def test_names_in_a_cell_are_a_task_each(tmp_path):
    """`none` names none of them; only an empty cell, or one of `cohort.missing`, is unknown."""
    cells = ["bleeding|infarct", " infarct ", "none", "", "Bleeding", "rebleeding | infarct", "n/a", "tumour"]
    found, cohort = labels(tmp_path, cells, {name: ("dx", "contains", name) for name in ("bleeding", "infarct")})
    assert {patient: (one["bleeding"], one["infarct"]) for patient, one in found.items()} == {
        "p0": (1, 1), "p1": (0, 1), "p2": (0, 0), "p4": (0, 0), "p5": (0, 1), "p7": (0, 0)
    }  # fmt: skip
    assert cohort.flow == (("rows in the table", 8), ("without outcome", -2), ("used", 6))


def folds_of(tmp_path, counts, **split):
    cells = [name for name, count in counts.items() for _ in range(count)]
    config = config_of(tmp_path, cells, {"diagnosis": ("dx", "classes", tuple(counts))})
    config.split.update({"folds": 4, "inner_folds": 0, "stratify": "diagnosis"} | split)
    cohort = read_cohort(config, tmp_path)
    known = {unit.unit: unit.labels["diagnosis"] for unit in cohort.units}
    return make_splits(config, cohort), known


def test_folds_have_every_class_in_proportion(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        folds, known = folds_of(tmp_path, {"normal": 40, "infarct": 20, "bleeding": 8})
    for fold in folds:
        assert Counter(known[unit] for unit in fold.test) == {0: 10, 1: 5, 2: 2}
        assert {known[unit] for unit in fold.train} == {0, 1, 2}
    assert caplog.text == ""


def test_a_class_that_some_network_never_sees_is_told_and_one_class_alone_refused(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        folds, known = folds_of(tmp_path, {"normal": 20, "infarct": 20, "bleeding": 1})
    lacking = sum(all(known[unit] != 2 for unit in fold.train) for fold in folds)
    assert f"nobody with diagnosis = bleeding is trained on in {lacking} of 4 folds" in caplog.text and lacking >= 1
    with pytest.raises(InputError, match="has only class normal of task 'diagnosis'"):
        folds_of(tmp_path, {"normal": 40, "infarct": 2})
