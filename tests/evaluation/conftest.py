"""A small cross-validation with known labels, as `predictions.csv` would hold it."""

import numpy as np
import pandas as pd
import pytest

from jaxstroke.evaluation import predictions


def simulate(patients=60, folds=3, repeats=1, seeds=1, models=("network", "clinical_logistic"), ordinal=False, seed=0) -> pd.DataFrame:
    """Each model sees the same signal with noise of its own; validation rows are the next fold's patients."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=patients)
    level = np.clip(np.round(signal + random.normal(size=patients) + 1.5), 0, 3)
    ids = np.array([f"{number:03d}" for number in range(patients)])
    blocks = []
    for repeat in range(repeats):
        fold = random.permutation(patients) % folds
        for number, model in enumerate(models):
            for run in range(seeds):
                logit = 1.5 * signal + random.normal(size=patients) * (0.3 + 0.3 * number)
                for place in range(folds):
                    for split, rows in (("test", fold == place), ("val", fold == (place + 1) % folds)):
                        where = {"repeat": repeat, "fold": place, "seed": run, "split": split, "model": model}
                        p = predictions.sigmoid(logit)
                        blocks.append(predictions.block(ids[rows], ids[rows], p[rows], level[rows] > 1, task="poor", **where))
                        for cut in (1, 2, 3) if ordinal else ():
                            p = predictions.sigmoid(logit + 3 - 1.5 * cut)
                            blocks.append(predictions.block(ids[rows], ids[rows], p[rows], level[rows], task="mrs", class_=cut, **where))
    return pd.concat(blocks, ignore_index=True)


@pytest.fixture(scope="session")
def simulated():
    return simulate
