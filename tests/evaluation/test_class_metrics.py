"""Several classes, from rows of predictions to the page: against scikit-learn, and whatever the classes are called."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    log_loss,
    roc_auc_score,
)

from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, comparison, metrics, predictions, report

NAMES = ("normal", "infarct", "bleeding")


def simulate(patients=90, folds=3, repeats=1, seeds=1, models=("network", "clinical_logistic"), names=NAMES, seed=0, studies=1):
    """Each model sees the same signal of every class with noise of its own; validation rows are the next fold's patients."""
    random = np.random.default_rng(seed)
    place = random.choice(len(names), patients, p=np.arange(len(names), 0, -1) / np.arange(len(names) + 1).sum())
    signal = 1.5 * np.eye(len(names))[place] + random.normal(size=(patients, len(names)))
    ids, blocks = np.array([f"{number:03d}" for number in range(patients)]), []
    for repeat in range(repeats):
        fold = random.permutation(patients) % folds
        for noise, model in enumerate(models):
            for run in range(seeds):
                p = softmax(1.5 * signal + random.normal(size=signal.shape) * (0.3 + 0.6 * noise), -1)
                for here in range(folds):
                    for split, rows in (("test", fold == here), ("val", fold == (here + 1) % folds)):
                        where = {"repeat": repeat, "fold": here, "seed": run, "split": split, "model": model, "task": "diagnosis"}
                        for column, name in enumerate(names):
                            of = (p[rows, column], place[rows] == column)
                            for study in range(studies):
                                unit = ids[rows] if study == 0 else np.char.add(ids[rows], f"/{study}")
                                blocks.append(predictions.block(ids[rows], unit, *of, class_=name, **where))
    return pd.concat(blocks, ignore_index=True)


def wide(frame, column="probability", model="network", names=NAMES):
    """(true places n, column n k) of a model's test rows, by fold."""
    rows = frame[(frame["split"] == "test") & (frame["model"] == model)]
    keys = ["repeat", "seed", "fold", "unit_id"]
    tables = [rows.pivot_table(index=keys, columns="class", values=one)[list(names)] for one in ("label", column)]
    return tables[0].to_numpy().argmax(1), tables[1].to_numpy(), tables[1].index.get_level_values("fold").to_numpy()


def test_numbers_equal_scikit_learn():
    frame = calibration.add_recalibrated(simulate())
    found = metrics.compute(frame, 200)["tasks"]["diagnosis"]
    true, p, fold = wide(frame)
    folds = [roc_auc_score(true[fold == one], p[fold == one], multi_class="ovr", average=None) for one in range(3)]
    assert found["auc"]["value"] == pytest.approx(np.mean(folds))
    assert [found["auc_classes"][name]["value"] for name in NAMES] == pytest.approx(np.mean(folds, 0))
    assert found["auc_pooled"] == pytest.approx(roc_auc_score(true, p, multi_class="ovr"))
    low, high = found["auc"]["ci95"]
    assert low < found["auc"]["value"] < high
    predicted = p.argmax(1)
    assert found["confusion"] == {"classes": list(NAMES), "counts": confusion_matrix(true, predicted).tolist()}
    assert found["kappa"] == pytest.approx(cohen_kappa_score(true, predicted))
    assert found["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    assert found["log_loss"] == pytest.approx(log_loss(true, p))
    assert found["brier"] == pytest.approx(((p - np.eye(3)[true]) ** 2).sum(1).mean())
    assert [found["auc_classes"][name]["events"] for name in NAMES] == np.bincount(true).tolist()
    assert found["calibration_classes"]["bleeding"] == pytest.approx(
        {key: calibration.measures(p[:, 2], (true == 2).astype(float))[key] for key in ("slope", "intercept", "in_the_large", "ece")}
    )
    again = wide(frame, "recalibrated")[1]
    np.testing.assert_allclose(again.sum(1), 1)
    assert found["recalibrated"]["log_loss"] == pytest.approx(log_loss(true, again))
    nothing = ("sensitivity", "specificity", "ppv", "npv", "events", "mae")
    assert found["thresholds"] == [] and [found[name] for name in nothing] == [None] * 6


def test_repeats_and_seeds_are_averaged():
    frame = simulate(repeats=2, seeds=2)
    found = metrics.compute(frame, 50)["tasks"]["diagnosis"]
    runs = [rows for _, rows in frame.groupby(["repeat", "seed"])]
    kappas = [cohen_kappa_score(wide(rows)[0], wide(rows)[1].argmax(1)) for rows in runs]
    assert found["kappa"] == pytest.approx(np.mean(kappas))
    assert np.sum(found["confusion"]["counts"]) == pytest.approx(90)
    assert found["spread"]["sd_seed"] is not None and found["spread"]["auc_ensemble"]["value"] >= found["auc"]["value"] - 0.02


def numbers_of(content, names):
    """The numbers of a task, those of each class under the names that it has in `names`."""
    line = dict(content["tasks"]["diagnosis"])
    for key in ("auc_classes", "calibration_classes"):
        line[key] = {names[name]: values for name, values in line[key].items()}
    order = [names[name] for name in line["confusion"]["classes"]]
    counts = {(a, b): n for a, row in zip(order, line["confusion"]["counts"], strict=True) for b, n in zip(order, row, strict=True)}
    return {key: line[key] for key in ("auc", "auc_classes", "calibration_classes", "kappa", "log_loss", "brier", "accuracy")} | counts


def flat(values, path=""):
    if isinstance(values, dict):
        return {key: one for name, value in values.items() for key, one in flat(value, f"{path}/{name}").items()}
    return {path: np.asarray(values, float)}


@pytest.mark.parametrize("names", [("3", "1", "2"), ("z", "a b", "ä|,\"'")])
def test_what_the_classes_are_called_and_their_order_change_nothing(tmp_path, names):
    """Also where the names are numbers as cut-offs have, through the file and back."""
    frame = calibration.add_recalibrated(simulate())
    renamed = frame.replace({"class": dict(zip(NAMES, names, strict=True))})
    order = [np.flatnonzero(renamed["class"] == name) for name in (names[2], names[0], names[1])]
    moved = renamed.iloc[np.concatenate(order)].reset_index(drop=True)
    predictions.write(tmp_path / "predictions.csv", moved)
    plain, other = (metrics.compute(one, 100) for one in (frame, predictions.read(tmp_path / "predictions.csv")))
    assert list(other["tasks"]["diagnosis"]["auc_classes"]) == [names[2], names[0], names[1]]
    first = flat(numbers_of(plain, dict(zip(NAMES, names, strict=True))))
    second = flat(numbers_of(other, {name: name for name in names}))
    assert set(first) == set(second)
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, atol=1e-6, err_msg=key)
    assert other["paired"][0]["p_delong"] == pytest.approx(plain["paired"][0]["p_delong"], abs=1e-6)


