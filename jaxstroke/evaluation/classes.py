"""Numbers of an outcome with several classes: each against the rest, and all together by the most probable one."""

import numpy as np

from jaxstroke.evaluation import calibration, kappa, ordinal
from jaxstroke.evaluation.auc import number, with_interval
from jaxstroke.evaluation.parts import Part, aligned, events, mean_defined, pooled
from jaxstroke.evaluation.predictions import SMALLEST

NOT_OF_ALL = ("slope", "intercept", "in_the_large")  # measures of calibration that only a class of its own has


def numbers(cuts: dict[str, list[Part]], found: dict, score: bool) -> dict:
    """What a task with classes has in `metrics.json` beside or instead of the numbers of every task. found: of `auc.auc_of`.

    `auc_classes`: {class: {"value", "ci95", "events"}}. `accuracy`, `balanced_accuracy` (mean over the classes of the share of their
    patients that is found), `kappa` (Cohen's) and `confusion` {"classes", "counts"} (rows true, columns predicted) are of the class with
    the highest probability; counts are means over repeats and seeds. `brier`: the squared differences summed over the classes (Brier 1950:
    0 to 2). `log_loss`: minus the logarithm of the true class's probability. `calibration_classes`: as `calibration` of a binary task;
    `ece` of `calibration` is their mean.
    """
    classes = list(cuts)
    by_class = {name: with_interval(*found[name]) | {"events": events(cuts[name])} for name in classes}
    line: dict = {"auc_classes": by_class, "confusion": {"classes": classes, "counts": None}, "brier": None}
    line |= dict.fromkeys((*PREDICTED, "log_loss", "calibration_classes"))
    joined = aligned(cuts)
    if score or joined is None:
        return line
    counts = [ordinal.confusion(labels(row).argmax(1), table(row, "score").argmax(1), len(classes)) for row in joined]
    line["confusion"]["counts"] = np.mean(counts, 0).tolist()
    line |= {name: number(mean_defined([rule(one) for one in counts])) for name, rule in PREDICTED.items()}
    again = joined if all(np.isfinite(part.recalibrated).all() for row in joined for part in row) else None
    recalibrated = None if again is None else probabilities(cuts, again, "recalibrated")
    return line | probabilities(cuts, joined, "score") | {"recalibrated": recalibrated}


PREDICTED = {  # of the counts, rows true and columns predicted
    "accuracy": lambda counts: np.trace(counts) / counts.sum(),
    "balanced_accuracy": ordinal.balanced_accuracy,
    "kappa": lambda counts: kappa.cohen(counts, kappa.apart(np.arange(len(counts)), 0)),
}


def table(row: tuple[Part, ...], column: str) -> np.ndarray:
    """`n k`: a column of the parts of all classes."""
    return np.stack([getattr(part, column) for part in row], 1)


def labels(row: tuple[Part, ...]) -> np.ndarray:
    """`n k`: 1 at the true class."""
    return table(row, "label")


def probabilities(cuts: dict[str, list[Part]], joined: list[tuple[Part, ...]], column: str) -> dict:
    """{"brier", "log_loss", "calibration", "calibration_classes"} of a column, averaged over the repeats and seeds in `joined`."""
    by_class = {name: calibration.averaged(pooled(parts), column) for name, parts in cuts.items()}
    errors = [one["ece"] for one in by_class.values() if one["ece"] is not None]
    pairs = [(table(row, column), labels(row)) for row in joined]
    return {
        "brier": number(mean_defined([((p - true) ** 2).sum(1).mean() for p, true in pairs])),
        "log_loss": number(mean_defined([-np.log(np.maximum((p * true).sum(1), SMALLEST)).mean() for p, true in pairs])),
        "calibration": dict.fromkeys(NOT_OF_ALL) | {"ece": number(mean_defined(errors))},
        "calibration_classes": by_class,
    }
