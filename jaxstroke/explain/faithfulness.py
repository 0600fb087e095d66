"""Does a map show what the network uses? Two questions that need no radiologist.

Randomised weights (Adebayo et al. 2018, arXiv 1810.03292): a network that has learned nothing must give another map. Where the rank
correlation of both is high, the map shows the image, not what was learned. Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421):
voxels set to 0 in the order of the map must change the probability sooner than in a random order, and bring it back sooner.
"""

import numpy as np
from scipy import stats

STEPS = 10  # shares of the voxels, of either curve


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's rank correlation of two maps over all voxels; None where one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(stats.spearmanr(one.ravel(), other.ravel()).statistic)


def curves(probability, image: np.ndarray, order: np.ndarray) -> dict[str, list[float]]:
    """{"deletion", "insertion"}: probability after 0, 1/10 ... all voxels are taken away from the image, or put into one of zeros.

    probability: of an image (s h w c); order: (s h w) ranks or importances, the largest first.
    """
    place = np.argsort(-order.ravel(), kind="stable")
    found = {"deletion": [], "insertion": []}
    for step in range(STEPS + 1):
        taken = np.zeros(order.size, bool)
        taken[place[: round(len(place) * step / STEPS)]] = True
        taken = taken.reshape(order.shape)[..., None]
        found["deletion"].append(float(probability(np.where(taken, 0, image))))
        found["insertion"].append(float(probability(np.where(taken, image, 0))))
    return found


def area(curve: list[float]) -> float:
    """Under a curve over shares from 0 to 1."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def words(spearman: float | None) -> str:
    """What a correlation with the map of randomised weights means."""
    if spearman is None:
        return "The maps are constant: nothing can be said of them."
    if spearman > 0.5:
        return "Randomised weights give a similar map: it shows the image more than what the network has learned. Do not trust it."
    return "Randomised weights give another map: it depends on what the network has learned."
