"""Splits: nobody in two parts, classes in proportion, edits respected."""

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from ml_collections import ConfigDict

from jaxstroke import config as settings
from jaxstroke.cohort.splits import load_or_make_splits, make_splits
from jaxstroke.cohort.table import Cohort, Unit
from jaxstroke.errors import InputError


def make_config(**split):
    config = settings.base()
    config.cohort.group = "centre"
    config.cohort.outcomes = ConfigDict({"poor": ("mrs", ">", 2)})
    config.split.update({"folds": 4, "stratify": "poor"} | split)
    return config.lock()


def make_cohort(count=80, studies=2, rate=3, split=lambda patient: ""):
    """Every `rate`-th patient has a poor outcome; the odd ones have `studies` studies; five centres."""
    units = []
    for patient in range(count):
        for study in range(studies if patient % 2 else 1):
            labels = {"poor": float(patient % rate == 0)}
            units.append(Unit(f"p{patient}/{study}", f"p{patient}", str(study), f"c{patient % 5}", {}, {}, labels, {}, "", split(patient)))
    return Cohort(tuple(units), (), "", "")


def patients(units):
    return {unit.split("/")[0] for unit in units}


def rate_of(cohort, units):
    labels = {unit.unit: unit.labels["poor"] for unit in cohort.units}
    return sum(labels[unit] for unit in units) / len(units)


def assert_apart(folds):
    for fold in folds:
        assert not patients(fold.train) & patients(fold.val)
        assert not patients(fold.test) & patients(fold.train + fold.val)
        for inner in fold.inner:
            assert not patients(inner.train) & patients(inner.val + inner.holdout)
            assert not patients(inner.val) & patients(inner.holdout)
            assert not patients(inner.train + inner.val + inner.holdout) & patients(fold.test)


def test_every_unit_is_tested_once_a_repeat_and_classes_are_in_proportion():
    cohort = make_cohort()
    folds = make_splits(make_config(repeats=2), cohort)
    assert [(fold.repeat, fold.fold) for fold in folds] == [(r, f) for r in range(2) for f in range(4)]
    assert_apart(folds)
    everyone = sorted(unit.unit for unit in cohort.units)
    for repeat in range(2):
        assert sorted(unit for fold in folds if fold.repeat == repeat for unit in fold.test) == everyone
    whole = rate_of(cohort, everyone)
    for fold in folds:
        assert sorted(fold.train + fold.val + fold.test) == everyone
        assert sorted(unit for inner in fold.inner for unit in inner.holdout) == sorted(fold.train + fold.val)
        assert abs(rate_of(cohort, fold.test) - whole) < 0.06
        assert abs(rate_of(cohort, fold.val) - whole) < 0.06
        assert abs(len(fold.val) / len(fold.train + fold.val) - 0.2) < 0.03
    assert folds[0].test != folds[4].test


def test_the_seed_decides():
    cohort = make_cohort()
    assert make_splits(make_config(), cohort) == make_splits(make_config(), cohort)
    assert make_splits(make_config(seed=1), cohort) != make_splits(make_config(), cohort)


@limits(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(60, 120), studies=st.integers(1, 4), folds=st.integers(2, 4), seed=st.integers(0, 99))
def test_no_patient_in_two_parts(count, studies, folds, seed):
    cohort = make_cohort(count, studies, rate=2)
    assert_apart(make_splits(make_config(folds=folds, seed=seed, inner_folds=2), cohort))


def test_centres_stay_together():
    cohort = make_cohort()
    centre = {unit.unit: unit.group for unit in cohort.units}
    for fold in make_splits(make_config(kind="group", folds=5), cohort):
        assert not {centre[unit] for unit in fold.test} & {centre[unit] for unit in fold.train + fold.val}
    with pytest.raises(InputError, match="only 5 centres"):
        make_splits(make_config(kind="group", folds=6), cohort)


def test_given_folds():
    cohort = make_cohort(split=lambda patient: str(1 + patient % 4))
    folds = make_splits(make_config(kind="given", column="fold", inner_folds=0), cohort)
    assert [patients(fold.test) for fold in folds] == [{f"p{p}" for p in range(80) if p % 4 == fold} for fold in range(4)]
    assert_apart(folds)


def test_official_parts_and_a_patient_in_two_of_them():
    cohort = make_cohort(split=lambda patient: ("train", "train", "Validation", "test")[patient % 4])
    (fold,) = make_splits(make_config(kind="official", column="part", inner_folds=0), cohort)
    assert patients(fold.val) == {f"p{p}" for p in range(2, 80, 4)}
    assert patients(fold.test) == {f"p{p}" for p in range(3, 80, 4)}
    first = Unit("p0/9", "p0", "9", "c0", {}, {}, {"poor": 1.0}, {}, "", "test")
    with pytest.raises(InputError, match="'p0'.*different values"):
        make_splits(make_config(kind="official", column="part"), Cohort((*cohort.units, first), (), "", ""))
    with pytest.raises(InputError, match="must hold train, val or test"):
        make_splits(make_config(kind="official", column="part"), make_cohort(split=lambda patient: "holdout"))


def test_without_official_test_rows_those_of_validation_are_tested():
    cohort = make_cohort(split=lambda patient: "val" if patient % 4 == 3 else "train")
    (fold,) = make_splits(make_config(kind="official", column="part", inner_folds=0), cohort)
    assert patients(fold.test) == {f"p{p}" for p in range(3, 80, 4)}
    assert patients(fold.val) and patients(fold.train) | patients(fold.val) == {f"p{p}" for p in range(80) if p % 4 != 3}
    with pytest.raises(InputError, match="no row 'test'"):
        make_splits(make_config(kind="official", column="part"), make_cohort(split=lambda patient: "train"))


