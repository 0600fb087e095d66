"""What `--mode` does with JAX: prepare, train, evaluate, predict. Each reads a config and a workdir and leaves files in it."""

import dataclasses
import hashlib
import logging
import shutil
import sys
import time

import jax
import numpy as np
import pandas as pd
from etils import epath

from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.cohort import splits, table
from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, predictions, report
from jaxstroke.feed import load
from jaxstroke.preprocess import clinical, prepare
from jaxstroke.training import engine as engines
from jaxstroke.training import judge, loop, runs, scores

logger = logging.getLogger("jaxstroke")


def read_and_prepare(config, workdir: epath.Path, labelled: bool = True, schema=None):
    """(cohort without unusable units, prepared records) of the config's table; writes `cohort.json`."""
    cohort = table.read_cohort(config, workdir, labelled)
    records = work.records_root(config, workdir)
    prepared = prepare.prepare(config, cohort, workdir, records, settings.prepared_names(config), schema)
    if prepared.volumes_per_second:
        logger.info("prepared in %.1f s, %.1f files a second", prepared.seconds, prepared.volumes_per_second)
    left = set(prepared.left_out)
    if left:
        units = tuple(unit for unit in cohort.units if unit.unit not in left)
        cohort = dataclasses.replace(cohort, units=units, flow=(*cohort.flow[:-1], ("no usable image", -len(left)), ("used", len(units))))
    return cohort, prepared


def summary(config, cohort, loaded) -> dict:
    """`cohort.json`: flow of patients and missing values for the report."""
    arrays = loaded.arrays
    missing = {name: int((~arrays[f"images_mask/{name}"].any(1)).sum()) for name in settings.image_names(config)}
    known = arrays["clinical_mask"][:, list(loaded.schema.first)]
    missing |= dict(zip(loaded.schema.variables, (len(known) - known.sum(0)).astype(int).tolist(), strict=True))
    return {"flow": [list(line) for line in cohort.flow], "missing": missing, "n": len(cohort.units)}


def prepare_only(config, workdir: epath.Path):
    workdir.mkdir(parents=True, exist_ok=True)
    _, prepared = read_and_prepare(config, workdir)
    failed = len(prepared.failures)
    print(f"records of {', '.join(prepared.folders) or 'the table'} are ready; {failed} files could not be used, see prepare_report.csv")


@dataclasses.dataclass(frozen=True)
class Ready:
    """A cohort that can be trained on or scored: rows, runs, the numbers fitted for each, and the compiled engine."""

    loaded: load.Loaded
    todo: list[runs.Run]
    numbers: dict[str, dict]
    engine: engines.Engine


def make_ready(config, workdir: epath.Path) -> Ready:
    """Everything from the config to compiled functions, with the workdir's `run.json` checked first and written."""
    work.check_same(workdir, config)
    workdir.mkdir(parents=True, exist_ok=True)
    cohort, prepared = read_and_prepare(config, workdir)
    check_records(workdir, prepared)
    work.write(workdir, config, [str(device) for device in jax.devices()], prepared.contents)
    folds = splits.load_or_make_splits(config, cohort, workdir)
    loaded = load.load(config, cohort, prepared)
    work.write_json(workdir / "cohort.json", summary(config, cohort, loaded))
    todo = runs.make_runs(config, folds, loaded.index)
    numbers = {run.id: runs.fitted(run, loaded.schema, loaded.arrays, config) for run in todo}
    return Ready(loaded, todo, numbers, engines.build(config, loaded.arrays, numbers[todo[0].id]))


def check_records(workdir: epath.Path, prepared):
    """Refuse to go on with records of other data than the workdir was begun with."""
    written = work.read(workdir)
    if written is None:
        return
    for name, digest in prepared.contents.items():
        before = written["records"].get(name, digest)
        if before != digest:
            raise InputError(
                f"the records of '{name}' ({prepared.folders[name]}) hold other data than {workdir} was begun with "
                f"(hash {digest[:12]}, was {before[:12]}): the table or its files changed; use a new --workdir"
            )


