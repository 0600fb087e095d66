"""One loop for all papers: a queue of runs over the mesh's slots, an epoch of every slot at a time. It knows no paper.

Order within a chunk (one epoch of all slots): steps, validation, keep the best, log, refill finished slots, save. A run killed at any
moment and started again is bit-identical to one that was not: rows, augmentation and dropout depend on (seed, run, step) alone.
"""

import contextlib
import dataclasses
import logging
import time

import jax
import numpy as np
from etils import epath

from jaxstroke import hosts, restart
from jaxstroke.errors import InputError, Stopped
from jaxstroke.feed import plan
from jaxstroke.training import checkpoint, progress, runs, step
from jaxstroke.training.engine import Engine, finished_runs
from jaxstroke.training.log import Log
from jaxstroke.training.progress import Slot

logger = logging.getLogger("jaxstroke")
SAMPLED = 16  # every so many steps the wait for data is timed; timing each would serialise host and device


def train(engine: Engine, config, todo: list[runs.Run], numbers: dict[str, dict], arrays: dict[str, np.ndarray], workdir: epath.Path, stop):
    """Train every run of `todo` to its best epoch; its variables lie under `networks/<run id>` at the end.

    numbers: `runs.fitted` of every run by its id. arrays: of `feed.load`, on the host, for labels. stop: a function that says whether to
    save and leave (SIGTERM); Stopped is raised then, and InputError for a loss that is not finite.
    """
    by_id = {run.id: run for run in todo}
    with contextlib.ExitStack() as at_exit:  # whatever ends the loop, checkpoints under way are written to their end
        rolling = at_exit.enter_context(contextlib.closing(checkpoint.Rolling(workdir / "checkpoints")))
        finished = at_exit.enter_context(contextlib.closing(finished_runs(workdir)))
        state, slots, done, chunk, at = restore_or_start(engine, rolling, by_id)
        log = at_exit.enter_context(contextlib.closing(Log(workdir, restored=chunk)))
        state, slots = refill(engine, state, slots, [run for run in todo if run.id not in done])
        saved = time.monotonic()
        bar = at_exit.enter_context(contextlib.closing(progress.line(config, todo, numbers, done, slots)))

        def save():
            table = {"slots": [dataclasses.asdict(slot) for slot in slots], "done": sorted(done), "chunk": chunk, "at": at}
            rolling.save(state, table)

        while any(slot.run for slot in slots):
            live = [by_id.get(slot.run) for slot in slots]
            fitted = step.put(stack([numbers[run.id if run else todo[0].id] for run in live]), engine.mesh)
            state, at, timing = run_epoch(engine, config, state, slots, live, fitted, arrays, at, stop, bar)
            if stop():
                save()
                raise Stopped
            losses, recalls = validate(engine, state, slots, live, fitted)
            chunk, at = chunk + 1, 0
            improved = progress.watch(config, engine.parts, slots, losses, recalls)
            if config.optimizer.schedule == "plateau" and not config.train.as_published:
                state = engine.on_plateau(state, *step.put(progress.epoch_losses(slots, engine.parts), engine.mesh))
            state = engine.keep_best(state, step.put(improved, engine.mesh))
            for place, slot in enumerate(slots):
                if not slot.run:
                    continue
                log.write(progress.epoch_line(chunk, slot, losses[place], engine.parts, timing))
                bar.say(progress.words(config, todo, live[place], slot, losses[place], timing))
                slot.sums = {}
            ended = [place for place, slot in enumerate(slots) if slot.run and progress.over(config, slot)]
            best = hosts.fetch(state["best"]) if ended else None
            for place in ended:
                slot = slots[place]
                finished.save(slot.run, jax.tree.map(lambda x, place=place: x[place], best))
                done.add(slot.run)
                bar.shorten((config.train.epochs - slot.epoch) * progress.steps_of(numbers[slot.run], config))
                slots[place] = Slot()
            state, slots = refill(engine, state, slots, [run for run in todo if run.id not in done])
            if ended or hosts.decided(time.monotonic() - saved >= config.train.save_seconds):
                save()
                saved = time.monotonic()


def restore_or_start(engine: Engine, rolling: checkpoint.Rolling, by_id: dict[str, runs.Run]):
    """The newest readable state, or a fresh one with empty slots: (state, slots, done, chunk, steps into the chunk)."""
    sharding = jax.NamedSharding(engine.mesh, step.RUN)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((engine.slots, *x.shape), x.dtype, sharding=sharding), engine.abstract_state())
    found = rolling.restore(like, engine.slots)
    if found is None:
        fresh = [engine.empty()] * engine.slots
        return step.put(stack(fresh), engine.mesh), [Slot() for _ in range(engine.slots)], set(), 0, 0
    state, written = found
    slots = [Slot(**values) for values in written["slots"]]
    unknown = sorted({slot.run for slot in slots if slot.run} - set(by_id))
    if unknown:
        raise InputError(f"the workdir's checkpoint holds other runs ({', '.join(unknown)}): use a new --workdir")
    logger.info("resumed at step %d (epoch %d of run %s)", slots[0].step, slots[0].epoch, slots[0].run or "none")
    return state, slots, set(written["done"]), written["chunk"], written["at"]


