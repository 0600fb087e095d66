import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from jaxstroke.evaluation import bootstrap, curves
from jaxstroke.evaluation.parts import Part


def test_weights_keep_every_stratum_and_the_seed():
    stratum = np.array([0] * 7 + [1] * 3 + [2])
    drawn = bootstrap.weights(stratum, 50, 1)
    for value, size in ((0, 7), (1, 3), (2, 1)):
        assert (drawn[stratum == value].sum(0) == size).all()
    assert (drawn == bootstrap.weights(stratum, 50, 1)).all()
    assert (drawn != bootstrap.weights(stratum, 50, 2)).any()


@pytest.mark.parametrize("cells", [100, 2_000_000])
def test_weighted_auc_is_the_auc_of_the_drawn_rows(monkeypatch, cells):
    monkeypatch.setattr(bootstrap, "CELLS", cells)  # also in blocks
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 40)
    score = (random.normal(size=40) + label).round(1)
    patient = np.repeat(np.arange(20), 2)  # two rows a patient
    drawn = bootstrap.weights(np.zeros(20, int), 30, 0)
    found = bootstrap.resampled_auc(score, label, patient, drawn)
    for number in range(30):
        rows = np.repeat(np.arange(40), drawn[patient, number])
        assert found[number] == pytest.approx(roc_auc_score(label[rows], score[rows]))


@pytest.mark.parametrize("cells", [100, 2_000_000])
def test_sensitivity_in_a_resample_is_that_of_the_drawn_rows(monkeypatch, cells):
    monkeypatch.setattr(bootstrap, "CELLS", cells)
    random = np.random.default_rng(1)
    label = random.integers(0, 2, 40).astype(float)
    score = (random.normal(size=40) + label).round(0)
    patient = np.repeat(np.arange(20), 2)
    drawn = bootstrap.weights(np.zeros(20, int), 30, 0)
    rates = np.vstack([random.random(30), np.zeros(30), np.ones(30)])
    weight = random.uniform(0.5, 3, 40)
    found = bootstrap.resampled_sensitivity(score, label, patient, drawn, rates, weight)
    for number in range(30):
        rows = np.repeat(np.arange(40), drawn[patient, number])
        part = Part(0, 0, 0, rows, rows, score[rows], label[rows], rows, weight[rows])
        np.testing.assert_allclose(found[:, number], curves.roc(part, rates[:, number]), atol=1e-12)


def test_a_resample_without_a_class_is_nan():
    found = bootstrap.resampled_auc(np.array([0.1, 0.9]), np.array([0, 1]), np.arange(2), np.array([[2, 1], [0, 1]], np.uint8))
    assert np.isnan(found[0]) and found[1] == 1
    weights = np.array([[2, 1], [0, 1]], np.uint8)
    found = bootstrap.resampled_sensitivity(np.array([0.1, 0.9]), np.array([0, 1]), np.arange(2), weights, np.zeros((1, 2)))
    assert np.isnan(found[0, 0]) and found[0, 1] == 1


def test_interval_covers_the_true_auc():
    random = np.random.default_rng(11)
    label = (np.arange(150) < 60).astype(float)
    truth = norm.cdf(1 / np.sqrt(2))
    inside = 0
    for trial in range(200):
        low, high = bootstrap.auc_interval(random.normal(size=150) + label, label, 300, trial)
        inside += low <= truth <= high
    assert 0.90 <= inside / 200 <= 0.985  # 95 % nominal, binomial spread of 200 trials 1.5 %


def test_no_interval_without_a_class():
    assert bootstrap.auc_interval(np.arange(4.0), np.zeros(4)) is None
