"""The files of a workdir that a report is made of, each checked as it is read: what is damaged is an InputError with the cure.

Read: `predictions.csv` and `run.json`; where they are there, `metrics.json`, `metrics.jsonl`, `cohort.json`, `splits.json`,
`prepare_report.csv`, `external.json` and `explain/explain.json`.
"""

import hashlib
import json
from dataclasses import dataclass

import pandas as pd
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, explained, new_patients, patients, predictions


@dataclass(frozen=True)
class Files:
    """What was read of a workdir. frame: predictions; run, cohort, new, folds: of `run.json`, `cohort.json`, `external.json` and
    `splits.json`, the last three empty where there is none; learning: the lines of `metrics.jsonl`; failures: of `prepare_report.csv`;
    maps: of `explain.json`; external: `metrics.json` of every external validation; digest: of `predictions.csv`.
    """

    frame: pd.DataFrame
    run: dict
    cohort: dict
    learning: str
    failures: list[dict]
    maps: list[dict]
    new: dict
    folds: list
    external: list[dict]
    digest: str


def read(workdir: epath.Path) -> Files:
    """Everything but `metrics.json`."""
    splits = workdir / "splits.json"
    return Files(
        frame=read_frame(workdir),
        run=read_run(workdir),
        cohort=read_cohort(workdir),
        learning=read_text(workdir / "metrics.jsonl"),
        failures=read_failures(workdir),
        maps=explained.read(workdir / "explain" / "explain.json"),
        new=new_patients.read(workdir),
        folds=read_json(splits).get("folds") if splits.exists() else [],
        external=list(read_external(workdir).values()),
        digest=hashlib.sha256((workdir / "predictions.csv").read_bytes()).hexdigest(),
    )


def read_frame(workdir: epath.Path) -> pd.DataFrame:
    """The predictions, recalibrated here where the file has none."""
    frame = predictions.read(workdir / "predictions.csv")
    return calibration.add_recalibrated(frame) if frame["recalibrated"].isna().all() else frame


def read_run(workdir: epath.Path) -> dict:
    """`run.json`, of an external validation (`<trained>/external/<hash>`) that of the trained workdir."""
    for folder in (workdir, workdir.parent.parent):
        path = folder / "run.json"
        if path.exists():
            run = read_json(path)
            config = run.get("config")
            if not isinstance(config, dict) or not all(isinstance(config.get(key), dict) for key in ("cohort", "evaluate", "model")):
                raise InputError(f"{path} holds no config: restore the file")
            outcomes = config["cohort"].get("outcomes")
            if not isinstance(outcomes, dict) or not all(map(is_rule, outcomes.values())):
                raise InputError(f"{path}: config.cohort.outcomes must be task: [column, rule, value]: restore the file")
            return run
    raise InputError(f"{workdir} has no run.json: it is no workdir of jaxstroke, or the file was lost")


def is_rule(rule) -> bool:
    """Whether a rule of an outcome can be told in words."""
    if not isinstance(rule, list) or len(rule) != 3:
        return False
    limits = rule[2]
    if rule[1] == "classes":
        return isinstance(limits, list) and all(isinstance(one, str | int | float) for one in limits)
    return rule[1] != "within" or (isinstance(limits, list) and len(limits) == 3 and isinstance(limits[2], int | float))


def read_metrics(workdir: epath.Path) -> dict:
    """`metrics.json`, as `write_metrics` wrote it."""
    path = workdir / "metrics.json"
    if not path.exists():
        raise InputError(f"{workdir} has no metrics.json: run --mode report, which writes it from predictions.csv")
    content = read_json(path)
    kinds = {"split": str, "models": dict, "tasks": dict, "paired": list, "subgroups": list}
    if not all(isinstance(content.get(key), kind) for key, kind in kinds.items()) or not any(content["models"].values()):
        raise InputError(f"{path} is not as it was written: run --mode report, which writes it again")
    return content


def read_external(workdir: epath.Path) -> dict[str, dict]:
    """{folder: `metrics.json`} of every external validation that lies in a trained workdir."""
    return {path.parent.name: read_metrics(path.parent) for path in sorted((workdir / "external").glob("*/metrics.json"))}


def read_cohort(workdir: epath.Path) -> dict:
    """`cohort.json`: flow of patients, missing values and characteristics, as training wrote it; empty where there is none."""
    path = workdir / "cohort.json"
    if not path.exists():
        return {}
    cohort = read_json(path)
    flow, notes, missing = cohort.get("flow"), cohort.get("notes", []), cohort.get("missing")
    whole = are_lines(flow) and are_lines(notes) and isinstance(missing, dict) and all(map(is_count, (*missing.values(), cohort.get("n"))))
    try:
        patients.characteristics(cohort)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, StopIteration):
        whole = False
    if not whole:
        raise InputError(f"{path} is not as it was written: run --mode evaluate, which writes it again")
    return cohort


def are_lines(lines) -> bool:
    """Whether these are [text, count] each."""
    return isinstance(lines, list) and all(isinstance(line, list) and len(line) == 2 and is_count(line[1]) for line in lines)


def is_count(value) -> bool:
    return isinstance(value, int) and abs(value) < 2**53


def read_json(path: epath.Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is not readable json ({error}): restore it or run again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not as it was written: restore it or run again")
    return content


def read_text(path: epath.Path) -> str:
    """The lines of a file; what is no text in it is shown as such, and its line is not read."""
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def read_failures(workdir: epath.Path) -> list[dict]:
    """Lines of `prepare_report.csv`, all as text: patient_id, image, path, reason, used ("yes" where the reason is but a remark)."""
    path = workdir / "prepare_report.csv"
    if not path.exists():
        return []
    try:
        with path.open("r") as file:
            frame = pd.read_csv(file, dtype="str", keep_default_na=False)
    except pd.errors.EmptyDataError:
        return []
    except (pd.errors.ParserError, ValueError, OSError) as error:
        raise InputError(f"{path} is no readable CSV ({error}): run --mode evaluate, which writes it again") from None
    return frame.reindex(columns=["patient_id", "image", "path", "reason", "used"], fill_value="").to_dict("records")


def write_text(path: epath.Path, text: str):
    """Whole or not at all: a kill leaves the old file."""
    temporary = path.parent / f".{path.name}.partial"
    temporary.write_text(text)
    temporary.replace(path)
