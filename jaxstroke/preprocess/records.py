"""Records on disk: dicts of json values and numpy arrays in ArrayRecord shards, written atomically, read at random.

A folder of records holds `shard-00000-of-000NN.array_record` and, once complete, `manifest.json`. A shard appears under its name only when
it is whole, with its entry (`shard-....json`: units, failures, fingerprints) written just before it, so a killed run loses at most the
shards it was writing. No pickle anywhere: reading records of a stranger runs no code.
"""

import hashlib
import json
import math
import os
import tempfile
import time

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath

from jaxstroke.cohort.files import size_and_time
from jaxstroke.errors import InputError

MAGIC = b"JXS1"
OPTIONS = "group_size:1,zstd"
MANIFEST = "manifest.json"
STALE_SECONDS = 3600.0
ENTRY = {"name": str, "bytes": int, "units": list}  # what every entry of a shard has


def encode(record: dict) -> bytes:
    """A flat dict of json values and numpy arrays as bytes: magic, header length, json header, raw little-endian arrays."""
    fields, arrays, chunks, offset = {}, [], [], 0
    for name, value in record.items():
        if not isinstance(value, np.ndarray):
            fields[name] = value.item() if isinstance(value, np.generic) else value
            continue
        if value.dtype.hasobject or value.dtype.kind not in "biuf":
            raise TypeError(f"record field '{name}' has dtype {value.dtype}; only booleans and numbers are stored as arrays")
        data = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes()
        arrays.append([name, value.dtype.newbyteorder("<").str, list(value.shape), offset])
        chunks.append(data)
        offset += len(data)
    header = json.dumps({"fields": fields, "arrays": arrays}, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, *chunks])


def decode(data: bytes) -> dict:
    """The dict back from `encode`; arrays are read-only views of `data`. Raises ValueError where the bytes are no record."""
    if data[:4] != MAGIC:
        raise ValueError("not a jaxstroke record")
    start = 8 + int.from_bytes(data[4:8], "little")
    header = json.loads(data[8:start])
    record = dict(header["fields"])
    for name, dtype, shape, offset in header["arrays"]:
        record[name] = np.frombuffer(data, np.dtype(dtype), math.prod(shape), start + offset).reshape(shape)
    return record


def digest(settings) -> str:
    """sha256 (64 hex digits) over json values with sorted keys; tuples count as lists."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, allow_nan=False).encode()).hexdigest()


def shard_name(index: int, count: int) -> str:
    return f"shard-{index:05d}-of-{count:05d}.array_record"


def entry_name(shard: str) -> str:
    return shard.removesuffix(".array_record") + ".json"


def is_local(folder) -> bool:
    return "://" not in str(folder)


def write_text(path, text: str):
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path, content: bytes):
    """Write a file whole or not at all."""
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{path.name}.tmp-{os.getpid()}"
    temporary.write_bytes(content)
    temporary.replace(path)


def write_shard(folder, name: str, payloads: list[bytes], entry: dict):
    """One shard of encoded records and its entry, `bytes` (its size) added to it. A shard under its final name is whole.

    On a bucket the shard is made on local disk and copied; the rename there is what makes it appear.
    """
    folder = epath.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    final, temporary = folder / name, folder / f"{name}.tmp-{os.getpid()}"
    with tempfile.TemporaryDirectory() as local:
        target = str(temporary) if is_local(folder) else os.path.join(local, name)
        writer = ArrayRecordWriter(target, OPTIONS)
        for payload in payloads:
            writer.write(payload)
        writer.close()
        size = os.path.getsize(target)
        if target != str(temporary):
            epath.Path(target).copy(temporary, overwrite=True)
    write_entry(folder, entry | {"name": name, "bytes": size})
    temporary.replace(final)


def write_entry(folder, entry: dict):
    """The entry of a shard, beside it until the manifest holds it: name, bytes, units, failures, fingerprints."""
    write_text(epath.Path(folder) / entry_name(entry["name"]), json.dumps(entry, allow_nan=False))


def read_entry(folder, name: str) -> dict | None:
    """The entry of a shard, or None where there is none that can be read."""
    path = epath.Path(folder) / entry_name(name)
    try:
        entry = json.loads(path.read_text()) if path.exists() else None
    except (ValueError, RecursionError, OSError):
        return None
    return entry if is_entry(entry) else None


def is_entry(entry, form: dict[str, type] = ENTRY) -> bool:
    """Whether a value has what every entry of a shard has; form: names and types."""
    return isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in form.items())


def read_manifest(folder) -> dict | None:
    """The manifest of a folder of records, or None where it is not complete. Raises InputError where it cannot be read."""
    path = epath.Path(folder) / MANIFEST
    if not path.exists():
        return None
    cure = f"delete the folder {folder} and the records are made again."
    try:
        manifest = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError):
        raise InputError(f"{path} is not readable json: {cure}") from None
    entries = manifest.get("shards") if isinstance(manifest, dict) else None
    if not isinstance(entries, list) or not all(map(is_entry, entries)):
        raise InputError(f"{path} is not as it was written: {cure}")
    return manifest


def write_manifest(folder, manifest: dict):
    """Mark a folder complete; the shards' entries, now in the manifest, and what killed processes left behind go."""
    folder = epath.Path(folder)
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False))
    kept = {MANIFEST, *(entry["name"] for entry in manifest["shards"])}
    for path in folder.iterdir():
        old = ".tmp-" in path.name and time.time() - size_and_time(path)[1] > STALE_SECONDS
        if old or (path.name.startswith("shard-") and path.name not in kept and ".tmp-" not in path.name):
            path.unlink()


