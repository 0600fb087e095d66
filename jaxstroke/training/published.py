"""The haemorrhage paper's code to the letter, where it differs from what its authors meant (papers' section 3.6): `train.as_published`.

1. Every training scan is enlarged by `augment.zoom`; the probability that was asked for does nothing in the transform that was used.
2. An epoch's first update adds one micro-batch fewer than the others, since a counter begins at 1; gradients left over at its end are lost.
3. A micro-batch's loss is its mean over `accumulation`, however many rows it has and however many micro-batches an update adds.
4. The plateau of the learning rate counts updates instead of epochs.
5. Logits are not moved back to the prevalence of the patients after oversampling.
"""

import numpy as np

from jaxstroke import config_json
from jaxstroke.feed import plan
from jaxstroke.training import losses, optimizer


def augment(config):
    """`train.augment` with every patient enlarged, where the code is followed."""
    if not config.train.as_published:
        return config.train.augment
    changed = config_json.copied(config).train.augment
    changed.zoom_share = 1.0
    return changed


def grouped(rows: np.ndarray, batch: int, accumulation: int) -> np.ndarray:
    """An epoch's rows in their order, `updates accumulation*batch`, padded with -1: the first micro-batch empty, the last few dropped."""
    micros = np.concatenate([np.full((1, batch), -1, np.int32), plan.padded(rows, batch)])
    updates = max(1, len(micros) // accumulation)
    return plan.padded(micros[: updates * accumulation].reshape(-1), batch * accumulation)


def share(config) -> int:
    """What a micro-batch's own denominator is multiplied with: 1, or the number of micro-batches that an update is meant to have."""
    return config.train.accumulation if config.train.as_published else 1


def plateau(config, state: dict, sums: dict) -> dict:
    """The plateau after an update: as it was, or moved by the update's loss where the code is followed."""
    if not config.train.as_published:
        return state
    return optimizer.plateau(config.optimizer, state, sum(losses.ratio(*pair) for pair in sums.values()))
