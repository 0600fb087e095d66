"""What is timed: the project's own step and forward pass, and the step's two inner stages, as programs of their own."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke import models
from jaxstroke.training import optimizer, rates, step


@dataclass(frozen=True)
class Programs:
    """Jitted functions of (state, fitted, batch), each with a leading run axis.

    initial  seed -> state of one run, without that axis
    main     `make_train_step`, which returns the new state first and is given the old one's memory, or `make_forward`
    stages   {"forward": loss, "gradient": loss and gradients}, {} of a forward pass
    """

    initial: Any
    main: Any
    stages: dict[str, Any]


def build(config, devices: jax.sharding.Mesh, fitted: dict, batch: dict) -> Programs:
    """Programs of `benchmark.kind`. fitted: of one run; batch: arrays or shapes, leading axes `run accumulation b`."""
    model = models.build(config)
    transform = optimizer.make(config.optimizer)
    one_row = {name: np.zeros((1, *x.shape[3:]), x.dtype) for name, x in batch.items() if name != "key"}
    initial = step.make_initial(model, transform, one_row, fitted, config.optimizer.schedule)
    if config.benchmark.kind == "predict":
        return Programs(lambda seed: initial(seed)["best"], step.make_forward(model, devices, config), {})
    train = step.make_train_step(model, transform, devices, config)
    return Programs(initial, train, {"forward": make_loss(model, devices, config), "gradient": make_gradient(model, devices, config)})


def make_loss(model, devices, config):
    """A jitted forward pass in training mode with its loss, and what the step keeps of it."""

    def one_run(state, fitted, batch):
        objective = step.make_objective(model, state, fitted, batch, config)
        return objective(state["params"], state["stats"], first(batch))

    return step.mapped(one_run, devices, in_specs=(step.RUN, step.RUN, step.ROWS), out_specs=step.RUN)


def make_gradient(model, devices, config):
    """The same with the gradient of every parameter that is learned."""

    def one_run(state, fitted, batch):
        objective = step.make_objective(model, state, fitted, batch, config)
        learning = rates.learning(state["params"], config.optimizer)
        return jax.value_and_grad(objective, has_aux=True)(learning, state["stats"], first(batch))

    return step.mapped(one_run, devices, in_specs=(step.RUN, step.RUN, step.ROWS), out_specs=step.RUN)


def first(batch: dict) -> dict:
    """The one micro-batch."""
    return jax.tree.map(lambda x: x[0], batch)


def on_slots(tree, devices: jax.sharding.Mesh):
    """One run's arrays in every slot of the mesh."""
    slots = devices.shape["run"]
    return step.put(jax.tree.map(lambda x: np.broadcast_to(x, (slots, *jnp.shape(x))), tree), devices)