def local_copy(folder) -> epath.Path:
    """A folder on local disk with the same records: itself, or a copy of the bucket's under the system's temporary folder."""
    folder = epath.Path(folder)
    if is_local(folder):
        return folder
    manifest = folder / MANIFEST
    name = digest([str(folder), manifest.read_text()])[:16]  # other records, even under the same name, get another copy
    target = epath.Path(tempfile.gettempdir()) / f"jaxstroke-records-{name}"
    target.mkdir(parents=True, exist_ok=True)
    for entry in json.loads(manifest.read_text())["shards"]:
        copy = target / entry["name"]
        if not copy.exists() or size_and_time(copy)[0] != entry["bytes"]:
            (folder / entry["name"]).copy(copy, overwrite=True)
    return target


class Records:
    """Sequence of the decoded records of a complete folder, in the order of `units`; `index` maps a unit to its position."""

    def __init__(self, folder, manifest: dict):
        self.folder, self.manifest = str(folder), manifest
        self.units = tuple(unit for entry in manifest["shards"] for unit in entry["units"])
        self.index = {unit: i for i, unit in enumerate(self.units)}
        self._place = [(shard, row) for shard, entry in enumerate(manifest["shards"]) for row in range(len(entry["units"]))]
        self._readers: dict[int, ArrayRecordReader] = {}

    def __len__(self) -> int:
        return len(self.units)

    def __repr__(self) -> str:
        return f"Records({self.folder!r}, {len(self)})"

    def __getitem__(self, position: int) -> dict:
        shard, row = self._place[position]
        try:
            return decode(self._reader(shard).read([row])[0])
        except InputError:
            raise
        except Exception as error:  # whatever the library, or decoding what it gave, finds wrong
            name = f"{self.folder}/{self.manifest['shards'][shard]['name']}"
            raise InputError(f"{name} is damaged ({type(error).__name__}): delete the folder and prepare again.") from None

    def __getstate__(self):
        return {**self.__dict__, "_readers": {}}

    def _reader(self, shard: int) -> ArrayRecordReader:
        if shard not in self._readers:
            entry = self.manifest["shards"][shard]
            reader = ArrayRecordReader(os.path.join(self.folder, entry["name"]))
            if reader.num_records() != len(entry["units"]):  # a cut shard reads as an empty one, without an error
                raise InputError(f"{self.folder}/{entry['name']} is damaged: delete the folder and prepare again.")
            self._readers[shard] = reader
        return self._readers[shard]

    def close(self):
        for reader in self._readers.values():
            reader.close()
        self._readers = {}


def open_records(folder) -> Records:
    """Random access to a complete folder of records (copied to local disk first when it is a bucket)."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder} holds no complete records: run --mode prepare.")
    return Records(local_copy(folder), manifest)
