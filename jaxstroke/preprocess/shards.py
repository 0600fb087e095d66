"""Which shards are there, which are to be made, and the processes that make them."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import sys
import threading
import types
from concurrent.futures.process import BrokenProcessPool

from etils import epath

from jaxstroke import terminal
from jaxstroke.cohort.files import size_and_time
from jaxstroke.errors import InputError
from jaxstroke.preprocess import records
from jaxstroke.preprocess.patient import Task, fingerprint, prepare_shard
from jaxstroke.preprocess.reference import Plan

SMALLEST_SHARD = 8  # units: little is lost at a kill, and few cores stay idle at the end
MOST_SHARDS = 256
ENTRY = records.ENTRY | {"failures": list, "sources": list, "contents": list, "timed": list}  # of an image's shard
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def make_images(plan: Plan, jobs, folders: dict[str, str], digests: dict[str, str], workers: int) -> int:
    """Make every shard that is not there, then each folder's manifest. Returns the number of images made."""
    size = max(SMALLEST_SHARD, -(-len(jobs) // MOST_SHARDS))
    groups = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    shards = {records.shard_name(index, len(groups)): group for index, group in enumerate(groups)}
    wanted, unfinished, sizes = collections.defaultdict(dict), [], {}
    for image, folder in folders.items():
        done = finished_shards(plan, image, folder, digests[image], shards, sizes)
        if done is None:
            continue
        unfinished.append(image)
        for name in shards:
            if name not in done:
                wanted[name][image] = folder
    tasks = [Task(plan, group, wanted[name], name) for name, group in shards.items() if name in wanted]
    made = run_tasks(tasks, workers)
    for image in unfinished:
        finish(plan, image, folders[image], digests[image], list(shards))
    return made


def finished_shards(plan: Plan, image: str, folder: str, digest: str, shards: dict, sizes: dict) -> set[str] | None:
    """Names of the shards of an image that are whole and whose source files are as they were; None where the folder is complete.

    A complete folder that is not what its manifest says was changed by someone: refused. An incomplete one is simply continued.
    """
    manifest = records.read_manifest(folder)
    cure = f"delete the folder {folder} and the records are made again, or set cohort.records to another folder."
    if manifest is not None and (manifest.get("digest") != digest or [e["name"] for e in manifest["shards"]] != list(shards)):
        raise InputError(f"The records in {folder} are of other data or settings than this config and table: {cure}")
    if manifest is not None and not all(records.is_entry(entry, ENTRY) for entry in manifest["shards"]):
        raise InputError(f"{folder}/{records.MANIFEST} is not as it was written: {cure}")
    entries = {entry["name"]: entry for entry in manifest["shards"]} if manifest else {}
    done = set()
    for name, jobs in shards.items():
        entry = entries.get(name) or records.read_entry(folder, name)
        path = epath.Path(folder) / name
        whole = records.is_entry(entry, ENTRY) and path.exists() and size_and_time(path)[0] == entry["bytes"]
        whole = whole and entry["units"] == [job.unit for job in jobs]
        if manifest is not None and not whole:
            raise InputError(f"{path} is gone or not as it was written: {cure}")
        if whole and entry["sources"] == sources(plan, image, jobs, entry, sizes):
            done.add(name)
    if manifest is None or len(done) < len(shards):
        reopen(folder, [entries[name] for name in done if name in entries])
        return done
    return None


def sources(plan: Plan, image: str, jobs, entry: dict, sizes: dict) -> list[str]:
    """Fingerprints of the files behind a shard as they are now; sizes as in `fingerprint`."""
    return [fingerprint(plan, job, image, job.unit in entry["timed"], sizes) for job in jobs]


def reopen(folder: str, entries: list[dict]):
    """Make a complete folder an incomplete one that keeps these shards: some source files changed."""
    for entry in entries:
        records.write_entry(folder, entry)
    (epath.Path(folder) / records.MANIFEST).unlink(missing_ok=True)


def finish(plan: Plan, image: str, folder: str, digest: str, names: list[str]):
    """Write the manifest of a folder whose shards are all there (another process may have been quicker)."""
    if records.read_manifest(folder) is not None:
        return
    entries = [records.read_entry(folder, name) for name in names]
    missing = [name for name, entry in zip(names, entries, strict=True) if entry is None]
    if missing:
        raise InputError(f"{folder}: {missing[0]} disappeared while records were made. Start again; what is there is kept.")
    records.write_manifest(folder, {"digest": digest, "image": image, "settings": plan.images[image], "shards": entries})


def run_tasks(tasks: list[Task], workers: int) -> int:
    """Make shards in `workers` processes (0: one a core this process may use), in this process where one is enough."""
    made = 0
    with contextlib.closing(terminal.progress("prepare", sum(len(task.jobs) for task in tasks), "patient")) as line:
        for _, (units, count) in spread(prepare_shard, tasks, workers):
            made += count
            line.advance(units)
    return made


def mapped(function, tasks: list, workers: int, stage: str, units: int) -> list:
    """`function` of every task, in their order, by processes as `run_tasks`. stage: what the terminal calls it; units: in all tasks."""
    found = [None] * len(tasks)
    with contextlib.closing(terminal.progress(stage, units, "patient")) as line:
        for place, made in spread(function, tasks, workers):
            found[place] = made
            line.advance(len(tasks[place]))
    return found


def spread(function, tasks: list, workers: int):
    """(place of a task, what `function` makes of it) as they are done, in `workers` processes (0: one a core)."""
    workers = min(workers or available_cores(), len(tasks))
    return enumerate(map(function, tasks)) if workers <= 1 else _parallel(function, tasks, workers)


def _parallel(function, tasks: list, workers: int):
    context = multiprocessing.get_context("spawn")  # fork is unsafe once JAX or BLAS threads run
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent) as pool:
        try:
            with bare_children():
                futures = {pool.submit(function, task): place for place, task in enumerate(tasks)}
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise InputError(
                "a process that prepares images was killed, most likely for want of memory: set cohort.workers to fewer"
                " processes and start again; what is done is kept."
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for shards that have not begun
            raise


def follow_parent():
    """End this process with the one that started it: workers of a killed program would otherwise wait for tasks for ever."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def bare_children():
    """Processes started inside run one BLAS thread each and do not import `__main__`: the program's own imports JAX and takes seconds."""
    main, threads = sys.modules["__main__"], {name: os.environ.get(name) for name in THREADS}
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in threads.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
