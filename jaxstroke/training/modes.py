"""What `--mode` prepare, train and evaluate do. Each reads a config and a workdir and leaves files in it."""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable

import jax
from etils import epath

from jaxstroke import config as settings
from jaxstroke import hosts
from jaxstroke import workdir as work
from jaxstroke.cohort import splits, table
from jaxstroke.errors import InputError
from jaxstroke.evaluation import report
from jaxstroke.feed import load
from jaxstroke.preprocess import prepare, reports
from jaxstroke.training import drift, judge, loop, precomputed, runs, stages, summary, vocabulary
from jaxstroke.training import engine as engines
from jaxstroke.training.begin import Begin
from jaxstroke.training.pretrained import FOLDER, Pretrained

logger = logging.getLogger("jaxstroke")


def read_and_prepare(config, workdir: epath.Path, names: tuple[str, ...] = ()):
    """(cohort without units of which no image can be used, prepared records) of the config's table. names: the images, default its own."""
    cohort = table.read_cohort(config, workdir)
    names = names or settings.prepared_names(config)
    prepared = prepare.prepare(config, table.everyone(cohort), workdir, work.records_root(config, workdir), names)
    if prepared.volumes_per_second:
        logger.info("prepared in %.1f s, %.1f files a second", prepared.seconds, prepared.volumes_per_second)
    left = set(prepared.left_out)
    if left:
        units, unlabelled = (tuple(unit for unit in part if unit.unit not in left) for part in (cohort.units, cohort.unlabelled))
        lost = len(units) - len(cohort.units)
        flow = (*cohort.flow[:-1], ("no usable image", lost), ("used", len(units))) if lost else cohort.flow
        cohort = dataclasses.replace(cohort, units=units, unlabelled=unlabelled, flow=flow)
    return reports.attached(config, cohort, prepared, workdir, workdir, work.records_root(config, workdir))


def prepare_only(config, workdir: epath.Path):
    workdir.mkdir(parents=True, exist_ok=True)
    _, prepared = read_and_prepare(config, workdir)
    failed = len(prepared.failures)
    remarks = f" and {len(prepared.notes)} remarks" if prepared.notes else ""
    said = f"{failed} files could not be used{remarks}, see prepare_report.csv"
    print(f"records of {', '.join(prepared.folders) or 'the table'} are ready; {said}")


@dataclasses.dataclass(frozen=True)
class Ready:
    """A cohort that can be trained on or scored: rows, records, runs, the numbers fitted for each, and the compiled engine."""

    loaded: load.Loaded
    prepared: prepare.Prepared
    todo: list[runs.Run]
    numbers: dict[str, dict]
    engine: engines.Engine


def make_ready(
    config, workdir: epath.Path, begin: Begin | Pretrained | None = None, names: tuple[str, ...] = (), pretrain: Callable | None = None
) -> Ready:
    """Everything from the config to compiled functions. `run.json` is written last, when nothing can be refused any more.

    names: images to be prepared, those of a whole study where this is one run of it. pretrain: of `stages.pretrain`, what is left of its
    arguments; a stage before this one, where the config has it.
    """
    cohort, prepared, folds, hashes = hosts.in_turn(lambda: on_disk(config, workdir, begin, names))
    hosts.check_same(hashes)
    if settings.pretrains(config) and pretrain is not None:
        if hosts.first():
            work.write(workdir, config, [str(device) for device in jax.devices()], hashes)
        begin = pretrain(begin, cohort, prepared, folds)
    loaded = precomputed.with_words(config, load.load(config, cohort, prepared), workdir, begin)
    begin = None if settings.precomputes(config) else begin  # it has been used
    todo = [runs.with_fewer_labels(run, config, loaded.arrays) for run in runs.make_runs(config, folds, loaded.index)]
    begin = begin and begin.choose(todo, loaded.units, config.pretrain.transductive)
    follow_up = runs.followed(config, loaded.units)
    numbers = {run.id: runs.fitted(run, loaded.schema, loaded.arrays, config, follow_up, loaded) for run in todo}
    runs.warn_of_caps(numbers, follow_up)
    if settings.reads(config):
        vocabulary.warn_of_cut(config, loaded, vocabulary.of_run(config, loaded, todo[0]))
    engine = engines.build(config, loaded.arrays, numbers[todo[0].id], loaded.stored, begin)
    if hosts.first():
        summary.write(config, cohort, loaded, drift.inputs(config, loaded, prepared), workdir)
        began = {} if begin is None or begin.gone else {"init_from": begin.told(engine.begin)}
        if settings.pretrains(config) and began:
            work.write_json(workdir / FOLDER / "taken.json", began["init_from"])
        work.write(workdir, config, [str(device) for device in jax.devices()], hashes, began)
    return Ready(loaded, prepared, todo, numbers, engine)


def on_disk(config, workdir: epath.Path, begin: Begin | None = None, names: tuple[str, ...] = ()):
    """(cohort, prepared records, folds, hashes of all of them), made where they are not there; what the workdir was begun with."""
    work.check_same(workdir, config)
    workdir.mkdir(parents=True, exist_ok=True)
    begun = (work.read(workdir) or {"records": ()})["records"]  # the same images again: they decide which patients have none
    wanted = {*(names or settings.prepared_names(config)), *begun}
    cohort, prepared = read_and_prepare(config, workdir, tuple(name for name in config.images if name in wanted))
    folds = splits.load_or_make_splits(config, cohort, workdir) if cohort.units and len(config.loss) else []
    hashes = prepared.contents | {"table": cohort.digest, "splits": work.digest([dataclasses.asdict(fold) for fold in folds])}
    if begin is not None:
        hashes["init_from"] = begin.digest
    check_hashes(workdir, hashes)
    return cohort, prepared, folds, hashes