def test_two_classes_have_the_auc_interval_and_p_of_the_binary_task():
    frame = simulate(names=("good", "poor"))
    binary = frame[frame["class"] == "poor"].assign(**{"class": ""})
    two, one = metrics.compute(frame, 300), metrics.compute(binary, 300)
    assert two["tasks"]["diagnosis"]["auc"]["value"] == pytest.approx(one["tasks"]["diagnosis"]["auc"]["value"])
    assert two["tasks"]["diagnosis"]["auc"]["ci95"] == pytest.approx(one["tasks"]["diagnosis"]["auc"]["ci95"])
    assert two["paired"][0]["p_delong"] == pytest.approx(one["paired"][0]["p_delong"])
    assert two["paired"][0]["ci95"] == pytest.approx(one["paired"][0]["ci95"])
    again = [calibration.add_recalibrated(rows) for rows in (frame, binary)]
    # Against the rest twice with one slope and opposite intercepts: the sum is 1 already, but for the ridge of either fit.
    np.testing.assert_allclose(again[0][again[0]["class"] == "poor"]["recalibrated"], again[1]["recalibrated"], atol=1e-3)


def test_recalibration_is_fitted_on_validation_rows_of_its_own_fold_alone():
    frame = simulate()
    found = calibration.add_recalibrated(frame)
    others = frame["unit_id"].map({unit: place for place, unit in enumerate(frame["unit_id"].unique())}) % 3
    names = frame["class"].map({name: place for place, name in enumerate(NAMES)})
    shuffled = frame.assign(label=np.where(frame["split"] == "test", (others == names).astype(float), frame["label"]))
    np.testing.assert_array_equal(found["recalibrated"], calibration.add_recalibrated(shuffled)["recalibrated"])
    lines = calibration.decisions(frame)["network"]["diagnosis"]
    assert {(line["fold"], line["class"]) for line in lines} == {(fold, name) for fold in range(3) for name in NAMES}
    assert all(line["threshold"] is None for line in lines)
    # New patients: by the numbers that were kept, whatever their labels.
    new = calibration.apply_decisions(frame.assign(label=np.nan, recalibrated=np.nan), calibration.decisions(frame))
    np.testing.assert_allclose(new["recalibrated"], found["recalibrated"])


def test_delong_over_classes_agrees_with_the_bootstrap():
    frame = simulate(patients=600, models=("network", "clinical_logistic", "module:a"), seed=2)
    for line in metrics.compute(frame, 2000)["paired"]:
        spread = (line["ci95"][1] - line["ci95"][0]) / (2 * 1.96)
        z = abs(line["auc_difference"]) / spread
        assert line["p_delong"] == pytest.approx(2 * (1 - predictions.sigmoid(1.702 * z)), abs=0.04)  # logistic near the normal


