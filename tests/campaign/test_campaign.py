"""Bad input, thousands of it: whatever a user's files hold, each is used or refused by name. No traceback, no hang, no memory blow-up.

The quick suite takes a small share, the slow one over 2,000 inputs. `CAMPAIGN_SEED=1` tries others and `CAMPAIGN_TIMES=10` ten times as
many; a fault says how to see it again.
"""

import shutil

import attempts
import broken_configs
import damaged_networks
import documents
import mutations
import pytest
import roads
import tables
import workdirs
from etils import epath

from jaxstroke.cohort import splits
from jaxstroke.training import checkpoint

COUNTS = {
    "volumes": 1200, "pictures": 400, "slices": 800, "tables": 500, "configs": 400, "splits": 250, "records": 150, "workdirs": 210,
    "networks": 150, "checkpoints": 40, "eyes": 400,
}  # fmt: skip
SHARE = {"volumes": 150, "pictures": 50, "slices": 80, "tables": 40, "configs": 40, "splits": 30, "records": 20, "eyes": 50}
LEAST = 2000
SPLITS = (("kfold", ""), ("given", "fold"), ("temporal", "date"), ("official", "part"), ("group", ""))

share = pytest.mark.parametrize("amount", [SHARE, pytest.param(COUNTS, marks=pytest.mark.slow)], ids=["share", "all"])


@share
@pytest.mark.parametrize("kind", ["volumes", "pictures", "slices", "eyes"])
def test_images(kind, amount, public_data):
    held(attempts.read_images(kind, amount[kind], public_data))


@share
def test_tables(amount, config_file, tmp_path):
    faults = []
    for number in attempts.numbers(amount["tables"]):
        content, words = tables.make(attempts.SEED, number)
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        said = attempts.call(roads.read_table, config_file, path, *SPLITS[number % len(SPLITS)])
        attempts.note("tables", attempts.outcome_of(said))
        faults += told("tables", number, words, attempts.fault_of(said, (str(path), "config.", "patient '")))
    held(faults)


@share
def test_configs(amount, config_file, scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a mutated path may name a folder here
    whole, faults = config_file.get_config("own"), []
    for number in attempts.numbers(amount["configs"]):
        flags, words, key = broken_configs.make(attempts.SEED, number, whole, tmp_path)
        said = attempts.program(*broken_configs.command(flags, scans / "my.csv", tmp_path / "run"))
        attempts.note("configs", attempts.outcome_of(said))
        names = (key.rpartition(".")[2], "config", "--", "flag", flags[0], str(scans / "my.csv"), "images.")
        faults += told("configs", number, words, attempts.fault_of(said, names))
    held(faults)


@share
def test_splits(amount, config_file, tmp_path):
    config, cohort, faults = *roads.small_cohort(config_file, tmp_path), []
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


@share
def test_records(amount, config_file, scans, tmp_path):
    """Damaged records are refused by name or made again: what a network sees is what was prepared."""
    config, faults = config_file.get_config("own"), []
    with config.unlocked():
        config.cohort.table, config.cohort.workers, config.model.images = str(scans / "my.csv"), 1, ("dwi", "adc")
        for name in config.model.images:
            config.images[name].shape, config.images[name].spacing = (3, 8, 8), (40.0, 24.0, 24.0)
    folder, whole = tmp_path / "records", tmp_path / "whole"
    good = roads.prepared_arrays(config, folder)
    folder.rename(whole)
    for number in attempts.numbers(amount["records"]):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        words = damaged_networks.damage(folder, mutations.chance("records", attempts.SEED, number))
        said = attempts.call(roads.read_as_prepared, config, folder, good)
        attempts.note("records", attempts.outcome_of(said))
        faults += told("records", number, words, attempts.fault_of(said, (str(folder),)))
    held(faults)


@pytest.mark.slow
def test_workdirs(trained):
    faults = []
    for number in attempts.numbers(COUNTS["workdirs"]):
        mode, name, content, words = workdirs.make(attempts.SEED, number, trained.files)
        roads.put_back(trained)
        (trained.workdir / name).unlink() if content is None else (trained.workdir / name).write_bytes(content)
        said = attempts.program(f"--workdir={trained.workdir}", f"--mode={mode}", *trained.more[mode])
        attempts.note("workdirs", attempts.outcome_of(said))
        faults += told("workdirs", number, words, attempts.fault_of(said, (name, "config.", "predictions")))
    roads.put_back(trained)
    held(faults)


@pytest.mark.slow
def test_networks(trained, tmp_path):
    """Every byte of a network may be another: it is read as it was written, or not at all."""
    folder, faults = tmp_path / "networks" / trained.network.name, []
    good, like = roads.read_whole(trained.network)
    finished = checkpoint.Finished(epath.Path(folder.parent))
    for number in attempts.numbers(COUNTS["networks"]):
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(trained.network, folder)
        draw = mutations.chance("networks", attempts.SEED, number)
        names = sorted(damaged_networks.OTHERS)
        if number < len(names):
            words = names[number]
            damaged_networks.OTHERS[words](folder, good)
        else:
            words = damaged_networks.damage(folder, draw)
        said = attempts.call(roads.load_as_written, finished, folder.name, like, good)
        attempts.note("networks", attempts.outcome_of(said))
        faults += told("networks", number, words, attempts.fault_of(said, (str(folder),)))
    finished.close()
    held(faults)


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
        words = ", ".join(f"{path.name}/{damaged_networks.damage(path, draw)}" for path in chosen)
        said = attempts.call(roads.restore, folder, trained)
        attempts.note("checkpoints", attempts.outcome_of(said))
        faults += told("checkpoints", number, words, attempts.fault_of(said, (str(folder),)))
    shutil.rmtree(folder)
    whole.rename(folder)
    held(faults)


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
