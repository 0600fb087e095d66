"""Do the images that decide show the lesion? On synthetic head CTs: it is on few of a patient's images, and known on which."""

import os
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from etils import epath

from jaxstroke import models
from jaxstroke import workdir as work
from jaxstroke.explain import importance, patient
from jaxstroke.training import modes

PATIENTS = 200
ASKED = 50  # with a lesion, each by the network that had not seen it
RANDOM = 6  # networks that have learned nothing
SETTINGS = [
    "--config.cohort.recipe=synthetic_ct_jpg", f"--config.cohort.synthetic.patients={PATIENTS}", "--config.cohort.workers=2",
    "--config.cohort.outcomes.diagnosis=('lesion','==',1)", "--config.images.images.column=ct", "--config.images.images.shape=(32,48,48)",
    "--config.model.sequence=max", "--config.model.dropout=(0.0,0.0)", "--config.train.buckets=(8,16)", "--config.train.epochs=40",
    "--config.train.patience=40", "--config.split.folds=2", "--config.evaluate.bootstrap=50", "--config.device.data=1",
]  # fmt: skip


@pytest.mark.slow
def test_the_most_important_image_shows_the_lesion(tmp_path, project_root):
    """More often than by chance, and than to networks of random weights, to whom a bright lesion is something too.

    0.86 when this was written, by chance 0.19; to six random networks 0.06 to 0.74, on average 0.32.
    """
    workdir = tmp_path / "run"
    config = f"--config={project_root / 'configs' / 'ct_conv_lstm.py'}:own"
    program(project_root, "--workdir", workdir, config, *SETTINGS)
    table = pd.read_csv(workdir / "cohort.csv", dtype=str, keep_default_na=False).set_index("patient_id")
    asked = tuple(table.index[table["lesion"] == "1"][:ASKED])
    program(project_root, "--workdir", workdir, "--mode=explain", f"--config.explain.patients={asked}")
    found = pd.read_csv(workdir / "explain" / "importance.csv", dtype={"patient_id": str}).dropna(subset=["number"])
    rows = {one: part.set_index("file")["leave_one_out"] for one, part in found.groupby("patient_id")}
    shows = {one: part.index.isin(table["lesion_on"][one].split("|")) for one, part in rows.items()}
    assert len(rows) == ASKED
    trained = np.mean([shows[one][part.argmax()] for one, part in rows.items()])
    random, chance = of_random_networks(workdir, shows), np.mean([one.mean() for one in shows.values()])
    print(f"the lesion is on the most important image of {trained:.2f}, by chance {chance:.2f}, to random networks {random}")
    assert chance < 0.3 and np.mean(random) < trained - 0.2 and trained > 0.6


def program(root, *arguments):
    """By itself: tests compile fast, and what trains for minutes is to be compiled well."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-m", "jaxstroke.main", *map(str, arguments)], env=environment, cwd=root, check=True)


def of_random_networks(workdir, shows: dict[str, np.ndarray]) -> list[float]:
    """The same share of networks with random weights."""
    config = work.trained_config(epath.Path(workdir))
    ready = modes.make_ready(config, epath.Path(workdir))
    measure, fitted = importance.measure(models.build(config), "diagnosis", "images"), next(iter(ready.numbers.values()))
    batches = {unit.patient: row for row, unit in enumerate(ready.loaded.units) if unit.patient in shows}
    batches = {one: patient.batch_of(ready.engine, row) for one, row in batches.items()}
    found = []
    for seed in range(RANDOM):
        variables = ready.engine.initial(seed)["best"]
        change = {one: jax.device_get(measure(variables, fitted, batch))["leave_one_out"] for one, batch in batches.items()}
        found.append(float(np.mean([shows[one][change[one][: len(shows[one])].argmax()] for one in shows])))
    return found
