"""The haemorrhage code's slips (papers' section 3.6): what each does, and that none is on by default."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxstroke.training import engine as engines
from jaxstroke.training import losses, optimizer, progress, published, runs, step


@pytest.fixture
def as_published(config):
    with config.unlocked():
        config.train.as_published = True
        config.train.accumulation = 3
        config.train.batch_size = 4
        config.optimizer.schedule = "plateau"
    return config


def test_first_update_lacks_a_micro_batch_and_the_last_are_dropped():
    """The published loop: update when (i + 1) % 3 == 0, i from 1, gradients cleared at the start of an epoch."""
    for count in range(1, 40):
        rows = np.arange(count)
        updates, pending = [], []
        for number, start in enumerate(range(0, count, 4), start=1):
            pending += rows[start : start + 4].tolist()
            if (number + 1) % 3 == 0:
                updates.append(pending)
                pending = []
        found = [table[table >= 0].tolist() for table in published.grouped(rows, 4, 3)]
        assert found == (updates or [rows.tolist()])  # where the code would never update, ours does
    first = published.grouped(np.arange(30), 4, 3)[0]
    assert (first[:4] == -1).all() and (first[4:] >= 0).all()


def test_260_rows_give_the_papers_11_updates():
    assert len(published.grouped(np.arange(260), 8, 3)) == 11


def gradients(config, arrays, run, numbers, table):
    """What one update would follow, without dropout and augmentation: a row a micro-batch of `table` (m b)."""
    with config.unlocked():
        config.model.dropout = (0.0, 0.0)
        config.train.accumulation, config.train.batch_size = table.shape
        config.optimizer.name, config.optimizer.clip, config.optimizer.weight_decay, config.optimizer.momentum = "sgd", 0.0, 0.0, 0.0
    engine = engines.build(config, arrays, numbers[run.id])
    state = jax.tree.map(lambda x: np.asarray(x)[None], engine.initial(0))
    before = jax.tree.map(np.copy, state["params"])
    fitted = jax.tree.map(lambda x: np.asarray(x)[None], numbers[run.id])
    zeros = np.zeros((1, 1), np.int32)
    batch = next(engine.feed.batches(table[None, None].astype(np.int32), zeros[0], zeros, train=False))
    state, sums = engine.train_step(step.put(state, engine.mesh), step.put(fitted, engine.mesh), batch)
    rate = float(config.optimizer.learning_rate)
    return jax.tree.map(lambda a, b: (a - np.asarray(b)) / rate, before, state["params"]), state, sums


@pytest.mark.slow
def test_a_micro_batch_counts_a_third_however_many_there_are(as_published, arrays, todo, numbers):
    run = todo[0]
    table = np.full((3, 4), -1)
    table[1], table[2, :2] = run.train[:4], run.train[4:6]
    found, _, _ = gradients(as_published, arrays, run, numbers, table)
    parts = []
    for rows in (table[1:2], table[2:3]):
        with as_published.unlocked():
            as_published.train.as_published = False
        parts.append(gradients(as_published, arrays, run, numbers, rows)[0])
    jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a, (b + c) / 3, atol=2e-4), found, *parts)


def test_plateau_moves_with_every_update_or_with_every_epoch(as_published, arrays, todo, numbers):
    table = np.stack([todo[0].train[:4]] * 3)
    _, state, sums = gradients(as_published, arrays, todo[0], numbers, table)
    loss = sum(float(losses.ratio(*pair)[0]) for pair in sums.values())
    assert float(state["plateau"]["best"][0]) == pytest.approx(loss, rel=1e-5)
    with as_published.unlocked():
        as_published.train.as_published = False
    _, state, _ = gradients(as_published, arrays, todo[0], numbers, table)
    assert float(state["plateau"]["best"][0]) == np.inf
    engine = engines.build(as_published, arrays, numbers[todo[0].id])
    state = engine.on_plateau(state, np.array([0.5], np.float32), np.array([True]))
    state = engine.on_plateau(state, np.array([0.1], np.float32), np.array([False]))
    assert float(state["plateau"]["best"][0]) == 0.5


def test_every_scan_is_enlarged_and_no_logit_moved(as_published, arrays, todo, schema):
    assert published.augment(as_published).zoom_share == 1.0 and as_published.train.augment.zoom_share == 0.0
    with as_published.unlocked():
        as_published.train.imbalance = "oversample"
    assert not runs.fitted(todo[0], schema, arrays, as_published)["logit_shift/poor"].any()


def test_nothing_of_it_is_on_by_default(config):
    assert not config.train.as_published and published.augment(config) is config.train.augment and published.share(config) == 1


def test_plateau_equals_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[peers]'")
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(rule, "min", factor=0.5, patience=3)
    settings = type("Settings", (), {"plateau_factor": 0.5, "plateau_patience": 3})
    state, rng, scales = optimizer.plateau_start(), np.random.default_rng(0), set()
    for number in range(60):
        loss = np.float32(1 / (1 + min(number, 25)) + 0.01 * rng.random())
        theirs.step(float(loss))
        state = optimizer.plateau(settings, state, loss)
        assert float(state["scale"]) == pytest.approx(rule.param_groups[0]["lr"])
        scales.add(float(state["scale"]))
    assert len(scales) > 3


def test_best_epoch_by_balanced_accuracy(config):
    with config.unlocked():
        config.train.watch, config.train.smoothing = "balanced_accuracy", 0.0
    slot = progress.Slot(run="r")
    improved = []
    for right in ([3, 1], [2, 4], [4, 2], [3, 4]):
        slot.sums = {"dwi/poor": (1.0, 1.0)}
        recalls = [{"dwi": (np.array(right), np.array([4, 4]))}]
        improved.append(bool(progress.watch(config, ("dwi",), [slot], [{"dwi": 0.5}], recalls)["dwi"][0]))
    assert improved == [True, True, False, True] and slot.best_epoch == {"dwi": 4} and slot.best["dwi"] == pytest.approx(1 / 8)


def test_recalls_count_every_level_once():
    logits = np.array([[2.0, -1], [1, 1], [-1, -1], [-1, 2]], np.float32)
    outputs = {"parts": {}, "logits": {"gcs": logits}}
    batch = {"label/gcs": np.array([1.0, 1, 0, 2]), "label_mask/gcs": np.array([1.0, 1, 1, 1]), "weight": np.array([1.0, 1, 1, 0])}
    loss = ConfigDict({"gcs": {"kind": "ordinal", "weight": 1.0}})
    right, total = losses.recalls(outputs, batch, {}, loss, "gcs", joint=False)["network"]
    np.testing.assert_array_equal(total, [1, 2, 0])
    np.testing.assert_array_equal(right, [1, 1, 0])
