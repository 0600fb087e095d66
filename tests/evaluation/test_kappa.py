"""Kappa: against scikit-learn, in resamples, and where it has no meaning."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from jaxstroke.evaluation import bootstrap, kappa, ordinal


def grades(readers=2, units=80, seed=0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, units)
    return np.stack([np.clip(truth + random.integers(-1, 2, units), 0, 3) for _ in range(readers)])


@pytest.mark.parametrize(("power", "name"), [(0, None), (1, "linear"), (2, "quadratic")])
def test_cohen_equals_scikit_learn(power, name):
    first, second = grades()
    found = kappa.cohen(ordinal.confusion(first, second, 4), kappa.apart(np.arange(4), power))
    assert found == pytest.approx(cohen_kappa_score(first, second, weights=name))


def test_a_grade_that_nobody_gives_changes_nothing():
    first, second = grades()
    short, long = (kappa.cohen(ordinal.confusion(first, second, levels), kappa.apart(np.arange(levels), 2)) for levels in (4, 7))
    assert short == pytest.approx(long)


def test_fleiss_of_two_readers_is_scotts_pi():
    """Chance by the grades of both together (Scott 1955)."""
    first, second = grades()
    share = np.bincount(np.concatenate([first, second]), minlength=4) / 160
    chance = (share**2).sum()
    counts = np.stack([(np.stack([first, second]) == level).sum(0) for level in range(4)], 1)
    assert kappa.fleiss(counts) == pytest.approx(((first == second).mean() - chance) / (1 - chance))


def test_weights_of_a_resample_are_repeated_units():
    given = grades(3)
    drawn = bootstrap.weights(np.zeros(80, int), 6, 0)
    counts = np.stack([(given == level).sum(0) for level in range(4)], 1)
    found = kappa.fleiss(counts, drawn)
    pairs = np.stack([ordinal.confusion(*(np.repeat(one, drawn[:, place]) for one in given[:2]), 4) for place in range(6)], -1)
    both = kappa.cohen(pairs, kappa.apart(np.arange(4), 2))
    for place in range(6):
        assert found[place] == pytest.approx(kappa.fleiss(np.repeat(counts, drawn[:, place], 0)))
        assert both[place] == pytest.approx(kappa.cohen(pairs[..., place], kappa.apart(np.arange(4), 2)))


def test_one_grade_for_all_has_no_kappa():
    assert np.isnan(kappa.cohen(np.diag([9.0, 0]), kappa.apart(np.arange(2), 0)))
    assert np.isnan(kappa.fleiss(np.array([[3, 0], [3, 0]])))


def test_a_resample_without_a_unit_has_no_kappa_and_warns_of_nothing():
    """Few units that all readers read, of a large stratum, may be drawn not at all."""
    drawn = np.array([[0, 1], [0, 1], [0, 2]], np.uint8)
    found = kappa.fleiss(np.array([[3, 0], [0, 3], [2, 1]]), drawn)
    assert np.isnan(found[0]) and np.isfinite(found[1])
    cells = np.eye(4)[[0, 3, 1]].T @ drawn
    assert np.isnan(kappa.cohen(cells.reshape(2, 2, 2), kappa.apart(np.arange(2), 0))[0])
