"""One damaged input through the program, in this process: what it said, and what it should not have done."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
import traceback

import mutations

from jaxstroke import main
from jaxstroke.errors import InputError

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SEED = int(os.environ.get("CAMPAIGN_SEED", "0"))  # another one gives other inputs
TIMES = int(os.environ.get("CAMPAIGN_TIMES", "1"))  # as many inputs
NUMBER = os.environ.get("CAMPAIGN_NUMBER")  # one input alone, to see a fault again
SECONDS = 60  # an input may take
TRIED: dict[str, dict[str, int]] = {}  # kind of input: what became of it: how many


@dataclasses.dataclass(frozen=True)
class Said:
    """Exit code and all that was printed; `fault`: an error that came out, or a time that ran out."""

    code: int | None
    text: str
    fault: str = ""

    @property
    def message(self) -> str:
        return self.text[self.text.index("error:") :] if "error:" in self.text else ""


def program(*arguments) -> Said:
    """The program on a command line."""
    out, argv = io.StringIO(), sys.argv
    sys.modules.pop("config_config", None)  # a config file is imported under one name, and nothing of the one before may stay
    try:
        with mutations.within(SECONDS), contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
            return Said(main.main(["main", *map(str, arguments)]), out.getvalue())
    except (Exception, mutations.TooSlow):
        return Said(None, out.getvalue(), traceback.format_exc())
    except SystemExit as error:
        return Said(None, out.getvalue(), f"ended by SystemExit({error.code})")
    finally:
        sys.argv = argv


def call(function, *arguments) -> Said:
    """A function of the program: 0 where it returns, 2 where it refuses by name."""
    out = io.StringIO()
    try:
        with mutations.within(SECONDS), contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
            function(*arguments)
        return Said(0, out.getvalue())
    except InputError as error:
        return Said(2, f"{out.getvalue()}error: {error}")
    except (Exception, mutations.TooSlow):
        return Said(None, out.getvalue(), traceback.format_exc())


def fault_of(said: Said, names: tuple[str, ...]) -> str:
    """What is wrong with an attempt, "" where it ended well or with a message that holds one of the names."""
    if said.fault or said.code not in (0, 2):
        return said.fault or f"exit code {said.code}"
    if "Traceback" in said.text or "never retrieved" in said.text:
        return f"a traceback was printed: {said.text[-2000:]}"
    if said.code == 2 and not any(name and name in said.message for name in names):
        return f"refused without a name of {names}: {said.message[:500]}"
    return ""


def numbers(count: int) -> list[int]:
    """The inputs to try."""
    return list(range(count * TIMES)) if NUMBER is None else [int(NUMBER)]


def note(kind: str, outcome: str):
    counts = TRIED.setdefault(kind, {})
    counts[outcome] = counts.get(outcome, 0) + 1


def outcome_of(said: Said) -> str:
    return "used" if said.code == 0 else "refused"


def complain(kind: str, number: int, words: str, fault: str) -> str:
    """A fault, and how to see it again."""
    return (
        f"{kind} {number}: {words}\n{fault}\nagain: CAMPAIGN_SEED={SEED} CAMPAIGN_NUMBER={number} "
        f"python -m pytest -n 0 -m '' tests/campaign/test_campaign.py -k {kind}"
    )


def read_images(kind: str, count: int, data: str) -> list[str]:
    """Damaged images in a process of little memory, see `reading.py`. Returns the faults."""
    chosen = numbers(count)
    command = [sys.executable, HERE / "reading.py", kind, "--seed", str(SEED), "--first", str(chosen[0]), "--count", str(len(chosen))]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--data", data], env=environment, capture_output=True, text=True, timeout=600)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    faults = [complain(kind, line["number"], line["words"], f"{line['fault']} {line['reason']}") for line in lines if line["fault"]]
    if len(lines) < len(chosen):
        faults.append(complain(kind, chosen[len(lines)], "the process died", f"exit code {done.returncode}: {done.stderr[-2000:]}"))
    for line in lines:
        note(kind, "refused" if line["reason"] else "used")
    peak = max((line["megabytes"] for line in lines), default=0)
    if peak > MEGABYTES:
        first = next(line for line in lines if line["megabytes"] > MEGABYTES)
        faults.append(complain(kind, first["number"], first["words"], f"the process grew to {peak} MB"))
    return faults


MEGABYTES = 600  # of a process that reads small files, with all its libraries
