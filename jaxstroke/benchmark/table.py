"""What a benchmark prints: its json as lines that a person reads."""

from jaxstroke.benchmark.profile import Profile

SHOWN = 10  # operations
SHORT = (
    "On a CPU, operations handed to a pool of threads are counted from their start to the mark of their end, and a wait in the pool counts."
)


def results(found: dict) -> str:
    """The results, a line a subject; what is not known is left out."""
    lines = {
        "config": f"{found['config']}, {found['kind']}, {found['source']}",
        "device": f"{found['devices']} x {found['device']}{cores(found)}",
        "batch": f"{found['batch']}{runs(found)}, {found['dtype']}: {shapes(found['shape'])}",
        "parameters": f"{found['parameters']:,}",
        "compile": f"{found['compile_s']:.2f} s, of them {found['lower_s']:.2f} s before XLA{cached(found['compile_cached'])}",
        "first step": found["step_s"] and f"{found['first_step_s']:.3g} s{since(found['start_to_first_step_s'])}",
        "step": found["step_s"] and step(found["step_s"], found["steps"]),
        "samples a second": found["step_s"] and f"{found['samples_per_s']:.4g}",
        "lengths": lengths(found),
        "stages": ", ".join(f"{name} {1e3 * seconds:.4g} ms" for name, seconds in found["stages_s"].items() if seconds is not None),
        "wait for data": None if found["data_wait_share"] is None else f"{found['data_wait_share']:.1%} of the step",
        "operations": against(found, "flops_per_step", "GFLOP", "achieved_tflops", "TFLOP/s", "peak_tflops", "peak_tflops_source"),
        "read and written": against(
            found, "bytes_per_step", "GB, caches included", "bandwidth_gb_s", "GB/s", "peak_bandwidth_gb_s", "peak_bandwidth_source"
        ),
        "memory": memory(found),
        "compilations": compilations(found["compilations"]),
    }
    return "\n".join(f"  {name:<18}{line}" for name, line in lines.items() if line)


def feed(found: dict) -> str:
    """The same of the feed alone."""
    lines = {
        "config": f"{found['config']}, the feed alone",
        "device": f"{found['devices']} x {found['device']}{cores(found)}",
        "batch": f"{found['batch']}{runs(found)}: {shapes(found['shape'])}",
        "a batch": step(found["step_s"], found["steps"]),
        "samples a second": f"{found['samples_per_s']:.4g}, {found['stored_mb_per_s']:.4g} MB/s before compression",
    }
    return "\n".join(f"  {name:<18}{line}" for name, line in lines.items())


def cores(found: dict) -> str:
    return f" ({found['cores']} cores)" if found["platform"] == "cpu" else ""


def lengths(found: dict) -> str | None:
    if "lengths" not in found:
        return None
    each = ", ".join(f"{length} in {share:.0%} of the steps" for length, share in found["lengths"].items())
    return f"{each}; {found['padded_share']:.0%} of the images computed are padding"


def cached(was: bool) -> str:
    return ", the rest read from the cache" if was else ""


def runs(found: dict) -> str:
    return f" x {found['runs']} runs" if found["runs"] > 1 else ""


def shapes(found: dict) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in found.items() if shape != [0])


def since(seconds: float | None) -> str:
    return "" if seconds is None else f", {seconds:.1f} s after the process began"


def step(seconds: dict, count: int) -> str:
    least, median, most = (f"{1e3 * seconds[key]:.4g}" for key in ("min", "median", "max"))
    return f"{median} ms median, {least} to {most} ms, {count} steps"


def against(found: dict, amount: str, unit: str, rate: str, rate_unit: str, peak: str, source: str) -> str | None:
    """An amount a step in thousands of millions, its rate, and that rate's share of the peak: names of fields, and their units."""
    if found[amount] is None:
        return None
    line = f"{found[amount] / 1e9:.4g} {unit}, a step"
    if found[rate] is None:
        return line
    line += f"; {found[rate]:.3g} {rate_unit}"
    return line if found[peak] is None else f"{line}, {found[rate] / found[peak]:.1%} of {found[peak]:.4g} ({found[source]})"


def memory(found: dict) -> str | None:
    if found["peak_gib"] is None:
        return None
    process = "" if found["peak_rss_gib"] is None else f"; the process held {found['peak_rss_gib']:.3g} GiB at most"
    return f"{found['peak_gib']:.3g} GiB ({found['peak_gib_source']}){process}"


def compilations(count: dict) -> str:
    return f"{count['programs']} programs, {count['seconds']:.1f} s, {count['cached']} read from the cache"


def operations(found: Profile, platform: str) -> str:
    """The costliest operations of a profile."""
    head = f"\n  {'ms a step':>10} {'share':>7} {'calls':>7}  operation and its source"
    lines = [f"  {one.milliseconds:>10.3f} {one.share:>7.1%} {one.count:>7.4g}  {one.operation}  {one.source}" for one in found.operations]
    covered = f"  operations cover {found.operations_ms:.4g} of {found.step_ms:.4g} ms of a traced step"
    note = f"\n  {SHORT}" if platform == "cpu" else ""
    return "\n".join([head, *lines[:SHOWN], covered]) + note
