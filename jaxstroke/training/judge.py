"""From trained networks to `predictions.csv` and `model.json`: each fold's fusion and comparators, then every model on its patients."""

import numpy as np
import pandas as pd
from etils import epath

from jaxstroke import config as settings
from jaxstroke import hosts, outcomes, terminal
from jaxstroke import workdir as work
from jaxstroke.evaluation import by_patient, calibration, predictions
from jaxstroke.preprocess import clinical
from jaxstroke.training import losses, runs, scores, vocabulary
from jaxstroke.training.engine import Engine, finished_runs


def judge(engine: Engine, config, todo: list[runs.Run], numbers: dict[str, dict], loaded, workdir: epath.Path) -> pd.DataFrame:
    """Write `predictions.csv` and `model.json`; the frame of predictions. todo: every run; numbers: `runs.fitted` by run id."""
    finished = finished_runs(workdir)
    like = engine.abstract_variables()

    def said(run: runs.Run, rows: np.ndarray) -> scores.Patients:
        return scores.patients_of(config, loaded, engine.predict(finished.load(run.id, like), numbers[run.id], rows), rows)

    blocks, kept = [], {"schema": clinical.to_json(loaded.cohort_schema), "runs": {}, "fold": {}}
    outers = [run for run in todo if run.inner is None]
    line = terminal.progress("judge", len(outers), "fold")
    for outer in outers:
        inner = [
            run for run in todo if run.inner is not None and (run.repeat, run.fold, run.seed) == (outer.repeat, outer.fold, outer.seed)
        ]
        fitted = fit_fold(config, loaded, outer, inner, numbers, said)
        for split, rows, numbers_of_split in (("val", outer.val, fitted["val"]), ("test", outer.held, fitted["test"])):
            found = scores.score(config, loaded.schema, said(outer, rows), numbers_of_split) + columns(loaded, rows, config)
            blocks += [block for one in found for block in frames(config, loaded, one, rows, outer, split, numbers[outer.id])]
        kept["runs"][outer.id] = runs.kept(numbers[outer.id])
        if "tokens" in numbers[outer.id]:
            tokenizer = vocabulary.of_run(config, loaded, outer)
            name = work.digest(tokenizer)[:12]  # one that all runs share is kept once
            kept.setdefault("tokenizers", {})[name] = tokenizer
            kept.setdefault("tokenizer", {})[outer.id] = name
        kept["fold"][outer.id] = fitted["test"]
        line.advance()
    line.close()
    finished.close()
    frame = calibration.add_recalibrated(scored(config, pd.concat(blocks, ignore_index=True)))
    kept["decisions"] = calibration.decisions(frame)
    kept["patients"] = sorted({unit.patient for unit in loaded.units})
    if hosts.first():
        work.write_sealed(workdir / "model.json", kept)
        predictions.write(workdir / "predictions.csv", frame)
    return frame


