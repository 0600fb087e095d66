"""`--mode predict`: new patients scored by the ensemble of a workdir's folds, with what the workdir holds and nothing else."""

import dataclasses
import logging
import shutil

import numpy as np
import pandas as pd
from etils import epath

from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.cohort import table
from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, predictions
from jaxstroke.feed import load
from jaxstroke.preprocess import clinical, prepare, reports
from jaxstroke.training import engine as engines
from jaxstroke.training import judge, precomputed, runs, scores, vocabulary

logger = logging.getLogger("jaxstroke")


def predict(config, workdir: epath.Path, cohort_table: str, output: str):
    """Score patients without outcomes by the ensemble of the folds: `--cohort new.csv`, or the config's recipe on another root."""
    new = read_new(config, workdir, cohort_table)
    frame = ensemble(judge.scored(config, score_new(config, workdir, new, "new")), new.kept["decisions"])
    warn_of_known(new)
    predictions.write(new.folder / "predictions.csv", frame)
    target = work.absolute(output) if output else new.folder / "predictions.csv"
    if output:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(new.folder / "predictions.csv", target)
    print(f"{patients(new)} patients scored by {len(new.kept['fold'])} networks: {target}")


@dataclasses.dataclass(frozen=True)
class New:
    """New patients beside a trained workdir. kept: `model.json`; folder: of what is found out about them."""

    kept: dict
    cohort: table.Cohort
    loaded: load.Loaded
    prepared: prepare.Prepared
    folder: epath.Path


def patients(new: New) -> int:
    """How many there are; of one there may be several rows."""
    return len({unit.patient for unit in new.loaded.units})


def warn_of_known(new: New) -> int:
    """How many of these patients were in the training cohort; said where there are any."""
    known = sorted({unit.patient for unit in new.loaded.units} & set(new.kept["patients"]))
    if known:
        logger.warning(
            "%d of these patients were in the training cohort (first: %s): their scores are not independent", len(known), known[0]
        )
    return len(known)


def read_new(config, workdir: epath.Path, source: str, labelled: bool = False) -> New:
    """New patients for a trained workdir. source: a table, or where the config's cohort has a recipe a folder of that layout.

    labelled: outcomes are needed, and patients without are left out.
    """
    written = check_whole(config, workdir)
    if source:
        whole = config.cohort.recipe != "table" and work.absolute(source).is_dir()
        with config.unlocked():
            config.cohort.update({"root": source} if whole else {"recipe": "table", "table": source})
    elif all(config.cohort[key] == written["config"]["cohort"][key] for key in ("root", "table")):
        raise InputError("predict needs new patients: --cohort new.csv, or --config.cohort.root=FOLDER for a public cohort's recipe")
    named = [str(work.absolute(path)) for path in (config.cohort.table, config.cohort.root)]
    folder = workdir / "external" / work.digest([*named, "labelled"] if labelled else named)[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return new_patients(config, workdir, folder, read_model(workdir), labelled)


def check_whole(config, workdir: epath.Path) -> dict:
    """`run.json` of a workdir that is trained to the end, by this config."""
    written = work.read(workdir)
    if written is None:
        raise InputError(f"{workdir} holds no trained run: train first with --mode train")
    work.check_one_run(workdir)
    if not (workdir / "model.json").exists():
        raise InputError(f"{workdir} has no model.json: it is not trained to the end, or the file was lost; --mode train writes it")
    work.check_same(workdir, config)
    return written


def read_model(workdir: epath.Path) -> dict:
    return work.read_sealed(workdir / "model.json", f"--mode evaluate --workdir {workdir} writes it again")


def new_patients(config, workdir: epath.Path, folder: epath.Path, kept: dict, labelled: bool) -> New:
    """Everyone in a table: of a patient whose every file is broken the rest is scored, and flagged."""
    cohort, schema = table.read_cohort(config, folder, labelled), clinical.from_json(kept["schema"])
    with config.unlocked():
        config.cohort.max_failed_share = 1.0
    prepared = prepare.prepare(config, cohort, folder, work.records_root(config, workdir), settings.prepared_names(config), schema)
    if prepared.failures:
        logger.warning("%d files could not be used, see %s", len(prepared.failures), folder / "prepare_report.csv")
    prepared = dataclasses.replace(prepared, left_out=())
    cohort, prepared = reports.attached(config, cohort, prepared, workdir, folder, work.records_root(config, workdir))
    loaded = precomputed.with_words(config, load.load(config, cohort, prepared), workdir)
    return New(kept, cohort, loaded, prepared, folder)


def score_new(config, workdir: epath.Path, new: New, split: str) -> pd.DataFrame:
    """`predictions.csv` rows of new patients by every network, and the columns that are scored as they are: a row of the table each.

    split: new | external.
    """
    kept, loaded = new.kept, new.loaded
    rows, numbers = np.arange(len(loaded.units)), with_reports(config, new)
    engine = engines.build(config, loaded.arrays, next(iter(numbers.values())), loaded.stored)
    finished, like = engines.finished_runs(workdir), engine.abstract_variables()
    external = split == "external"
    weights, blocks = runs.own_weights(config, loaded.units) if external else {}, []
    for run_id in kept["fold"]:
        patients = scores.patients_of(config, loaded, engine.predict(finished.load(run_id, like), numbers[run_id], rows), rows)
        run = run_of(run_id)
        found = scores.score(config, loaded.schema, patients, kept["fold"][run_id])
        for one in found + (judge.columns(loaded, rows, config) if external else []):
            blocks += judge.frames(config, loaded, one, rows, run, split, weights)
    finished.close()
    return pd.concat(blocks, ignore_index=True)


def fitted_numbers(kept: dict) -> dict[str, dict[str, np.ndarray]]:
    """`runs.fitted` of every outer run, as `model.json` keeps them."""
    numbers = {run_id: {name: np.asarray(value, np.float32) for name, value in one.items()} for run_id, one in kept["runs"].items()}
    for one in numbers.values():
        one["total_steps"] = one["total_steps"].astype(np.int32)
    return numbers


def with_reports(config, new: New) -> dict[str, dict[str, np.ndarray]]:
    """`fitted_numbers`, and where the network reads reports those of new patients by each run's own tokenizer."""
    numbers, texts = fitted_numbers(new.kept), [unit.text for unit in new.loaded.units]
    for run_id, name in new.kept.get("tokenizer", {}).items():
        numbers[run_id] |= vocabulary.encoded(config, new.kept["tokenizers"][name], vocabulary.controlled(config, texts))
    return numbers


def run_of(run_id: str) -> runs.Run:
    """The run that an id such as `r0-f1-s0` names, without rows."""
    repeat, fold, seed = (int(part[1:]) for part in run_id.split("-"))
    return runs.Run(repeat, fold, None, seed, *[np.zeros(0, np.int32)] * 3)


def ensemble(frame: pd.DataFrame, decisions: dict) -> pd.DataFrame:
    """One row a patient, task, class and model: mean probability over the networks, fold and seed -1."""
    frame = calibration.apply_decisions(frame, decisions)
    keys = ["unit_id", "task", "class", "model"]
    means = frame.groupby(keys, sort=False)[["probability", "recalibrated"]].mean()
    first = frame.drop_duplicates(keys).set_index(keys)
    merged = first.assign(**{name: means[name] for name in means}, repeat=0, fold=-1, seed=-1).reset_index()
    ranks = first["logit"].isna().to_numpy()
    merged["logit"] = np.where(ranks, np.nan, predictions.log_odds(merged["probability"].to_numpy()))
    return merged[list(predictions.COLUMNS)]
