"""The loop: stopped and resumed equals left alone, runs over slots equal runs one by one, one compilation."""

import json

import jax
import numpy as np
import pytest
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.training import engine as engines
from jaxstroke.training import loop, progress, runs


class StopAfter:
    """Says stop from its n-th question on."""

    def __init__(self, questions: int):
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def train(config, arrays, todo, numbers, folder, stop=None):
    engine = engines.build(config, arrays, numbers[todo[0].id])
    loop.train(engine, config, todo, numbers, arrays, epath.Path(folder), stop or (lambda: False))
    finished = engines.finished_runs(epath.Path(folder))
    return {run.id: finished.load(run.id, engine.abstract_variables()) for run in todo}, engine


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return sorted((line["run"], line["epoch"], *line["val_loss"].values(), *line["train_loss"].values()) for line in lines(folder))


@pytest.mark.parametrize("encoder_rate", [1.0, pytest.param(0.0, marks=pytest.mark.slow)])
def test_stopped_and_resumed_is_bit_identical(config, arrays, todo, numbers, tmp_path, caplog, encoder_rate):
    """Stopped twice, once within an epoch and once within the second run."""
    with config.unlocked():
        config.optimizer.encoder_rate = encoder_rate
    plain, engine = train(config, arrays, todo, numbers, tmp_path / "plain")
    for questions in (2, 9):
        with pytest.raises(loop.Stopped):
            train(config, arrays, todo, numbers, tmp_path / "cut", StopAfter(questions))
    with caplog.at_level("INFO", logger="jaxstroke"):
        resumed, _ = train(config, arrays, todo, numbers, tmp_path / "cut")
    assert "resumed at step" in caplog.text
    jax.tree.map(np.testing.assert_array_equal, plain, resumed)
    assert losses(tmp_path / "plain") == losses(tmp_path / "cut")
    assert len(lines(tmp_path / "cut")) == 2 * config.train.epochs


@pytest.mark.slow
def test_runs_over_slots_equal_runs_one_by_one(config, arrays, todo, numbers, tmp_path):
    """Three runs over two slots: the third takes the slot that is free first; the last chunk has an empty slot."""
    shorter = runs.Run(1, 0, None, 0, todo[0].train[:9], todo[0].val, todo[0].held)
    todo = [*todo, shorter]
    numbers = numbers | {shorter.id: numbers[todo[0].id] | {"total_steps": np.int32(6)}}
    single, _ = train(config, arrays, todo, numbers, tmp_path / "single")
    with config.unlocked():
        config.device.run, config.device.data = 2, 4
    spread, _ = train(config, arrays, todo, numbers, tmp_path / "spread")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), single, spread)


def test_one_compilation_for_all_runs(config, arrays, todo, numbers, tmp_path):
    """Once the first run is trained, another run compiles nothing."""
    engine = engines.build(config, arrays, numbers[todo[0].id])
    loop.train(engine, config, todo[:1], numbers, arrays, epath.Path(tmp_path / "first"), lambda: False)
    compiled = []

    def listen(event, duration, **_):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        loop.train(engine, config, todo[1:], numbers, arrays, epath.Path(tmp_path / "second"), lambda: False)
        assert compiled == []
        jax.jit(lambda x: x + 3)(1.0)
        assert compiled  # the listener does hear
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_a_loss_that_is_not_finite_stops_with_the_run_and_the_cure(config, arrays, todo, numbers, tmp_path):
    with config.unlocked():
        config.optimizer.learning_rate = 1e30
        config.optimizer.schedule = "constant"
    with pytest.raises(InputError, match=r"r0-f0-s0.*learning_rate"):
        train(config, arrays, todo, numbers, tmp_path)


def test_early_stopping_keeps_each_parts_best_epoch():
    slot = progress.Slot(run="r")
    config = type("C", (), {"train": type("T", (), {"watch": "loss", "smoothing": 0.0, "patience": 2, "epochs": 9})})
    losses = {"a": [3.0, 2.0, 2.5, 2.6], "b": [3.0, 3.1, 3.2, 3.3]}
    ended = []
    for epoch in range(4):
        slot.sums = {"a/t": (1.0, 1.0), "b/t": (1.0, 1.0)}
        progress.watch(config, ("a", "b"), [slot], [{part: values[epoch] for part, values in losses.items()}], [{}])
        ended.append(progress.over(config, slot))
    assert slot.best_epoch == {"a": 2, "b": 1}
    assert ended == [False, False, False, True]


def test_watching_the_last_epoch_neither_chooses_nor_stops():
    slot = progress.Slot(run="r")
    config = type("C", (), {"train": type("T", (), {"watch": "last", "smoothing": 0.0, "patience": 1, "epochs": 4})})
    ended, improved = [], []
    for value in (1.0, 2.0, 3.0, 4.0):
        slot.sums = {"a/t": (1.0, 1.0)}
        improved.append(bool(progress.watch(config, ("a",), [slot], [{"a": value}], [{}])["a"][0]))
        ended.append(progress.over(config, slot))
    assert improved == [True] * 4
    assert ended == [False, False, False, True]
    assert slot.best == {"a": 4.0}


def test_half_a_line_of_the_log_is_dropped(config, arrays, todo, numbers, tmp_path):
    train(config, arrays, todo[:1], numbers, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"run": "r0-f0')
    train(config, arrays, todo[:1], numbers, tmp_path)
    assert len(lines(tmp_path)) == config.train.epochs
