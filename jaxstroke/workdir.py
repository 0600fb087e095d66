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
FORM = 1  # of sealed files: raise it when other values are written


def absolute(path: str) -> epath.Path:
    """A path a user wrote as an absolute one; a bucket stays as it is, and is asked for once, as it may be out of reach."""
    if "://" not in path:
        return epath.Path(os.path.abspath(os.path.expanduser(path)))
    try:
        found = epath.Path(path)
        found.exists()
    except Exception as error:  # of the library that reaches this kind of bucket, or for want of one
        raise InputError(f"{path} cannot be reached ({plain(error)}): buckets are gs://, s3:// and the like") from None
    return found


def read(workdir: epath.Path) -> dict | None:
    """`run.json`, or None where there is none; InputError where it is damaged or lacks what every version has written."""
    path = workdir / "run.json"
    if not path.exists():
        return None
    written = read_json(path)
    for key, kind in (("config", dict), ("records", dict), ("versions", dict), ("devices", list), ("command", str)):
        if not isinstance(written, dict) or not isinstance(written.get(key), kind):
            raise InputError(f"{path} is not as it was written ('{key}' is missing or of another form): restore it or use a new --workdir")
    if not all(isinstance(one, str) for one in written["records"].values()):
        raise InputError(f"{path} is not as it was written ('records' must hold hashes): restore it or use a new --workdir")
    config_json.completed(written["config"])
    return written


def read_json(path: epath.Path, cure: str = "restore it or use a new --workdir"):
    """A json file of the workdir, or InputError where it is damaged."""
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is not readable json ({plain(error)}): {cure}") from None


def plain(error: BaseException) -> str:
    """An error in one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def trained_config(workdir: epath.Path):
    """The config in `run.json`, or None where there is none."""
    written = read(workdir)
    if written is None:
        return None
    try:
        return config_json.from_json(written["config"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{workdir / 'run.json'} holds no config ({plain(error)}): restore it or use a new --workdir") from None


def write_sealed(path: epath.Path, values: dict):
    """A json file that only this program writes and reads, with the number of its form and its digest."""
    sealed = json.loads(json.dumps({"form": FORM} | values))  # as it will be read: tuples as lists, keys as text
    write_json(path, sealed | {"digest": digest(sealed)})


def read_sealed(path: epath.Path, cure: str) -> dict:
    """What `write_sealed` wrote, or InputError where a byte of it is another, or another version wrote it."""
    values = read_json(path, cure)
    found = values.pop("digest", None) if isinstance(values, dict) else None
    if found is None or values.get("form") != FORM:
        raise InputError(f"{path} is not of this version of jaxstroke: {cure}")
    if found != digest(values):
        raise InputError(f"{path} is not as it was written: {cure}")
    return values


def check_same(workdir: epath.Path, config, may_differ: tuple[str, ...] = settings.MAY_DIFFER):
    """Refuse a workdir of another config, naming what differs."""
    lines = changed(workdir, config, may_differ)
    if lines:
        raise InputError(f"{workdir} belongs to a run with another config; use a new --workdir, or the same config. What differs:\n{lines}")


def check_one_run(workdir: epath.Path):
    """Refuse the workdir of a study that has no run of its own, naming a variant's."""
    found = sorted(path.parent for path in (workdir / "variants").glob("*/model.json"))
    if found and not (workdir / "model.json").exists():
        raise InputError(f"{workdir} is a study of --mode compare: name one of its variants, as --workdir {found[0]}")


def changed(workdir: epath.Path, config, may_differ: tuple[str, ...] = settings.MAY_DIFFER) -> str:
    """A line for each key in which the config of a workdir differs; "" where none does, or the workdir has none."""
    written = read(workdir)
    if written is None:
        return ""
    return "\n".join(
        f"  config.{key}: {old} there, {new} now"
        for key, old, new in config_json.differences(written["config"], config_json.to_json(config))
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in may_differ)
    )


def write(workdir: epath.Path, config, devices: list[str], records: dict[str, str], more: dict | None = None):
    """`run.json`: the whole config, versions, devices, command line, hashes of records and splits. more: further entries, as json.

    A workdir that has one keeps what it was begun with; only the config's keys that may differ, and what it was last used with, change.
    """
    used = {
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}},
        "devices": devices,
        "command": command_line(),
    }
    begun = read(workdir) or used | {"records": records} | (more or {})
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
    if not config.cohort.records:
        return workdir.parent / "records"
    folder = absolute(config.cohort.records)
    if "://" not in config.cohort.records:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise InputError(
                f"config.cohort.records = {config.cohort.records}: {there} is no folder; name one, it is made if it is not there"
            )
    return folder
