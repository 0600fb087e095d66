"""`--mode evaluate --cohort labelled.csv`: external validation, by the ensemble of a workdir's folds as `predict` asks it.

Nothing is fitted on the new patients. All of it goes into `external/<hash>/`: `predictions.csv`, `metrics.json`, `report.html`, and
`external.json`, which says how these patients differ from those of training.
"""

import logging

import numpy as np
from etils import epath

from jaxstroke import workdir as work
from jaxstroke.evaluation import files, predictions, report
from jaxstroke.training import drift, judge, predict, summary

logger = logging.getLogger("jaxstroke")


def validate(config, workdir: epath.Path, source: str):
    """Score labelled patients that no network has seen, judge and report. source: a table, or a folder as the config's recipe reads it."""
    new = predict.read_new(config, workdir, source, labelled=True)
    folder, kept = new.folder, new.kept
    frame = judge.scored(config, predict.score_new(config, workdir, new, "external"))
    frame = predict.ensemble(frame, kept["decisions"])
    known = predict.warn_of_known(new)
    predictions.write(folder / "predictions.csv", frame)
    here = drift.inputs(config, new.loaded, new.prepared)
    summary.write(config, new.cohort, new.loaded, here, folder)
    trained = workdir / "cohort.json"
    before = files.read_json(trained).get("inputs") if trained.exists() else None
    said = {"networks": len(kept["fold"]), "known": known, "thresholds": thresholds(kept["decisions"]), "table": new.cohort.digest}
    work.write_json(folder / "external.json", said | {"training": before, "here": here})
    logger.info("metrics, %d bootstrap samples", config.evaluate.bootstrap)
    metrics = report.write_metrics(folder)
    print(report.console_table(metrics))
    page = report.write_report(folder, metrics)
    print(f"{predict.patients(new)} patients scored by {len(kept['fold'])} networks; report: {page}")


def thresholds(decisions: dict) -> dict[str, dict[str, float]]:
    """{model: {task: the median over networks of the thresholds of their validation patients}}: one for the mean probability."""
    found: dict = {}
    for model, tasks in decisions.items():
        for task, lines in tasks.items():
            values = [line["threshold"] for line in lines if line["threshold"] is not None]
            if values:
                found.setdefault(model, {})[task] = float(np.median(values))
    return found
