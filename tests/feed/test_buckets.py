"""Batches of like length: every patient once an epoch, nothing cut off but padding, the same numbers as at full length."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxstroke import check
from jaxstroke.config_json import copied
from jaxstroke.errors import InputError
from jaxstroke.feed import buckets, plan
from jaxstroke.preprocess import clinical
from jaxstroke.training import engine as engines
from jaxstroke.training import runs, step

PATIENTS, LONGEST = 40, 12
SCHEMA = clinical.Schema((), ())


@pytest.fixture
def config(sequence_file):
    config = copied(sequence_file.get_config("smoke"))
    with config.unlocked():
        config.images.images.shape = (LONGEST, 16, 16)
        config.train.buckets = (3, 6)
        config.train.batch_size = 4
        config.device.data = 1
        config.evaluate.batch_size = 8
    return config


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    counts = np.clip(np.round(np.exp(random.normal(1, 0.8, PATIENTS))), 0, LONGEST).astype(int)
    mask = (np.arange(LONGEST) < counts[:, None]).astype(np.float32)
    mask[5, 0] = 0  # a file that could not be read, in front
    images = random.integers(0, 255, (PATIENTS, LONGEST, 16, 16, 1)).astype(np.uint8)
    label = (random.random(PATIENTS) < 0.5).astype(np.float32)
    return {
        "images/images": images, "images_mask/images": mask, "scale/images": np.full(PATIENTS, 1 / 255, np.float32),
        "offset/images": np.zeros(PATIENTS, np.float32), "clinical": np.zeros((PATIENTS, 0), np.float32),
        "clinical_mask": np.zeros((PATIENTS, 0), np.float32), "label/diagnosis": label,
        "label_mask/diagnosis": np.ones(PATIENTS, np.float32),
        "patient": np.arange(PATIENTS, dtype=np.int32),
    }  # fmt: skip


def everyone() -> runs.Run:
    rows = np.arange(PATIENTS, dtype=np.int32)
    return runs.Run(0, 0, None, 0, rows[:30], rows[30:], rows[:0])


def without(config):
    config = copied(config)
    with config.unlocked():
        config.train.buckets = ()
    return config


def built(config, arrays):
    return engines.build(config, arrays, runs.fitted(everyone(), SCHEMA, arrays, config))


def test_an_epoch_has_every_patient_once_in_batches_of_one_bucket(config, arrays):
    found = buckets.make(config, arrays)
    table = runs.epoch_rows(everyone(), 0, arrays, config)
    assert sorted(table[table >= 0]) == list(range(30))
    for rows in table:
        assert len(set(found.number(rows[rows >= 0]))) == 1
    assert not np.array_equal(table, runs.epoch_rows(everyone(), 1, arrays, config))
    np.testing.assert_array_equal(table, runs.epoch_rows(everyone(), 0, arrays, config))
    plain = plan.epoch_rows(everyone().train, 4, (0,))
    assert found.padded_share(table) < dataclasses.replace(found, sizes=(LONGEST,)).padded_share(plain)


def test_nothing_is_cut_but_padding(config, arrays):
    found = buckets.make(config, arrays)
    lengths = found.lengths
    assert lengths[5] == arrays["images_mask/images"][5].sum() + 1 or lengths[5] == 0
    for row in range(PATIENTS):
        assert arrays["images_mask/images"][row, found.size(np.array([row])) :].sum() == 0
    assert found.size(np.array([-1, -1])) == 3


def test_predictions_are_those_at_full_length(config, arrays):
    """In the order that was asked for, whatever the order in which they were scored."""
    short, whole = built(config, arrays), built(without(config), arrays)
    fitted = runs.fitted(everyone(), SCHEMA, arrays, config)
    variables = short.initial(0)["best"]
    rows = np.random.default_rng(1).permutation(PATIENTS).astype(np.int32)
    one, other = (engine.predict(variables, fitted, rows)["logits"]["diagnosis"] for engine in (short, whole))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_step_is_that_at_full_length(config, arrays):
    """Augmentation off: noise of another length would be another draw."""
    rows = np.array([0, 1, 2, -1], np.int32)[None, None, None]
    found = []
    for one in (config, without(config)):
        with one.unlocked():
            one.train.augment.update({"flip": 0.0, "rotate": 0.0, "shift": 0.0, "zoom": 1.0, "intensity": 0.0})
        engine, fitted = built(one, arrays), runs.fitted(everyone(), SCHEMA, arrays, config)
        state = step.put(jax.tree.map(lambda x: np.asarray(x)[None], engine.initial(0)), engine.mesh)
        fitted = step.put(jax.tree.map(lambda x: np.asarray(x)[None], fitted), engine.mesh)
        batch = next(engine.feed.batches(rows, np.zeros(1, np.int32), np.zeros((1, 1), np.int32), train=True))
        state, _ = engine.train_step(state, fitted, batch)
        found.append((batch["images/images"].shape[3], jax.tree.map(np.asarray, state["params"])))
    assert found[0][0] < found[1][0] == LONGEST
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found[0][1], found[1][1])


@pytest.mark.parametrize("sizes", [(6, 3), (3, 3), (3, 12), (3, 20)])
def test_buckets_rise_below_the_longest(config, sizes):
    with config.unlocked():
        config.train.buckets = sizes
    with pytest.raises(InputError, match=r"config\.train\.buckets.*must rise, below the 12"):
        check.check(config)


def test_other_networks_have_no_buckets(config_file):
    config = copied(config_file.get_config("demo"))
    with config.unlocked():
        config.train.buckets = (3,)
    with pytest.raises(InputError, match=r"config\.train\.buckets is of 'ct_conv_lstm'"):
        check.check(config)
