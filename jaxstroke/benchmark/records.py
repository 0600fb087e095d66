"""The config's own cohort through the feed, without augmentation: what a step waits for when its data is real."""

import jax
import numpy as np

from jaxstroke.feed import load, resident
from jaxstroke.training import modes, runs


def make(config, workdir, devices: jax.sharding.Mesh, rows: int):
    """(numbers fitted on all patients, `take(number) -> batch`): whole batches, the patients shuffled once.

    Prepares what is not prepared yet. Of a training run in this workdir neither folds nor `run.json` nor checkpoints are read or written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    cohort, prepared = modes.read_and_prepare(config, workdir)
    loaded = load.load(config, cohort, prepared)
    everyone = np.arange(len(loaded.units), dtype=np.int32)
    nobody = np.zeros(0, np.int32)
    data = resident.place(loaded.arrays, devices)
    gather = resident.make_take(devices, config.train.augment, train=False)
    slots = devices.shape["run"]
    order, seeds = np.random.default_rng(0).permutation(everyone), np.zeros(slots, np.int32)

    def take(number: int):
        chosen = order[(number * rows + np.arange(rows)) % len(order)]
        return gather(data, np.broadcast_to(chosen, (slots, 1, rows)), seeds, np.full(slots, number, np.int32))

    return runs.fitted(runs.Run(0, 0, None, 0, everyone, nobody, nobody), loaded.schema, loaded.arrays, config), take
