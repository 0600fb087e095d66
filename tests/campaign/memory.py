"""How much memory a process has had at most."""

import pathlib
import resource

STATUS = pathlib.Path("/proc/self/status")


def peak() -> int:
    """Megabytes of this process at its peak. On Linux of this program alone: `getrusage` counts the one that it was forked from."""
    if STATUS.exists():
        return int(next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
