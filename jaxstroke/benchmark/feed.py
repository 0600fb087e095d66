"""The feed alone: batches of the config's own records onto the device, with nothing to compute but what the feed does itself."""

import dataclasses
import math
import statistics
import time

import jax
import numpy as np
from etils import epath

from jaxstroke import compilations
from jaxstroke import workdir as work
from jaxstroke.benchmark import cost, table
from jaxstroke.benchmark.source import Source


def measure(config, workdir: epath.Path, described: dict, source: Source):
    """Time `benchmark.steps` batches, write `benchmark.json` and print it.

    A batch's time is that between two batches that are whole on the device: those read ahead come at the rate of the disk and the threads.
    """
    count, warmup = source.steps(config.benchmark.steps), config.benchmark.warmup
    began = [time.perf_counter()]
    for number in range(1 + warmup + count):
        jax.block_until_ready(source.take(number))
        began.append(time.perf_counter())
    seconds = np.diff(began)[1 + warmup :]
    median, mean = statistics.median(seconds), float(seconds.mean())
    size = stored_bytes(config, described["shape"])
    found = described | {
        "first_step_s": began[1] - began[0],
        "step_s": {"min": float(seconds.min()), "median": median, "max": float(seconds.max())},
        "steps": count,
        # Over all batches: some wait and others were read ahead.
        "samples_per_s": source.rows(described["batch"]) * described["runs"] / mean,
        "stored_bytes_per_sample": size,
        "peak_rss_gib": cost.resident_memory(),
        "compilations": dataclasses.asdict(compilations.count()),
    }
    found["stored_mb_per_s"] = size * found["samples_per_s"] / 1e6
    work.write_json(workdir / "benchmark.json", found)
    print(table.feed(found))
    print(f"written: {workdir / 'benchmark.json'}")


def stored_bytes(config, shapes: dict) -> int:
    """Of a patient's images before compression, as they are stored."""
    return sum(math.prod(shape) * np.dtype(config.images[name].dtype).itemsize for name, shape in shapes.items() if name in config.images)
