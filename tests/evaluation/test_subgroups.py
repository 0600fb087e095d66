"""Groups of patients scored apart: the statistic of the whole task, on fewer patients, and nothing said of too few."""

import numpy as np
import pandas as pd
import pytest
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation import metrics, subgroups


def written(folder, frame, named):
    """`subgroups.csv` of {column: {group: ids}}, read back."""
    rows = [(unit, column, group) for column, groups in named.items() for group, units in groups.items() for unit in units]
    pd.DataFrame(rows, columns=subgroups.COLUMNS).to_csv(folder / "subgroups.csv", index=False)
    return subgroups.read(epath.Path(folder / "subgroups.csv"))


def lines(frame, groups, resamples=400):
    found = metrics.compute(frame, resamples, groups=groups)
    return {(line["column"], line["group"]): line for line in found["subgroups"]}, found


def ids(start, stop):
    return [f"{number:03d}" for number in range(start, stop)]


def test_a_group_is_scored_as_a_task_of_its_patients_alone(tmp_path, simulated):
    frame = simulated(patients=240, repeats=2, seeds=2)
    groups = written(tmp_path, frame, {"half": {"first": ids(0, 120), "second": ids(120, 240)}})
    found, content = lines(frame, groups)
    for group, units in groups["half"].items():
        alone = metrics.compute(frame[frame["unit_id"].isin(units)], 400)["tasks"]["poor"]
        line = found["half", group]
        assert line["auc"]["value"] == alone["auc"]["value"] and (line["n"], line["events"]) == (alone["n"], alone["events"])
        np.testing.assert_allclose(line["auc"]["ci95"], alone["auc"]["ci95"], atol=0.03)
        assert line["observed"] == pytest.approx(alone["events"] / alone["n"])
    whole = found["", "all patients"]
    assert whole["auc"] == content["tasks"]["poor"]["auc"] and whole["n"] == 240


def test_small_groups_are_joined_and_patients_of_none_are_counted(tmp_path, simulated):
    frame = simulated()
    named = {"centre": {"A": ids(0, 30), "B": ids(30, 50), "C": ids(50, 53), "D": ids(53, 57), "gone": ["999"]}}
    found, _ = lines(frame, written(tmp_path, frame, named))
    counts = {group: line["n"] for (column, group), line in found.items() if column == "centre"}
    assert counts == {"A": 30, "B": 20, "3 smaller groups": 7, subgroups.UNKNOWN: 3}
    assert sum(counts.values()) == 60 and list(counts) == ["A", "B", "3 smaller groups", subgroups.UNKNOWN]


def test_of_many_groups_the_largest_are_named(tmp_path, simulated):
    frame = simulated(patients=120)
    named = {"hospital": {f"h{number}": ids(6 * number, 6 * number + 6) for number in range(20)}}
    found, _ = lines(frame, written(tmp_path, frame, named))
    assert len(found) == 1 + subgroups.MOST and found["hospital", "9 smaller groups"]["n"] == 54


def test_too_few_of_either_outcome_have_no_auc(tmp_path, simulated):
    frame = simulated()
    label = frame.drop_duplicates("unit_id").set_index("unit_id")["label"]
    positive, negative = label.index[label == 1], label.index[label == 0]
    named = {"mix": {"few": [*positive[:4], *negative[:10]], "enough": [*positive[4:9], *negative[10:15]]}}
    found, _ = lines(frame, written(tmp_path, frame, named))
    assert found["mix", "few"]["auc"] == {"value": None, "ci95": None} and found["mix", "few"]["events"] == 4
    assert found["mix", "enough"]["auc"]["value"] is not None


def test_an_ordinal_task_is_scored_at_the_cuts_with_patients_on_both_sides(tmp_path, simulated):
    frame = simulated(patients=200, ordinal=True)
    frame = frame[frame["task"] == "mrs"]
    high = sorted(set(frame.loc[frame["label"] >= 1, "unit_id"]))
    found, _ = lines(frame, written(tmp_path, frame, {"level": {"high": high}}))
    above = frame[frame["unit_id"].isin(high) & (frame["class"] != "1")]
    alone = metrics.compute(above, 50)["tasks"]["mrs"]["auc"]["value"]
    assert found["level", "high"]["auc"]["value"] == pytest.approx(alone)
    assert found["level", "high"]["events"] is None and found["level", "high"]["predicted"] is None


def test_files_that_cannot_be_used_are_named(tmp_path):
    path = epath.Path(tmp_path / "subgroups.csv")
    assert subgroups.read(path) == {}
    path.write_text("unit_id,sex\n1,F\n")
    with pytest.raises(InputError, match="must have the columns unit_id, column, group"):
        subgroups.read(path)
    path.write_text("")
    with pytest.raises(InputError, match="no readable CSV"):
        subgroups.read(path)
    path.write_text("unit_id,column,group\n007,sex,NA\n")
    assert subgroups.read(path) == {"sex": {"NA": {"007"}}}
