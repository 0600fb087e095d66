"""Agreement of levels: against scikit-learn, and against every path there is."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from jaxstroke.evaluation import ordinal


def monotone_paths(levels: int):
    """Every path of steps down, right or both from the first cell to the last."""

    def on(path):
        row, column = path[-1]
        if (row, column) == (levels - 1, levels - 1):
            yield path
        for down, right in ((1, 0), (0, 1), (1, 1)):
            if row + down < levels and column + right < levels:
                yield from on([*path, (row + down, column + right)])

    return list(on([(0, 0)]))


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_uoc_is_the_least_cost_of_all_paths(levels):
    counts = np.random.default_rng(levels).integers(0, 9, (levels, levels)).astype(float)
    counts[1] = counts[1] if levels == 2 else 0  # a level nobody has
    shares = counts / np.maximum(counts.sum(1), 1)[:, None]
    present = (counts.sum(1) > 0).sum()
    distance = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels)))
    whole = (shares * distance).sum() + present
    least = []
    for beta in ordinal.BETAS:
        costs = [sum(beta / present * shares[at] * distance[at] - shares[at] / whole for at in path) for path in monotone_paths(levels)]
        least.append(1 + min(costs))
    area = sum((a + b) / 2 for a, b in itertools.pairwise(least)) / (len(least) - 1)
    assert ordinal.uoc_index(counts) == pytest.approx(area, rel=1e-9)


def test_uoc_orders_errors_by_their_distance_and_counts_rare_levels_alike():
    perfect, near = np.diag([50.0, 5, 20]), np.array([[40.0, 10, 0], [0, 5, 0], [0, 0, 20]])
    far = np.array([[40.0, 0, 10], [0, 5, 0], [0, 0, 20]])
    assert ordinal.uoc_index(perfect) == pytest.approx(0, abs=1e-12)
    assert 0 < ordinal.uoc_index(near) < ordinal.uoc_index(far) < 1
    assert ordinal.uoc_index(near) == pytest.approx(ordinal.uoc_index(near * np.array([[1], [7], [3]])))
    assert math.isnan(ordinal.uoc_index(np.zeros((3, 3))))


def test_balanced_accuracy_equals_scikit_learns():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 3, 80), rng.integers(0, 3, 80)
    assert ordinal.balanced_accuracy(ordinal.confusion(true, predicted, 4)) == pytest.approx(balanced_accuracy_score(true, predicted))
