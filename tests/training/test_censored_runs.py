"""Outcomes with a horizon, from dates to the report: weights of rows in the step, in the fits and in the files."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pandas as pd
import pytest
from etils import epath
from ml_collections import ConfigDict

from jaxstroke import check
from jaxstroke import config as settings
from jaxstroke.cohort import censoring, table
from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, comparators, predictions
from jaxstroke.preprocess import clinical
from jaxstroke.training import engine as engines
from jaxstroke.training import external, losses, modes, predict, runs, step

RULE = ("stroke_date", "within", ("scan_date", "last_seen", 365))
PATIENTS = 90


@pytest.fixture
def dated(tmp_path):
    """A config on a table of dates: older patients have their stroke sooner; many are lost before a year."""
    random = np.random.default_rng(5)
    with open(tmp_path / "dates.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "age", "sex", "mrs", "scan_date", "stroke_date", "last_seen"])
        for number in range(PATIENTS):
            age = random.normal(65, 12)
            event = int(random.exponential(500 * np.exp(-(age - 65) / 12))) + 1
            lost = int(random.exponential(600))
            scan = np.datetime64("2020-01-01") + random.integers(0, 300)
            stroke, seen = (scan + event if event <= lost else "", scan + lost)
            writer.writerow([f"p{number}", f"{age:.1f}", "FM"[number % 2], number % 7, scan, stroke, seen])
    config = settings.base()
    config.cohort.table = str(tmp_path / "dates.csv")
    config.cohort.outcomes = ConfigDict({"stroke": RULE, "poor": ("mrs", ">", 2)})
    config.clinical.numeric, config.clinical.categorical = ("age",), ConfigDict({"sex": ("F", "M")})
    config.loss = ConfigDict({name: {"kind": "binary", "weight": 1.0} for name in ("stroke", "poor")})
    config.model.name, config.model.hidden, config.model.dropout = "clinical_mlp", 8, (0.0, 0.0)
    config.split.folds, config.split.inner_folds = 2, 0
    config.train.epochs, config.train.batch_size, config.optimizer.learning_rate = 3, 16, 1e-2
    config.evaluate.primary, config.evaluate.bootstrap, config.evaluate.censoring = "stroke", 50, "weights"
    config.device.data, config.device.cache = 1, ""
    check.check(config)
    return config


def arrays_of(config, units):
    """What `feed.load` makes of a table without images."""
    schema = clinical.Schema(("age",), (("sex", ("F", "M")),))
    values, mask = clinical.encode_all(schema, units)
    arrays = {"clinical": values, "clinical_mask": mask, "patient": np.arange(len(units), dtype=np.int32)}
    for task in config.loss:
        known = np.array([unit.labels[task] is not None for unit in units])
        arrays[f"label/{task}"] = np.array([unit.labels[task] or 0.0 for unit in units], np.float32)
        arrays[f"label_mask/{task}"] = known.astype(np.float32)
    return schema, arrays


def ready(config):
    units = table.read_cohort(config, "").units
    schema, arrays = arrays_of(config, units)
    rows = np.random.default_rng(0).permutation(len(units)).astype(np.int32)
    run = runs.Run(0, 0, None, 0, rows[:40], rows[40:55], rows[55:])
    return units, schema, arrays, run


def after_one_step(config, arrays, run, numbers, rows):
    """(parameters, terms) after a step on rows of the cohort."""
    engine = engines.build(config, arrays, numbers)

    def wide(tree):
        return step.put(jax.tree.map(lambda x: np.asarray(x)[None], tree), engine.mesh)

    table_of_rows = rows.reshape(1, 1, config.train.accumulation, -1)
    batch = next(engine.feed.batches(table_of_rows, np.zeros(1, np.int32), np.zeros((1, 1), np.int32), train=True))
    state, sums = engine.train_step(wide(engine.initial(run.device_seed)), wide(numbers), batch)
    return jax.device_get((state["params"], sums))


@pytest.mark.parametrize(("accumulation", "devices"), [(1, 1), (2, 1), (1, 4)])
def test_a_step_with_whole_weights_is_that_of_repeated_rows(dated, accumulation, devices):
    units, schema, arrays, run = ready(dated)
    plain = runs.fitted(run, schema, arrays, dated)
    rows = np.flatnonzero(arrays["label_mask/stroke"])[:16].astype(np.int32)
    weight = np.zeros(len(units), np.float32)
    weight[rows] = np.tile([1, 2, 3, 1], 4)
    repeated = np.repeat(rows, weight[rows].astype(int))
    repeated = np.append(repeated, np.full(-len(repeated) % 8, -1)).astype(np.int32)
    dated.train.accumulation, dated.device.data = accumulation, devices
    del dated.loss.poor  # which would count repeated rows, and has no weights
    found = after_one_step(dated, arrays, run, plain | {f"{losses.ROW_WEIGHT}stroke": weight}, rows)
    wanted = after_one_step(dated, arrays, run, plain, repeated)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    alone = after_one_step(dated, arrays, run, plain, rows)
    assert np.abs(jax.tree.leaves(alone)[0] - jax.tree.leaves(found)[0]).max() > 1e-4


def test_no_test_patient_reaches_the_weights_of_a_run(dated):
    units, schema, arrays, run = ready(dated)
    first = runs.fitted(run, schema, arrays, dated, runs.followed(dated, units))
    own = np.concatenate([run.train, run.val])
    other = [dataclasses.replace(unit, follow_up={"stroke": (1.0, False)}) if row in run.held else unit for row, unit in enumerate(units)]
    second = runs.fitted(run, schema, arrays, dated, runs.followed(dated, other))
    for name in first:
        kept = own if name.startswith(losses.ROW_WEIGHT) else slice(None)
        assert np.array_equal(
            first[name][kept] if first[name].ndim else first[name], second[name][kept] if second[name].ndim else second[name]
        )
    weight = first[f"{losses.ROW_WEIGHT}stroke"]
    assert f"{losses.ROW_WEIGHT}poor" not in first and weight[own].sum() == pytest.approx(len(own), rel=1e-5)
    assert ((weight > 0) == (arrays["label_mask/stroke"] > 0)).all()


@pytest.mark.parametrize("imbalance", ["weights", "oversample"])
def test_class_balance_and_weights_together_end_at_the_weighted_prevalence(dated, imbalance):
    """The log-odds that training is led to, moved by the shift, are those of the weighted prevalence; of the other task as well."""
    units, schema, arrays, run = ready(dated)
    dated.train.imbalance = imbalance
    numbers = runs.fitted(run, schema, arrays, dated, runs.followed(dated, units))
    for task in dated.loss:
        label, known = arrays[f"label/{task}"][run.train], arrays[f"label_mask/{task}"][run.train] > 0
        weight = numbers.get(f"{losses.ROW_WEIGHT}{task}", np.ones(len(units)))[run.train].astype(float) * known
        often = np.array([label[known & (label == side)].size for side in (0, 1)], float)
        counts = {"weights": numbers[f"class_weight/{task}"], "oversample": often.max() / often}[imbalance]
        if imbalance == "oversample" and task != "stroke":
            continue  # moves with the primary task
        seen = weight * np.where(label > 0.5, counts[1], counts[0])
        trained = np.log((seen * label).sum() / (seen * (1 - label)).sum())
        wanted = np.log((weight * label).sum() / (weight * (1 - label)).sum())
        assert trained + numbers[f"logit_shift/{task}"][0] == pytest.approx(wanted, abs=1e-5)


def test_capped_weights_are_counted_aloud(dated, caplog):
    weight = np.array([1.0, 1 / censoring.LEAST, 0.0], np.float32)
    runs.warn_of_caps({"a": {f"{losses.ROW_WEIGHT}stroke": weight}, "b": {f"{losses.ROW_WEIGHT}stroke": weight}}, ["stroke"])
    assert "stroke: the weights of 1 patients are capped at 20" in caplog.text


class Never:
    """A stop that never stops."""

    training = False

    def __call__(self):
        return False


def test_from_dates_to_the_report(dated, tmp_path):
    folder = tmp_path / "weighted"
    modes.train(dated, epath.Path(folder), Never())
    frame = predictions.read(folder / "predictions.csv")
    stroke, poor = (frame[frame["task"] == task] for task in ("stroke", "poor"))
    assert (poor["weight"] == 1).all() and stroke["label"].isna().any() and (stroke["weight"] > 1).any()
    assert ((stroke["weight"] > 0) == stroke["label"].notna()).all()
    model = json.loads((folder / "model.json").read_text())
    assert not any(name.startswith(losses.ROW_WEIGHT) for numbers in model["runs"].values() for name in numbers)
    # The comparator of a fold, fitted again from the files: weights are those of the fold's own patients.
    units = {unit.unit: unit for unit in table.read_cohort(dated, "").units}
    fold = json.loads((folder / "splits.json").read_text())["folds"][0]
    own = [units[name] for name in (*fold["train"], *fold["val"])]
    weight = censoring.row_weights(*censoring.follow_up(own, "stroke"), 365, np.arange(len(own))).astype(np.float32)
    schema, arrays = arrays_of(dated, own)
    label = np.where(arrays["label_mask/stroke"] > 0, arrays["label/stroke"], np.nan)
    again = comparators.fit(arrays["clinical"], arrays["clinical_mask"], label, np.arange(len(own)), 0.3, weight)
    assert model["fold"]["r0-f0-s0"]["comparators"]["clinical_logistic"]["stroke"][0]["coefficients"] == pytest.approx(
        again["coefficients"]
    )
    # Thresholds and recalibration too.
    val = stroke[(stroke["split"] == "val") & (stroke["model"] == "network") & (stroke["fold"] == 0) & stroke["label"].notna()]
    line = model["decisions"]["network"]["stroke"][0]
    fitted = calibration.fit_recalibration(*(val[name].to_numpy() for name in ("logit", "label")), weight=val["weight"].to_numpy())
    assert (line["intercept"], line["slope"]) == pytest.approx(fitted, rel=1e-4)
    page = (folder / "report.html").read_text()
    assert "stroke_date within 365 days of scan_date" in page and "count nothing there, and others weigh more" in page
    assert "followed for less than 365 days without stroke_date" in page


def test_new_patients_need_no_dates(dated, tmp_path):
    folder = tmp_path / "run"
    modes.train(dated, epath.Path(folder), Never())
    (tmp_path / "new.csv").write_text("patient_id,age,sex\nnew,71,F\nother,50,M\n")
    predict.predict(dated, epath.Path(folder), str(tmp_path / "new.csv"), str(tmp_path / "scores.csv"))
    scores = pd.read_csv(tmp_path / "scores.csv")
    network = scores[(scores["model"] == "network") & (scores["task"] == "stroke")]
    assert len(network) == 2 and network["probability"].between(0, 1).all() and network["label"].isna().all()


def test_an_external_cohort_has_weights_of_its_own(dated, tmp_path):
    folder = tmp_path / "run"
    modes.train(dated, epath.Path(folder), Never())
    lines = (tmp_path / "dates.csv").read_text().replace("\np", "\nnew").splitlines()
    (tmp_path / "elsewhere.csv").write_text("\n".join(lines[:61]) + "\n")
    external.validate(dated, epath.Path(folder), str(tmp_path / "elsewhere.csv"))
    (found,) = (folder / "external").iterdir()
    frame = predictions.read(found / "predictions.csv")
    network = frame[(frame["model"] == "network") & (frame["task"] == "stroke")].set_index("unit_id")
    units = table.read_cohort(dated, "").units  # the config now names the new table
    weight = censoring.row_weights(*censoring.follow_up(units, "stroke"), 365, np.arange(60))
    assert network["weight"].loc[[unit.unit for unit in units]].tolist() == pytest.approx(weight, rel=1e-6)
    assert network["weight"].sum() == pytest.approx(60, rel=1e-6)
    assert "estimated on these patients" in (found / "report.html").read_text()


def test_those_who_were_lost_are_left_out_without_weights(dated, tmp_path):
    dated.evaluate.censoring = "exclude"
    del dated.cohort.outcomes.poor, dated.loss.poor
    folder = tmp_path / "run"
    modes.train(dated, epath.Path(folder), Never())
    frame = predictions.read(folder / "predictions.csv")
    assert (frame["weight"] == 1).all() and frame["label"].notna().all()
    flow = dict(map(tuple, json.loads((folder / "cohort.json").read_text())["flow"]))
    lost = -flow["stroke: followed for less than 365 days without stroke_date"]
    assert lost > 10 and flow["used"] == PATIENTS - lost == frame["unit_id"].nunique()
    assert "are left out there" in (folder / "report.html").read_text()


def test_an_unknown_way_is_refused(dated):
    dated.evaluate.censoring = "weight"
    with pytest.raises(InputError, match=r"config\.evaluate\.censoring = 'weight' is unknown.*weights"):
        check.check(dated)
