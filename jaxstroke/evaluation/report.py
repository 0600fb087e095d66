"""`metrics.json` and `report.html` of a workdir, from its files alone: no JAX, no other room of the package.

Read: `predictions.csv` and `run.json`; where they are there, `metrics.jsonl`, `cohort.json`, `subgroups.csv` and `prepare_report.csv`.
"""

import hashlib
import json
import pathlib

import jinja2
import pandas as pd
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, explained, metrics, patients, predictions, probast, story, subgroups, wording
from jaxstroke.evaluation.probast_facts import Facts

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write_metrics(workdir: epath.PathLike) -> dict:
    """Compute `<workdir>/metrics.json` from `predictions.csv` and return its content."""
    workdir = epath.Path(workdir)
    frame, config = read_frame(workdir), read_run(workdir)["config"]
    evaluate = config.get("evaluate", {})
    for key, kind in (("bootstrap", int), ("attainable", str)):
        if not isinstance(evaluate.get(key), kind):
            raise InputError(f"{workdir / 'run.json'}: config.evaluate.{key} is missing or of another form: restore the file")
    content = metrics.compute(frame, int(evaluate["bootstrap"]), evaluate["attainable"], groups=subgroups.read(workdir / "subgroups.csv"))
    write_text(workdir / "metrics.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content


def write_report(workdir: epath.PathLike, content: dict | None = None) -> epath.Path:
    """Write `<workdir>/report.html`, one file without outside resources; returns its path.

    content: what `write_metrics` has just returned for this workdir; None computes and writes it again.
    """
    workdir = epath.Path(workdir)
    content = write_metrics(workdir) if content is None else content
    digest = hashlib.sha256((workdir / "predictions.csv").read_bytes()).hexdigest()
    learning, failures = read_text(workdir / "metrics.jsonl"), read_failures(workdir)
    maps = explained.read(workdir / "explain" / "explain.json")
    frame, run, cohort = read_frame(workdir), read_run(workdir), read_cohort(workdir)
    risk = risk_of_bias(workdir, content, frame, run, cohort)
    page = render(content, frame, run, cohort, learning, failures, maps, risk, digest)
    write_text(workdir / "report.html", page)
    return workdir / "report.html"


def render(
    content: dict, frame: pd.DataFrame, run: dict, cohort: dict, learning: str, failures: list, maps: list, risk: list, digest: str
) -> str:
    """The page. content: of `metrics.json`; cohort, learning, failures and maps may be empty; risk: of `risk_of_bias`; digest: of
    `predictions.csv`."""
    loader = jinja2.FileSystemLoader(str(TEMPLATES))
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    told = story.tell(content, frame, run, cohort, learning, failures, maps, digest)
    return environment.get_template("report.html.j2").render(told, risk=risk, risk_counts=probast.counts(risk))


def check(workdir: epath.PathLike) -> str:
    """The risk of bias of a workdir that has been evaluated, as text for a terminal."""
    workdir = epath.Path(workdir)
    content = read_metrics(workdir)
    return probast.text(risk_of_bias(workdir, content, read_frame(workdir), read_run(workdir), read_cohort(workdir)))


def risk_of_bias(workdir: epath.Path, content: dict, frame: pd.DataFrame, run: dict, cohort: dict) -> list:
    """See `probast.assess`. InputError where a file does not hold what it was written with."""
    path = workdir / "splits.json"
    folds = read_json(path).get("folds") if path.exists() else []
    others = [read_metrics(one.parent) for one in sorted((workdir / "external").glob("*/metrics.json"))]
    try:
        task = wording.task_order(content, run)[0]
        external = [wording.lead(one, task) for one in others if any(task in tasks for tasks in one["models"].values())]
        return probast.assess(Facts(content, run["config"], cohort, frame, folds, external, task))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, StopIteration) as error:
        raise InputError(
            f"{workdir}: run.json, splits.json, cohort.json or metrics.json is not as it was written ({type(error).__name__}: {error}): "
            "restore it, or run --mode evaluate"
        ) from None


def console_table(content: dict) -> str:
    """The models of every task as aligned text for a terminal."""
    lines = []
    for task in wording.task_order(content):
        rows = [("model", "AUC", "95 % interval", "Brier", "minus network's", "p")]
        for row in story.model_rows(content, task):
            rows.append((row["name"], *(row[key] for key in ("auc", "ci95", "brier", "against", "p"))))
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines.append(f"{task}: {wording.size_words(content, task)}")
        lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


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
            if not isinstance(outcomes, dict) or not all(isinstance(rule, list) and len(rule) == 3 for rule in outcomes.values()):
                raise InputError(f"{path}: config.cohort.outcomes must be task: [column, rule, value]: restore the file")
            return run
    raise InputError(f"{workdir} has no run.json: it is no workdir of jaxstroke, or the file was lost")


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


def read_cohort(workdir: epath.Path) -> dict:
    """`cohort.json`: flow of patients, missing values and characteristics, as training wrote it; empty where there is none."""
    path = workdir / "cohort.json"
    if not path.exists():
        return {}
    cohort = read_json(path)
    flow, missing = cohort.get("flow"), cohort.get("missing")
    lines = isinstance(flow, list) and all(isinstance(line, list) and len(line) == 2 and is_count(line[1]) for line in flow)
    whole = lines and isinstance(missing, dict) and all(map(is_count, (*missing.values(), cohort.get("n"))))
    try:
        patients.characteristics(cohort)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, StopIteration):
        whole = False
    if not whole:
        raise InputError(f"{path} is not as it was written: run --mode evaluate, which writes it again")
    return cohort


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
