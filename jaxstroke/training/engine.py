"""Everything compiled, once, for all runs: the cohort on the device, gathering, the step, the forward pass."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from etils import epath

from jaxstroke import config as settings
from jaxstroke import hosts, models
from jaxstroke.feed import buckets, plan, resident, stream
from jaxstroke.training import checkpoint, mesh, optimizer, published, rates, step
from jaxstroke.training.begin import Begin
from jaxstroke.training.pretrained import Pretrained


@dataclass(frozen=True)
class Engine:
    """Compiled functions and the feed they run on. See `training/step.py` and `feed/resident.py` for their shapes."""

    mesh: jax.sharding.Mesh
    feed: resident.Resident | stream.Stream
    initial: Any
    train_step: Any
    forward: Any
    keep_best: Any
    on_plateau: Any
    parts: tuple[str, ...]
    eval_batch: int
    begin: Begin | Pretrained | None = None

    @property
    def slots(self) -> int:
        """Runs trained at the same time."""
        return self.mesh.shape["run"]

    def fresh(self, run) -> dict:
        """The state of a run that begins: from the weights that were given, else random by its seed."""
        seed = run.device_seed
        return self.initial(seed) if self.begin is None else self.initial(seed, self.begin.ready(run))

    def empty(self) -> dict:
        """The state of a slot without a run, numpy zeros."""
        return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self.abstract_state())

    def abstract_state(self):
        """Shapes of one run's state."""
        return jax.eval_shape(self.initial, 0)

    def abstract_variables(self):
        """Shapes of what is kept of a finished run."""
        return self.abstract_state()["best"]

    def predict(self, variables: dict, fitted: dict, rows: np.ndarray) -> dict:
        """Outputs of one run for rows of the cohort, in order: {"logits": {task: n k}, "parts": {part: {"logits", "present"}}} in numpy."""
        variables, fitted = ([jax.tree.map(np.asarray, tree)] * self.slots for tree in (variables, fitted))
        variables, fitted = (step.put(jax.tree.map(lambda *x: np.stack(x), *trees), self.mesh) for trees in (variables, fitted))
        order = self.by_length(rows)
        chunks = plan.padded(rows[order], self.eval_batch)
        wide = np.full((len(chunks), self.slots, 1, self.eval_batch), -1, np.int32)
        wide[:, 0, 0] = chunks
        found = []
        for batch in self.unaugmented(wide):
            outputs, _ = self.forward(variables, fitted, batch)
            found.append(jax.tree.map(lambda x: x[0, 0], hosts.fetch(outputs)))
        back = np.argsort(order)
        return jax.tree.map(lambda *x: np.concatenate(x)[: len(rows)][back], *found)

    def by_length(self, rows: np.ndarray) -> np.ndarray:
        """Places of rows in the order in which they are scored: those of like length together."""
        found = self.feed.buckets
        return np.arange(len(rows)) if found is None else np.argsort(found.number(rows), kind="stable")

    def unaugmented(self, table: np.ndarray):
        """Batches for scoring. table: `n run 1 eval_batch` rows."""
        return self.feed.batches(table, np.zeros(self.slots, np.int32), np.zeros((len(table), self.slots), np.int32), train=False)


def build(
    config, arrays: dict[str, np.ndarray], fitted_example: dict[str, np.ndarray], stored=None, begin: Begin | Pretrained | None = None
) -> Engine:
    """The engine of a config on a cohort's arrays. fitted_example: `runs.fitted` of any run. stored: `Stored` images left on disk.

    begin: weights that runs begin from; InputError where they do not fit the network.
    """
    devices = mesh.make(config.device)
    mesh.check_divisible(config, devices.shape["data"])
    model = models.build(config)
    transform = optimizer.make(config.optimizer)
    feed = make_feed(config, arrays, stored or {}, devices)
    rows = np.full((devices.shape["run"], 1, devices.shape["data"]), -1, np.int32)
    zeros = np.zeros(devices.shape["run"], np.int32)
    example = feed.example(rows, zeros, zeros)
    example = {name: np.zeros(x.shape[2:], x.dtype) for name, x in example.items() if name != "key"}
    initial = step.make_initial(model, transform, example, fitted_example, config.optimizer.schedule)
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), example, fitted_example, train=False))
    rates.check(variables["params"], config.optimizer)
    begin = begin and begin.onto({"batch_stats": {}} | variables)
    return Engine(
        mesh=devices,
        feed=feed,
        initial=initial,
        train_step=step.make_train_step(model, transform, devices, config),
        forward=step.make_forward(model, devices, config),
        keep_best=step.make_keep_best(devices),
        on_plateau=step.make_on_plateau(devices, config),
        parts=tuple(outputs["parts"]) if outputs["parts"] and config.train.stages == "two" else ("network",),
        eval_batch=-(-config.evaluate.batch_size // devices.shape["data"]) * devices.shape["data"],
        begin=begin,
    )


def make_feed(config, arrays: dict[str, np.ndarray], stored: dict[str, stream.Stored], devices: jax.sharding.Mesh):
    """The feed of a cohort: resident where nothing was left on disk."""
    found = buckets.make(config, arrays)
    paired = config.pretrain if settings.pretrains_alone(config) else None
    if stored:
        return stream.Stream(arrays, stored, devices, published.augment(config), config.train.ahead, found, paired)
    return resident.Resident(arrays, devices, published.augment(config), found, paired)


def finished_runs(workdir: epath.Path) -> checkpoint.Finished:
    return checkpoint.Finished(workdir / "networks")
