"""Where a step's time goes: a trace of a few steps, and its operations by their share of the time, each with the layer it belongs to."""

import collections
import csv
import dataclasses
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import jax
from etils import epath

STEPS = 3
CONTAINERS = ("while", "conditional", "call")  # their bodies' operations are counted, each by itself
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = .*? ([a-z][\w\-]*)\(")
OPERAND = re.compile(r"%([\w.\-]+)")
SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclass(frozen=True)
class Operation:
    """An operation of the compiled program: milliseconds and calls a step, share of the time of all, and its place in the source."""

    operation: str
    milliseconds: float
    share: float
    count: float
    source: str


@dataclass(frozen=True)
class Profile:
    """operations: the costliest first. step_ms: a traced step by the clock; operations_ms: the part of it with an operation under way."""

    operations: list[Operation]
    step_ms: float
    operations_ms: float


@dataclass(frozen=True)
class Span:
    """One execution of an operation, in nanoseconds. name: PROGRAM/OPERATION, or the operation alone where the trace says no more."""

    name: str
    start: float
    end: float


def profile(run: Callable[[], object], program: str, folder: epath.Path) -> Profile:
    """Trace STEPS calls of `run`, each to its end, into `folder`, with `operations.csv`. program: the compiled program's text."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # tracing Python calls slows the step down
    known = set(traces(folder))
    with jax.profiler.trace(str(folder), profiler_options=options):
        began = time.perf_counter()
        for _ in range(STEPS):
            jax.block_until_ready(run())
        seconds = time.perf_counter() - began
        time.sleep(0.05)  # for the last operations to note their end
    found = [path for path in traces(folder) if path not in known]
    data = jax.profiler.ProfileData.from_serialized_xspace(max(found).read_bytes()) if found else None
    operations = summarise(spans(data) if data else [], program)
    write(operations, folder / "operations.csv")
    return Profile(operations, 1e3 * seconds / STEPS, sum(one.milliseconds for one in operations))


def traces(folder: epath.Path) -> list[epath.Path]:
    """Where JAX puts what it traced."""
    return list((folder / "plugins" / "profile").glob("*/*.xplane.pb"))


def summarise(found: list[Span], program: str) -> list[Operation]:
    """Operations by their share of the time. A moment belongs in equal parts to all operations that are then under way.

    Those of another program, such as the feed's, keep its name before theirs.
    """
    opcode, source = described(program)
    module = program.removeprefix("HloModule ").partition(",")[0]
    found = [dataclasses.replace(span, name=span.name.removeprefix(f"{module}/")) for span in found]
    found = [span for span in found if opcode.get(span.name) not in CONTAINERS]
    nanoseconds, count = shared(found), collections.Counter(span.name for span in found)
    total = sum(nanoseconds.values())
    return [
        Operation(name, part / 1e6 / STEPS, part / total if total else 0.0, count[name] / STEPS, source.get(name, ""))
        for name, part in nanoseconds.most_common()
    ]


def shared(found: list[Span]) -> collections.Counter:
    """{name: nanoseconds}: every moment divided equally among the spans that cover it, so that the sum is never longer than the clock."""
    lasting = [(number, span) for number, span in enumerate(found) if span.end > span.start]
    edges = sorted((moment, opens, number) for number, span in lasting for moment, opens in ((span.start, 1), (span.end, 0)))
    open_now, last, total = set(), 0.0, collections.Counter()
    for moment, opens, number in edges:
        for other in open_now:
            total[found[other].name] += (moment - last) / len(open_now)
        last = moment
        (open_now.add if opens else open_now.discard)(number)
    return total


def described(program: str) -> tuple[dict[str, str], dict[str, str]]:
    """({operation: opcode}, {operation: name in the source}) of a compiled program's text.

    What the compiler made without a name goes by that of an operation that uses it, after "for".
    """
    opcode, source, used_for = {}, {}, {}
    for line in reversed(program.splitlines()):  # users come after what they use
        instruction = INSTRUCTION.match(line)
        if instruction is None:
            continue
        name, opcode[instruction[1]] = instruction.groups()
        named = SOURCE.search(line)
        purpose = named[1] if named else used_for.get(name, "")
        source[name] = named[1] if named else f"for {purpose}" if purpose else ""
        if purpose:
            used_for |= dict.fromkeys(OPERAND.findall(line, instruction.end()), purpose)
    return opcode, source


def spans(data) -> list[Span]:
    """Executions on the first device: of an accelerator's own plane where there is one, else of the host's, where a CPU's run."""
    with warnings.catch_warnings():
        # jaxlib 0.12 makes a type on Python 3.12 that warns; where warnings are errors, its C++ would end the process
        warnings.simplefilter("ignore", DeprecationWarning)
        device = {plane.name: plane for plane in data.planes if re.fullmatch(r"/device:(GPU|TPU):\d+", plane.name)}
        if device:
            return device_spans(device[min(device, key=lambda name: int(name.rpartition(":")[2]))])
        return [span for plane in data.planes if plane.name.startswith("/host:") for span in host_spans(plane)]


def device_spans(plane) -> list[Span]:
    """Of the line "XLA Ops" (TPU), or of the streams (GPU). A kernel that names no operation goes by its own name."""
    lines = list(plane.lines)
    chosen = [line for line in lines if line.name == "XLA Ops"] or [line for line in lines if line.name.startswith("Stream")]
    found = []
    for line in chosen:
        for event in line.events:
            stats = dict(event.stats)
            name = stats.get("hlo_op") or event.name.partition(" = ")[0].lstrip("%")
            found.append(Span(full_name(stats, str(name)), event.start_ns, event.start_ns + event.duration_ns))
    return found


def full_name(stats: dict, name: str) -> str:
    return f"{stats['hlo_module']}/{name}" if "hlo_module" in stats else name


def host_spans(plane) -> list[Span]:
    """A CPU's operations on its first device.

    A convolution or product may be handed to a pool of threads: its event then ends when it is handed over, a fraction of its real time.
    XLA marks the real end with an event "end: NAME", whose `_c` is the operation's `_p`; where that mark is absent the event's own end
    is taken, and the operation comes out short.
    """
    ends, begun = {}, []
    for line in plane.lines:
        for event in line.events:
            stats = dict(event.stats)
            if event.name.startswith("end: ") and "_c" in stats:
                ends[event.name.removeprefix("end: "), stats["_c"]] = event.start_ns
            elif "hlo_op" in stats and stats.get("device_ordinal", 0) == 0:
                begun.append((full_name(stats, stats["hlo_op"]), event, stats.get("_p")))
    return [
        Span(name, event.start_ns, max(event.start_ns + event.duration_ns, ends.get((event.name, mark), 0.0)))
        for name, event, mark in begun
    ]


def write(operations: list[Operation], path: epath.Path):
    """All operations as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in dataclasses.fields(Operation)])
        writer.writerows([getattr(one, field.name) for field in dataclasses.fields(Operation)] for one in operations)