def scored(config, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of `frames` as they are judged: a row of the table each, or a patient each (`evaluate.per`)."""
    if config.evaluate.per == "study":
        return frame
    return by_patient.aggregate(frame, [task for task in config.loss if outcomes.of_rule(config.cohort.outcomes[task][1]) == "classes"])


def fit_fold(config, loaded, outer: runs.Run, inner: list[runs.Run], numbers: dict, said) -> dict[str, dict]:
    """Numbers fitted on the outer training patients: `test` on all of them; `val` without the validation patients, who then stay unseen."""
    rows = np.concatenate([run.held for run in inner]) if inner else np.concatenate([outer.train, outer.val])
    out_of_fold = scores.joined([said(run, run.held) for run in inner]) if inner else None
    modules = scores.Modules({}, np.zeros((len(rows), 0)), loaded.arrays["clinical"][rows], loaded.arrays["clinical_mask"][rows])
    known = scores.Patients(modules, {}, *scores.of_masks(loaded, rows))
    labels = {task: label_of(loaded, task)[rows] for task in config.loss}
    priors = {task: numbers[outer.id][f"prior/{task}"] for task in config.loss}
    weights = {task: weights_of(numbers[outer.id], task, rows) for task in config.loss}
    training = np.flatnonzero(np.isin(rows, outer.train))
    both = np.arange(len(rows))
    return {
        split: scores.fit(config, loaded.schema, out_of_fold, known, labels, priors, part, weights)
        for split, part in (("val", training), ("test", both))
    }


def weights_of(numbers: dict[str, np.ndarray], task: str, rows: np.ndarray) -> np.ndarray | None:
    """What rows of the cohort count for a task by a run's numbers; None where all count alike."""
    every = numbers.get(f"{losses.ROW_WEIGHT}{task}")
    return None if every is None else every[rows].astype(np.float64)


def label_of(loaded, task: str) -> np.ndarray:
    """`n` labels, NaN where unknown."""
    return np.where(loaded.arrays[f"label_mask/{task}"] > 0, loaded.arrays[f"label/{task}"], np.nan)


def columns(loaded, rows: np.ndarray, config) -> list[scores.Score]:
    """Columns of the table scored as they are: readers, clinical scores, and on synthetic cohorts the true log-odds.

    The latter are of the primary task's outcome, so tasks on other columns are not scored by them: nobody knows what is attainable there.
    Nor are tasks with classes: a number ranks patients for one event, and does not say for which of the classes.
    """
    outcome, attainable = config.cohort.outcomes, config.evaluate.attainable
    names = dict.fromkeys(name for row in rows for name in loaded.units[row].columns)
    found = []
    for name in names:
        values = np.array([loaded.units[row].columns.get(name) for row in rows], np.float64)
        told = attainable and (name == attainable or name.startswith(f"{attainable}_without_"))
        for task in (task for task in config.loss if not told or outcome[task][0] == outcome[config.evaluate.primary][0]):
            if outcomes.of_rule(outcome[task][1]) == "classes":
                continue
            count = len(outcomes.columns_of(config, task))
            found.append(scores.Score(f"column:{name}", task, np.repeat(values[:, None], count, 1), ranks=True))
    return found


def frames(config, loaded, one: scores.Score, rows: np.ndarray, run: runs.Run, split: str, numbers: dict) -> list[pd.DataFrame]:
    """A model's rows of `predictions.csv` on one task: a block a column, of a cut-off or a class. numbers: with weights of rows."""
    names, found = outcomes.columns_of(config, one.task), []
    labels = outcomes.of_task(config, one.task).written(label_of(loaded, one.task), len(names))
    for cut, name in enumerate(names):
        # Modules and columns say nothing of patients without them; a network that has diverged must not lose patients silently.
        known = np.isfinite(one.probability[:, cut]) | (not one.model.startswith(("module:", "column:")))
        chosen = rows[known]
        weight = weights_of(numbers, one.task, chosen)
        found.append(
            predictions.block(
                [loaded.units[row].patient for row in chosen],
                [loaded.units[row].unit for row in chosen],
                one.probability[known, cut],
                labels[chosen, cut],
                repeat=run.repeat,
                fold=run.fold,
                seed=run.seed,
                split=split,
                task=one.task,
                model=one.model,
                class_=name,
                weight=1.0 if weight is None else weight,
                missing=[missing_of(config, loaded, row) for row in chosen],
                score=True if one.ranks else None,
            )
        )
    return found


def missing_of(config, loaded, row: int) -> str:
    """Absent modules and clinical columns of a patient, joined by `|`."""
    images = [name for name in settings.image_names(config) if not loaded.arrays[f"images_mask/{name}"][row].any()]
    if settings.reads(config) and not loaded.units[row].text:
        images.append("report")
    flags = loaded.arrays["clinical_mask"][row][list(loaded.schema.first)]
    return "|".join([*images, *(name for name, known in zip(loaded.schema.variables, flags, strict=True) if not known)])
