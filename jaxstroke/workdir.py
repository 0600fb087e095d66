"""What a workdir is: `run.json` makes it self-contained, and refuses to be used with another config."""

import hashlib
import importlib.metadata
import json
import os
import shlex
import sys

from etils import epath

from jaxstroke import config as settings
from jaxstroke import config_json
from jaxstroke.errors import InputError

PACKAGES = ("jaxstroke", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pandas", "scikit-learn", "nibabel")


def absolute(path: str) -> epath.Path:
    """A path a user wrote as an absolute one; buckets stay as they are."""
    return epath.Path(path) if "://" in path else epath.Path(os.path.abspath(os.path.expanduser(path)))


def read(workdir: epath.Path) -> dict | None:
    """`run.json`, or None where there is none."""
    return read_json(workdir / "run.json") if (workdir / "run.json").exists() else None


def read_json(path: epath.Path):
    """A json file of the workdir, or InputError where it is damaged."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable json ({error}): restore it or use a new --workdir") from None


def check_same(workdir: epath.Path, config, may_differ: tuple[str, ...] = settings.MAY_DIFFER):
    """Refuse a workdir of another config, naming what differs."""
    written = read(workdir)
    if written is None:
        return
    changed = [
        (key, old, new)
        for key, old, new in config_json.differences(written["config"], config_json.to_json(config))
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in may_differ)
    ]
    if changed:
        lines = "\n".join(f"  config.{key}: {old} there, {new} now" for key, old, new in changed)
        raise InputError(f"{workdir} belongs to a run with another config; use a new --workdir, or the same config. What differs:\n{lines}")


def write(workdir: epath.Path, config, devices: list[str], records: dict[str, str]):
    """`run.json`: the whole config, versions, devices, command line, hashes of records and splits.

    A workdir that has one keeps what it was begun with; only the config's keys that may differ, and what it was last used with, change.
    """
    used = {
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}},
        "devices": devices,
        "command": command_line(),
    }
    begun = read(workdir) or used | {"records": records}
    write_json(workdir / "run.json", begun | {"config": config_json.to_json(config), "last_used": used})


def command_line() -> str:
    """The command that was given."""
    return shlex.join(["python", "-m", "jaxstroke.main", *sys.argv[1:]])


def version(name: str) -> str:
    """The installed version of a package, or "not installed" (when run from a checkout)."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def write_json(path: epath.Path, values):
    """Write whole or not at all: a kill leaves the old file."""
    temporary = path.parent / f".{path.name}.partial"
    temporary.write_text(json.dumps(values, indent=1))
    temporary.replace(path)


def digest(values) -> str:
    """sha256 of json values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def records_root(config, workdir: epath.Path) -> epath.Path:
    """Where prepared records lie: `cohort.records`, or `records` beside the workdir."""
    return absolute(config.cohort.records) if config.cohort.records else workdir.parent / "records"
