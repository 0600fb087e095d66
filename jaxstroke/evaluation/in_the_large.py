"""Calibration in the large of new patients: the one shift of the log-odds that makes the mean probability the observed share.

Reported and never applied: numbers fitted on the new patients would no longer validate anything. Source: Van Calster et al. 2019, BMC
Medicine 17:230.
"""

import numpy as np

from jaxstroke.evaluation import bootstrap, calibration, predictions, weighting
from jaxstroke.evaluation.parts import Part, Task


def compute(task: Task, model: str, resamples: int, seed: int) -> dict | None:
    """What would make the mean probability that of the outcome, None for levels and scores.

    {"kind", "observed", "predicted", "shift", "ci95", "brier", "brier_shifted"}: kind: whether the probabilities are recalibrated (on
    training's validation patients) or raw. shift: of the log-odds, its interval by resampled patients.
    """
    cuts = task.models[model]
    if list(cuts) != [""] or len(cuts[""]) != 1:
        return None
    (part,) = cuts[""]
    drawn = bootstrap.weights(np.zeros(len(task.stratum), int), resamples, seed)  # whatever the outcome: its share is what is estimated
    again = bool(np.isfinite(part.recalibrated).all())
    probability = part.recalibrated if again else part.score
    if len(np.unique(part.label)) < 2 or not ((probability >= 0) & (probability <= 1)).all():
        return None
    logit = predictions.log_odds(probability)
    shift = calibration.in_the_large(logit, part.label, part.weight)
    moved = predictions.sigmoid(logit + shift)
    before, after = (float(weighting.mean((values - part.label) ** 2, part.weight)) for values in (probability, moved))
    observed, predicted = (float(weighting.mean(values, part.weight)) for values in (part.label, probability))
    return {
        "kind": "recalibrated" if again else "raw", "observed": observed, "predicted": predicted,
        "shift": shift, "ci95": bootstrap.interval(resampled_shift(logit, part, drawn)),
        "brier": before, "brier_shifted": after,
    }  # fmt: skip


def resampled_shift(logit: np.ndarray, part: Part, drawn: np.ndarray) -> np.ndarray:
    """`resamples`: the shift in every resample of the patients, by Newton's method on all of them at once."""
    weight = drawn[part.patient] * part.weight[:, None]  # n r
    shift, wanted, total = np.zeros(weight.shape[1]), part.label @ weight, weight.sum(0)
    for _ in range(50):
        p = predictions.sigmoid(logit[:, None] + shift)
        slope = (weight * p * (1 - p)).sum(0)
        step = ((weight * p).sum(0) - wanted) / np.maximum(slope, 1e-12)
        shift = np.clip(shift - np.clip(step, -2, 2), -40, 40)
        if np.abs(step).max() < 1e-9:
            break
    return np.where((wanted > 0) & (wanted < total), shift, np.nan)
