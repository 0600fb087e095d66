"""The benchmark: compile, time, count, and write `benchmark.json`."""

import dataclasses
import math
import os
import statistics
from collections.abc import Callable

import jax
import numpy as np
from etils import epath

from jaxstroke import compilations, config_json, models
from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.benchmark import cost, feed, peaks, programs, synthetic, table, timing
from jaxstroke.benchmark.source import Source
from jaxstroke.training import mesh, pretraining

PACKAGES = ("jaxstroke", "jax", "jaxlib", "flax", "optax", "numpy")


def benchmark(config, workdir: epath.Path, name: str, with_profile: bool):
    """Measure a step of the config and write `benchmark.json`. name: of the config's file and variant, "" where unknown.

    A step is one micro-batch: forward, backward, update; neither accumulation nor augmentation. With a profile, `profile/` as well.
    Of `benchmark.kind = compile` all that is known without a step: operations, traffic and memory as the compiler plans them.
    """
    config = one_micro_batch(config)
    workdir.mkdir(parents=True, exist_ok=True)
    devices = mesh.make(config.device)
    rows = rows_of(config, devices)
    source = maker(config)(config, workdir, devices, rows)
    fitted, batch = source.fitted, jax.block_until_ready(source.take(source.longest))
    if config.benchmark.kind == "feed":
        feed.measure(config, workdir, describe(config, name, devices, batch, rows), source)
        return
    made = programs.build(config, devices, fitted, batch)
    state = programs.on_slots(made.initial(0), devices)
    parameters = sum(x.size for x in jax.tree.leaves(state["params"])) // devices.shape["run"]
    ready = timing.prepare(config, made, state, programs.on_slots(fitted, devices), source)
    times = None
    if config.benchmark.kind != "compile":
        state, times = timing.measure(ready, state, config.benchmark)
    found = describe(config, name, devices, batch, rows) | {"parameters": parameters}
    found |= compiling(ready) | timed(times, source, source.rows(rows) * devices.shape["run"]) | cut(source)
    found |= counts(config, ready, devices, found)
    found["versions"] = {package: work.version(package) for package in PACKAGES}
    found |= {"stages_s": {}, "compilations": dataclasses.asdict(compilations.count())}
    work.write_json(workdir / "benchmark.json", finite(found))  # already here: the stages compile two more programs, which may not fit
    if times is None:
        print(table.results(finite(found)))
        return
    state, found["stages_s"] = timing.stages(config, ready, state, times)
    found["compilations"] = dataclasses.asdict(compilations.count())
    found = finite(found)
    work.write_json(workdir / "benchmark.json", found)
    print(table.results(found))
    if with_profile:
        print(table.operations(timing.trace(ready, state, workdir / "profile"), found["platform"]))
    print(f"written: {workdir / 'benchmark.json'}")


def one_micro_batch(config):
    """A copy of the config without accumulation; of one that pre-trains and learns no task, that of its stage."""
    config = pretraining.config_of(config) if settings.pretrains_alone(config) else config_json.copied(config)
    config.train.accumulation = 1
    return config


def maker(config) -> Callable:
    """What makes the batches; the feed alone is that of records.

    The real cohort's reader is imported only here: synthetic arrays need nothing that reads files.
    """
    if config.benchmark.source == "synthetic" and config.benchmark.kind != "feed":
        return synthetic.make
    from jaxstroke.benchmark import records

    return records.make


