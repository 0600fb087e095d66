"""A tiny cohort as arrays, and the smoke config, so that the real step runs in seconds."""

import jax
import numpy as np
import pytest
from etils import epath

from jaxstroke.cohort.table import Unit
from jaxstroke.feed.load import Loaded
from jaxstroke.preprocess import clinical
from jaxstroke.training import engine as engines
from jaxstroke.training import judge, runs

PATIENTS = 37


@pytest.fixture
def config(config_file):
    """The smoke config on two modules, dropout and augmentation on, one device."""
    config = config_file.get_config("smoke")
    with config.unlocked():
        config.model.images = ("dwi", "tmax")
        config.train.batch_size = 8
        config.train.epochs = 3
        config.device.data = 1
        config.evaluate.batch_size = 16
    return config


@pytest.fixture(scope="session")
def schema():
    return clinical.Schema(("age", "nihss"), (("sex", ("F", "M")),))


@pytest.fixture(scope="session")
def arrays(schema):
    """Images with signal, a fifth of one module missing, labels partly unknown."""
    rng = np.random.default_rng(0)
    found = {"patient": np.arange(PATIENTS, dtype=np.int32)}
    level = rng.integers(0, 7, PATIENTS).astype(np.float32)
    for name in ("dwi", "tmax"):
        images = rng.integers(-200, 200, (PATIENTS, 4, 16, 16, 1)) + (40 * level).astype(int)[:, None, None, None, None]
        mask = np.ones((PATIENTS, 4), np.float32)
        mask[::3, 3] = 0
        if name == "tmax":
            mask[::5] = 0
        found |= {f"images/{name}": images.astype(np.int16), f"images_mask/{name}": mask}
        found |= {f"scale/{name}": np.full(PATIENTS, 0.01, np.float32), f"offset/{name}": np.full(PATIENTS, 0.1, np.float32)}
    found["clinical"] = rng.normal(size=(PATIENTS, len(schema.columns))).astype(np.float32)
    found["clinical_mask"] = (rng.random(found["clinical"].shape) > 0.1).astype(np.float32)
    found["label/poor"], found["label/mrs"] = (level > 2).astype(np.float32), level
    known = np.ones(PATIENTS, np.float32)
    known[4] = 0
    found["label_mask/poor"], found["label_mask/mrs"] = known, known
    return found


@pytest.fixture(scope="session")
def todo():
    rows = np.arange(PATIENTS, dtype=np.int32)
    return [runs.Run(0, fold, None, 0, rows[fold : fold + 21], rows[26:32], rows[32:]) for fold in range(2)]


@pytest.fixture
def numbers(todo, schema, arrays, config):
    return {run.id: runs.fitted(run, schema, arrays, config) for run in todo}


@pytest.fixture
def folds():
    """One outer fold of 37 rows and its two inner ones."""
    rows = np.arange(37, dtype=np.int32)
    outer = runs.Run(0, 0, None, 0, rows[:20], rows[20:27], rows[27:])
    first = runs.Run(0, 0, 0, 0, rows[:10], rows[10:13], rows[13:27])
    second = runs.Run(0, 0, 1, 0, rows[13:24], rows[24:27], rows[:13])
    return [outer, first, second]


@pytest.fixture(scope="session")
def judged():
    def of(config, arrays, schema, folds, folder):
        """predictions of networks with their initial parameters, and `model.json`."""
        units = tuple(Unit(f"u{i}", f"p{i}", "", "", {}, {}, {}, {"reader": float(i % 5)}, "") for i in range(37))
        loaded = Loaded(units, arrays, {}, schema, schema, np.linspace(1, 30, 37))
        numbers = {run.id: runs.fitted(run, schema, arrays, config) for run in folds}
        engine = engines.build(config, arrays, numbers[folds[0].id])
        finished = engines.finished_runs(epath.Path(folder))
        for run in folds:
            finished.save(run.id, jax.device_get(engine.initial(run.device_seed)["best"]))
        finished.close()
        return judge.judge(engine, config, folds, numbers, loaded, epath.Path(folder))

    return of
