"""The pickle of what torch.save writes: names, shapes and strides of tensors, read without running anything that it says.

A pickle may call whatever function it names; this reader knows the few that weights need and refuses every other name. Checkpoints also
hold what a training script was called with, of classes that become placeholders: made without them, and whatever is set on one is lost.
"""

import collections
import functools
import io
import itertools
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

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
NEWEST_PROTOCOL = 2  # of pickle, which torch.save writes; later ones reserve memory before they read
MOST_AXES = 8


class Kind(NamedTuple):
    """A class of storages, by its name in torch."""

    name: str


class Storage(NamedTuple):
    """Plain numbers elsewhere in the file, which are read for the tensors that are taken alone."""

    dtype: np.dtype
    key: str


class Tensor(NamedTuple):
    """What the pickle says of a tensor, in elements; nothing of it is believed before `array`."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class Read(NamedTuple):
    """What a pickle holds: dicts, numbers, strings, a `Tensor` for each tensor; and the type of each storage it speaks of, by key."""

    objects: Any
    dtypes: dict[str, np.dtype]


def read(data: bytes) -> Read:
    """The pickle's objects."""
    for opcode, argument, _ in pickletools.genops(data):  # read, not run
        if opcode.proto > NEWEST_PROTOCOL:
            raise InputError(f"was saved with another pickle_protocol than torch.save's own: {SAVE_AGAIN}")
        if opcode.name in ("PUT", "LONG_BINPUT") and argument > len(data):
            raise InputError("is damaged (its pickle counts more objects than it holds): it is refused")
    unpickler = Unpickler(io.BytesIO(data))
    return Read(unpickler.load(), unpickler.dtypes)


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


class Placeholder:
    """An object of a class in `PLACEHOLDERS`, without anything in it."""

    __slots__ = ()

    def __new__(cls, *arguments):
        return super().__new__(cls)

    def __setstate__(self, state):
        """What the pickle sets on it, its attributes, goes nowhere."""


KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): RebuildParameter(),
}
# Of `args`, what a script was called with, as MAE's and RETFound's scripts save it beside the weights.
PLACEHOLDERS = {("argparse", "Namespace"), *itertools.product(("pathlib", "pathlib._local"), ("PosixPath", "WindowsPath"))}


class Unpickler(pickle.Unpickler):
    """An unpickler that resolves the names in `KNOWN`, `PLACEHOLDERS` and `STORAGES` alone."""

    def __init__(self, file):
        super().__init__(file)
        self.dtypes = {}

    def find_class(self, module: str, name: str):
        if module == "torch" and name in STORAGES:
            return Kind(name)
        if (module, name) in PLACEHOLDERS:
            return Placeholder
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        raise InputError(f"wants to load {module}.{name}, which is no weight, and nothing of it was run: {SAVE_AGAIN}")

    def persistent_load(self, identity) -> Storage:
        what, kind, key, _, _, *view = identity  # a view of a part of a storage: of PyTorch before 0.4
        if what != "storage" or not isinstance(kind, Kind) or not isinstance(key, str) or view not in ([], [None]):
            raise InputError("is damaged (a storage is described in an unknown way): it is refused")
        storage = Storage(STORAGES[kind.name], key)
        self.dtypes.setdefault(key, storage.dtype)
        return storage


def weights(objects, numbers: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    """{name: array} of the weights in what a checkpoint holds. numbers: key of a storage -> what it holds, which is asked for once."""
    numbers = functools.cache(numbers)
    return {name: array(name, tensor, numbers) for name, tensor in weights_of(objects).items()}


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


def array(name: str, tensor: Tensor, numbers: Callable[[str], bytes]) -> np.ndarray:
    """A view of the tensor's storage; what reaches beyond it is refused."""
    storage, offset, shape, strides = tensor
    sizes = (offset, *shape, *strides)
    whole = all(type(number) is int and number >= 0 for number in sizes)
    if not isinstance(storage, Storage) or not len(shape) == len(strides) <= MOST_AXES or not whole:
        raise InputError(f"is damaged ('{name}' is described in an unknown way): it is refused")
    width, data = storage.dtype.itemsize, numbers(storage.key)
    held, size = len(data) // width, math.prod(shape)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if size and (last >= held or size > held):
        raise InputError(f"is damaged ('{name}' of shape {shape} is larger than the {held} numbers stored for it): it is refused")
    if not size:
        return np.zeros(shape, storage.dtype)
    return np.ndarray(shape, storage.dtype, data, offset * width, [stride * width for stride in strides])
