"""Answers of a language model on disk: a file each, named by all that it depends on, so that none is paid for twice."""

import dataclasses
import datetime
import hashlib
import json
import uuid

from etils import epath

from jaxstroke.preprocess.report import instructions, judge
from jaxstroke.preprocess.report.findings import Seen

FORMAT = 1  # part of the name: raise it when messages, schema or rules for answers change so that old answers must not be taken


@dataclasses.dataclass(frozen=True)
class Asked:
    """What all reports of a run are asked by. prompt: the instructions' whole text."""

    model: str
    prompt: str
    temperature: float


def name(seen: Seen, asked: Asked) -> str:
    """The sha256 of what an answer depends on: findings, slices, instructions, schema, model, temperature. No server: it may move."""
    parts = [
        FORMAT, instructions.SCHEMA, asked.model, asked.prompt, asked.temperature, instructions.as_json(seen.findings),
        [hashlib.sha256(png).hexdigest() for png in seen.slices],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def make_folder(folder: epath.Path):
    """Make it, and find out that it can be written to before anything is paid."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{uuid.uuid4().hex}.partial"
    probe.write_text("")
    probe.unlink()


def read(folder: epath.Path, key: str) -> dict[str, str] | None:
    """The sections of an answer, None where there is none or its file is damaged."""
    try:
        return judge.checked(json.loads((folder / f"{key}.json").read_text())["sections"])
    except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError, judge.Invalid):
        return None


def write(folder: epath.Path, key: str, sections: dict[str, str], asked: Asked, usage: dict):
    """Whole or not at all. Nothing in it names a patient. usage: of tokens, as the server said."""
    content = {
        "sections": sections, "model": asked.model, "prompt": instructions.digest(asked.prompt), "temperature": asked.temperature,
        "usage": usage, "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    temporary = folder / f".{uuid.uuid4().hex}.partial"  # a name of its own: two commands may write the same answer
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(folder / f"{key}.json")