def test_a_patient_with_two_studies_is_one_patient():
    once, both = (metrics.compute(simulate(studies=studies), 300)["tasks"]["diagnosis"] for studies in (1, 2))
    assert (both["n"], both["patients"]) == (180, 90)
    assert both["auc"]["ci95"] == pytest.approx(once["auc"]["ci95"])


def test_a_fold_without_a_class_is_left_out_of_that_class_alone():
    frame = simulate()
    lost = frame[(frame["class"] == "bleeding") & (frame["label"] == 1) & (frame["fold"] == 1) & (frame["split"] == "test")]["unit_id"]
    short = frame[~frame["unit_id"].isin(lost)]
    found = metrics.compute(short, 50)["tasks"]["diagnosis"]
    assert found["skipped_folds"] == 1
    rest = metrics.compute(short[short["fold"] != 1], 50)["tasks"]["diagnosis"]
    assert found["auc_classes"]["bleeding"]["value"] == pytest.approx(rest["auc_classes"]["bleeding"]["value"])
    json.dumps(found, allow_nan=False)


def test_labels_that_are_of_no_class_or_of_two_are_refused():
    frame = simulate()
    two = frame.assign(label=np.where(frame["class"] == "infarct", 1.0, frame["label"]))
    with pytest.raises(InputError, match="labels of task 'diagnosis' are neither one level a unit nor 1 in one class"):
        metrics.compute(two, 20)
    with pytest.raises(InputError, match="class 'infarct' of task 'diagnosis' is no cut-off"):
        metrics.compute(frame[frame["class"] == "infarct"].assign(label=1.0), 20)


@pytest.fixture
def folder(tmp_path):
    """A workdir with a class that few have."""
    frame = calibration.add_recalibrated(simulate(patients=60, models=("network", "clinical_logistic")))
    predictions.write(tmp_path / "predictions.csv", frame)
    config = {"model": {"name": "ct_conv_lstm"}, "evaluate": {"bootstrap": 60, "attainable": "", "primary": "diagnosis"}}
    config |= {"cohort": {"outcomes": {"diagnosis": ["dx", "classes", list(NAMES)]}}, "train": {"imbalance": "weights"}}
    (tmp_path / "run.json").write_text(json.dumps({"config": config, "versions": {}, "command": "x"}))
    return tmp_path


def test_the_page_shows_each_class(folder):
    page = report.write_report(folder).read_text()
    numbers = json.loads((folder / "metrics.json").read_text())["tasks"]["diagnosis"]
    assert f"with a mean AUC of the classes of {numbers['auc']['value']:.3f}" in page
    assert "diagnosis (dx is one of normal, infarct, bleeding)" in page and "60 patients, 3 classes" in page
    for name in NAMES:
        assert f"Predicted {name}</th>" in page and f"{name}, against the rest</li>" in page
        assert f"{numbers['auc_classes'][name]['value']:.3f}" in page
    hidden = [int(count) for row in numbers["confusion"]["counts"] for count in row if 0 < count < 5]
    assert hidden and page.count("fewer than 5</td>") >= len(hidden)
    assert "the most probable class is the one that is predicted" in page and "probability of the true class" in page
    assert 'id="decision"' not in page
    told = report.check(folder)
    assert "without the rarest class" in told and "Slopes of the classes" in told and "log-odds are shifted back" in told
    assert "diagnosis: 60 patients, 3 classes" in report.console_table(json.loads((folder / "metrics.json").read_text()))


def test_a_study_compares_mean_aucs():
    frame = simulate(models=("network",))
    other = simulate(models=("a", "network")).query("model == 'network'")
    content = comparison.compute({"one": frame, "two": other}, 50)
    cost = {"changes": {}, "parameters": 5, "training_seconds": 1.0, "networks_of": []}
    content |= {"primary": "diagnosis", "variants": [{"name": name} | cost for name in ("one", "two")]}
    config = {"model": {"name": "m"}, "cohort": {"outcomes": {"diagnosis": ["dx", "classes", list(NAMES)]}}}
    page = report.page("comparison.html.j2", comparison.tell(content, {"config": config | {"evaluate": {"primary": "diagnosis"}}}))
    assert "Balanced %" in page and ">Slope<" not in page
    row = comparison.table(content)[1]
    assert (row["variant"], row["events"], row["slope"]) == ("two", None, None)
    assert row["difference"] == pytest.approx(row["auc"] - comparison.table(content)[0]["auc"])
    assert row["balanced_accuracy"] == content["models"]["two"]["diagnosis"]["balanced_accuracy"]
