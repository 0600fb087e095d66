"""Bad input, thousands of it: whatever a user's files hold, each is used or refused by name. No traceback, no hang, no memory blow-up.

The quick suite takes a small share, the slow one over 2,000 inputs. `CAMPAIGN_SEED=1` tries others and `CAMPAIGN_TIMES=10` ten times as
many; a fault says how to see it again.
"""

import pathlib
import shutil
import types
import zlib

import attempts
import documents
import mutations
import networks
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tables
import workdirs
from etils import epath

import configs
from jaxstroke.cohort import splits, table
from jaxstroke.preprocess import clinical
from jaxstroke.preprocess.prepare import load_arrays, load_table, prepare
from jaxstroke.training import checkpoint

COUNTS = {
    "volumes": 1200, "pictures": 400, "tables": 500, "configs": 400, "splits": 250, "records": 150, "workdirs": 210, "networks": 150,
    "checkpoints": 40,
}  # fmt: skip
SHARE = {"volumes": 150, "pictures": 50, "tables": 40, "configs": 40, "splits": 30, "records": 20}
LEAST = 2000
SPLITS = (("kfold", ""), ("given", "fold"), ("temporal", "date"), ("official", "part"), ("group", ""))

share = pytest.mark.parametrize("amount", [SHARE, pytest.param(COUNTS, marks=pytest.mark.slow)], ids=["share", "all"])


@share
@pytest.mark.parametrize("kind", ["volumes", "pictures"])
def test_images(kind, amount, public_data):
    held(attempts.read_images(kind, amount[kind], public_data))


@share
def test_tables(amount, config_file, tmp_path):
    faults = []
    for number in attempts.numbers(amount["tables"]):
        content, words = tables.make(attempts.SEED, number)
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        said = attempts.call(read_table, config_file, path, *SPLITS[number % len(SPLITS)])
        attempts.note("tables", attempts.outcome_of(said))
        faults += told("tables", number, words, attempts.fault_of(said, (str(path), "config.", "patient '")))
    held(faults)


def read_table(config_file, path: pathlib.Path, kind: str, column: str):
    """A table to units, clinical arrays and folds: all that is done before an image is looked at."""
    config = config_file.get_config("own")
    with config.unlocked():
        config.cohort.table, config.cohort.text, config.cohort.group = str(path), "report", "centre"
        config.split.kind, config.split.column, config.split.folds, config.split.inner_folds = kind, column, 2, 0
        config.clinical.numeric, config.clinical.categorical = ("age", "nihss", "glucose"), {"sex": (), "part": ()}
    cohort = table.read_cohort(config, path.parent)
    values, mask = clinical.encode_all(clinical.schema(config, cohort.units), cohort.units)
    assert np.isfinite(values).all() and set(mask.ravel()) <= {0.0, 1.0}
    splits.make_splits(config, cohort)


@share
def test_configs(amount, config_file, scans, tmp_path):
    whole, faults = config_file.get_config("own"), []
    for number in attempts.numbers(amount["configs"]):
        flags, words, key = configs.make(attempts.SEED, number, whole, tmp_path)
        said = attempts.program(*configs.command(flags, scans / "my.csv", tmp_path / "run"))
        attempts.note("configs", attempts.outcome_of(said))
        names = (key.rpartition(".")[2], "config", "--", "flag", flags[0], str(scans / "my.csv"), "images.")
        faults += told("configs", number, words, attempts.fault_of(said, names))
    held(faults)


@share
def test_splits(amount, config_file, tmp_path):
    config, cohort, faults = *small_cohort(config_file, tmp_path), []
    path = tmp_path / "splits.json"
    splits.load_or_make_splits(config, cohort, tmp_path)
    original = path.read_bytes()
    for number in attempts.numbers(amount["splits"]):
        content, words = documents.damaged(original, mutations.chance("splits", attempts.SEED, number))
        path.write_bytes(content)
        said = attempts.call(splits.load_or_make_splits, config, cohort, tmp_path)
        attempts.note("splits", attempts.outcome_of(said))
        faults += told("splits", number, words, attempts.fault_of(said, (str(path),)))
    held(faults)


