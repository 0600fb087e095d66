"""Weights files: what torch.save writes is read whole without PyTorch, and a file that wants anything else is refused and runs nothing."""

import argparse
import io
import itertools
import pathlib
import re
import struct
import tracemalloc
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.interop import torch_file, torch_pickle

NUMBERS = np.arange(24, dtype=np.float32)
LIMIT = 30_000_000  # bytes that refusing a file may take


# A pickle by hand, as PyTorch or an attacker writes it.


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def row(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def name(module: str, function: str) -> bytes:
    return f"c{module}\n{function}\n".encode()


def call(module: str, function: str, *arguments: bytes) -> bytes:
    return name(module, function) + row(*arguments) + b"R"


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def tensor(kind: str = "FloatStorage", key: str = "0", offset: int = 0, shape=(4, 6), strides=(6, 1), view: bytes = b"") -> bytes:
    storage = row(text("storage"), name("torch", kind), text(key), text("cuda:0"), number(24), view) + b"Q"
    sizes = (row(*map(number, values)) for values in (shape, strides))
    return call("torch._utils", "_rebuild_tensor_v2", storage, number(offset), *sizes, b"\x89", call("collections", "OrderedDict"))


def packed(body: bytes, compression: int = zipfile.ZIP_STORED, begin: bytes = b"\x80\x02", **entries: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        archive.writestr("weights/data.pkl", begin + body + b".")
        for key, value in ({"data/0": NUMBERS.tobytes(), "version": b"3\n"} | entries).items():
            archive.writestr(f"weights/{key}", value)
    return data.getvalue()


MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def streamed(body: bytes, magic: bytes = MAGIC, version: int = 1001, little: bytes = b"\x88", keys=("0",), count: int = 24) -> bytes:
    """What torch.save wrote before PyTorch 1.6."""
    pickles = (number(version), mapping(little_endian=little), body, row(*map(text, keys)))
    return magic + b"".join(b"\x80\x02" + part + b"." for part in pickles) + struct.pack("<q", count) + NUMBERS.tobytes()


def read(folder, data: bytes, suffix: str = ".pth") -> dict:
    path = epath.Path(folder) / f"weights{suffix}"
    path.write_bytes(data)
    return torch_file.read(path)


def test_shapes_strides_and_offsets_are_honoured(tmp_path):
    state = mapping(
        plain=tensor(), transposed=tensor(shape=(6, 4), strides=(1, 6)), part=tensor(offset=13, shape=(2, 2), strides=(6, 2)),
        single=tensor(offset=23, shape=(), strides=()), parameter=call("torch._utils", "_rebuild_parameter", tensor(), b"\x88", b"N"),
    )  # fmt: skip
    found = read(tmp_path, packed(state))
    grid = NUMBERS.reshape(4, 6)
    np.testing.assert_array_equal(found["plain"], grid)
    np.testing.assert_array_equal(found["transposed"], grid.T)
    np.testing.assert_array_equal(found["part"], [[13, 15], [19, 21]])
    assert found["single"] == 23 and found["single"].shape == () and found["parameter"].dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "dtype"), [("DoubleStorage", "float64"), ("HalfStorage", "float16"), ("BFloat16Storage", "bfloat16"), ("LongStorage", "int64")]
)
def test_types_of_numbers(tmp_path, kind, dtype):
    found = read(tmp_path, packed(mapping(w=tensor(kind)), **{"data/0": NUMBERS.astype(jnp.dtype(dtype)).tobytes()}))["w"]
    assert found.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(found.astype(np.float32), NUMBERS.reshape(4, 6))


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict"])
def test_checkpoints_are_unwrapped_and_prefixes_cut(tmp_path, wrapper):
    inner = b"}(" + text("module.conv.weight") + tensor() + b"u"
    assert set(read(tmp_path, packed(mapping(epoch=number(3), **{wrapper: inner})))) == {"conv.weight"}
    mixed = b"}(" + text("module.conv.weight") + tensor() + text("bias") + tensor() + b"u"
    assert set(read(tmp_path, packed(mixed))) == {"module.conv.weight", "bias"}


