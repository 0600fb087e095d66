"""Weights in a file of PyTorch's, read without PyTorch and without running anything that the file says.

`torch.save` writes a zip: a pickle with names, shapes and strides, and one entry of plain numbers a storage. A pickle may call whatever
function it names; this reader knows the few that weights need and refuses every other name. Nothing is allocated beyond the file's size.
"""

import collections
import io
import math
import pickle
import pickletools
import zipfile
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
from etils import epath

from jaxstroke.errors import InputError

SAVE_AGAIN = "in PyTorch, load it where you trust it and save the weights alone: torch.save(model.state_dict(), 'weights.pth')"
WRAPPERS = ("state_dict", "model_state_dict", "model")  # what training scripts call the weights in a larger checkpoint
STORAGES = {
    "FloatStorage": np.dtype("float32"),
    "DoubleStorage": np.dtype("float64"),
    "HalfStorage": np.dtype("float16"),
    "BFloat16Storage": jnp.dtype("bfloat16"),
    "LongStorage": np.dtype("int64"),
    "IntStorage": np.dtype("int32"),
    "ShortStorage": np.dtype("int16"),
    "CharStorage": np.dtype("int8"),
    "ByteStorage": np.dtype("uint8"),
    "BoolStorage": np.dtype("bool"),
}
SAFETENSORS = {
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "F16": np.dtype("float16"),
    "BF16": jnp.dtype("bfloat16"),
    "I64": np.dtype("int64"),
    "I32": np.dtype("int32"),
    "I16": np.dtype("int16"),
    "I8": np.dtype("int8"),
    "U8": np.dtype("uint8"),
    "BOOL": np.dtype("bool"),
}
NEWEST_PROTOCOL = 2  # of pickle, which torch.save writes; later ones reserve memory before they read
MOST_AXES = 8


class Kind(NamedTuple):
    """A class of storages, by its name in torch."""

    name: str


class Storage(NamedTuple):
    dtype: np.dtype
    data: bytes


class Tensor(NamedTuple):
    """What the pickle says of a tensor, in elements; nothing of it is believed before `array`."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


def read(path: epath.Path) -> dict[str, np.ndarray]:
    """The tensors of a `.pth` or `.pt` of torch.save, or of a `.safetensors`: {name: array}, read-only views, dtypes as stored.

    A checkpoint that holds its weights under one of `WRAPPERS` is unwrapped, and the prefix `module.` of DataParallel is cut off.
    Raises InputError for anything else, with the cure.
    """
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        found = of_safetensors(data)
    elif data.startswith(b"PK\x03\x04"):
        found = of_zip(data)
    elif data.startswith(b"\x80"):
        raise InputError("is of a format before PyTorch 1.6: with a newer PyTorch, torch.save(torch.load('weights.pth'), 'weights.pth')")
    else:
        raise InputError("is neither a file of torch.save nor a .safetensors")
    if found and all(name.startswith("module.") for name in found):
        return {name.removeprefix("module."): value for name, value in found.items()}
    return found


def of_safetensors(data: bytes) -> dict[str, np.ndarray]:
    try:
        found = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise InputError(f"is no readable .safetensors ({error}): fetch it again") from None
    unknown = [f"{name} of {one['dtype']}" for name, one in found if one["dtype"] not in SAFETENSORS]
    if unknown:
        raise InputError(f"holds numbers of a type that is not read here: {unknown[0]}. Known: {', '.join(SAFETENSORS)}")
    return {name: np.frombuffer(one["data"], SAFETENSORS[one["dtype"]]).reshape(one["shape"]) for name, one in found}


def of_zip(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of what torch.save wrote."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = entries_of(archive, len(data))
            found = unpickled(entry("data.pkl"), entry)
            return {name: array(name, tensor) for name, tensor in weights_of(found).items()}
    except InputError:
        raise
    except Exception as error:  # of whatever kind: the bytes are a stranger's
        raise InputError(f"is damaged ({type(error).__name__}: {error}): fetch or save it again") from None


def entries_of(archive: zipfile.ZipFile, size: int):
    """`entry(name) -> bytes` inside the zip's one folder. size: bytes of the whole file, which all entries together may not exceed."""
    names = archive.namelist()
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(f"is a zip, but not of torch.save: {SAVE_AGAIN}")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in names:
        raise InputError("is TorchScript, a program: in PyTorch, torch.save(torch.jit.load('weights.pt').state_dict(), 'weights.pth')")
    if sum(entry.file_size for entry in archive.infolist()) > size:
        raise InputError("is compressed or overlaps itself, which torch.save never does: it is refused")
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise InputError("was written on a big-endian machine: load and save it on another")
    return lambda name: archive.read(folder + name)


