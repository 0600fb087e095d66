"""Files of a workdir that only the program writes: read as they were written, or refused by name with the cure."""

import json

import pytest
from etils import epath

from jaxstroke import check, config_json
from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.errors import InputError

VALUES = {"patients": ["007"], "numbers": {"a": [0.1, 1e-30, 2.0]}, "none": None, "pair": (1, 2), "by number": {10: "x", 9: "y"}}
RUN = {"config": {"a": 1}, "records": {"table": "ab"}, "versions": {}, "devices": [], "command": "python -m jaxstroke.main"}


def test_a_sealed_file_comes_back_as_json_has_it(tmp_path):
    work.write_sealed(tmp_path / "a.json", VALUES)
    found = work.read_sealed(tmp_path / "a.json", "make it again")
    assert found == json.loads(json.dumps(VALUES)) | {"form": work.FORM}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"007"', '"008"', "not as it was written"),
        ("1e-30", "1e-31", "not as it was written"),
        ('"none": null,', "", "not as it was written"),
        ('"form": 1', '"form": 0', "not of this version"),
        ('"digest"', '"digest_x"', "not of this version"),
        ("{", "[", "not readable json"),
    ],
)
def test_a_sealed_file_that_was_changed_is_refused(tmp_path, old, new, words):
    path = tmp_path / "a.json"
    work.write_sealed(path, VALUES)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=f"a.json.*{words}.*: make it again"):
        work.read_sealed(path, "make it again")


@pytest.mark.parametrize("key", RUN)
@pytest.mark.parametrize("value", [None, 3, "gone"])
def test_run_json_without_what_every_version_writes(tmp_path, key, value):
    written = {name: content for name, content in RUN.items() if name != key} if value == "gone" else RUN | {key: value}
    work.write_json(tmp_path / "run.json", written)
    with pytest.raises(InputError, match=f"run.json is not as it was written.*'{key}'"):
        work.read(tmp_path)


def test_a_workdir_that_is_older_than_a_key_is_read_as_it_was_trained(tmp_path, sequence_file):
    config = config_json.copied(sequence_file.get_config("smoke"))
    values = config_json.to_json(config)
    for key in config_json.YOUNGER:
        section, name = key.split(".")
        del values[section][name]
    for key in config_json.YOUNGER_OF_AN_IMAGE:
        del values["images"]["images"][key]
    work.write_json(tmp_path / "run.json", RUN | {"config": values})
    check.check(work.trained_config(tmp_path))
    work.check_same(tmp_path, config)
    with config.unlocked():
        config.optimizer.encoder_rate = 0.0
    with pytest.raises(InputError, match=r"config\.optimizer\.encoder_rate: 1\.0 there, 0\.0 now"):
        work.check_same(tmp_path, config)


def test_a_config_in_run_json_that_is_none(tmp_path):
    work.write_json(tmp_path / "run.json", RUN | {"config": {"a.b": 1}})
    with pytest.raises(InputError, match=r"run\.json holds no config"):
        work.trained_config(tmp_path)


def test_a_bucket_out_of_reach_is_named():
    with pytest.raises(InputError, match="foo://x cannot be reached"):
        work.absolute("foo://x")


@pytest.mark.parametrize("below", ["", "records"])
def test_records_cannot_lie_in_a_file(tmp_path, below):
    (tmp_path / "file").write_text("")
    config = settings.base()
    config.cohort.records = str(tmp_path / "file" / below)
    with pytest.raises(InputError, match="config.cohort.records.*no folder"):
        work.records_root(config, epath.Path(tmp_path / "run"))
    config.cohort.records = str(tmp_path / "new" / "records")
    assert str(work.records_root(config, epath.Path(tmp_path / "run"))) == config.cohort.records
