"""How much memory a cohort may take."""

import jax


def free() -> int | None:
    """Bytes that are free on the host, or on a device where that is less; None where the system says neither."""
    found = [host(), *(device(one) for one in jax.local_devices())]
    return min((size for size in found if size is not None), default=None)


def host() -> int | None:
    """Bytes a process can take without swapping (Linux), less where a container allows less."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":") for line in file)
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    limit = container("memory.max")
    return available if limit is None else min(available, max(0, limit - (container("memory.current") or 0)))


def container(name: str) -> int | None:
    """A number of this process's control group (version 2), None where there is none."""
    try:
        with open(f"/sys/fs/cgroup/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):  # absent, or "max"
        return None


def device(one: jax.Device) -> int | None:
    """Bytes of a device's memory that are free; None on a CPU, whose memory is the host's."""
    stats = one.memory_stats()
    return stats["bytes_limit"] - stats["bytes_in_use"] if stats and "bytes_limit" in stats else None
