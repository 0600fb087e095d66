"""What the report says otherwise of one event, of levels and of classes: its words, the tiles, columns of a table, and each class."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxstroke.evaluation.wording import few, kind_of, share, show, span


@dataclass(frozen=True)
class Words:
    """Of one kind of task. measure: what the headline is; article: the same in a sentence; pair: which two patients an AUC is of, and over
    what it is a mean; tiles: (name, value, explanation) of the task's numbers; columns: of the table of models: title, key in a row of it,
    whether only a wide page shows it; performance: how it is measured, for a methods section; gives: what a prediction is.
    """

    measure: str
    article: str
    pair: tuple[str, str]
    tiles: Callable
    columns: tuple[tuple[str, str, bool], ...]
    performance: str
    gives: str = "The probability of the outcome, or of reaching each level."


def tiles(numbers: dict) -> list[tuple[str, str, str]]:
    """(name, value, explanation) of the numbers beside the AUC."""
    again = numbers["recalibrated"]
    beside = f"recalibrated {show(again['brier'])}" if again else "squared error, lower is better"
    return [("Brier score", show(numbers["brier"]), beside), *words(numbers).tiles(numbers)]


def tiles_of_event(numbers: dict) -> list[tuple[str, str, str]]:
    again, slope = numbers["recalibrated"], numbers["calibration"]["slope"]
    return [
        ("Calibration slope", show(slope, 2), f"recalibrated {show(again['calibration']['slope'], 2)}" if again else "1 is calibrated"),
        ("Sensitivity", show(numbers["sensitivity"], 2), "at thresholds from validation"),
        ("Specificity", show(numbers["specificity"], 2), "at the same thresholds"),
    ]


def tiles_of_levels(numbers: dict) -> list[tuple[str, str, str]]:
    return [("Weighted kappa", show(numbers["qwk"]), "agreement of levels"), ("Mean error", show(numbers["mae"], 2), "levels")]


def tiles_of_classes(numbers: dict) -> list[tuple[str, str, str]]:
    return [
        ("Log loss", show(numbers["log_loss"]), "of the true class, lower is better"),
        ("Balanced accuracy", show(numbers["balanced_accuracy"], 2), "of the most probable class"),
        ("Kappa", show(numbers["kappa"], 2), "agreement beyond chance"),
    ]


WORDS = {
    "binary": Words(
        measure="AUC", article="an AUC", pair=("one with the outcome and one without", ""), tiles=tiles_of_event,
        columns=(("Slope", "slope", False), ("ECE", "ece", True), ("AUC pooled", "pooled", True), ("AUPRC", "auprc", True)),
        performance="Brier score, calibration slope and curve, net benefit, sensitivity, specificity, predictive values",
    ),
    "ordinal": Words(
        measure="AUC", article="an AUC", pair=("one above and one below a cut-off", ""), tiles=tiles_of_levels,
        columns=(("Kappa", "qwk", False), ("Error", "mae", False)),
        performance="at each cut-off and their mean; ranked probability score, weighted kappa, mean error",
    ),
    "classes": Words(
        measure="Mean AUC of the classes", article="a mean AUC of the classes",
        pair=("one of a class and one of another", ", on average over the classes"), tiles=tiles_of_classes,
        columns=(("Kappa", "kappa", False), ("Balanced %", "balanced", False), ("Log loss", "log_loss", True), ("ECE", "ece", True)),
        performance="of each class against the rest and their mean; Brier score over the classes, log loss, calibration of each class; of "
        "the most probable class kappa and balanced accuracy",
        gives="The probability of each class; the most probable one is the prediction.",
    ),
}  # fmt: skip


def words(numbers: dict) -> Words:
    """Those of the kind of a task, by its numbers in `metrics.json`."""
    return WORDS[kind_of(numbers)]


def class_rows(numbers: dict) -> list[dict]:
    """Each class against the rest, and how often the most probable class is it; none without classes."""
    return [class_row(numbers, place, name) for place, name in enumerate(numbers.get("auc_classes", {}))]


def class_row(numbers: dict, place: int, name: str) -> dict:
    """found: share of the class's patients who are predicted so; right: share of those predicted so who are."""
    auc, counts = numbers["auc_classes"][name], numbers["confusion"]["counts"]
    found = right = None
    if counts is not None:
        true, said = sum(counts[place]), sum(row[place] for row in counts)
        found, right = (counts[place][place] / total if total else None for total in (true, said))
    again = numbers["recalibrated"] or {}
    slopes = [(of or {}).get(name, {}).get("slope") for of in (numbers["calibration_classes"], again.get("calibration_classes"))]
    return {
        "name": name, "events": few(auc["events"]), "auc": show(auc["value"]), "ci95": span(auc["ci95"]), "found": share(found),
        "right": share(right), "slope": show(slopes[0], 2), "slope_again": show(slopes[1], 2),
    }  # fmt: skip


def confusion_rows(numbers: dict) -> dict:
    """{"names", "rows": [(true class, counts by predicted class)]}, a few patients hidden; empty without classes."""
    confusion = numbers.get("confusion")
    if not confusion or confusion["counts"] is None:
        return {}
    cells = [[few(round(count)) for count in row] for row in confusion["counts"]]
    return {"names": confusion["classes"], "rows": list(zip(confusion["classes"], cells, strict=True))}
