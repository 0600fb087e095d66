"""Compiling a step and timing it: the first call, steady ones, and its stages."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
from etils import epath

from jaxstroke import compilations, restart
from jaxstroke.benchmark import profile, programs
from jaxstroke.benchmark.source import Source

REPETITIONS = 5  # of a stage


@dataclass(frozen=True)
class Ready:
    """What is timed: `advance(state, fitted, batch) -> state, outputs`, compiled for every shape of a batch, and what it is called with.

    compiled: of the longest batch. lowering, compiling: seconds of either, of all; cached: every program was read from the cache.
    """

    advance: Callable
    compiled: jax.stages.Compiled
    made: programs.Programs
    fitted: dict
    source: Source
    lowering: float
    compiling: float
    cached: bool


@dataclass(frozen=True)
class Times:
    """Seconds. first, age: of the first step, and of the process at its end; steps, waits: of every timed step, and of those its feed's."""

    first: float
    age: float | None
    steps: list[float]
    waits: list[float]


def prepare(config, made: programs.Programs, state, fitted, source: Source) -> Ready:
    """Compile the step ahead of its first call. Where the program starts again after that, the seconds are those of the first time."""
    count = compilations.count()
    before, lowering, compiling, compiled = count.cached, 0.0, 0.0, {}
    for number in source.shapes:
        batch = jax.block_until_ready(source.take(number))
        began = time.perf_counter()
        lowered = made.main.lower(state, fitted, batch)
        between = time.perf_counter()
        compiled[shape_of(batch)] = lowered.compile()
        lowering, compiling = lowering + between - began, compiling + time.perf_counter() - between
    restart.after_compiling()
    compiling = count.longest if count.restarted else compiling

    def advance(state, fitted, batch):
        program = compiled[shape_of(batch)]
        return (state, program(state, fitted, batch)) if config.benchmark.kind == "predict" else program(state, fitted, batch)

    cached = count.cached >= before + len(compiled) and not count.restarted
    return Ready(advance, next(iter(compiled.values())), made, fitted, source, lowering, compiling, cached)


def shape_of(batch: dict) -> tuple:
    """What tells the batches apart that need a program of their own."""
    return tuple(batch[name].shape for name in sorted(batch))


def measure(ready: Ready, state, benchmark) -> tuple[dict, Times]:
    """The state after all steps, and their times: the first, the warm-up, then those that count."""
    steps, waits, first, age = [], [], 0.0, None
    for number in range(1 + benchmark.warmup + ready.source.steps(benchmark.steps)):
        began = time.perf_counter()
        batch = jax.block_until_ready(ready.source.take(number))
        fed = time.perf_counter()
        state, _ = jax.block_until_ready(ready.advance(state, ready.fitted, batch))
        ended = time.perf_counter()
        if number == 0:
            first, age = ended - began, process_age()
        elif number > benchmark.warmup:
            steps.append(ended - began)
            waits.append(fed - began)
    return state, Times(first, age, steps, waits)


def process_age() -> float | None:
    """Seconds since this process was started, None where the system does not say."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return None


def stages(config, ready: Ready, state, times: Times) -> tuple[dict, dict[str, float | None]]:
    """The state after a few more steps, and median seconds of forward, backward and update, and of the feed where there is one.

    Of the longest batch. Forward, forward with backward, and the whole step take turns, so that another program's load falls on all alike;
    backward and update are differences.
    """
    found = {"feed": statistics.median(times.waits)} if ready.source.read else {}
    if config.benchmark.kind == "predict":
        alone = [whole - wait for whole, wait in zip(times.steps, times.waits, strict=True)]
        return state, {"forward": statistics.median(alone), "backward": None, "update": None} | found
    batch = ready.source.take(ready.source.longest)
    inner = {name: stage.lower(state, ready.fitted, batch).compile() for name, stage in ready.made.stages.items()}
    seconds = {name: [] for name in (*inner, "step")}
    for _ in range(1 + REPETITIONS):
        for name, stage in inner.items():
            seconds[name].append(lasting(stage, state, ready.fitted, batch)[1])
        (state, _), last = lasting(ready.advance, state, ready.fitted, batch)
        seconds["step"].append(last)
    forward, gradient, step = (statistics.median(each[1:]) for each in seconds.values())
    return state, {"forward": forward, "backward": max(0.0, gradient - forward), "update": max(0.0, step - gradient)} | found


def lasting(function: Callable, *arguments) -> tuple:
    """(result, seconds) of a call."""
    began = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - began


def trace(ready: Ready, state, folder: epath.Path) -> profile.Profile:
    """A profile of further steps."""
    number = 0

    def step():
        nonlocal state, number
        state, outputs = ready.advance(state, ready.fitted, ready.source.take(number))
        number += 1
        return state, outputs

    return profile.profile(step, ready.compiled.as_text(), folder)
