"""The parts of the program that damaged input goes through, each called as the program calls it."""

import pathlib
import types

import damaged_networks
import numpy as np
import orbax.checkpoint as ocp
import tables

from jaxstroke.cohort import splits, table
from jaxstroke.preprocess import clinical
from jaxstroke.preprocess.prepare import load_arrays, load_table, prepare
from jaxstroke.training import checkpoint


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


def small_cohort(config_file, folder: pathlib.Path):
    """A config, and the patients of a whole table."""
    config = config_file.get_config("own")
    (folder / "table.csv").write_bytes(tables.written(tables.HEADER, tables.rows(42)))
    with config.unlocked():
        config.cohort.table, config.split.folds, config.split.inner_folds = str(folder / "table.csv"), 2, 2
    return config, table.read_cohort(config, folder)


def prepared_arrays(config, folder: pathlib.Path) -> list:
    """Everything that records hold, in the order of the table."""
    cohort = table.read_cohort(config, folder.parent)
    found = prepare(config, cohort, folder.parent / "run", folder, config.model.images)
    values = load_table(found, cohort.units)
    return [*(load_arrays(found, name, cohort.units) for name in config.model.images), values.values, values.mask]


def read_as_prepared(config, folder: pathlib.Path, good: list):
    assert damaged_networks.equal(prepared_arrays(config, folder), good), "other values, without an error"


def read_whole(folder: pathlib.Path):
    """The tree of a network, and the abstract variables it is read with."""
    checkpointer = ocp.StandardCheckpointer()
    tree = checkpointer.restore(folder)
    checkpointer.close()
    return tree, damaged_networks.abstract(tree["variables"])


def load_as_written(finished: checkpoint.Finished, name: str, like, good: dict):
    """What is read from a damaged network must be what was written, to the bit."""
    assert damaged_networks.equal(finished.load(name, like), good["variables"]), "other weights, without an error"


def restore(folder: pathlib.Path, trained: types.SimpleNamespace):
    """Training goes on from a checkpoint as it was written, or from the beginning where none is left."""
    before = sorted(path.name for path in folder.iterdir())
    state, _, _, chunk, _ = damaged_networks.resumed(trained.engine, trained.runs, folder)
    assert chunk == 0 or damaged_networks.equal(state, trained.states[chunk]), "another state, without an error"
    assert sorted(path.name for path in folder.iterdir()) == before


def put_back(trained: types.SimpleNamespace):
    for name, content in trained.files.items():
        (trained.workdir / name).write_bytes(content)
