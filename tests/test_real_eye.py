"""The one real Heidelberg file through everything that pre-training does to it: reader, records, two views, encoder, contrast."""

import jax
import numpy as np
import pandas as pd
import pytest
from etils import epath

from jaxstroke import models
from jaxstroke.cohort import table
from jaxstroke.config_json import copied
from jaxstroke.feed import load
from jaxstroke.training import engine as engines
from jaxstroke.training import modes, pretraining, runs


@pytest.fixture(scope="module")
def real(data_root, retina_file, tmp_path_factory):
    """(stage's config, what was loaded) of four patients with that file, which is their OCT and their infrared image."""
    folder, path = tmp_path_factory.mktemp("real"), data_root / "oct-ir-heyex" / "valid_scrubbed.vol"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    known = {"eye": "OD", "vol": path, "age": 70, "systolic": 140, "sex": "F", "diagnoses": "I10", "stroke": ""}
    rows = [{"patient_id": f"{n}"} | known for n in range(4)]
    pd.DataFrame(rows).to_csv(folder / "my.csv", index=False)
    config = copied(retina_file.get_config("pretrain"))
    with config.unlocked():
        config.cohort.table, config.cohort.workers, config.device.data = str(folder / "my.csv"), 1, 1
        for name, part in (("oct", "scans"), ("ir", "infrared")):
            config.images[name].update({"column": "vol", "part": part, "shape": (1, 64, 64)})
        config.model.encoder, config.model.widths = "plain_2d", (4, 8)
        config.pretrain.batch_size = 4
    cohort, prepared = modes.read_and_prepare(config, epath.Path(folder / "run"))
    stage = pretraining.config_of(config)
    assert not cohort.units and len(cohort.unlabelled) == 4
    return stage, load.load(stage, table.everyone(cohort), prepared)


def test_both_parts_of_the_file_are_two_images(real):
    _, loaded = real
    oct_, infrared = (loaded.arrays[f"images/{name}"][0, 0, ..., 0].astype(float) for name in ("oct", "ir"))
    assert oct_.std() > 10 and infrared.std() > 10
    assert abs(np.corrcoef(oct_.ravel(), infrared.ravel())[0, 1]) < 0.9


def test_two_views_of_the_eye_go_through_the_network(real):
    stage, loaded = real
    rows = np.arange(4, dtype=np.int32)
    numbers = runs.fitted(runs.Run(0, 0, None, 0, rows, rows[:0], rows[:0]), loaded.schema, loaded.arrays, stage)
    engine = engines.build(stage, loaded.arrays, numbers, loaded.stored)
    batch = next(iter(engine.feed.batches(rows[None, None, None], np.zeros(1, np.int32), np.zeros((1, 1), np.int32), train=True)))
    batch = jax.tree.map(lambda x: np.asarray(x[0, 0]) if x.dtype != jax.random.key(0).dtype else x[0, 0], batch)
    for name in ("oct", "ir"):
        views = batch[f"images/{name}"]
        assert views.shape == (4, 2, 64, 64, 1) and np.isfinite(views).all()
        assert all(np.abs(views[row, 0] - views[row, 1]).mean() > 0.01 for row in range(4))
        assert np.abs(views[0] - views[1]).mean() > 0.01  # one file in two rows: views of their own
    variables = engine.initial(0)["best"]
    module = models.build(stage)
    pairs = module.apply({"params": variables["params"], "batch_stats": variables["stats"]}, batch, numbers, train=False)["pairs"]
    assert pairs.keys() == {"oct", "ir"}
    for first, second, _, mask in pairs.values():
        assert (mask == 1).all() and first.shape == (4, stage.pretrain.projector[1])
        np.testing.assert_allclose(np.linalg.norm(np.concatenate([first, second]), axis=-1), 1, atol=1e-4)
