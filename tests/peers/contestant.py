"""One side of a comparison in a process of its own, driven over stdin and stdout by `compare.py`.

    contestant.py ROW SIDE ALLOCATOR CACHE

ROW is a `rows.Row` as json, SIDE `jaxstroke` or a PyTorch variant. ALLOCATOR `kept`: freed memory is kept as jaxstroke keeps its own.
It makes its step, runs it once and answers one line of json: versions, seconds to build, seconds of the first step (compilation within).
`go N` then runs N steps and answers the seconds of each and of all its threads together; end of input ends it.
"""

import importlib.metadata
import json
import os
import resource
import sys
import time

import rows

VERSIONS = {"jaxstroke": ("jax", "jaxlib", "flax", "optax"), "pytorch": ("torch", "monai")}


def main():
    row, side, allocator, cache = sys.argv[1:]
    if side == "jaxstroke" or allocator == "kept":
        from jaxstroke import compilations, restart

        restart.with_kept_memory()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    values = json.loads(row)
    row = rows.Row(**values | {"shape": tuple(values["shape"]), "variants": tuple(values["variants"])})

    def answer(values: dict):
        print(json.dumps(values), file=answers, flush=True)

    began = time.perf_counter()
    step, describe, rest = (ours if side == "jaxstroke" else theirs)(row, side, cache)
    built = time.perf_counter()
    step()
    first = time.perf_counter() - built
    if side == "jaxstroke":
        os.dup2(answers.fileno(), 1)
        restart.after_compiling()
        os.dup2(2, 1)
        first += compilations.count().compiled
    answer({"build_s": built - began, "first_step_s": first} | describe())
    for line in sys.stdin:
        before = time.process_time()
        seconds = [timed(step) for _ in range(int(line.split()[1]))]
        answer({"seconds": seconds, "cpu_s": time.process_time() - before} | describe())
        rest()


def timed(step) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def threads() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions(side: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in VERSIONS[side]}


def resident_gib() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB


def ours(row: rows.Row, side: str, cache: str):
    """(step, a function that describes where it runs, a function called after every turn)."""
    os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda"}[row.device]
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # the other contestants wait on the same GPU with their memory
    import jax
    import ours as module

    from jaxstroke import compilations

    step = module.make(row, cache)

    def describe():
        device = jax.devices()[0]
        peak = device.memory_stats()["peak_bytes_in_use"] / 2**30 if row.device == "gpu" else resident_gib()
        found = {"device": device.device_kind, "threads": threads(), "versions": versions("jaxstroke"), "peak_gib": peak}
        return found | {"compiled": str(compilations.count())}

    return step, describe, lambda: None


def theirs(row: rows.Row, side: str, cache: str):
    """The same for a PyTorch variant."""
    import theirs as module
    import torch

    step = module.make(row, side, threads())

    def describe():
        cuda = row.device == "gpu"
        peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else resident_gib()
        name = torch.cuda.get_device_name() if cuda else "cpu"
        return {"device": name, "threads": torch.get_num_threads(), "versions": versions("pytorch"), "peak_gib": peak}

    return step, describe, torch.cuda.empty_cache if row.device == "gpu" else lambda: None


if __name__ == "__main__":
    main()
