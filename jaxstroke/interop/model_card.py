"""`model_card.md` of an export: what the model is for, how it was made, how well it does, and what nobody but its authors can say.

Everything is of the workdir's own files; counts of fewer than five patients are hidden, as in the report.
"""

import pathlib

import jinja2
from etils import epath

from jaxstroke.evaluation import by_kind, files, patients, story, wording

TEMPLATES = pathlib.Path(__file__).parent / "templates"


def render(workdir: epath.Path, run: dict, described: dict, parameters: int) -> str:
    """The card as Markdown. run: `run.json`; described: `preprocessing.json`; parameters: of one network."""
    content, cohort = files.read_metrics(workdir), files.read_cohort(workdir)
    loader = jinja2.FileSystemLoader(str(TEMPLATES))
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell, "few": wording.few}
    tasks = wording.task_order(content, run)
    told = {
        "run": run, "config": run["config"], "described": described, "parameters": f"{parameters:,}",
        "primary": tasks[0], "tasks": [performance(content, task) for task in tasks],
        "size": wording.size_words(content, tasks[0]), "flow": patients.flow(cohort, content, tasks[0], wording.by_patient(run)),
        "characteristics": patients.characteristics(cohort), "missing": patients.missing(cohort),
        "rows_scored": wording.row_words(run, tasks, cohort),
        "subgroups": patients.subgroups(content, tasks[0])["columns"], "external": external(workdir, tasks[0]),
    }  # fmt: skip
    return environment.get_template("model_card.md.j2").render(**told)


def performance(content: dict, task: str) -> dict:
    """The numbers of a task: the network's, and the AUC of each model beside it."""
    numbers = wording.lead(content, task)
    again = numbers["recalibrated"]
    found = [("AUC", wording.show(numbers["auc"]["value"]), wording.span(numbers["auc"]["ci95"]))]
    plain = [("Brier score", numbers["brier"], 3), ("calibration slope", numbers["calibration"]["slope"], 2)]
    plain += [("calibration in the large", numbers["calibration"]["in_the_large"], 2)]
    if again:
        plain += [("Brier score, recalibrated", again["brier"], 3), ("calibration slope, recalibrated", again["calibration"]["slope"], 2)]
    plain += [(name, numbers[name], 2) for name in ("sensitivity", "specificity", "ppv", "npv")]
    plain += [("log loss", numbers.get("log_loss"), 3), ("kappa of the most probable class", numbers.get("kappa"), 2)]
    found += [(name, wording.show(value, digits), "") for name, value, digits in plain if value is not None]
    found += [(f"AUC of {row['name']}, against the rest", row["auc"], row["ci95"]) for row in by_kind.class_rows(numbers)]
    beside = [(row["name"], row["auc"], row["ci95"]) for row in story.model_rows(content, task)[1:]]
    return {"name": task, "size": wording.size_words(content, task), "numbers": found, "beside": beside}


def external(workdir: epath.Path, task: str) -> list[tuple[str, str, str, str]]:
    """(folder, size, AUC, interval) of every external validation of the task that lies in the workdir."""
    found = []
    for folder, content in files.read_external(workdir).items():
        if any(task in tasks for tasks in content["models"].values()):
            auc = wording.lead(content, task)["auc"]
            found.append((folder, wording.size_words(content, task), wording.show(auc["value"]), wording.span(auc["ci95"])))
    return found


def cell(value) -> str:
    """Text for a cell of a Markdown table: one line, no bar of its own, no markup."""
    return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").split())