def small_cohort(config_file, folder: pathlib.Path):
    """A config, and the patients of a whole table."""
    config = config_file.get_config("own")
    (folder / "table.csv").write_bytes(tables.written(tables.HEADER, tables.rows(42)))
    with config.unlocked():
        config.cohort.table, config.split.folds, config.split.inner_folds = str(folder / "table.csv"), 2, 2
    return config, table.read_cohort(config, folder)


@share
def test_records(amount, config_file, scans, tmp_path):
    """Damaged records are refused by name or made again: what a network sees is what was prepared."""
    config, faults = config_file.get_config("own"), []
    with config.unlocked():
        config.cohort.table, config.cohort.workers, config.model.images = str(scans / "my.csv"), 1, ("dwi", "adc")
        for name in config.model.images:
            config.images[name].shape, config.images[name].spacing = (3, 8, 8), (40.0, 24.0, 24.0)
    folder, whole = tmp_path / "records", tmp_path / "whole"
    good = prepared_arrays(config, folder)
    folder.rename(whole)
    for number in attempts.numbers(amount["records"]):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        words = networks.damage(folder, mutations.chance("records", attempts.SEED, number))
        said = attempts.call(read_as_prepared, config, folder, good)
        attempts.note("records", attempts.outcome_of(said))
        faults += told("records", number, words, attempts.fault_of(said, (str(folder),)))
    held(faults)


def prepared_arrays(config, folder: pathlib.Path) -> list:
    """Everything that records hold, in the order of the table."""
    cohort = table.read_cohort(config, folder.parent)
    found = prepare(config, cohort, folder.parent / "run", folder, config.model.images)
    values = load_table(found, cohort.units)
    return [*(load_arrays(found, name, cohort.units) for name in config.model.images), values.values, values.mask]


def read_as_prepared(config, folder: pathlib.Path, good: list):
    assert networks.equal(prepared_arrays(config, folder), good), "other values, without an error"


@pytest.mark.slow
def test_workdirs(trained):
    faults = []
    for number in attempts.numbers(COUNTS["workdirs"]):
        mode, name, content, words = workdirs.make(attempts.SEED, number, trained.files)
        put_back(trained)
        (trained.workdir / name).unlink() if content is None else (trained.workdir / name).write_bytes(content)
        said = attempts.program(f"--workdir={trained.workdir}", f"--mode={mode}", *trained.more[mode])
        attempts.note("workdirs", attempts.outcome_of(said))
        faults += told("workdirs", number, words, attempts.fault_of(said, (name, "config.", "predictions")))
    put_back(trained)
    held(faults)


def put_back(trained: types.SimpleNamespace):
    for name, content in trained.files.items():
        (trained.workdir / name).write_bytes(content)


@pytest.mark.slow
def test_networks(trained, tmp_path):
    """Every byte of a network may be another: it is read as it was written, or not at all."""
    folder, faults = tmp_path / "networks" / trained.network.name, []
    good, like = read_whole(trained.network)
    finished = checkpoint.Finished(epath.Path(folder.parent))
    for number in attempts.numbers(COUNTS["networks"]):
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(trained.network, folder)
        draw = mutations.chance("networks", attempts.SEED, number)
        names = sorted(networks.OTHERS)
        if number < len(names):
            words = names[number]
            networks.OTHERS[words](folder, good)
        else:
            words = networks.damage(folder, draw)
        said = attempts.call(load_as_written, finished, folder.name, like, good)
        attempts.note("networks", attempts.outcome_of(said))
        faults += told("networks", number, words, attempts.fault_of(said, (str(folder),)))
    finished.close()
    held(faults)


def read_whole(folder: pathlib.Path):
    """The tree of a network, and the abstract variables it is read with."""
    checkpointer = ocp.StandardCheckpointer()
    tree = checkpointer.restore(folder)
    checkpointer.close()
    return tree, networks.abstract(tree["variables"])