def train(config, workdir: epath.Path, stop):
    """Train every run, then judge and report. The same command again resumes; SIGTERM saves and exits 0."""
    began = time.monotonic()
    ready = make_ready(config, workdir)
    logger.info("%d patients, %d runs on %s", len(ready.loaded.units), len(ready.todo), jax.devices()[0].device_kind)
    try:
        loop.train(ready.engine, config, ready.todo, ready.numbers, ready.loaded.arrays, workdir, stop)
    except loop.Stopped:
        print(f"stopped and saved; resume with: {work.read(workdir)['command']}")
        sys.exit(0)
    finish(config, workdir, ready)
    logger.info("done in %.0f s", time.monotonic() - began)


def evaluate(config, workdir: epath.Path):
    """Judge and report again from the finished networks of a workdir."""
    if work.read(workdir) is None:
        raise InputError(f"{workdir} holds no trained run: train first with --mode train")
    ready = make_ready(config, workdir)
    lacking = [run.id for run in ready.todo if not (workdir / "networks" / run.id).exists()]
    if lacking:
        raise InputError(
            f"{workdir} is not trained to the end ({len(lacking)} of {len(ready.todo)} networks are missing): run --mode train"
        )
    finish(config, workdir, ready)


def finish(config, workdir: epath.Path, ready: Ready):
    """predictions.csv, model.json, metrics.json, report.html."""
    logger.info("fusion and comparators")
    judge.judge(ready.engine, config, ready.todo, ready.numbers, ready.loaded, workdir)
    metrics = report.write_metrics(workdir)
    print(report.console_table(metrics))
    print(f"report: {report.write_report(workdir, metrics)}")


def predict(config, workdir: epath.Path, cohort_table: str, output: str):
    """Score patients without outcomes by the ensemble of the folds: `--cohort new.csv`, or the config's recipe on another root."""
    written = work.read(workdir)
    if written is None or not (workdir / "model.json").exists():
        raise InputError(f"{workdir} holds no trained run: train first with --mode train")
    work.check_same(workdir, config)
    if cohort_table:
        with config.unlocked():
            config.cohort.recipe, config.cohort.table = "table", cohort_table
    elif settings.to_json(config)["cohort"] == written["config"]["cohort"]:
        raise InputError("predict needs new patients: --cohort new.csv, or --config.cohort.root=FOLDER for a public cohort's recipe")
    kept = work.read_json(workdir / "model.json")
    folder = workdir / "external" / hashlib.sha256(f"{config.cohort.table}|{config.cohort.root}".encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    cohort, prepared = read_and_prepare(config, folder, labelled=False, schema=clinical.from_json(kept["schema"]))
    if not cohort.units:
        raise InputError(f"{cohort.source}: no patient that can be scored")
    loaded = load.load(config, cohort, prepared)
    frame = score_new(config, workdir, kept, loaded)
    known = sorted({unit.patient for unit in loaded.units} & set(kept["patients"]))
    if known:
        logger.warning(
            "%d of these patients were in the training cohort (first: %s): their scores are not independent", len(known), known[0]
        )
    predictions.write(folder / "predictions.csv", frame)
    target = epath.Path(output).expanduser() if output else folder / "predictions.csv"
    if output:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "predictions.csv", target)
    print(f"{len(loaded.units)} patients scored by {len(kept['fold'])} networks: {target}")


def score_new(config, workdir: epath.Path, kept: dict, loaded: load.Loaded) -> pd.DataFrame:
    """`predictions.csv` rows of new patients: the mean over folds, of raw and of recalibrated probabilities."""
    rows = np.arange(len(loaded.units))
    numbers = {run_id: {name: np.asarray(value, np.float32) for name, value in one.items()} for run_id, one in kept["runs"].items()}
    for one in numbers.values():
        one["total_steps"] = one["total_steps"].astype(np.int32)
    engine = engines.build(config, loaded.arrays, next(iter(numbers.values())))
    finished, like = engines.finished_runs(workdir), engine.abstract_variables()
    blocks = []
    for run_id in kept["fold"]:
        patients = scores.patients_of(loaded, engine.predict(finished.load(run_id, like), numbers[run_id], rows), rows)
        run = run_of(run_id)
        for one in scores.score(config, loaded.schema, patients, kept["fold"][run_id]):
            blocks += judge.frames(config, loaded, one, rows, run, "new")
    finished.close()
    return ensemble(pd.concat(blocks, ignore_index=True), kept["decisions"])


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
