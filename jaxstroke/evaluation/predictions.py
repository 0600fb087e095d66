"""`predictions.csv`: the one file between networks and judgement. Every metric, interval and plot is recomputed from it.

Long form, one row a (unit, repeat, fold, seed, split, task, class, model):

patient_id, unit_id   ids of the table, verbatim ("007" stays "007"); a unit is a (patient, study), or where those of a
                      patient are scored as one (`by_patient`) the patient
repeat, fold, seed    integers: which outer split and which network
split                 val (thresholds and recalibration come from it) | test | external | new
task, class           class is empty for a binary task, k = 1..K for an ordinal one, meaning P(level >= k), and of several classes the name
model                 network | rule:NAME | module:NAME | clinical_logistic | clinical_volume_logistic
                      | clinical_territory_logistic | column:NAME
probability           the model's own; for a score (`rule:scalar...`, `column:...`) any number that ranks
logit                 its log-odds, clipped; empty for a score
label                 0 or 1, or the level 0..K of an ordinal task (the same on all its class rows); of several classes 1 on the row of
                      the class that it is; empty where unknown
weight                what the row counts in fits and metrics: 1, but where others stand in for patients who were lost before a horizon;
                      0 where the patient was lost; empty counts as 1
missing               absent modules and columns, joined by "|"
recalibrated          probability after a two-parameter logistic fitted on the val rows of the same repeat, fold, seed; of several classes
                      one for each against the rest, then of a sum of 1; empty for ordinal tasks
"""

import numpy as np
import pandas as pd
from etils import epath

from jaxstroke.errors import InputError, nearest
from jaxstroke.outcomes import namespace

COLUMNS = (
    "patient_id", "unit_id", "repeat", "fold", "seed", "split", "task", "class", "model",
    "probability", "logit", "label", "weight", "missing", "recalibrated",
)  # fmt: skip
REGRESSIONS = ("clinical_logistic", "clinical_volume_logistic", "clinical_territory_logistic")  # what any network must beat
TEXT = ("patient_id", "unit_id", "split", "task", "class", "model", "missing")
WHOLE = ("repeat", "fold", "seed")
NUMBERS = ("probability", "logit", "label", "weight", "recalibrated")
SPLITS = ("val", "test", "external", "new")
KEY = ["unit_id", "repeat", "fold", "seed", "split", "task", "class", "model"]
SCORES = ("rule:scalar", "column:")  # models whose numbers rank patients but are no probabilities
SMALLEST = 1e-6  # probabilities are clipped to [SMALLEST, 1 - SMALLEST] before their log-odds are taken


