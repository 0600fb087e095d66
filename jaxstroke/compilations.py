"""How many programs XLA compiled for this process, how long that took, and how many of them the persistent cache had already."""

import dataclasses
import os

READY = "/jax/core/compile/backend_compile_duration"  # one a program, whether it was compiled or read from the cache
FOUND = "/jax/compilation_cache/cache_hits"  # comes before the same program's READY


@dataclasses.dataclass
class Count:
    """programs: made ready to run since the process began, in `seconds`; cached: those of them that were read from the cache.

    compiled: seconds of the others. longest: of the one that took longest. restarted: the process was started again in between.
    """

    programs: int = 0
    seconds: float = 0.0
    cached: int = 0
    compiled: float = 0.0
    longest: float = 0.0
    restarted: bool = False

    def __str__(self) -> str:
        return f"{self.programs} programs compiled ({self.seconds:.1f} s), {self.cached} of them read from the cache"


found: Count | None = None


def go_on(before: Count):
    """Begin to count where a process left that was started again."""
    global found
    found = before
    listen(found)


def count() -> Count:
    """The count of this process, which grows as it goes; counting begins with the first call."""
    global found
    if found is None:
        found = Count()
        listen(found)
    return found


def listen(count: Count):
    from jax import monitoring  # the report is made without JAX

    from_cache = False

    def on_duration(event: str, seconds: float, **_):
        nonlocal from_cache
        if event == READY:
            count.programs += 1
            count.seconds += seconds
            if not from_cache:
                count.compiled += seconds
                count.longest = max(count.longest, seconds)
            from_cache = False

    def on_event(event: str, **_):
        nonlocal from_cache
        if event == FOUND:
            count.cached += 1
            from_cache = True

    monitoring.register_event_duration_secs_listener(on_duration)
    monitoring.register_event_listener(on_event)


def quickly() -> dict[str, int] | None:
    """Options of a program that runs once a network: on a CPU less of the compiler's time, which is what the draws of weights cost.

    Of `resnet_small_3d` 3.3 s in place of 23.8 s on two cores with other work beside it, and the same numbers to the last bit. None
    elsewhere, or where XLA_FLAGS say how much is to be optimised.
    """
    import jax

    name = "xla_backend_optimization_level"
    if jax.default_backend() != "cpu" or name in os.environ.get("XLA_FLAGS", ""):
        return None
    return {name: 1}
