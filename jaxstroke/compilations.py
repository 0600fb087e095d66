"""How many programs XLA compiled for this process, how long that took, and how many of them the persistent cache had already."""

import dataclasses
import functools

COMPILED = "/jax/core/compile/backend_compile_duration"  # one a program, whether it was compiled or read from the cache
FOUND = "/jax/compilation_cache/cache_hits"


@dataclasses.dataclass
class Count:
    """programs: made ready to run since counting began, in `seconds`; cached: those of them that were read from the cache."""

    programs: int = 0
    seconds: float = 0.0
    cached: int = 0

    def __str__(self) -> str:
        return f"{self.programs} programs compiled ({self.seconds:.1f} s), {self.cached} of them read from the cache"


@functools.cache
def count() -> Count:
    """The count of this process, which grows as it goes; counting begins with the first call."""
    from jax import monitoring  # the report is made without JAX

    found = Count()

    def on_duration(event: str, seconds: float, **_):
        if event == COMPILED:
            found.programs += 1
            found.seconds += seconds

    def on_event(event: str, **_):
        found.cached += event == FOUND

    monitoring.register_event_duration_secs_listener(on_duration)
    monitoring.register_event_listener(on_event)
    return found
