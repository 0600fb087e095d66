"""The real step: one device equals eight, padding and empty steps change nothing, parts are independent."""

import jax
import numpy as np
import pytest

from jaxstroke.training import engine as engines
from jaxstroke.training import losses, runs, step


def first_state(engine, run, numbers):
    def wide(tree):
        return jax.tree.map(lambda x: np.stack([np.asarray(x)] * engine.slots), tree)

    return step.put(wide(engine.initial(run.device_seed)), engine.mesh), step.put(wide(numbers[run.id]), engine.mesh)


def steps(engine, config, arrays, run, numbers, tables=None, count=4):
    """Parameters, summed terms after some real updates."""
    state, fitted = first_state(engine, run, numbers)
    shape = (-1, 1, config.train.accumulation, config.train.batch_size)
    tables = runs.epoch_rows(run, 0, arrays, config).reshape(shape) if tables is None else tables
    sums = []
    for number in range(count):
        rows = np.repeat(tables[number % len(tables)], engine.slots, 0)
        seeds, numbers_of_step = np.full(engine.slots, run.device_seed, np.int32), np.full((1, engine.slots), number, np.int32)
        batch = next(engine.feed.batches(rows[None], seeds, numbers_of_step, train=True))
        state, terms = engine.train_step(state, fitted, batch)
        sums.append(jax.device_get(terms))
    return jax.device_get(state), sums


MESHES = ({"run": 2, "data": 2, "space": 2}, *(pytest.param(mesh, marks=pytest.mark.slow) for mesh in ({"data": 8}, {"run": 2, "data": 4})))


@pytest.mark.parametrize("mesh", MESHES)
def test_devices_do_not_change_the_result(config, arrays, todo, numbers, mesh):
    """Dropout and augmentation on, accumulation of 2, a padded last batch (21 rows in updates of 16), shards without a valid row."""
    with config.unlocked():
        config.train.accumulation = 2
    one = steps(engines.build(config, arrays, numbers[todo[0].id]), config, arrays, todo[0], numbers)
    with config.unlocked():
        config.device.update(mesh)
    many = steps(engines.build(config, arrays, numbers[todo[0].id]), config, arrays, todo[0], numbers)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-5)


def test_accumulation_equals_one_large_batch(config, arrays, todo, numbers):
    """Same rows, same keys by place in the update: only the division into micro-batches differs."""
    with config.unlocked():
        config.train.batch_size = 16
    large = steps(engines.build(config, arrays, numbers[todo[0].id]), config, arrays, todo[0], numbers)
    with config.unlocked():
        config.train.batch_size, config.train.accumulation = 8, 2
    small = steps(engines.build(config, arrays, numbers[todo[0].id]), config, arrays, todo[0], numbers)
    for a, b in zip(jax.tree.leaves(large), jax.tree.leaves(small), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_step_without_a_valid_row_changes_nothing(config, arrays, todo, numbers):
    engine = engines.build(config, arrays, numbers[todo[0].id])
    state, _ = steps(engine, config, arrays, todo[0], numbers, np.full((1, 1, 1, 8), -1, np.int32), count=1)
    before = jax.device_get(first_state(engine, todo[0], numbers)[0])
    jax.tree.map(np.testing.assert_array_equal, state, before)


def test_padded_rows_change_no_prediction(config, arrays, todo, numbers):
    engine = engines.build(config, arrays, numbers[todo[0].id])
    variables = jax.device_get(engine.initial(0)["best"])
    rows = np.arange(20, dtype=np.int32)
    whole = engine.predict(variables, numbers[todo[0].id], rows)
    alone = engine.predict(variables, numbers[todo[0].id], rows[:3])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[:3], b, atol=1e-6), whole, alone)


def test_a_masked_modality_may_hold_anything(config, arrays, todo, numbers):
    absent = arrays["images_mask/tmax"].sum(1) == 0
    assert absent.any()
    other = arrays | {"images/tmax": arrays["images/tmax"].copy()}
    other["images/tmax"][absent] = 1234
    found = []
    for values in (arrays, other):
        state, sums = steps(engines.build(config, values, numbers[todo[0].id]), config, values, todo[0], numbers)
        found.append((state, sums))
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_modules_trained_together_equal_modules_trained_alone(config, arrays, todo, numbers):
    """Stage one is a sum of losses: no module's gradient, clipping or moments may touch another's."""
    together, _ = steps(engines.build(config, arrays, numbers[todo[0].id]), config, arrays, todo[0], numbers)
    with config.unlocked():
        config.model.images = ("dwi",)
    engine = engines.build(config, arrays, numbers[todo[0].id])
    state, fitted = first_state(engine, todo[0], numbers)
    # Flax draws initial parameters by path, so both begin equal; dropout sites are numbered by module, dwi being the first.
    alone, _ = steps(engine, config, arrays, todo[0], numbers)
    for a, b in zip(jax.tree.leaves(together["params"]["dwi"]), jax.tree.leaves(alone["params"]["dwi"]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_training_lowers_the_loss(config, arrays, todo, numbers):
    with config.unlocked():
        config.optimizer.learning_rate, config.optimizer.schedule = 5e-3, "constant"
    _, sums = steps(engines.build(config, arrays, numbers[todo[0].id]), config, arrays, todo[0], numbers, count=45)
    loss = [float((one["dwi/poor"][0] / one["dwi/poor"][1])[0]) for one in sums]
    assert np.mean(loss[-6:]) < 0.8 * np.mean(loss[:6])


def test_joint_training_moves_the_fusion(config, arrays, todo, numbers):
    with config.unlocked():
        config.train.stages = "joint"
        config.model.fusion = "stacked"
    engine = engines.build(config, arrays, numbers[todo[0].id])
    assert engine.parts == ("network",)
    state, sums = steps(engine, config, arrays, todo[0], numbers)
    start = jax.device_get(engine.initial(todo[0].device_seed))
    moved = np.abs(state["params"]["stacked_poor"]["kernel"][0] - start["params"]["stacked_poor"]["kernel"]).max()
    assert moved > 0 and set(sums[0]) == {"network/poor", "network/mrs"}


def test_losses_by_hand():
    logits = np.array([[0.0], [2.0]], np.float32)
    loss, weight = losses.binary(logits, np.array([1.0, 0.0]), np.array([0.5, 2.0]))
    np.testing.assert_allclose(loss, [np.log(2), np.log1p(np.exp(2))], rtol=1e-6)
    np.testing.assert_allclose(weight, [2.0, 0.5])
    loss, _ = losses.ordinal(np.zeros((1, 6), np.float32), np.array([3.0]), np.ones(2))
    np.testing.assert_allclose(loss, [np.log(2)], rtol=1e-6)
    sure = np.array([[9.0, 9.0, 9.0, -9.0, -9.0, -9.0]], np.float32)
    assert float(losses.ordinal(sure, np.array([3.0]), np.ones(2))[0][0]) < 1e-3
    assert float(losses.ordinal(sure, np.array([4.0]), np.ones(2))[0][0]) > 1
