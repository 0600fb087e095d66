import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxstroke.evaluation import bootstrap, delong


def brute_covariance(scores, label):
    """DeLong's covariance as the paper writes it: kernel matrices and sample covariances of the structural components."""
    cases, controls = scores[:, label > 0.5], scores[:, label < 0.5]
    kernel = (cases[:, :, None] > controls[:, None, :]) + 0.5 * (cases[:, :, None] == controls[:, None, :])
    return np.cov(kernel.mean(2)) / cases.shape[1] + np.cov(kernel.mean(1)) / controls.shape[1]


def test_worked_example():
    # Cases 0.8, 0.5, 0.4; controls 0.1, 0.5, 0.3. Placements of the cases: 1, 2.5/3, 2/3 with variance 1/36; of the controls: 1, 1/2, 1
    # with variance 1/12. AUC 7.5/9, variance (1/36 + 1/12) / 3 = 1/27.
    score, label = np.array([0.8, 0.5, 0.4, 0.1, 0.5, 0.3]), np.array([1, 1, 1, 0, 0, 0])
    auc, values = delong.influence(score, label)
    assert auc == pytest.approx(7.5 / 9)
    assert (values**2).sum() == pytest.approx(1 / 27)


@pytest.mark.parametrize("rounded", [False, True])
def test_covariance_is_the_papers(rounded):
    random = np.random.default_rng(3)
    label = (random.random(60) < 0.4).astype(float)
    scores = random.normal(size=(3, 60)) + label
    scores = scores.round(0) if rounded else scores  # many ties
    aucs, matrix = delong.covariance(scores, label)
    np.testing.assert_allclose(aucs, [roc_auc_score(label, score) for score in scores], atol=1e-12)
    np.testing.assert_allclose(matrix, brute_covariance(scores, label), atol=1e-12)


def test_agrees_with_the_bootstrap():
    random = np.random.default_rng(4)
    label = (np.arange(400) < 160).astype(float)
    first = random.normal(size=400) + label
    second = 0.7 * first + random.normal(size=400) * 0.7
    drawn = bootstrap.weights(label.astype(int), 2000, 0)
    rows = np.arange(400)
    difference = bootstrap.resampled_auc(first, label, rows, drawn) - bootstrap.resampled_auc(second, label, rows, drawn)
    assert math.sqrt(delong.compare(first, second, label)["variance"]) == pytest.approx(difference.std(), rel=0.08)


def test_a_model_against_itself():
    random = np.random.default_rng(5)
    label, score = random.integers(0, 2, 50), random.normal(size=50)
    assert delong.compare(score, score, label) == {"auc_difference": 0.0, "variance": 0.0, "p": 1.0}


def test_p_is_uniform_without_a_difference():
    random = np.random.default_rng(6)
    label = (np.arange(100) < 50).astype(float)
    ps = [delong.compare(*(random.normal(size=(2, 100)) + label), label)["p"] for _ in range(400)]
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.06)


def test_one_class_is_nan():
    auc, values = delong.influence(np.array([0.1, 0.2]), np.ones(2))
    assert math.isnan(auc) and np.isnan(values).all()
    assert math.isnan(delong.p_value(0.1, math.nan))
    assert math.isnan(delong.p_value(0.1, 0.0))