def refill(engine: Engine, state, slots: list[Slot], waiting: list[runs.Run]):
    """Put the next waiting runs into empty slots, each with a fresh state."""
    busy = {slot.run for slot in slots}
    waiting = [run for run in waiting if run.id not in busy]
    for place, slot in enumerate(slots):
        if slot.run or not waiting:
            continue
        run = waiting.pop(0)
        slots[place] = Slot(run=run.id)
        fresh = engine.fresh(run)
        host = jax.tree.map(lambda old, new, place=place: replaced(old, new, place), hosts.fetch(state), fresh)
        state = step.put(host, engine.mesh)
    return state, slots


def replaced(old, new, place: int) -> np.ndarray:
    copy = np.array(old)
    copy[place] = new
    return copy


def run_epoch(engine, config, state, slots, live, fitted, arrays, at, stop, bar):
    """The steps of one chunk from step `at` on. Returns (state, steps done, timing); stops early when `stop()` says so."""
    plans = [runs.epoch_rows(run, slot.epoch, arrays, config) if run else None for run, slot in zip(live, slots, strict=True)]
    length = max(len(rows) for rows in plans if rows is not None)
    width = config.train.batch_size * config.train.accumulation
    table = np.full((length, len(live), width), -1, np.int32)
    for place, rows in enumerate(plans):
        if rows is not None:
            table[: len(rows), place] = rows
    table = table.reshape(length, len(live), config.train.accumulation, config.train.batch_size)
    seeds = np.array([run.device_seed if run else 0 for run in live], np.int32)
    real = (table[at:] >= 0).any((2, 3)).astype(np.int32)  # n run: whether a slot has a row in a step
    numbers = np.array([slot.step for slot in slots], np.int32) + np.cumsum(real, 0, dtype=np.int32) - real
    batches = engine.feed.batches(table[at:], seeds, numbers, train=True)
    collected, timing, began = [], {"wait": 0.0, "work": 0.0}, time.perf_counter()
    while at < length and not stop():
        sampled = at % SAMPLED == 0
        if sampled:
            jax.block_until_ready(state)
        before = time.perf_counter()
        batch = next(batches)
        if sampled:
            jax.block_until_ready(batch)
        between = time.perf_counter()
        state, sums = engine.train_step(state, fitted, batch)
        if sampled:
            jax.block_until_ready(state)
            timing["wait"] += between - before
            timing["work"] += time.perf_counter() - between
        restart.after_compiling()
        collected.append(sums)
        for place, slot in enumerate(slots):
            slot.step += bool((table[at, place] >= 0).any())
        at += 1
        bar.advance(int((table[at - 1] >= 0).any((1, 2)).sum()))
    batches.close()
    progress.add_sums(slots, hosts.fetch(collected))
    total = timing["wait"] + timing["work"]
    found = engine.feed.buckets
    timing = {"seconds": time.perf_counter() - began, "wait_share": timing["wait"] / total if total else 0.0}
    return state, at, timing | ({} if found is None else {"padded_share": found.padded_share(table)})


def validate(engine: Engine, state, slots, live, fitted) -> tuple[list[dict[str, float | None]], list[dict[str, tuple]]]:
    """A dict a slot: validation loss of every part, and by part the counts of `losses.recalls`, {} where they are not asked for."""
    chosen = [run.val if run else np.zeros(0, np.int32) for run in live]
    tables = [plan.padded(rows[engine.by_length(rows)], engine.eval_batch) for rows in chosen]
    totals, counts = [Slot() for _ in slots], {}
    wide = np.full((max(map(len, tables)), len(slots), 1, engine.eval_batch), -1, np.int32)
    for place, table in enumerate(tables):
        wide[: len(table), place, 0] = table
    for batch in engine.unaugmented(wide):
        _, sums = engine.forward({"params": state["params"], "stats": state["stats"]}, fitted, batch)
        sums = jax.tree.map(lambda x: x.sum(1), hosts.fetch(sums))
        progress.add_sums(totals, [sums["loss"]])
        counts = jax.tree.map(np.add, counts, sums["recall"]) if counts else sums.get("recall", {})
    recalls = [jax.tree.map(lambda x, place=place: x[place], counts) for place in range(len(slots))]
    return [progress.part_losses(total.sums, engine.parts) for total in totals], recalls


def stack(trees: list):
    """Trees of one run each to one tree with a leading run axis."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)