def test_temporal_tests_on_the_last():
    cohort = make_cohort(split=lambda patient: f"2020-{1 + patient % 12:02d}-{1 + patient // 12:02d}")
    dates = {unit.unit: unit.split for unit in cohort.units}
    (fold,) = make_splits(make_config(kind="temporal", column="date", inner_folds=0), cohort)
    assert len(patients(fold.test)) == 20
    assert max(dates[unit] for unit in fold.train + fold.val) <= min(dates[unit] for unit in fold.test)
    with pytest.raises(InputError, match="mixes"):
        make_splits(make_config(kind="temporal", column="d"), make_cohort(split=lambda p: "3" if p else "2020-01-01"))
    with pytest.raises(InputError, match="'p0'.*neither"):
        make_splits(make_config(kind="temporal", column="d"), make_cohort(split=lambda p: "May"))
    with pytest.raises(InputError, match="'p1'.*missing"):
        make_splits(make_config(kind="temporal", column="d"), make_cohort(split=lambda p: "" if p == 1 else "3"))
    with pytest.raises(InputError, match="no column 'd'"):
        make_splits(make_config(kind="temporal", column="d"), make_cohort())


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"kind": "kfolds"}, "Did you mean 'kfold'"),
        ({"kind": "given"}, "config.split.column"),
        ({"folds": 1}, "at least 2"),
        ({"folds": 81}, "only 80 patients"),
        ({"inner_share": 1.0}, "inner_share"),
        ({"inner_folds": 1}, "inner_folds"),
        ({"stratify": "pour"}, "pour"),
    ],
)
def test_settings_that_make_no_splits(split, words):
    with pytest.raises(InputError, match=words):
        make_splits(make_config(**split), make_cohort())


def test_one_class_in_a_part_names_fold_part_and_task():
    with pytest.raises(InputError, match=r"fold 0: part '\w+' .* only class 0 of task 'poor'.*config.split.folds"):
        make_splits(make_config(), make_cohort(rate=60))


def test_file_is_written_read_back_and_never_remade(tmp_path):
    cohort = make_cohort()
    folds = load_or_make_splits(make_config(), cohort, tmp_path)
    assert load_or_make_splits(make_config(seed=7), cohort, tmp_path) == folds == make_splits(make_config(), cohort)


def edit(tmp_path, change):
    content = json.loads((tmp_path / "splits.json").read_text())
    change(content["folds"])
    (tmp_path / "splits.json").write_text(json.dumps(content))


def test_inner_folds_taken_out_are_made_from_the_edited_parts(tmp_path):
    cohort = make_cohort()
    load_or_make_splits(make_config(), cohort, tmp_path)

    def change(folds):
        gone = patients([folds[0]["train"][0]])
        folds[0]["train"] = [unit for unit in folds[0]["train"] if not patients([unit]) & gone]
        del folds[0]["inner"]

    edit(tmp_path, change)
    first = load_or_make_splits(make_config(), cohort, tmp_path)[0]
    assert len(first.inner) == 3
    assert sorted(unit for inner in first.inner for unit in inner.holdout) == sorted(first.train + first.val)
    assert_apart([first])


def move_study(folds):
    """The second study of a training patient goes to the test part."""
    unit = next(unit for unit in folds[1]["train"] if unit.endswith("/1"))
    folds[1]["train"].remove(unit)
    folds[1]["test"].append(unit)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (move_study, r"fold 1: patient 'p\d+' is in part 'train' and in part 'test'"),
        (lambda folds: folds[0]["test"].append("p999/0"), "'p999/0' is not in the cohort"),
        (lambda folds: folds[0]["test"].append(folds[0]["test"][0]), "twice"),
        (lambda folds: folds[0]["val"].clear(), "part 'val' is empty"),
        (lambda folds: folds[0]["inner"][0]["train"].append(folds[0]["test"][0]), "not in train or val of that fold"),
        (lambda folds: folds[0].pop("test"), "splits.json"),
        (lambda folds: folds.append(folds[0]), "twice"),
        (lambda folds: folds.clear(), "no folds"),
        (lambda folds: folds.pop(), "has 3 folds, but config.split.folds = 4"),
        (lambda folds: folds[1].update(trian=[]), "fold 2 of the file: 'trian' is unknown. Did you mean 'train'"),
        (lambda folds: folds[1].update(fold="1"), "fold 2 of the file: 'fold' must be a whole number"),
        (lambda folds: folds[1].update(fold=-1), "fold 2 of the file: 'fold' must be a whole number"),
        (lambda folds: folds[1].update(train="p1/0"), "part 'train' must be a list of ids"),
        (lambda folds: folds[0]["inner"][1].pop("holdout"), "fold 1 of the file, inner 1 has no 'holdout'"),
        (lambda folds: folds[0].update(inner={}), "'inner' must be a list"),
    ],
)
def test_wrong_edits_are_refused(tmp_path, change, words):
    cohort = make_cohort()
    load_or_make_splits(make_config(), cohort, tmp_path)
    edit(tmp_path, change)
    with pytest.raises(InputError, match=words):
        load_or_make_splits(make_config(), cohort, tmp_path)
