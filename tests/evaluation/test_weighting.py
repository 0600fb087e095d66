"""Weighted rows: whole weights are repeated rows, weights of 1 are none, weight 0 is no row."""

import numpy as np
import pandas as pd
import pytest

from jaxstroke.errors import InputError
from jaxstroke.evaluation import bootstrap, calibration, comparators, curves, delong, metrics, predictions, weighting
from jaxstroke.evaluation.parts import tasks_of


def counted(frame, random):
    """The frame with whole weights by unit, 0 among them, and the frame with rows repeated as often instead."""
    units = {unit: random.integers(0, 4) for unit in frame["unit_id"].unique()}
    weighted = frame.assign(weight=frame["unit_id"].map(units).astype(float))
    copies = [weighted[weighted["weight"] > number].assign(weight=1.0) for number in range(3)]
    copies = [part.assign(unit_id=part["unit_id"] + f"-{number}") for number, part in enumerate(copies)]
    return weighted, pd.concat(copies, ignore_index=True)


def same(found, wanted, names):
    for name in names:
        assert found[name] == pytest.approx(wanted[name], abs=1e-9), name


def test_whole_weights_are_repeated_rows(simulated):
    """Patients keep their id, so that a patient's copies are drawn together; groups of equal size (ECE, plots) alone differ."""
    weighted, repeated = counted(simulated(models=("network", "column:x"), patients=90), np.random.default_rng(0))
    first, second = (metrics.compute(calibration.add_recalibrated(frame), 50) for frame in (weighted, repeated))
    for model in first["models"]:
        found, wanted = (content["models"][model]["poor"] for content in (first, second))
        same(found, wanted, ("auc_pooled", "auprc", *metrics.RATES))
        same(found["auc"], wanted["auc"], ("value",))
        assert found["auc"]["ci95"] == pytest.approx(wanted["auc"]["ci95"], abs=1e-6)  # single precision
        assert [line["value"] for line in found["thresholds"]] == pytest.approx([line["value"] for line in wanted["thresholds"]])
    found, wanted = (content["tasks"]["poor"] for content in (first, second))
    same(found, wanted, ("brier", "mae"))
    for one, other in ((found, wanted), (found["recalibrated"], wanted["recalibrated"])):
        same(one["calibration"], other["calibration"], ("slope", "intercept", "in_the_large"))
    assert found["n"] < wanted["n"] and found["patients"] == wanted["patients"]


def test_curves_of_whole_weights_are_those_of_repeated_rows(simulated):
    weighted, repeated = counted(simulated(models=("network",), patients=90), np.random.default_rng(1))
    first, second = (tasks_of(frame)["poor"].models["network"][""] for frame in (weighted, repeated))
    np.testing.assert_allclose(curves.mean_roc(first), curves.mean_roc(second), atol=1e-12)
    np.testing.assert_allclose(curves.net_benefit(first, "score"), curves.net_benefit(second, "score"), atol=1e-12)
    np.testing.assert_allclose(curves.treat_all(first), curves.treat_all(second), atol=1e-12)
    for one, other in zip(*(curves.operating_points(parts, "score", (0.2, 0.6)) for parts in (first, second)), strict=True):
        assert one == pytest.approx(other)


def test_readers_and_seeds_of_whole_weights_are_those_of_repeated_rows(simulated):
    frame = simulated(models=("network", "column:reader"), patients=90, seeds=2)
    called = frame["model"] == "column:reader"
    frame.loc[called, "probability"] = frame.loc[called].groupby("unit_id")["probability"].transform("first").gt(0.5).astype(float)
    first, second = (metrics.compute(one, 50) for one in counted(frame, np.random.default_rng(2)))
    (found,), (wanted,) = (content["readers"][0]["cuts"] for content in (first, second))
    for name in ("sensitivity", "specificity", "difference"):
        assert found[name]["value"] == pytest.approx(wanted[name]["value"], abs=1e-9)
    assert found["network_sensitivity"] == pytest.approx(wanted["network_sensitivity"], abs=1e-9)
    assert found["difference"]["ci95"] == pytest.approx(wanted["difference"]["ci95"], abs=1e-6)
    found, wanted = (content["tasks"]["poor"]["spread"] for content in (first, second))
    assert found["sd_seed"] == pytest.approx(wanted["sd_seed"]) and found["auc_ensemble"]["value"] == pytest.approx(
        wanted["auc_ensemble"]["value"]
    )


def test_the_shift_of_new_patients_with_whole_weights_is_that_of_repeated_rows(simulated):
    frame = simulated(models=("network",), folds=1)
    frame = frame[frame["split"] == "test"].assign(split="external", fold=-1)
    first, second = (metrics.compute(one, 50)["tasks"]["poor"]["in_the_large"] for one in counted(frame, np.random.default_rng(3)))
    assert first["kind"] == second["kind"]
    same(first, second, ("observed", "predicted", "shift", "brier", "brier_shifted"))
    assert first["ci95"] == pytest.approx(second["ci95"], abs=1e-6)