def log_odds(probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of probabilities clipped away from 0 and 1; NaN stays NaN."""
    clipped = np.clip(np.asarray(probability, np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(clipped) - np.log1p(-clipped)


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logit)) without overflow, in the library of its array."""
    xp = namespace(logit)
    return 0.5 * (1 + xp.tanh(0.5 * xp.asarray(logit, dtype=float)))


def block(
    patient_id, unit_id, probability, label, *, repeat: int, fold: int, seed: int, split: str, task: str, model: str,
    class_: str = "", weight=1.0, missing="", score: bool | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Rows of one model on n units, in the columns of the file; concatenate the blocks and `write` them.

    patient_id, unit_id: n strings. probability: n. label: n, NaN where unknown. weight, missing: n or one value.
    score: whether the numbers only rank (logit stays empty); None decides by the model's name. Pass True for a
    `network` whose fusion is `scalar`.
    """
    if score is None:
        score = model.startswith(SCORES)
    probability = np.asarray(probability, np.float64)
    columns = {
        "patient_id": np.asarray(patient_id, object), "unit_id": np.asarray(unit_id, object),
        "repeat": repeat, "fold": fold, "seed": seed, "split": split, "task": task, "class": str(class_), "model": model,
        "probability": probability, "logit": np.nan if score else log_odds(probability),
        "label": np.asarray(label, np.float64), "weight": weight, "missing": missing, "recalibrated": np.nan,
    }  # fmt: skip
    return typed(pd.DataFrame(columns, columns=list(COLUMNS)))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Text columns as str, numbers as float64, counts as int64; a number that is none is an InputError naming the column."""
    kinds = dict.fromkeys(TEXT, "str") | dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(WHOLE, "int64")
    columns = {}
    for name in COLUMNS:
        try:
            columns[name] = frame[name].astype(kinds[name])
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"predictions: column '{name}' holds a value that is no number ({error}); write the file again") from None
    return pd.DataFrame(columns)


def rank_only(frame: pd.DataFrame) -> set[str]:
    """Models whose numbers only rank: scores by name, and models of which no row has a log-odds (a network fused by `scalar`)."""
    has_logit = frame["logit"].notna().groupby(frame["model"]).any()
    return {model for model, known in has_logit.items() if not known or model.startswith(SCORES)}


def kind_of(rows: pd.DataFrame) -> str:
    """What the labelled rows of one task are: binary | ordinal | classes, as `outcomes.KINDS` has them.

    An ordinal label is the same on all rows of a unit; of several classes one row has the 1. InputError where it is neither.
    """
    if (rows["class"] == "").all():
        return "binary"
    rows = rows[(rows["class"] != "") & (rows["model"] == rows["model"].iloc[-1])]
    labels = rows.groupby([name for name in KEY if name != "class"])["label"]
    if (labels.max() == labels.min()).all():
        return "ordinal"
    if not ((labels.max() == 1) & (labels.sum() == 1)).all():
        raise InputError(f"predictions: the labels of task '{rows['task'].iloc[0]}' are neither one level a unit nor 1 in one class alone")
    return "classes"


def write(path: epath.PathLike, frame: pd.DataFrame):
    """Write whole or not at all (a kill leaves the old file), checked first; floats keep nine digits."""
    path = epath.Path(path)
    frame = typed(validate(frame))
    temporary = path.parent / f".{path.name}.partial"
    with temporary.open("w") as file:
        frame.to_csv(file, index=False, float_format="%.9g", lineterminator="\n")
    temporary.replace(path)


def read(path: epath.PathLike) -> pd.DataFrame:
    """The file as a checked frame with the columns `COLUMNS`; ids verbatim. InputError where it cannot be used."""
    path = epath.Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: run --mode evaluate with this workdir first")
    try:
        with path.open("r") as file:
            # Everything as text first: an id "007" or "NA" must not become a number or a missing value.
            frame = pd.read_csv(file, dtype="str", keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable CSV ({error}): run --mode evaluate again") from None
    if "recalibrated" not in frame:
        frame["recalibrated"] = ""
    check_columns(frame)
    frame = frame.assign(weight=frame["weight"].replace("", "1"))
    return validate(typed(frame.assign(**{name: frame[name].replace("", "nan") for name in NUMBERS})))


def check_columns(frame: pd.DataFrame):
    for name in COLUMNS:
        if name not in frame:
            raise InputError(f"predictions: column '{name}' is missing.{nearest(name, frame.columns)}")


def validate(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame itself, or an InputError naming the column, model and unit that cannot be right."""
    check_columns(frame)
    for split in frame["split"].unique():
        if split not in SPLITS:
            raise InputError(f"predictions: unknown split '{split}'.{nearest(split, SPLITS)}")
    for name in ("patient_id", "unit_id", "task", "model"):
        empty = frame[name].isna() | (frame[name].astype("str") == "")
        if empty.any():
            raise InputError(f"predictions: column '{name}' is empty in row {int(np.flatnonzero(empty)[0]) + 1}")
    twice = frame.duplicated(KEY)
    if twice.any():
        raise InputError(f"predictions: the row ({describe(frame, twice)}) is there twice; keep one of them")
    scores = frame["model"].isin(rank_only(frame))
    p = frame["probability"]
    outside = ~scores & ~((p >= 0) & (p <= 1))
    if outside.any():
        raise InputError(f"predictions: probability of ({describe(frame, outside)}) is not within 0 and 1: the network may have diverged")
    if np.isinf(p[scores]).any():
        raise InputError(f"predictions: the score of ({describe(frame, scores & np.isinf(p))}) is infinite")
    wrong = frame["label"].notna() & ((frame["label"] < 0) | (frame["label"] % 1 != 0))
    wrong |= frame["label"].gt(1) & (frame["class"] == "")
    if wrong.any():
        raise InputError(f"predictions: label of ({describe(frame, wrong)}) is neither 0 or 1 nor a level of an ordinal task")
    wrong = ~(frame["weight"] >= 0) | np.isinf(frame["weight"])
    if wrong.any():
        raise InputError(f"predictions: weight of ({describe(frame, wrong)}) is no number from 0 up")
    return frame


def describe(frame: pd.DataFrame, rows: pd.Series) -> str:
    """The first of the rows, in words, without any value of the patient."""
    first = frame.loc[rows, KEY].iloc[0]
    return ", ".join(f"{name} {value}" for name, value in first.items() if value != "")