def check_hashes(workdir: epath.Path, hashes: dict[str, str]):
    """Refuse to go on with other data or other folds than the workdir was begun with: networks may have seen their test patients."""
    written = work.read(workdir)
    for name, now in hashes.items() if written else ():
        before = written["records"].get(name, now)
        if before != now:
            named = {"table": "the cohort's table", "splits": f"{workdir / 'splits.json'}", "init_from": "config.model.init_from"}
            named |= {"text.reports": f"{workdir / 'reports.jsonl'}, or what it is made from,", "text.findings": "a lesion mask"}
            what = named.get(name, f"the records of image '{name}'")
            raise InputError(
                f"{what} holds other data than {workdir} was begun with (hash {now[:12]}, was {before[:12]}): "
                "put it back, or use a new --workdir"
            )


def train(config, workdir: epath.Path, stop, begin: Begin | None = None):
    """Train every run, then judge and report. The same command again resumes; SIGTERM saves and exits 0. begin: what runs begin from."""
    began = time.monotonic()
    if settings.pretrains_alone(config):
        pretrain_only(config, workdir, stop, begin)
        return
    ready = make_ready(config, workdir, begin, pretrain=functools.partial(stages.pretrain, config, workdir, stop))
    train_networks(config, workdir, ready, stop)
    finish(config, workdir, ready)
    logger.info("done in %.0f s", time.monotonic() - began)


def pretrain_only(config, workdir: epath.Path, stop, begin: Begin | None):
    """Encoders from images alone, for runs that name this workdir in `config.model.init_from`."""
    cohort, prepared, folds, hashes = hosts.in_turn(lambda: on_disk(config, workdir, begin))
    hosts.check_same(hashes)
    if hosts.first():
        work.write(workdir, config, [str(device) for device in jax.devices()], hashes)
    done = stages.pretrain(config, workdir, stop, begin, cohort, prepared, folds)
    print(f"{len(done.seen)} pre-trained: {done.folder}; begin from it with --config.model.init_from={workdir}")


def train_networks(config, workdir: epath.Path, ready: Ready, stop):
    """Every run's network into `networks/`. Where all are there and no checkpoint is, a study has copied them: nothing is trained."""
    copied = hosts.first() and not (workdir / "checkpoints").exists() and not lacking(workdir, ready.todo)
    if hosts.decided(copied):
        return
    begin = ready.engine.begin
    logger.info("%d patients, %d runs on %s", len(ready.loaded.units), len(ready.todo), jax.devices()[0].device_kind)
    if begin is not None:
        if begin.warning:
            logger.warning("%s", begin.warning)
        for remark in begin.remarks:
            logger.info("%s", remark)
    if config.optimizer.encoder_rate == 0 and begin is None:
        logger.warning("config.optimizer.encoder_rate = 0 freezes an encoder that nothing has trained: set config.model.init_from")
    stop.training = True
    loop.train(ready.engine, config, ready.todo, ready.numbers, ready.loaded.arrays, workdir, hosts.Together(stop))
    stop.training = False


def evaluate(config, workdir: epath.Path):
    """Judge and report again from the finished networks of a workdir."""
    hosts.in_turn(lambda: check_trained(workdir))
    ready = make_ready(config, workdir)
    hosts.in_turn(lambda: check_trained(workdir, ready.todo))
    finish(config, workdir, ready)


def check_trained(workdir: epath.Path, todo: list[runs.Run] | tuple = ()):
    """Refuse a workdir without a run, or without one of its networks; of several processes the first has the workdir."""
    if not hosts.first():
        return
    if work.read(workdir) is None:
        raise InputError(f"{workdir} holds no trained run: train first with --mode train")
    missing = lacking(workdir, todo)
    if missing:
        work.check_one_run(workdir)
        raise InputError(f"{workdir} is not trained to the end ({len(missing)} of {len(todo)} networks are missing): run --mode train")


def lacking(workdir: epath.Path, todo: list[runs.Run] | tuple) -> list[str]:
    """Ids of runs without a finished network."""
    return [run.id for run in todo if not (workdir / "networks" / run.id).exists()]


def finish(config, workdir: epath.Path, ready: Ready):
    """Judge, and say the result."""
    metrics = judged(config, workdir, ready)
    if metrics is not None:
        print(report.console_table(metrics))
        print(f"report: {workdir / 'report.html'}")


def judged(config, workdir: epath.Path, ready: Ready) -> dict | None:
    """predictions.csv, model.json, metrics.json, report.html; what metrics.json holds, in the first process."""
    judge.judge(ready.engine, config, ready.todo, ready.numbers, ready.loaded, workdir)
    if not hosts.first():
        return None
    logger.info("metrics, %d bootstrap samples", config.evaluate.bootstrap)
    metrics = report.write_metrics(workdir)
    report.write_report(workdir, metrics)
    return metrics
