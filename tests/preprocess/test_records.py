import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxstroke.errors import InputError
from jaxstroke.preprocess import records

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = hnp.arrays(st.sampled_from(["<i2", "|u1", "<f4", ">f8", "|b1", "<i8"]), SHAPES)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=8), ARRAYS | PLAIN, max_size=5))
def test_round_trip(record):
    back = records.decode(records.encode(record))
    assert back.keys() == record.keys()
    for name, value in record.items():
        if isinstance(value, np.ndarray):
            assert back[name].shape == value.shape and back[name].dtype == value.dtype.newbyteorder("<")
            np.testing.assert_array_equal(back[name], value)
        else:
            assert back[name] == value


def test_objects_and_nan_in_plain_fields_are_refused():
    with pytest.raises(TypeError, match="field 'a'"):
        records.encode({"a": np.array([{}])})
    with pytest.raises(ValueError):
        records.encode({"a": float("nan")})
    with pytest.raises(ValueError, match="not a jaxstroke record"):
        records.decode(b"\x80\x04pickle")


def write(folder, count=5):
    payloads = [records.encode({"unit": str(i), "array": np.full(1000, i)}) for i in range(count)]
    names = [records.shard_name(i, 2) for i in range(2)]
    records.write_shard(folder, names[0], payloads[:3], {"units": ["0", "1", "2"]})
    records.write_shard(folder, names[1], payloads[3:], {"units": ["3", "4"]})
    records.write_manifest(folder, {"digest": "x", "shards": [records.read_entry(folder, name) for name in names]})


def test_random_access_over_shards(tmp_path):
    write(tmp_path / "r")
    found = records.open_records(tmp_path / "r")
    assert len(found) == 5 and found.units == ("0", "1", "2", "3", "4")
    for i in (4, 0, 3):
        assert found[i]["unit"] == str(i) and (found[found.index[str(i)]]["array"] == i).all()
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["manifest.json", *(records.shard_name(i, 2) for i in range(2))]


def test_incomplete_or_damaged_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="holds no complete records"):
        records.open_records(tmp_path)
    write(tmp_path / "r")
    shard = tmp_path / "r" / records.shard_name(1, 2)
    shard.write_bytes(shard.read_bytes()[:100])
    found = records.open_records(tmp_path / "r")
    assert found[0]["unit"] == "0"
    with pytest.raises(InputError, match="damaged"):
        found[4]
    (tmp_path / "r" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="not readable json"):
        records.open_records(tmp_path / "r")


def test_a_bucket_is_copied_once_and_again_when_it_changed(tmp_path, monkeypatch):
    write(tmp_path / "r")
    monkeypatch.setattr(records, "is_local", lambda folder: not str(folder).endswith("r"))
    monkeypatch.setattr(records.tempfile, "gettempdir", lambda: str(tmp_path / "cache"))
    first = records.open_records(tmp_path / "r")
    assert first[4]["unit"] == "4" and first.folder.startswith(str(tmp_path / "cache"))
    assert records.open_records(tmp_path / "r").folder == first.folder
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    (tmp_path / "r" / "manifest.json").write_text(json.dumps(manifest | {"digest": "y"}))
    assert records.open_records(tmp_path / "r").folder != first.folder