def load_as_written(finished: checkpoint.Finished, name: str, like, good: dict):
    """What is read from a damaged network must be what was written, to the bit."""
    assert networks.equal(finished.load(name, like), good["variables"]), "other weights, without an error"


@pytest.mark.slow
def test_checkpoints(trained):
    """Damaged rolling checkpoints through training: the one before is taken, or the folder is named; nothing is deleted."""
    folder, faults = trained.workdir / "checkpoints", []
    whole = folder.parent / "checkpoints.whole"
    shutil.copytree(folder, whole)
    for number in attempts.numbers(COUNTS["checkpoints"]):
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        draw = mutations.chance("checkpoints", attempts.SEED, number)
        steps = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        chosen = steps if draw.random() < 0.7 else steps[-1:]
        words = ", ".join(f"{path.name}/{networks.damage(path, draw)}" for path in chosen)
        said = attempts.call(restore, folder, trained)
        attempts.note("checkpoints", attempts.outcome_of(said))
        faults += told("checkpoints", number, words, attempts.fault_of(said, (str(folder),)))
    shutil.rmtree(folder)
    whole.rename(folder)
    held(faults)


def restore(folder: pathlib.Path, trained: types.SimpleNamespace):
    """Training goes on from a checkpoint as it was written, or from the beginning where none is left."""
    before = sorted(path.name for path in folder.iterdir())
    state, _, _, chunk, _ = networks.resumed(trained.engine, trained.runs, folder)
    assert chunk == 0 or networks.equal(state, trained.states[chunk]), "another state, without an error"
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_program_names_a_network_of_another_version(trained, mode):
    """One message with the cure, and nothing in the workdir is gone or other than before."""
    put_back(trained)
    chosen = trained.workdir / "networks" / "r0-f1-s0"
    whole = trained.workdir.parent / "whole"
    shutil.copytree(chosen, whole)
    networks.OTHERS["a network of another shape"](chosen, read_whole(chosen)[0])
    before = contents(trained.workdir)
    said = attempts.program(f"--workdir={trained.workdir}", f"--mode={mode}", *trained.more[mode])
    assert attempts.fault_of(said, (str(chosen),)) == "" and said.code == 2
    assert "of another version of jaxstroke" in said.message and "train again in a new --workdir" in said.message
    after = contents(trained.workdir)
    assert {name: after.get(name) for name in before} == before
    shutil.rmtree(chosen)
    whole.rename(chosen)


@pytest.mark.slow
def test_program_names_checkpoints_that_cannot_be_read(trained):
    put_back(trained)
    folder, whole = trained.workdir / "checkpoints", trained.workdir.parent / "whole"
    shutil.copytree(folder, whole)
    for path in folder.rglob("manifest.ocdbt"):
        path.write_bytes(b"")
    before = contents(folder)
    said = attempts.program(f"--workdir={trained.workdir}", "--mode=train")
    assert attempts.fault_of(said, (str(folder),)) == "" and said.code == 2 and "use a new --workdir" in said.message
    assert contents(folder) == before
    shutil.rmtree(folder)
    whole.rename(folder)


def contents(folder: pathlib.Path) -> dict[str, int]:
    """CRC of every file that training leaves; run.json says when it was last used."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json" and "external" not in path.parts]
    return {str(path.relative_to(folder)): zlib.crc32(path.read_bytes()) for path in files}


@pytest.mark.slow
def test_at_least_two_thousand():
    """Counts by kind, of the tests above."""
    if attempts.NUMBER is not None or set(attempts.TRIED) < set(COUNTS):
        pytest.skip("it counts what the other tests of this file have tried, all of them")
    for kind, outcomes in attempts.TRIED.items():
        print(f"{kind:12} {sum(outcomes.values()):5} tried: {outcomes}")
    assert sum(sum(outcomes.values()) for outcomes in attempts.TRIED.values()) >= LEAST


def told(kind: str, number: int, words: str, fault: str) -> list[str]:
    return [attempts.complain(kind, number, words, fault)] if fault else []


def held(faults: list[str]):
    assert not faults, f"{len(faults)} faults, the first ones:\n" + "\n\n".join(faults[:5])
