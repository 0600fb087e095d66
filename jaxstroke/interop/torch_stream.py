"""What torch.save wrote before PyTorch 1.6, as older published weights are: pickles and numbers one after the other.

A magic number, the version, the machine, then the objects, then the keys of the storages in the order in which their numbers follow, each
behind their count.
"""

import io
import pickletools

import numpy as np

from jaxstroke.errors import InputError
from jaxstroke.interop import torch_pickle

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
COUNT = 8  # bytes of the count before a storage's numbers


def read(file) -> dict[str, np.ndarray]:
    """The tensors of an open file; whatever a damaged one raises is the caller's."""
    data = io.BytesIO(file.read())
    if next_pickle(data).objects != MAGIC:
        raise InputError(f"is a pickle, but not of torch.save: {torch_pickle.SAVE_AGAIN}")
    version, machine = next_pickle(data).objects, next_pickle(data).objects
    if version != VERSION:
        raise InputError(f"is of version {version} of torch.save's format, which is not known here: {torch_pickle.SAVE_AGAIN}")
    if not machine["little_endian"]:
        raise InputError("was written on a big-endian machine: load and save it on another")
    objects, dtypes = next_pickle(data)
    storages = numbers_of(next_pickle(data).objects, dtypes, data)
    return torch_pickle.weights(objects, storages.__getitem__)


def next_pickle(data: io.BytesIO) -> torch_pickle.Read:
    """The pickle that begins where `data` stands, which then stands behind it."""
    begin = data.tell()
    for _ in pickletools.genops(data):  # read, not run, up to where it stops
        pass
    return torch_pickle.read(data.getbuffer()[begin : data.tell()].tobytes())


def numbers_of(keys, dtypes: dict[str, np.dtype], data: io.BytesIO) -> dict[str, memoryview]:
    """{key of a storage: its bytes}, views of `data` from where it stands."""
    whole, place, found = data.getbuffer().toreadonly(), data.tell(), {}
    for key in keys:
        count = int.from_bytes(whole[place : place + COUNT], "little", signed=True)
        end = place + COUNT + count * dtypes[key].itemsize
        if count < 0 or end > len(whole):
            raise InputError("is damaged (a storage reaches beyond the file): fetch or save it again")
        found[key] = whole[place + COUNT : end]
        place = end
    return found
