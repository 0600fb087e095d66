"""The pre-training's own step and runs: one device equals eight, and who is in which run."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxstroke.cohort.splits import Fold
from jaxstroke.cohort.table import Unit
from jaxstroke.config_json import copied
from jaxstroke.errors import InputError
from jaxstroke.training import engine as engines
from jaxstroke.training import pretraining, runs, stages, step
from jaxstroke.training.pretrained import Pretrained

ROWS = 24


@pytest.fixture
def eyes(retina_file):
    config = copied(retina_file.get_config("smoke"))
    with config.unlocked():
        for name in ("oct", "ir"):
            config.images[name].shape = (2, 16, 16)
        config.pretrain.batch_size, config.device.data = 16, 1
        config.pretrain.update({"cross_modal": True, "name": "sgd", "learning_rate": 0.1})  # Adam's first steps are signs of gradients
    return config


def arrays() -> dict[str, np.ndarray]:
    """Patients with two or three rows each, so that every batch has several of some; a row without infrared image."""
    rng = np.random.default_rng(0)
    found = {"patient": (np.arange(ROWS) // 3).astype(np.int32)}
    for name in ("oct", "ir"):
        mask = np.ones((ROWS, 2), np.float32)
        mask[::4, 1] = 0
        mask[5] = name == "oct"
        found |= {f"images/{name}": rng.integers(0, 255, (ROWS, 2, 16, 16, 1)).astype(np.uint8), f"images_mask/{name}": mask}
        found |= {f"scale/{name}": np.full(ROWS, 1 / 255, np.float32), f"offset/{name}": np.zeros(ROWS, np.float32)}
    return found | {"clinical": np.zeros((ROWS, 0), np.float32), "clinical_mask": np.zeros((ROWS, 0), np.float32)}


def steps(config, devices: int, count: int = 3):
    stage = pretraining.config_of(config)
    with stage.unlocked():
        stage.device.data = devices
    rows = np.arange(ROWS, dtype=np.int32)
    run = runs.Run(0, 0, None, 0, rows, rows[:0], rows[:0])
    numbers = {"total_steps": np.asarray(6, np.int32)} | dict.fromkeys(
        ("clinical_median", "clinical_mean", "clinical_scale"), np.zeros(0, np.float32)
    )
    engine = engines.build(stage, arrays(), numbers)
    state = step.put(jax.tree.map(lambda x: np.asarray(x)[None], engine.fresh(run)), engine.mesh)
    fitted = step.put(jax.tree.map(lambda x: x[None], numbers), engine.mesh)
    table = runs.epoch_rows(run, 0, {"patient": arrays()["patient"]}, stage)[:, None, None]
    sums = []
    for number in range(count):
        batch = next(engine.feed.batches(table[[number % len(table)]], np.array([7], np.int32), np.array([[number]], np.int32), train=True))
        state, terms = engine.train_step(state, fitted, batch)
        sums.append(jax.device_get(terms))
    return jax.device_get(state), sums


@pytest.mark.slow
def test_devices_do_not_change_the_pre_training(eyes):
    """Views, batch normalisation of projectors and encoders, contrast over the whole batch, a padded last batch (24 rows in 16)."""
    one, many = steps(eyes, 1), steps(eyes, 8)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert {"network/oct", "network/ir", "network/ir-oct"} == one[1][0].keys()


def unit(patient: int, eye: str) -> Unit:
    return Unit(f"p{patient}/{eye}", f"p{patient}", eye, "", {}, {}, {}, {}, "")


UNITS = tuple(unit(patient, eye) for patient in range(12) for eye in ("OD", "OS"))


def fold_of(val, test) -> Fold:
    """A fold of the right eyes: the left ones have no outcome."""
    rest = [patient for patient in range(8) if patient not in (*val, *test)]
    return Fold(0, 0, *(tuple(f"p{patient}/OD" for patient in part) for part in (rest, val, test)), ())


def test_no_eye_of_a_judged_patient_is_seen(eyes):
    (run,) = stages.runs_of(eyes, [fold_of((0, 1), (2, 3))], UNITS)
    assert {UNITS[row].patient for row in run.train} == {f"p{patient}" for patient in range(4, 12)} and len(run.train) == 16
    assert [UNITS[row].unit for row in run.val] == ["p0/OD", "p1/OD"]
    with eyes.unlocked():
        eyes.pretrain.transductive = True
    (run,) = stages.runs_of(eyes, [fold_of((0, 1), (2, 3))], UNITS)
    assert list(run.train) == list(range(24))


@pytest.mark.parametrize(
    ("kind", "cells", "out"),
    [
        ("group", {"group": ["a", "a", "b", "b", "b", "a", "c", ""]}, {5}),
        ("official", {"split": ["test", "train", "train", "Test", "train", "test", "train", "val"]}, {5}),
        ("temporal", {"split": ["2020", "2018", "2019", "2019", "2021", "2020", "", "2018"]}, {4, 5, 6}),
    ],
)
def test_of_those_without_outcome_none_is_of_where_the_networks_are_judged(eyes, kind, cells, out):
    """Patients 0 to 3 have an outcome, and 0 and 1 are tested and held back; of the others who is out is named."""
    with eyes.unlocked():
        eyes.split.kind = kind
    units = [dataclasses.replace(unit(patient, "OD"), labels={"stroke": 1.0 if patient < 4 else None}) for patient in range(8)]
    units = [dataclasses.replace(one, **{name: values[row] for name, values in cells.items()}) for row, one in enumerate(units)]
    fold = Fold(0, 0, ("p2/OD", "p3/OD"), ("p1/OD",), ("p0/OD",), ())
    (run,) = stages.runs_of(eyes, [fold], units)
    gone = set(range(8)) - set(run.train.tolist())
    assert gone == {0, 1} | out


def test_without_outcomes_patients_are_held_back_for_the_loss(eyes):
    with eyes.unlocked():
        eyes.loss, eyes.cohort.outcomes, eyes.evaluate.primary = type(eyes.loss)(), type(eyes.loss)(), ""
    (run,) = stages.runs_of(eyes, [], UNITS)
    owners = [{UNITS[row].patient for row in rows} for rows in (run.train, run.val)]
    assert len(run.train) + len(run.val) == 24 and not owners[0] & owners[1] and 2 <= len(run.val) <= 8


def chosen(seen: dict[str, set], transductive: bool = False) -> dict[str, str]:
    begin = Pretrained("encoders", None, "", {}, {name: frozenset(one) for name, one in seen.items()}, False)
    run = runs.Run(0, 1, None, 3, np.arange(4), np.arange(4, 6), np.arange(6, 8))
    return begin.choose([run], UNITS, transductive).chosen


def test_a_run_begins_from_its_folds_network_or_one_that_has_not_seen_its_patients():
    everyone, others = {f"p{patient}" for patient in range(12)}, {"p0", "p1", "p9"}
    assert chosen({"r0-f0-s0": others, "r0-f1-s0": others}) == {"r0-f1-s3": "r0-f1-s0"}
    assert chosen({"r0-f0-s0": others, "r0-f1-s0": everyone}) == {"r0-f1-s3": "r0-f0-s0"}
    assert chosen({"r0-f0-s0": everyone}, transductive=True) == {"r0-f1-s3": "r0-f0-s0"}
    with pytest.raises(InputError, match="seen 2 of the patients on whom run r0-f1-s3 is judged"):
        chosen({"r0-f0-s0": everyone})


def test_fewer_labels_are_drawn_by_seed_with_outcomes_in_proportion(eyes):
    with eyes.unlocked():
        eyes.split.labelled = 20
    label = np.arange(200) % 4 == 0
    found = {"patient": np.arange(200) // 2, "label/stroke": label.repeat(2)[:200] * 1.0, "label_mask/stroke": np.ones(200)}
    rows = np.arange(200, dtype=np.int32)
    by_seed = [runs.with_fewer_labels(runs.Run(0, 0, None, seed, rows[:160], rows[160:180], rows[180:]), eyes, found) for seed in (0, 1, 0)]
    assert not np.array_equal(by_seed[0].train, by_seed[1].train) and np.array_equal(by_seed[0].train, by_seed[2].train)
    for run in by_seed:
        assert len(run.train) == 40 and len(run.val) == 6 and list(run.held) == list(rows[180:])  # both rows of each patient
        assert 0.2 <= found["label/stroke"][run.train].mean() <= 0.3
