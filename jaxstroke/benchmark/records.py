"""The config's own cohort through the feed, without augmentation: what a step waits for when its data is real."""

import itertools

import jax
import numpy as np

from jaxstroke import config as settings
from jaxstroke.benchmark.source import Source
from jaxstroke.cohort import table
from jaxstroke.feed import load, plan
from jaxstroke.training import engine, modes, runs

ROUND = 256  # steps planned at once


def make(config, workdir, devices: jax.sharding.Mesh, rows: int) -> Source:
    """Numbers fitted on all patients; whole batches of them, shuffled once. With `train.buckets` the batches of an epoch, over and over.

    Prepares what is not prepared yet. Of a training run in this workdir neither folds nor `run.json` nor checkpoints are read or written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    cohort, prepared = modes.read_and_prepare(config, workdir)
    loaded = load.load(config, table.everyone(cohort) if settings.pretrains_alone(config) else cohort, prepared)
    everyone = np.arange(len(loaded.units), dtype=np.int32)
    nobody = np.zeros(0, np.int32)
    feed = engine.make_feed(config, loaded.arrays, loaded.stored, devices)
    slots = devices.shape["run"]
    order, seeds = np.random.default_rng(0).permutation(everyone), np.zeros(slots, np.int32)
    epoch = None if feed.buckets is None else plan.epoch_rows(everyone, rows, (0,), None, feed.buckets.number)
    upcoming, running = -1, iter(())

    def batches(first: int):
        for start in itertools.count(first, ROUND):
            numbers = np.arange(start, start + ROUND, dtype=np.int32)
            chosen = order[(numbers[:, None] * rows + np.arange(rows)) % len(order)] if epoch is None else epoch[numbers % len(epoch)]
            table = np.broadcast_to(chosen[:, None, None], (ROUND, slots, 1, rows))
            yield from feed.batches(table, seeds, np.repeat(numbers[:, None], slots, 1), train=False)

    def take(number: int):
        nonlocal upcoming, running
        if number != upcoming:
            upcoming, running = number, batches(number)
        upcoming += 1
        return next(running)

    fitted = runs.fitted(runs.Run(0, 0, None, 0, everyone, nobody, nobody), loaded.schema, loaded.arrays, config, None, loaded)
    if epoch is None:
        return Source(fitted, take, read=True)
    lengths = tuple(feed.buckets.size(step) for step in epoch)
    return Source(fitted, take, lengths, len(everyone), feed.buckets.padded_share(epoch), read=True)
