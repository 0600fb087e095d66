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
from jaxstroke.evaluation import calibration, metrics, predictions, story, subgroups, wording

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write_metrics(workdir: epath.PathLike) -> dict:
    """Compute `<workdir>/metrics.json` from `predictions.csv` and return its content."""
    workdir = epath.Path(workdir)
    frame, config = read_frame(workdir), read_run(workdir)["config"]
    evaluate = config.get("evaluate", {})
    for key in ("bootstrap", "attainable"):
        if key not in evaluate:
            raise InputError(f"{workdir / 'run.json'}: config.evaluate.{key} is missing: restore the file")
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
    page = render(content, read_frame(workdir), read_run(workdir), read_cohort(workdir), learning, failures, digest)
    write_text(workdir / "report.html", page)
    return workdir / "report.html"


def render(content: dict, frame: pd.DataFrame, run: dict, cohort: dict, learning: str, failures: list[dict], digest: str) -> str:
    """The page. content: of `metrics.json`; cohort, learning and failures may be empty; digest: of `predictions.csv`."""
    loader = jinja2.FileSystemLoader(str(TEMPLATES))
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html.j2").render(story.tell(content, frame, run, cohort, learning, failures, digest))


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
        if (folder / "run.json").exists():
            return read_json(folder / "run.json")
    raise InputError(f"{workdir} has no run.json: it is no workdir of jaxstroke, or the file was lost")


def read_cohort(workdir: epath.Path) -> dict:
    """`cohort.json`: flow of patients, missing values and characteristics, as training wrote it; empty where there is none."""
    path = workdir / "cohort.json"
    return read_json(path) if path.exists() else {}


def read_json(path: epath.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not readable json ({error}): restore it or run again") from None


def read_text(path: epath.Path) -> str:
    return path.read_text() if path.exists() else ""


def read_failures(workdir: epath.Path) -> list[dict]:
    """Lines of `prepare_report.csv`: patient_id, image, path, reason, all as text."""
    path = workdir / "prepare_report.csv"
    if not path.exists():
        return []
    try:
        with path.open("r") as file:
            frame = pd.read_csv(file, dtype="str", keep_default_na=False)
    except pd.errors.EmptyDataError:
        return []
    return frame.reindex(columns=["patient_id", "image", "path", "reason"], fill_value="").to_dict("records")


def write_text(path: epath.Path, text: str):
    """Whole or not at all: a kill leaves the old file."""
    temporary = path.parent / f".{path.name}.partial"
    temporary.write_text(text)
    temporary.replace(path)
