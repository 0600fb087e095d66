"""jaxstroke against PyTorch, both sides interleaved on this machine: one row or several, one command.

    python tests/peers/compare.py --row densenet [--batch 2 --shape 40 96 96 --dtype float32] [--rounds 8] [--variants eager,compile]
    python tests/peers/compare.py --all-cpu --output peers.json
    python tests/peers/compare.py --all-gpu

Every contestant is a process of its own, kept alive; none runs while another does. They take turns, round by round, each turn beginning
with an untimed step, so that the drift of a shared machine hits all alike. Printed are the least, median and largest step of each, and
ratio = median of the fastest PyTorch variant / ours: above 1, jaxstroke is faster. Seconds to compile stand apart, in `first`.

PyTorch runs as its users run it. `--allocator kept` lets the C library keep its freed memory, as jaxstroke sets it for itself; on CPU that
speeds up PyTorch too. Needs `pip install -e '.[peers]'`.

`others` is the share of the machine's cores that other programs used during a side's turns (Linux). Where it is more than a few per cent,
medians say little: OpenMP, under PyTorch, then waits for whole time slices at the end of every loop. Wait for a quiet machine.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import rows

HERE = pathlib.Path(__file__).resolve().parent
OURS = "jaxstroke"
DISTURBED = 0.05  # share of the cores that other programs may use before the result says so


class Contestant:
    """A process that runs one side's step. Errors: `Lost`, with the last line of its standard error."""

    def __init__(self, row: rows.Row, side: str, allocator: str, cache: str, environment: dict):
        self.side, self.log = side, tempfile.TemporaryFile("w+")  # noqa: SIM115, `end` closes it
        command = [sys.executable, str(HERE / "contestant.py"), json.dumps(dataclasses.asdict(row)), side, allocator, cache]
        pipe = subprocess.PIPE
        path = os.pathsep.join(filter(None, (str(HERE.parents[1]), os.environ.get("PYTHONPATH"))))  # jaxstroke need not be installed
        environment = os.environ | environment | {"PYTHONPATH": path}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.log, text=True, env=environment)

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            written = [text for text in self.log.read().splitlines() if text.strip()]
            raise Lost(written[-1] if written else f"ended with code {self.process.returncode}")
        return json.loads(line)

    def go(self, steps: int) -> dict:
        """`seconds` of each step, and `others`: the share of all cores that other programs used meanwhile."""
        before = busy_seconds()
        began = time.perf_counter()
        answer = self.ask(steps)
        whole = (time.perf_counter() - began) * os.cpu_count()
        return answer | {"others": max(0.0, busy_seconds() - before - answer["cpu_s"]) / whole}

    def ask(self, steps: int) -> dict:
        try:
            self.process.stdin.write(f"go {steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` says why
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Lost(Exception):
    """A contestant that cannot go on."""


def busy_seconds() -> float:
    """Seconds that this machine's cores have worked since it started, all together; 0 where the system does not say."""
    path = pathlib.Path("/proc/stat")
    if not path.exists():
        return 0.0
    user, nice, system = path.read_text().split("\n", 1)[0].split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def compare(row: rows.Row, rounds: int, warmup: int, allocator: str, cache: str, environment: dict) -> dict:
    """Everything measured of a row: {"row", "sides": {side: {"seconds": a list a round, ...} or {"failed": why}}, ...}."""
    entered, found = {}, {}
    load = os.getloadavg()[0]
    try:
        for side in (OURS, *row.variants):
            contestant = entered[side] = Contestant(row, side, allocator, cache, environment)
            found[side] = attempt(contestant, contestant.answer) | {"rounds": [], "others": []}
            if "failed" not in found[side]:
                say(f"{row.name}: {side} began after {found[side]['first_step_s']:.1f} s")
                if warmup:
                    attempt(contestant, lambda one=contestant: one.go(warmup))
        for number in range(rounds):
            sides = [side for side in entered if "failed" not in found[side]]
            for side in sides[number % len(sides) :] + sides[: number % len(sides)] if sides else ():  # nobody is always first
                turn = attempt(entered[side], lambda one=entered[side]: one.go(1 + row.steps))
                found[side]["rounds"].append(turn.pop("seconds", [])[1:])
                found[side]["others"].append(turn.pop("others", 0.0))
                found[side] |= turn
    finally:
        for contestant in entered.values():
            contestant.end()
    for side in found.values():
        side |= summary(side["rounds"])
    return {"row": dataclasses.asdict(row), "load_before": load, "allocator": allocator, "sides": found} | verdict(found)


def attempt(contestant: Contestant, question) -> dict:
    """What it answers, or why it does not."""
    try:
        return question()
    except Lost as reason:
        say(f"{contestant.side} failed: {reason}")
        return {"failed": str(reason)}


def summary(turns: list[list[float]]) -> dict:
    """Least, median and largest step of all turns, seconds."""
    seconds = [value for turn in turns for value in turn]
    if not seconds:
        return {}
    return {"step_s": {"min": min(seconds), "median": statistics.median(seconds), "max": max(seconds)}}


def verdict(sides: dict[str, dict]) -> dict:
    """Ours against the PyTorch variant with the lowest median: ratio of medians, of least steps, and the range of a round's medians."""
    whole = {side: values for side, values in sides.items() if "failed" not in values}
    theirs = {side: values["step_s"]["median"] for side, values in whole.items() if side != OURS}
    if OURS not in whole or not theirs:
        return {"best": None, "ratio": None}
    best = min(theirs, key=theirs.get)
    a, b = whole[best], whole[OURS]
    medians = [[statistics.median(turn) for turn in values["rounds"]] for values in (a, b)]
    each = [one / other for one, other in zip(*medians, strict=True)]
    ratios = {key: a["step_s"][key] / b["step_s"][key] for key in ("median", "min")}
    return {"best": best, "ratio": ratios["median"], "ratio_of_least": ratios["min"], "ratio_by_round": [min(each), max(each)]}


def report(result: dict):
    """The row as a table."""
    row = rows.Row(**result["row"])
    size = " x ".join(map(str, (row.batch, *row.shape)))
    print(f"\n{row.name}: {row.what}\n{size}, {row.dtype}, {row.device}; load before {result['load_before']:.1f}")
    print(f"{'':28}{'first s':>9}{'min':>10}{'median':>10}{'max':>10}{'a second':>10}{'peak GiB':>10}{'others':>8}  on")
    for side, values in result["sides"].items():
        name = side if side == OURS else f"pytorch {side}"
        if "failed" in values:
            print(f"{name:28}failed: {values['failed']}")
            continue
        times = "".join(f"{values['step_s'][key]:10.4f}" for key in ("min", "median", "max"))
        versions = " ".join(f"{package} {version}" for package, version in values["versions"].items())
        where = f"{values['device']}, {values['threads']} threads, {versions}"
        others = statistics.mean(values["others"])
        rate = row.batch / values["step_s"]["median"]
        print(f"{name:28}{values['first_step_s']:9.1f}{times}{rate:10.2f}{values['peak_gib']:10.2f}{others:8.0%}  {where}")
    if "compiled" in result["sides"][OURS]:
        print(f"jaxstroke: {result['sides'][OURS]['compiled']}")
    if max(statistics.mean(values["others"] or [0.0]) for values in result["sides"].values()) > DISTURBED:
        print(f"disturbed: other programs used more than {DISTURBED:.0%} of the cores in a side's turns; repeat it on a quiet machine")
    if result["ratio"] is not None:
        low, high = result["ratio_by_round"]
        print(f"ratio {result['ratio']:.2f} against {result['best']} (by round {low:.2f} to {high:.2f}, of the least steps "
              f"{result['ratio_of_least']:.2f}); above 1: jaxstroke is faster", flush=True)  # fmt: skip


def say(text: str):
    print(text, file=sys.stderr, flush=True)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--row", choices=list(rows.ROWS))
    which.add_argument("--all-cpu", action="store_true", help="every row for a CPU, at its default size")
    which.add_argument("--all-gpu", action="store_true", help="every row for a GPU, at its default size")
    parser.add_argument("--batch", type=int, help="patients or images")
    parser.add_argument("--shape", type=int, nargs="+", help="voxels of an image")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--device", choices=("cpu", "gpu"))
    parser.add_argument("--variants", help=f"of PyTorch, some of {','.join(rows.ALL)}")
    parser.add_argument("--steps", type=int, help="timed in one turn")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3, help="steps after the first, not timed")
    parser.add_argument("--allocator", choices=("plain", "kept"), default="plain", help="of PyTorch's processes")
    parser.add_argument("--cold", action="store_true", help="compile anew instead of using the caches of compiled programs")
    parser.add_argument("--output", type=pathlib.Path, help="json with every step's seconds")
    found = parser.parse_args(argv)
    unknown = set((found.variants or "eager").split(",")) - set(rows.ALL)
    if unknown:
        parser.error(f"--variants: {', '.join(sorted(unknown))} is unknown; known: {', '.join(rows.ALL)}")
    if found.rounds < 1 or (found.steps or 1) < 1:
        parser.error("--rounds and --steps must be 1 or more")
    chosen = rows.ROWS[found.row] if found.row else None
    if found.shape and (not chosen or len(found.shape) != len(chosen.shape)):
        parser.error(f"--shape goes with --row, and has as many numbers as its own: {chosen.shape if chosen else ''}")
    return found


def chosen_rows(given: argparse.Namespace) -> list[rows.Row]:
    """The rows asked for, with the sizes asked for."""
    named = (
        [rows.ROWS[given.row]] if given.row else [row for row in rows.ROWS.values() if row.device == ("cpu" if given.all_cpu else "gpu")]
    )
    changes = {key: value for key in ("batch", "dtype", "device", "steps") if (value := getattr(given, key)) is not None}
    changes |= {"shape": tuple(given.shape)} if given.shape else {}
    changes |= {"variants": tuple(given.variants.split(","))} if given.variants else {}
    return [dataclasses.replace(row, **changes) for row in named]


def main(argv: list[str] | None = None) -> int:
    given = arguments(argv)
    results = []
    for row in chosen_rows(given):
        with tempfile.TemporaryDirectory() as empty:
            cache = empty if given.cold else "~/.cache/jaxstroke"
            environment = {"TORCHINDUCTOR_CACHE_DIR": empty} if given.cold else {}
            results.append(compare(row, given.rounds, given.warmup, given.allocator, cache, environment))
        report(results[-1])
        if given.output:
            given.output.write_text(json.dumps(results, indent=1))
    return 0 if all(result["ratio"] is not None for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