def test_equal_weights_change_nothing_but_the_last_digits(simulated):
    frame = simulated(patients=90)
    plain, doubled = (metrics.compute(one, 50) for one in (frame, frame.assign(weight=2.5)))
    for name in ("brier", "auprc", "auc_pooled", "sensitivity"):
        assert doubled["tasks"]["poor"][name] == pytest.approx(plain["tasks"]["poor"][name])
    pair, other = doubled["paired"][0], plain["paired"][0]
    assert pair["p_delong"] == pytest.approx(other["p_delong"]) and pair["ci95"] == pytest.approx(other["ci95"], abs=1e-6)
    assert doubled["tasks"]["poor"]["calibration"] == pytest.approx(plain["tasks"]["poor"]["calibration"], abs=1e-6)


def test_a_class_without_weight_is_a_missing_class(simulated):
    frame = simulated(patients=60)
    gone = (frame["fold"] == 0) & (frame["label"] == 1) & (frame["split"] == "test")
    numbers = metrics.compute(frame.assign(weight=np.where(gone, 0.0, 1.0)), 50)["tasks"]["poor"]
    assert numbers["skipped_folds"] == 1 and numbers["auc"]["value"] is not None
    nothing = frame.assign(weight=np.where(frame["label"] == 1, 0.0, 1.0))
    assert metrics.compute(nothing, 50)["tasks"]["poor"]["auc"]["value"] is None


def test_the_variance_with_weights_is_that_of_the_bootstrap():
    random = np.random.default_rng(3)
    label = np.repeat([1.0, 0.0], 300)
    score, weight = random.normal(size=600) + label, random.uniform(1, 6, 600)
    drawn = bootstrap.weights(label.astype(int), 3000, 0)
    resampled = bootstrap.resampled_auc(score, label, np.arange(600), drawn, weight)
    auc, influence = delong.influence(score, label, weight)
    assert resampled.mean() == pytest.approx(auc, abs=0.002)
    assert np.sqrt((influence**2).sum()) == pytest.approx(resampled.std(), rel=0.06)


def test_logistic_regression_with_whole_weights_is_that_of_repeated_rows():
    """Imputation and scaling stay those of the patients as they are."""
    random = np.random.default_rng(4)
    values = random.normal(size=(80, 2))
    label, weight = (random.random(80) < predictions.sigmoid(values[:, 0])).astype(float), random.integers(1, 4, 80)
    known, rows = np.ones_like(values), np.arange(80)
    found, plain = comparators.fit(values, known, label, rows, 0.3, weight), comparators.fit(values, known, label, rows, 0.3)
    assert all(found[name] == plain[name] for name in ("median", "mean", "scale")) and found["intercept"] != plain["intercept"]
    x, repeated = comparators.design(found, values, known > 0), np.repeat(rows, weight)
    error = (comparators.apply(found, values, known) - label)[repeated]
    # The gradient of the penalised likelihood over the repeated rows is zero; scikit-learn's C is the penalty's inverse.
    assert np.abs(x[repeated].T @ error + np.array(found["coefficients"]) / 0.3).max() < 1e-4 and abs(error.sum()) < 1e-4
    one_class = comparators.fit(values, known, np.ones(80), rows, 0.3, weight)
    assert predictions.sigmoid(one_class["intercept"]) == pytest.approx((weight.sum() + 0.5) / (weight.sum() + 1))


def test_sums_by_hand():
    weight = np.array([1.0, 2.0, 4.0])
    assert weighting.below(np.array([0, 1, 2.5]), np.array([2.0, 1, 1]), weight, "left").tolist() == [0, 0, 7]
    assert weighting.below(np.array([0, 1, 2.5]), np.array([2.0, 1, 1]), weight, "right").tolist() == [0, 6, 7]
    assert weighting.mean(np.array([1.0, 0, 0]), weight) == pytest.approx(1 / 7)
    assert weighting.effective(np.ones(9)) == 9 and weighting.effective(weight) == pytest.approx(49 / 21)


def test_a_weight_that_cannot_be_is_refused_and_an_empty_one_is_one(tmp_path, simulated):
    frame = simulated(patients=30)
    for wrong in (-1.0, np.inf, np.nan):
        with pytest.raises(InputError, match="weight of"):
            predictions.validate(frame.assign(weight=wrong))
    predictions.write(tmp_path / "predictions.csv", frame)
    text = (tmp_path / "predictions.csv").read_text().replace(",1,,", ",,,")
    assert text.count(",,,") > 10
    (tmp_path / "predictions.csv").write_text(text)
    assert (predictions.read(tmp_path / "predictions.csv")["weight"] == 1).all()
