"""`metrics.json` and `report.html` of a workdir, from its files alone: no JAX, no other room of the package."""

import json
import pathlib

import jinja2
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation import files, metrics, new_patients, probast, story, subgroups, wording
from jaxstroke.evaluation.probast_facts import Answer, Facts

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write_metrics(workdir: epath.PathLike) -> dict:
    """Compute `<workdir>/metrics.json` from `predictions.csv` and return its content."""
    workdir = epath.Path(workdir)
    frame, config = files.read_frame(workdir), files.read_run(workdir)["config"]
    evaluate = config.get("evaluate", {})
    for key, kind in (("bootstrap", int), ("attainable", str)):
        if not isinstance(evaluate.get(key), kind):
            raise InputError(f"{workdir / 'run.json'}: config.evaluate.{key} is missing or of another form: restore the file")
    groups, thresholds = subgroups.read(workdir / "subgroups.csv"), new_patients.read(workdir).get("thresholds")
    content = metrics.compute(frame, int(evaluate["bootstrap"]), evaluate["attainable"], groups=groups, thresholds=thresholds)
    files.write_text(workdir / "metrics.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content


def write_report(workdir: epath.PathLike, content: dict | None = None) -> epath.Path:
    """Write `<workdir>/report.html`, one file without outside resources; returns its path.

    content: what `write_metrics` has just returned for this workdir; None computes and writes it again.
    """
    workdir = epath.Path(workdir)
    content = write_metrics(workdir) if content is None else content
    read = files.read(workdir)
    risk = risk_of_bias(workdir, content, read)
    told = story.tell(content, read) | {"risk": risk, "risk_counts": probast.counts(risk)}
    files.write_text(workdir / "report.html", page("report.html.j2", told))
    return workdir / "report.html"


def page(template: str, values: dict) -> str:
    """A page from one of the templates; a name that it reads and `values` lacks is an error."""
    loader = jinja2.FileSystemLoader(str(TEMPLATES))
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(values)


def check(workdir: epath.PathLike) -> str:
    """The risk of bias of a workdir that has been evaluated, as text for a terminal."""
    workdir = epath.Path(workdir)
    return probast.text(risk_of_bias(workdir, files.read_metrics(workdir), files.read(workdir)))


def risk_of_bias(workdir: epath.Path, content: dict, read: files.Files) -> list[tuple[str, list[Answer]]]:
    """See `probast.assess`. InputError where a file does not hold what it was written with."""
    try:
        task = wording.task_order(content, read.run)[0]
        external = [wording.lead(one, task) for one in read.external if any(task in tasks for tasks in one["models"].values())]
        return probast.assess(
            Facts(content, read.run["config"], read.cohort, read.frame, read.folds, external, task, read.new.get("known"))
        )
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
        lines += [f"{task}: {wording.size_words(content, task)}", *aligned(rows)]
    return "\n".join(lines)


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table whose columns line up."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
