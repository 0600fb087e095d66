"""Starting the program again in the same process, where a step is faster in a process that began otherwise. Linux only.

Twice at most: at once, since glibc reads its settings only then, and on a CPU after a long compilation, with every program in the cache.
"""

import functools
import json
import os
import sys

from jaxstroke import compilations

KEPT_MEMORY = ":".join(
    f"glibc.malloc.{name}={value}" for name, value in {"arena_max": 1, "mmap_max": 0, "trim_threshold": 2**62, "hugetlb": 1}.items()
)
BEFORE = "JAXSTROKE_COMPILED"  # what the process compiled before it was started again: the fields of compilations.Count, in json
WORTH = 5.0  # seconds of compilation: below, a start costs more than it gives back

is_program = False  # not so in tests and notebooks, which own their process


def with_kept_memory():
    """Called by a program before all else: let the C library keep what XLA's CPU backend frees after a step, in one arena of huge pages.

    Else every page is given back, faulted in and cleared again at the next step, and lies scattered where the compiler's memory was: a step
    of a DenseNet took 1.0 s instead of 0.73 s. What a user has set stays.
    """
    global is_program
    is_program = True
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = KEPT_MEMORY
        again()
    if BEFORE in os.environ:
        compilations.go_on(compilations.Count(**json.loads(os.environ.pop(BEFORE))))


@functools.cache
def after_compiling():
    """Leave the compiler's memory, gigabytes of it, behind. Acts on its first call, after the first step, when nothing is lost by it.

    In the process that compiled it, a step of the DenseNet takes 0.95 s, and 0.70 s in one that read it from the cache: its arrays lie in
    the holes the compiler left. The process keeps its number and its age.
    """
    count = compilations.count()
    if is_program and sys.platform == "linux" and not count.restarted and count.compiled >= WORTH and on_cpu_with_cache():
        os.environ[BEFORE] = json.dumps(vars(count) | {"restarted": True})
        again()


def on_cpu_with_cache() -> bool:
    import jax  # the report is made without JAX

    return jax.default_backend() == "cpu" and bool(jax.config.jax_compilation_cache_dir) and jax.process_count() == 1


def again():
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
