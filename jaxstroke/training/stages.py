"""Pre-training as a stage of a run: the one loop on the network of `models.simclr`, in `<workdir>/pretrain`, before the tasks are learned.

A network a fold: it never sees the patients of that fold's validation and test parts, labelled or not, nor of those without outcome such as
are of the tested centre, part or time, unless `pretrain.transductive` says so. `pretrain.json` there names whom each network has seen, for
this run and for others that begin from it.
"""

import logging
from collections.abc import Callable

import numpy as np
from etils import epath

from jaxstroke import config as settings
from jaxstroke import hosts
from jaxstroke import workdir as work
from jaxstroke.cohort.dealing import deal
from jaxstroke.cohort.labels import moment
from jaxstroke.cohort.splits import by_patient
from jaxstroke.cohort.table import Cohort, everyone
from jaxstroke.errors import InputError
from jaxstroke.feed import load
from jaxstroke.training import engine as engines
from jaxstroke.training import loop, pretraining, runs
from jaxstroke.training.begin import Begin
from jaxstroke.training.pretrained import FILE, FOLDER, Pretrained, leaves

logger = logging.getLogger("jaxstroke")


def runs_of(config, folds, units) -> list[runs.Run]:
    """A run a fold; without folds, of a cohort that nothing is learned from but this, one. Rows are of all units, labelled or not.

    A seed of its own would be a network of its own: all seeds of a fold begin from that of the first one.
    """
    seed, index = config.train.seeds[0], {unit.unit: row for row, unit in enumerate(units)}
    patients = np.array([unit.patient for unit in units])
    if not folds:
        rng = np.random.default_rng([config.split.seed, 0, 0, 1])
        val, train = deal(by_patient(config, Cohort(tuple(units), (), "", ""), list(index)), held_shares(config), rng)
        val, train = ([row for group in part for row in group.rows] for part in (val, train))
        return [run(0, 0, seed, train, val)]
    found = []
    for fold in folds:
        val = [index[unit] for unit in fold.val if unit in index]
        held = [index[unit] for unit in (*fold.val, *fold.test) if unit in index]
        tested = [units[index[unit]] for unit in fold.test if unit in index]
        unseen = set(patients[held])
        alike = ELSEWHERE[config.split.kind](tested) if config.split.kind in ELSEWHERE else lambda unit: False
        train = [
            row for row, unit in enumerate(units)
            if config.pretrain.transductive or not (unit.patient in unseen or (not known(unit) and alike(unit)))
        ]  # fmt: skip
        found.append(run(fold.repeat, fold.fold, seed, train, val))
    return found


def known(unit) -> bool:
    """Whether an outcome of a unit is known: then the folds say where it belongs."""
    return any(label is not None for label in unit.labels.values())


def of_a_tested_centre(tested) -> Callable:
    centres = {unit.group for unit in tested}
    return lambda unit: unit.group in centres


def of_a_tested_part(tested) -> Callable:
    cells = {unit.split.lower() for unit in tested} - {""}
    return lambda unit: unit.split.lower() in cells


def not_before_the_tested(tested) -> Callable:
    """A time that is no time is of nobody knows when."""
    times = [moment(unit.split) for unit in tested]

    def later(unit) -> bool:
        time = moment(unit.split)
        return time is None or type(time) is not type(times[0]) or time >= min(times)

    return later


# By `split.kind`: tested units -> whether a unit without outcome is of where, or when, the networks are judged, and so not to be seen.
ELSEWHERE = {
    "group": of_a_tested_centre, "given": of_a_tested_part, "official": of_a_tested_part, "temporal": not_before_the_tested,
}  # fmt: skip


def held_shares(config) -> tuple[float, float]:
    return config.split.inner_share, 1 - config.split.inner_share


def run(repeat: int, fold: int, seed: int, train, val) -> runs.Run:
    return runs.Run(repeat, fold, None, seed, np.array(train, np.int32), np.array(val, np.int32), np.zeros(0, np.int32))


def pretrain(config, workdir: epath.Path, stop, begin: Begin | None, cohort: Cohort, prepared, folds) -> Pretrained:
    """Pre-train what is not there yet; where the runs begin from then. cohort, prepared, folds: of `modes.on_disk`.

    begin: what the encoders begin from themselves. InputError where those are another pre-training's.
    """
    if isinstance(begin, Pretrained):
        raise InputError(
            f"config.model.init_from = {begin.source} holds encoders that are pre-trained already: take 'pretrain' out of "
            "config.train.stages, or leave init_from empty"
        )
    stage, folder = pretraining.config_of(config), workdir / FOLDER
    whole = everyone(cohort)
    todo = runs_of(config, folds, whole.units)
    if hosts.decided(hosts.first() and any(not (folder / "networks" / one.id).exists() for one in todo)):
        learn(config, stage, folder, load.load(stage, whole, prepared), todo, stop, begin)
    return Pretrained.read(workdir)


def learn(config, stage, folder: epath.Path, loaded: load.Loaded, todo: list[runs.Run], stop, begin: Begin | None):
    """Train the encoders of every run of `todo`."""
    numbers = {one.id: runs.fitted(one, loaded.schema, loaded.arrays, stage) for one in todo}
    engine = engines.build(stage, loaded.arrays, numbers[todo[0].id], loaded.stored, begin)
    images = settings.image_names(stage)
    if hosts.first():
        folder.mkdir(parents=True, exist_ok=True)
        seen = {one.id: sorted({loaded.units[row].patient for row in one.train}) for one in todo}
        variables = engine.abstract_variables()
        work.write_json(folder / FILE, {
            "key": pretraining.key(config), "images": list(images), "transductive": config.pretrain.transductive,
            "epochs": config.pretrain.epochs,
            "tensors": leaves({"params": variables["params"], "batch_stats": variables["stats"]}),
            "rows": {one.id: len(one.train) for one in todo}, "patients": seen,
        })  # fmt: skip
    logger.info("pre-training on %s of %d rows, %d runs", ", ".join(images), max(len(one.train) for one in todo), len(todo))
    stop.training = True
    loop.train(engine, stage, todo, numbers, loaded.arrays, folder, hosts.Together(stop))
    stop.training = False