def test_what_pytorch_saves(tmp_path):
    torch = pytest.importorskip("torch")
    whole = torch.arange(60.0).reshape(3, 4, 5)
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2), torch.nn.Linear(2, 3))
    state = network.state_dict() | {
        "turned": whole.permute(2, 0, 1), "part": whole[1:, ::2, 3], "half": whole.bfloat16(), "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(whole), "mask": whole > 30,
    }  # fmt: skip
    wrapped = {"epoch": 3, "loss": 0.5, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    for saved, zipped in itertools.product((state, wrapped), (True, False)):
        data = io.BytesIO()
        torch.save(saved, data, _use_new_zipfile_serialization=zipped)
        found = read(tmp_path, data.getvalue())
        assert found.keys() == state.keys()
        for key, value in state.items():
            assert found[key].shape == tuple(value.shape) and str(value.dtype).endswith(found[key].dtype.name)
            np.testing.assert_array_equal(found[key].astype(np.float64), value.detach().double().numpy())
    for zipped in (True, False):
        data = io.BytesIO()
        torch.save(network, data, _use_new_zipfile_serialization=zipped)
        assert "torch.nn.modules.container.Sequential" in refusal(tmp_path, data.getvalue())


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_training_script_saves_beside_the_weights(tmp_path, zipped):
    """As MAE's and RETFound's do: the state of optimiser and scaler, and a Namespace of what the script was called with."""
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    args = argparse.Namespace(blr=1e-3, output_dir=pathlib.Path("runs"), betas=[(0.9, 0.95)], device="cuda", resume=None)
    args.itself = args
    saved = {
        "model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 799, "scaler": {"scale": 65536.0}, "args": args,
    }  # fmt: skip
    data = io.BytesIO()
    torch.save(saved, data, _use_new_zipfile_serialization=zipped)
    found = read(tmp_path, data.getvalue())
    assert list(found) == ["weight", "bias"]
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(found[key], value.numpy())


def test_numbers_of_an_optimiser_are_not_read(tmp_path):
    """They are three quarters of such a file: the storage of a moment need not even be there."""
    state = mapping(model=mapping(w=tensor()), optimizer=mapping(state=mapping(exp_avg=tensor(key="7"))))
    assert list(read(tmp_path, packed(state))) == ["w"]


NAMESPACE = name("argparse", "Namespace")


@pytest.mark.parametrize(
    "made",
    [
        NAMESPACE + b")\x81" + mapping(__class__=number(1), __dict__=mapping(a=number(2)), find_class=number(3)) + b"b",
        NAMESPACE + row(text("a")) + b"R" + b"(N" + mapping(__setstate__=number(1)) + b"tb",  # state of slots, too
        b"(i" + NAMESPACE[1:] + mapping(a=number(1)) + b"b",
        b"cpathlib\nPosixPath\n" + row(text("/"), text("etc")) + b"R",
    ],
)
def test_a_placeholder_keeps_nothing(tmp_path, made):
    before = dir(torch_pickle.Placeholder), dict(vars(torch_pickle.Placeholder))
    objects = torch_pickle.read(b"\x80\x02" + mapping(args=made) + b".").objects
    assert type(objects["args"]) is torch_pickle.Placeholder and not hasattr(objects["args"], "__dict__")
    assert before == (dir(torch_pickle.Placeholder), dict(vars(torch_pickle.Placeholder)))
    assert list(read(tmp_path, packed(mapping(model=mapping(w=tensor()), args=made)))) == ["w"]


@pytest.mark.parametrize(
    "made",
    [
        NAMESPACE + mapping(a=number(1)) + b"b",  # attributes of the class itself
        NAMESPACE + b"(N" + mapping(__setstate__=number(1)) + b"tb",
        NAMESPACE + b")\x81(" + text("a") + number(1) + b"u",  # items
        NAMESPACE + b")\x81" + text("a") + b"a",
        NAMESPACE + b")\x81" + row(text("a")) + b"R",  # called
        b"cargparse\nNamespace.__init__\n",
        b"cargparse\nFileType\n" + row(text("w")) + b"R",
        b"cargparse\n_sys\n",
        b"cpathlib\nPosixPath.unlink\n" + row(text("/x")) + b"R",
    ],
)
def test_what_else_is_asked_of_a_placeholder_is_refused(tmp_path, made):
    before = dict(vars(torch_pickle.Placeholder))
    message = refusal(tmp_path, packed(mapping(model=mapping(w=tensor()), args=made)))
    assert "is damaged" in message or "nothing of it was run" in message
    assert dict(vars(torch_pickle.Placeholder)) == before
    assert "no tensor" in refusal(tmp_path, packed(mapping(w=tensor(), args=NAMESPACE + b")\x81")))


def test_safetensors(tmp_path):
    state = {"module.a": NUMBERS.reshape(4, 6), "module.b": NUMBERS.astype(jnp.bfloat16)}
    found = read(tmp_path, safetensors.numpy.save(state), ".safetensors")
    np.testing.assert_array_equal(found["a"], NUMBERS.reshape(4, 6))
    assert found["b"].dtype == jnp.bfloat16 and found["b"][-1] == 23
    assert "no readable .safetensors" in refusal(tmp_path, safetensors.numpy.save(state)[:100], ".safetensors")
    assert "a of C64" in refusal(tmp_path, safetensors.numpy.save({"a": NUMBERS.astype(np.complex64)}), ".safetensors")


def refusal(folder, data: bytes, suffix: str = ".pth") -> str:
    """The message of a refused file, which must not have taken memory beyond measure."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read(folder, data, suffix)
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize(
    ("module", "function"),
    [("posix", "system"), ("builtins", "eval"), ("torch", "load"), ("torch.hub", "load"), ("numpy.core.multiarray", "scalar")],
)
def test_a_file_that_wants_to_run_something_runs_nothing(tmp_path, module, function):
    command = text(f"touch {tmp_path / 'ran'}")
    wanted = call(module, function, command)
    beside = mapping(model=mapping(w=tensor()), args=name("argparse", "Namespace") + b")\x81" + mapping(x=wanted) + b"b")
    files = [made(body) for body in (wanted, mapping(w=tensor(), x=wanted), beside) for made in (packed, streamed)]
    for data in (*files, streamed(mapping(w=tensor()), magic=b"\x80\x02" + wanted + b".")):
        message = refusal(tmp_path, data)
        assert f"{module}.{function}" in message and "torch.save(model.state_dict()" in message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (5, 6)},
        {"offset": 1},
        {"offset": -1},
        {"shape": (2**40, 1), "strides": (0, 0)},
        {"shape": (2**62, 4), "strides": (1, 1)},
        {"strides": (2**40, 1)},
        {"strides": (-6, 1)},
        {"strides": (1,)},
        {"shape": (1,) * 70, "strides": (1,) * 70},
        {"kind": "DoubleStorage"},
        {"key": "7"},
        {"key": "../data/0"},
    ],
)
def test_no_tensor_reaches_beyond_its_storage(tmp_path, changes):
    assert "is damaged" in refusal(tmp_path, packed(mapping(w=tensor(**changes))))


DRESSED = name("torch._utils", "_rebuild_tensor_v2") + mapping(__defaults__=number(1)) + b"b"  # attributes set on what it is given


def overstated() -> bytes:
    """A zip whose directory says of an entry that its bytes are 1 GiB in the file."""
    data, size = packed(mapping(w=tensor())), len(NUMBERS.tobytes())
    starts = [found.start() for found in re.finditer(rb"PK\x01\x02", data)]  # of the directory, below the entries
    place = next(start for start in starts if data[start + 46 :].startswith(b"weights/data/0"))
    assert struct.unpack("<II", data[place + 20 : place + 28]) == (size, size)
    return data[: place + 20] + struct.pack("<I", 2**30) + data[place + 24 :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed(b"r" + struct.pack("<I", 2**31) + mapping(w=tensor())), "damaged"),
        (packed(b"\x96" + struct.pack("<Q", 2**33), begin=b"\x80\x05"), "damaged"),
        (packed(b"\x96" + struct.pack("<Q", 3) + b"abc", begin=b"\x80\x05"), "pickle_protocol"),
        (packed(mapping(w=tensor()) + b"0" * 3), "damaged"),
        (packed(mapping(w=DRESSED)), "damaged"),
        (packed(text("0") + b"Q"), "damaged"),
        (packed(mapping(w=tensor()), zipfile.ZIP_DEFLATED, **{"data/1": b"0" * 1_000_000}), "compressed"),
        (packed(mapping(w=tensor()), byteorder=b"big"), "big-endian"),
        (overstated(), "compressed"),
        (packed(mapping(w=tensor()), **{"constants.pkl": b""}), "TorchScript"),
        (packed(mapping(w=tensor()))[:-30], "damaged"),
        (packed(mapping(epoch=number(3))), "holds 'epoch', which is no tensor"),
        (packed(number(3)), "no weights by name"),
        (packed(mapping()), "no weights by name"),
        (MAGIC, "damaged"),
        (streamed(mapping(w=tensor()))[:-1], "beyond the file"),
        (streamed(mapping(w=tensor()), count=25), "beyond the file"),
        (streamed(mapping(w=tensor()), count=2**60), "beyond the file"),
        (streamed(mapping(w=tensor()), count=-1), "beyond the file"),
        (streamed(mapping(w=tensor()), count=23), "larger than the 23 numbers"),
        (streamed(mapping(w=tensor()), keys=("0", "1")), "damaged"),
        (streamed(mapping(w=tensor()), keys=()), "damaged"),
        (streamed(mapping(w=tensor(view=row(text("1"), number(0), number(24))))), "unknown way"),
        (streamed(mapping(w=tensor()), version=1000), "version 1000"),
        (streamed(mapping(w=tensor()), little=b"\x89"), "big-endian"),
        (streamed(mapping(w=tensor()), magic=b"\x80\x02K\x01."), "is a pickle, but not of torch.save"),
        (streamed(b"r" + struct.pack("<I", 2**31) + mapping(w=tensor())), "damaged"),
        (streamed(b"\x96" + struct.pack("<Q", 2**33) + mapping(w=tensor())), "damaged"),
        (b"<!DOCTYPE html>", "neither"),
        (b"", "neither"),
    ],
)
def test_other_files_are_refused_with_the_cure(tmp_path, data, words):
    assert words in refusal(tmp_path, data)


def test_a_zip_that_is_no_checkpoint(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "not of torch.save" in refusal(tmp_path, data.getvalue())