def unpickled(data: bytes, entry):
    """The pickle's objects: dicts, numbers, strings, and a `Tensor` for each tensor."""
    for opcode, argument, _ in pickletools.genops(data):  # read, not run
        if opcode.proto > NEWEST_PROTOCOL:
            raise InputError(f"was saved with another pickle_protocol than torch.save's own: {SAVE_AGAIN}")
        if opcode.name in ("PUT", "LONG_BINPUT") and argument > len(data):
            raise InputError("is damaged (its pickle counts more objects than it holds): it is refused")
    return Unpickler(io.BytesIO(data), entry).load()


class RebuildTensor:
    """`torch._utils._rebuild_tensor_v2`. A pickle can set attributes of what it is given: without slots there are none."""

    __slots__ = ()

    def __call__(self, storage, offset, shape, strides, *rest) -> Tensor:
        return Tensor(storage, offset, shape, strides)


class RebuildParameter:
    """`torch._utils._rebuild_parameter`: the tensor itself."""

    __slots__ = ()

    def __call__(self, tensor, *rest) -> Tensor:
        return tensor


KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): RebuildParameter(),
}


class Unpickler(pickle.Unpickler):
    """An unpickler that resolves the names in `KNOWN` and `STORAGES` alone. entry: `entries_of`."""

    def __init__(self, file, entry):
        super().__init__(file)
        self.entry, self.storages = entry, {}

    def find_class(self, module: str, name: str):
        if module == "torch" and name in STORAGES:
            return Kind(name)
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        raise InputError(f"wants to load {module}.{name}, which is no weight, and nothing of it was run: {SAVE_AGAIN}")

    def persistent_load(self, identity) -> Storage:
        what, kind, key, _, _ = identity
        if what != "storage" or not isinstance(kind, Kind) or not isinstance(key, str):
            raise InputError("is damaged (a storage is described in an unknown way): it is refused")
        if key not in self.storages:
            self.storages[key] = self.entry(f"data/{key}")
        return Storage(STORAGES[kind.name], self.storages[key])


def weights_of(found) -> dict[str, Tensor]:
    """The dict of tensors in what a checkpoint holds."""
    for name in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found:
        raise InputError(f"holds no weights by name: {SAVE_AGAIN}")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(f"holds '{name}', which is no tensor: {SAVE_AGAIN}")
    return found


def array(name: str, tensor: Tensor) -> np.ndarray:
    """A view of the tensor's storage; what reaches beyond it is refused."""
    storage, offset, shape, strides = tensor
    numbers = (offset, *shape, *strides)
    whole = all(type(number) is int and number >= 0 for number in numbers)
    if not isinstance(storage, Storage) or not len(shape) == len(strides) <= MOST_AXES or not whole:
        raise InputError(f"is damaged ('{name}' is described in an unknown way): it is refused")
    held, size = len(storage.data) // storage.dtype.itemsize, math.prod(shape)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if size and (last >= held or size > held):
        raise InputError(f"is damaged ('{name}' of shape {shape} is larger than the {held} numbers stored for it): it is refused")
    if not size:
        return np.zeros(shape, storage.dtype)
    width = storage.dtype.itemsize
    return np.ndarray(shape, storage.dtype, storage.data, offset * width, [stride * width for stride in strides])
