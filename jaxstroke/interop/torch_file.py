"""Weights in a file of PyTorch's, read without PyTorch and without running anything that the file says.

`torch.save` writes a zip: a pickle with names, shapes and strides, and one entry of plain numbers a storage; before PyTorch 1.6 it wrote
one stream of them. Nothing is allocated beyond the file's size.
"""

import zipfile

import jax.numpy as jnp
import numpy as np
import safetensors
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.interop import torch_pickle, torch_stream

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


def read(path: epath.Path) -> dict[str, np.ndarray]:
    """The tensors of a `.pth` or `.pt` of torch.save, or of a `.safetensors`: {name: array}, read-only views, dtypes as stored.

    A checkpoint that holds its weights under one of `torch_pickle.WRAPPERS` is unwrapped, nothing else of it is read, such as the moments
    of an optimiser, and the prefix `module.` of DataParallel is cut off. Raises InputError for anything else, with the cure.
    """
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(0)
        if path.suffix == ".safetensors":
            found = of_safetensors(file.read())
        elif begin == b"PK\x03\x04":
            found = undamaged(of_zip, file)
        elif begin.startswith(b"\x80"):
            found = undamaged(torch_stream.read, file)
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


def undamaged(reader, file) -> dict[str, np.ndarray]:
    """The tensors by a reader of open files, InputError where the file is damaged."""
    try:
        return reader(file)
    except InputError:
        raise
    except Exception as error:  # of whatever kind: the bytes are a stranger's
        raise InputError(f"is damaged ({type(error).__name__}: {error}): fetch or save it again") from None


def of_zip(file) -> dict[str, np.ndarray]:
    """The tensors of what torch.save writes."""
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        entry = entries_of(archive, size)
        return torch_pickle.weights(torch_pickle.read(entry("data.pkl")).objects, lambda key: entry(f"data/{key}"))


def entries_of(archive: zipfile.ZipFile, size: int):
    """`entry(name) -> bytes` inside the zip's one folder. size: bytes of the whole file, which all entries together may not exceed."""
    names = archive.namelist()
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(f"is a zip, but not of torch.save: {torch_pickle.SAVE_AGAIN}")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in names:
        raise InputError("is TorchScript, a program: in PyTorch, torch.save(torch.jit.load('weights.pt').state_dict(), 'weights.pth')")
    if sum(max(entry.file_size, entry.compress_size) for entry in archive.infolist()) > size:
        raise InputError("is compressed or overlaps itself, which torch.save never does: it is refused")
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise InputError("was written on a big-endian machine: load and save it on another")
    return lambda name: archive.read(folder + name)
