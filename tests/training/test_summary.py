"""Who the patients are: counts and quartiles by hand, and groups instead of values."""

import json

import numpy as np
import pandas as pd
import pytest
from etils import epath
from ml_collections import ConfigDict

from jaxstroke.cohort.table import Cohort, Unit
from jaxstroke.evaluation import subgroups
from jaxstroke.feed.load import Loaded
from jaxstroke.training import summary

AGES = (40.5, 64.5, 65.0, 79.5, 80.0, None, 91.25, 70.5)
SEXES = ("F", "M", "F", "M", None, "F", "M", "F")
LABELS = (0.0, 0.0, 1.0, 1.0, 1.0, None, 0.0, 1.0)


@pytest.fixture
def units():
    """Eight patients of two centres; one has no outcome, and one is of no known centre."""
    found = []
    for place, (age, sex, label) in enumerate(zip(AGES, SEXES, LABELS, strict=True)):
        clinical = {"age": age, "sex": sex}
        told = clinical | {"centre": ("A10", "A9", None)[place % 3]}
        found.append(Unit(f"u{place}", f"p{place}", "", "", {}, clinical, {"poor": label}, {}, "", subgroups=told))
    return tuple(found)


@pytest.fixture
def config(config):
    with config.unlocked():
        config.cohort.group = "centre"
        config.clinical.numeric = ("age",)
        config.evaluate.subgroups = ("sex", "age")
    return config


def by_name(config, units):
    return {line["name"]: line for line in summary.characteristics(config, units)}


def test_characteristics_by_hand(config, units):
    found = by_name(config, units)
    assert list(found) == ["age", "sex", "centre"]
    ages = np.array([age for age in AGES if age is not None])
    assert found["age"]["numbers"]["all"] == [7, *np.percentile(ages, [25, 50, 75])]
    assert found["age"]["numbers"]["with"] == [4, *np.percentile([65.0, 79.5, 80.0, 70.5], [25, 50, 75])]
    assert found["sex"]["levels"]["F"] == {"all": 4, "without": 1, "with": 2}
    assert found["sex"]["known"] == {"all": 7, "without": 3, "with": 3}
    assert list(found["centre"]["levels"]) == ["A9", "A10"]


def test_an_outcome_with_levels_has_all_patients_alone(config, units):
    with config.unlocked():
        config.evaluate.primary = "mrs"
    assert set(by_name(config, units)["age"]["numbers"]) == {"all"}


def test_rare_levels_are_counted_together(config):
    counts = [20 - place for place in range(15)]
    names = [f"h{place}" for place, count in enumerate(counts) for _ in range(count)]
    units = [Unit(f"u{n}", f"u{n}", "", "", {}, {}, {"poor": 1.0}, {}, "", subgroups={"centre": name}) for n, name in enumerate(names)]
    levels = by_name(config, tuple(units))["centre"]["levels"]
    assert len(levels) == summary.MOST_LEVELS and list(levels)[-1] == "4 others"
    assert levels["4 others"]["all"] == sum(counts[11:]) and sum(level["all"] for level in levels.values()) == sum(counts)


def test_subgroups_hold_groups_in_order_and_no_value(config, units):
    frame = summary.subgroups(config, units)
    groups: dict = {}
    for unit, column, group in frame.itertuples(index=False):
        groups.setdefault(column, {}).setdefault(group, []).append(unit)
    assert list(groups) == ["sex", "age", "centre"]
    assert groups["age"] == {"< 65": ["u0", "u1"], "65 to < 80": ["u2", "u3", "u7"], "≥ 80": ["u4", "u6"]}
    assert list(groups["centre"]) == ["A9", "A10"] and "u2" not in sum(groups["centre"].values(), [])
    assert list(groups["age"]) == ["< 65", "65 to < 80", "≥ 80"] and "91" not in frame.to_csv()


def test_numbers_without_bounds_are_cut_at_their_median(config, units):
    with config.unlocked():
        config.evaluate.subgroup_bounds = ConfigDict()
    frame = summary.subgroups(config, units)
    counts = frame.loc[frame["column"] == "age", "group"].value_counts(sort=False).to_dict()
    assert counts == {"< 70.5": 3, "≥ 70.5": 4}


@pytest.mark.parametrize("values", [(0.0, 1.0), ("0", "1"), ("0.0", "1.0")])
def test_zero_and_one_are_no_and_yes(config, values):
    """A comorbidity, as a number, a level or a cell of the table."""
    told = [{"hypertension": values[place % 3 != 0], "diabetes": values[0]} for place in range(9)]
    units = tuple(Unit(f"u{n}", f"u{n}", "", "", {}, {}, {"poor": float(n % 2)}, {}, "", subgroups=one) for n, one in enumerate(told))
    with config.unlocked():
        config.evaluate.subgroups = ("hypertension", "diabetes")
    frame = summary.subgroups(config, units)
    groups = frame[frame["column"] == "hypertension"].groupby("group", sort=False)["unit_id"].apply(list).to_dict()
    assert groups == {"no": ["u0", "u3", "u6"], "yes": ["u1", "u2", "u4", "u5", "u7", "u8"]}
    assert "yes" not in set(frame.loc[frame["column"] == "diabetes", "group"])  # with one of the two levels it may mean anything
    assert by_name(config, units)["hypertension"]["levels"]["yes"] == {"all": 6, "without": 3, "with": 3}
    with config.unlocked():
        config.evaluate.subgroup_bounds = ConfigDict({"hypertension": (0.5,)})
    if isinstance(values[0], float):
        assert set(summary.subgroups(config, units)["group"]) >= {"< 0.5", "≥ 0.5"}


def test_no_subgroup_is_an_empty_table(config, units):
    with config.unlocked():
        config.evaluate.subgroups, config.cohort.group = (), ""
    assert list(summary.subgroups(config, units).columns) == subgroups.COLUMNS and summary.subgroups(config, units).empty


def test_the_files_can_be_read_by_the_report(config, units, schema, tmp_path):
    count = len(units)
    arrays = {f"images_mask/{name}": np.ones((count, 4)) for name in config.model.images}
    arrays["images_mask/tmax"][:3] = 0
    arrays["clinical_mask"] = np.ones((count, len(schema.columns)))
    arrays["clinical_mask"][5, 0] = 0
    cohort = Cohort(units, (("rows in the table", 9), ("used", count)), "my.csv", "digest")
    summary.write(config, cohort, Loaded(units, arrays, {}, schema, schema, None), {}, epath.Path(tmp_path))
    found = json.loads((tmp_path / "cohort.json").read_text())
    assert found["missing"] == {"dwi": 0, "tmax": 3, "age": 1, "nihss": 0, "sex": 0}
    assert found["flow"] == [["rows in the table", 9], ["used", 8]] and found["n"] == 8
    read = subgroups.read(epath.Path(tmp_path / "subgroups.csv"))
    assert read["sex"] == {"F": {"u0", "u2", "u5", "u7"}, "M": {"u1", "u3", "u6"}}
    assert pd.read_csv(tmp_path / "subgroups.csv").columns.tolist() == subgroups.COLUMNS
