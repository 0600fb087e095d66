"""How far each run has come: sums of an epoch, the watched losses, when a run is over, and what is written of it."""

import dataclasses

import numpy as np

from jaxstroke import terminal
from jaxstroke.errors import InputError


@dataclasses.dataclass
class Slot:
    """Progress of the run in one slot of the mesh; json in a checkpoint. `run` is its id, "" where the slot is empty."""

    run: str = ""
    epoch: int = 0
    step: int = 0
    watched: dict = dataclasses.field(default_factory=dict)  # part: smoothed validation loss
    best: dict = dataclasses.field(default_factory=dict)  # part: `watched` of the epoch kept
    best_epoch: dict = dataclasses.field(default_factory=dict)
    sums: dict = dataclasses.field(default_factory=dict)  # training terms of the epoch so far


def add_sums(slots: list[Slot], collected: list[dict]):
    """Add the terms of every step in order, in double precision, so that an epoch in two pieces gives the same numbers as in one."""
    for sums in collected:
        for name, (numerator, denominator) in sums.items():
            for place, slot in enumerate(slots):
                old = slot.sums.get(name, (0.0, 0.0))
                slot.sums[name] = (old[0] + float(numerator[place]), old[1] + float(denominator[place]))


def part_losses(sums: dict[str, tuple[float, float]], parts: tuple[str, ...]) -> dict[str, float | None]:
    """{part: loss} from summed terms; None for a part without a labelled row."""
    found = {}
    for part in parts:
        known = [(n, d) for name, (n, d) in sums.items() if name.rpartition("/")[0] == part and d > 0]
        found[part] = sum(n / d for n, d in known) if known else None
    return found


def watch(config, parts, slots: list[Slot], losses, recalls) -> dict[str, np.ndarray]:
    """Smooth what `train.watch` names, note improvements: {part: `run` bool}. A loss that is not finite stops the program.

    Under "last" the smoothed loss is noted and every epoch counts as an improvement, so that the last one is kept and none stops a run.
    losses, recalls: of validation, by slot; see `loop.validate`.
    """
    improved = {part: np.zeros(len(slots), bool) for part in parts}
    for place, (slot, values) in enumerate(zip(slots, losses, strict=True)):
        if not slot.run:
            continue
        slot.epoch += 1
        training = part_losses(slot.sums, parts)
        for part in parts:
            for kind, value in (("training", training[part]), ("validation", values[part])):
                if value is not None and not np.isfinite(value):
                    raise InputError(
                        f"{kind} loss of '{part}' is {value} in run {slot.run}, epoch {slot.epoch}: begin a new --workdir with a lower "
                        "config.optimizer.learning_rate or config.train.dtype=float32"
                    )
            value = values[part] if values[part] is not None else training[part]  # no validation patient has this module
            if config.train.watch == "balanced_accuracy":
                value = missed(*recalls[place][part])
            if value is None:
                continue
            past = slot.watched.get(part, value)
            slot.watched[part] = config.train.smoothing * past + (1 - config.train.smoothing) * value
            if has_ended(config, slot, part):
                continue
            if config.train.watch == "last" or slot.watched[part] < slot.best.get(part, np.inf):
                slot.best[part], slot.best_epoch[part] = slot.watched[part], slot.epoch
                improved[part][place] = True
    return improved


def has_ended(config, slot: Slot, part: str) -> bool:
    """Whether a part's own patience is over: what is kept of a module does not hang on the modules that are trained beside it."""
    return slot.epoch - slot.best_epoch.get(part, slot.epoch) > config.train.patience


def missed(right: np.ndarray, all_rows: np.ndarray) -> float | None:
    """1 - balanced accuracy from counts of every true level; None without a row."""
    there = all_rows > 0
    return float(1 - (right[there] / all_rows[there]).mean()) if there.any() else None


def epoch_losses(slots: list[Slot], parts) -> tuple[np.ndarray, np.ndarray]:
    """(`run` training loss of the epoch, `run` whether there is one)."""
    known = [[value for value in part_losses(slot.sums, parts).values() if value is not None] for slot in slots]
    return np.array([sum(values) for values in known], np.float32), np.array([bool(values) for values in known])


def over(config, slot: Slot) -> bool:
    """All epochs done, or every part has gone `train.patience` epochs without a better one."""
    latest = max(slot.best_epoch.values(), default=0)
    return slot.epoch >= config.train.epochs or slot.epoch - latest >= config.train.patience


def epoch_line(chunk: int, slot: Slot, losses: dict, parts, timing: dict) -> dict:
    return {
        "run": slot.run,
        "epoch": slot.epoch,
        "step": slot.step,
        "chunk": chunk,
        "train_loss": {part: value for part, value in part_losses(slot.sums, parts).items() if value is not None},
        "val_loss": {part: value for part, value in losses.items() if value is not None},
        "best_epoch": dict(slot.best_epoch),
        "seconds": round(timing["seconds"], 4),
        "data_wait_share": round(timing["wait_share"], 4),
    } | ({"padded_share": round(timing["padded_share"], 4)} if "padded_share" in timing else {})


def steps_of(fitted: dict, config) -> int:
    """Updates an epoch of a run."""
    return int(fitted["total_steps"]) // config.train.epochs


def line(config, todo, numbers, done, slots):
    """The stage's line in the terminal: updates over all runs, and the time left."""
    total = sum(int(numbers[run.id]["total_steps"]) for run in todo)
    begun = {slot.run: slot.step for slot in slots}
    initial = sum(int(numbers[run.id]["total_steps"]) if run.id in done else begun.get(run.id, 0) for run in todo)
    return terminal.progress("train", total, "step", initial)


def words(config, todo, run, slot: Slot, losses: dict, timing: dict) -> str:
    """Where a run of `todo` is and how it does: what the line ends with. losses: of validation, by part."""
    where = []
    for name in ("seed", "repeat", "fold", "inner"):
        known = sorted({getattr(one, name) for one in todo} - {None})
        if len(known) > 1 and getattr(run, name) is not None:
            where.append(f"{name} {known.index(getattr(run, name)) + 1}/{len(known)}")
    known = {name: mean(values) for name, values in (("loss", part_losses(slot.sums, tuple(losses))), ("val", losses))}
    numbers = [f"{name} {value:.3f}" for name, value in known.items()]
    return " ".join([*where, f"epoch {slot.epoch}/{config.train.epochs}", *numbers, f"wait {timing['wait_share']:.0%}"])


def mean(losses: dict) -> float:
    known = [value for value in losses.values() if value is not None]
    return sum(known) / len(known) if known else float("nan")
