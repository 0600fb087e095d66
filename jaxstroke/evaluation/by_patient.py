"""Rows of one patient as one: two eyes or several visits of a patient are scored together (`evaluate.per` = patient).

Only predictions are averaged, of each network by itself and before anything is fitted on them or judged: recalibration, thresholds and
metrics are then of patients. Networks, fusion and comparators have learned from the table's rows.

    logit        mean over the patient's rows, of the log-odds that `predictions.csv` would hold; the probability follows from it. Of
                 several classes the mean of log-probabilities, then of a sum of 1 (both are normalised geometric means)
    probability  of a score, which has no log-odds: its mean
    label        the highest of those that are known: the outcome is there if any row has it, of levels the highest. Of classes all rows
                 must say the same, which the cohort's table is held to
    weight       mean over the rows with that label
    missing      what any row lacks
    unit_id      the patient's

A model's mean is over the rows that it has (a module says nothing of a row without its image); label, weight and what is missing are of
all rows of the patient, whatever the model. A patient with one row keeps every number, to the last bit.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from jaxstroke.evaluation import predictions

PLACE = ["patient_id", "repeat", "fold", "seed", "split", "task", "class"]


def aggregate(frame: pd.DataFrame, classes: Collection[str] = ()) -> pd.DataFrame:
    """One row a patient, repeat, fold, seed, split, task, class and model, in the order of their first rows; `recalibrated` is empty.

    frame: rows of `predictions.csv`, not yet recalibrated. classes: tasks of which each patient has one of several classes.
    """
    group = frame.groupby([*PLACE, "model"], sort=False, dropna=False).ngroup().to_numpy()
    count = np.bincount(group)
    first = np.unique(group, return_index=True)[1]
    merged = frame.iloc[first].reset_index(drop=True)
    said = of_patients(frame).loc[pd.MultiIndex.from_frame(merged[PLACE])]
    several = merged["task"].isin(list(classes)).to_numpy()
    probability, logit = (mean(frame[name].to_numpy(), group, count) for name in ("probability", "logit"))
    ranks = np.isnan(logit)
    found = np.where(ranks, probability, predictions.sigmoid(logit))
    if several.any():
        found[several] = normalised(merged[several], mean(logarithm(frame["probability"].to_numpy()), group, count)[several])
        logit = np.where(several & ~ranks, predictions.log_odds(found), logit)
    alone = count == 1
    found, logit = (np.where(alone, merged[name].to_numpy(), new) for name, new in (("probability", found), ("logit", logit)))
    texts = lacking(frame)
    return merged.assign(
        unit_id=merged["patient_id"], probability=found, logit=logit, label=said["label"].to_numpy(), weight=said["weight"].to_numpy(),
        missing=[texts.get(patient, own) for patient, own in zip(merged["patient_id"], merged["missing"], strict=True)],
        recalibrated=np.nan,
    )  # fmt: skip


def mean(values: np.ndarray, group: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Means of groups; NaN where a value is: what a network that diverged says of one row is not passed over."""
    return np.bincount(group, values) / count


def logarithm(probability: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probability, predictions.SMALLEST))


def normalised(rows: pd.DataFrame, log_probability: np.ndarray) -> np.ndarray:
    """Probabilities of the classes' rows, of a sum of 1 for each patient and model."""
    key = [name for name in (*PLACE, "model") if name != "class"]
    group = rows.groupby(key, sort=False, dropna=False).ngroup().to_numpy()
    values = np.exp(log_probability)
    return values / np.bincount(group, values)[group]


def of_patients(frame: pd.DataFrame) -> pd.DataFrame:
    """label and weight, by `PLACE`: of all rows of a patient, each once, whichever models have them."""
    rows = frame.drop_duplicates(["unit_id", *PLACE])
    group = rows.groupby(PLACE, sort=False, dropna=False).ngroup().to_numpy()
    label = rows["label"].groupby(group, sort=True).max().to_numpy()
    own = rows["label"].to_numpy()
    decides = (own == label[group]) | np.isnan(label[group])
    weight = np.bincount(group, rows["weight"].to_numpy() * decides) / np.bincount(group, decides)
    place = rows.iloc[np.unique(group, return_index=True)[1]][PLACE]
    return pd.DataFrame({"label": label, "weight": weight}, index=pd.MultiIndex.from_frame(place))


def lacking(frame: pd.DataFrame) -> dict[str, str]:
    """{patient of several rows: what any of them lacks, joined by "|"}."""
    rows = frame.drop_duplicates(["patient_id", "unit_id"])
    rows = rows[rows["patient_id"].duplicated(keep=False)]
    cells = rows.groupby("patient_id", sort=False)["missing"].agg("|".join)
    return {patient: "|".join(dict.fromkeys(name for name in cell.split("|") if name)) for patient, cell in cells.items()}