def rows_of(config, devices: jax.sharding.Mesh) -> int:
    """Patients a step: `train.batch_size`, or for predictions `evaluate.batch_size`, filled up to a multiple of the devices as there."""
    data = devices.shape["data"]
    if config.benchmark.kind == "predict":
        return -(-config.evaluate.batch_size // data) * data
    mesh.check_divisible(config, data)
    return config.train.batch_size


def describe(config, name: str, devices: jax.sharding.Mesh, batch: dict, rows: int) -> dict:
    """What was measured. shape: of a patient's entry, by name."""
    encoder, platform = config.model.encoder, jax.devices()[0].platform
    network = f"{config.model.name}/{encoder}" if encoder else config.model.name
    return {
        "system": "jaxstroke",
        "config": f"{epath.Path(name).name} {network}".strip(),
        "model": config.model.name,
        "encoder": encoder or None,
        "kind": config.benchmark.kind,
        "source": "records" if config.benchmark.kind == "feed" else config.benchmark.source,
        "command": work.command_line(),
        "device": jax.devices()[0].device_kind,
        "platform": platform,
        "devices": devices.size,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "runs": devices.shape["run"],
        "batch": rows,
        "shape": {key.removeprefix("images/"): batch[key].shape[3:] for key in batch if key == "clinical" or key.startswith("images/")},
        "dtype": str(models.compute_dtype(config)),
    }


def compiling(ready: timing.Ready) -> dict:
    return {"compile_s": ready.lowering + ready.compiling, "lower_s": ready.lowering, "compile_cached": ready.cached}


def timed(times: timing.Times | None, source: Source, samples: float) -> dict:
    """Every field that is a time of a step, None where none was taken. samples: of a mean step, over all runs. Waits for data count."""
    if times is None:
        return dict.fromkeys(("first_step_s", "start_to_first_step_s", "step_s", "samples_per_s", "data_wait_share")) | {"steps": 0}
    median = statistics.median(times.steps)
    usual = statistics.fmean(times.steps) if source.lengths else median  # steps of several lengths have no usual one
    return {
        "first_step_s": times.first,
        "start_to_first_step_s": times.age,
        "step_s": {"min": min(times.steps), "median": median, "max": max(times.steps)},
        "steps": len(times.steps),
        "samples_per_s": samples / usual,
        "data_wait_share": sum(times.waits) / sum(times.steps) if source.read else None,
    }


def cut(source: Source) -> dict:
    """Of batches that are cut to several lengths: these with their share of the steps, and the share of padding among the images."""
    if not source.lengths:
        return {}
    return {"lengths": {str(source.lengths[number]): share for number, share in source.shapes.items()}, "padded_share": source.padded_share}


def counts(config, ready: timing.Ready, devices: jax.sharding.Mesh, found: dict) -> dict:
    """Operations, traffic and memory against what the devices can do. Operations are those of a mean step, the others of the longest."""
    source = ready.source
    flops = [(cost.operations(config, source.fitted, source.take(number)), share) for number, share in source.shapes.items()]
    flops = None if any(one is None for one, _ in flops) else devices.shape["run"] * sum(one * share for one, share in flops)
    traffic = cost.traffic(ready.compiled, devices.size)
    memory, memory_source = cost.memory(ready.compiled)
    on_cpu = found["platform"] == "cpu"
    precision = jax.config.jax_default_matmul_precision
    ran = found["step_s"] is not None
    peak = peaks.of(found["device"], found["dtype"], precision) if not on_cpu else peaks.measure() if ran else peaks.Peak()
    many = 1 if on_cpu else devices.size  # a CPU is measured as a whole
    median = found["step_s"]["median"] if ran else None
    achieved, bandwidth = (ratio(flops, 1e12 * median), ratio(traffic, 1e9 * median)) if ran else (None, None)
    peak_tflops, peak_gb_s = (None if one is None else one * many for one in (peak.tflops, peak.gb_s))
    return {
        "flops_per_step": flops,
        "achieved_tflops": achieved,
        "peak_tflops": peak_tflops,
        "peak_tflops_source": peak.tflops_source,
        "peak_share": ratio(achieved, peak_tflops),
        "bytes_per_step": traffic,
        "bandwidth_gb_s": bandwidth,
        "peak_bandwidth_gb_s": peak_gb_s,
        "peak_bandwidth_source": peak.gb_s_source,
        "bandwidth_share": ratio(bandwidth, peak_gb_s),
        "peak_gib": memory,
        "peak_gib_source": memory_source,
        "peak_rss_gib": cost.resident_memory() if on_cpu else None,
    }


def ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def finite(value):
    """Plain json values: six digits, and None for what is not a number."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
