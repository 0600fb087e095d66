"""Operations are counted as one would by hand, and the stages are parts of the real step."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke.benchmark import cost, programs, synthetic
from jaxstroke.training import mesh


def clinical_flops(config) -> tuple[float, int]:
    """Operations of a step of the clinical network, and those of its matrix products, by hand."""
    devices = mesh.make(config.device)
    source = synthetic.make(config, None, devices, config.train.batch_size)
    k, units, b = source.take(0)["clinical"].shape[-1], config.model.hidden, config.train.batch_size
    first, second, head = 2 * b * 2 * k * units, 2 * b * units * units, 2 * b * units
    return cost.operations(config, source.fitted, source.take(0)), 3 * (first + second + head) - first  # no gradient of the input


def test_operations_by_hand(config_file):
    """A training step is three forward passes but for the first layer's input; how many devices share it is no matter.

    In particular nothing is counted of the pass that only finds denominators: it would be a fourth.
    """
    config = config_file.get_config("ist")
    config.device.data, config.model.hidden, config.model.dropout = 1, 256, (0.0, 0.0)
    counted, products = clinical_flops(config)
    assert products < counted < 1.05 * products
    config.device.data = 8
    assert clinical_flops(config)[0] == counted


def test_operations_of_a_loop_are_those_of_every_turn():
    weights, x = jnp.ones((16, 16)), jnp.ones((4, 16))

    def loop(weights, x):
        return jax.lax.scan(lambda h, _: (jnp.tanh(h @ weights), None), x, length=10)[0].sum()

    traced = jax.jit(jax.grad(loop)).trace(weights, x).jaxpr
    whole = jax.jit(jax.extend.core.jaxpr_as_fun(traced.replace(jaxpr=cost.unrolled(traced.jaxpr)))).lower(weights, x)
    product = 2 * 4 * 16 * 16
    assert 30 * product < cost.counted(whole, "flops") < 34 * product
    assert cost.counted(jax.jit(jax.grad(loop)).lower(weights, x), "flops") < 4 * product


def test_stages_are_parts_of_the_step(config_file):
    """Value and gradient of the stages lead from the state before a step of plain gradient descent to the state after."""
    config = config_file.get_config("ist")
    config.device.data, config.train.batch_size = 1, 16
    config.optimizer.update({"name": "sgd", "clip": 0.0, "weight_decay": 0.0, "schedule": "constant", "learning_rate": 0.5})
    devices = mesh.make(config.device)
    source = synthetic.make(config, None, devices, 16)
    made = programs.build(config, devices, source.fitted, source.take(0))
    state, placed = programs.on_slots(made.initial(0), devices), programs.on_slots(source.fitted, devices)
    before = jax.device_get(state["params"])
    loss, _ = made.stages["forward"](state, placed, source.take(0))
    (value, _), gradient = made.stages["gradient"](state, placed, source.take(0))
    after, sums = made.main(state, placed, source.take(0))
    numerator, denominator = sums["network/poor"]
    np.testing.assert_allclose(loss, numerator / denominator, rtol=1e-5)
    np.testing.assert_allclose(value, loss, rtol=1e-5)
    for a, b, g in zip(*map(jax.tree.leaves, (before, after["params"], gradient)), strict=True):
        np.testing.assert_allclose(b, a - 0.5 * g, rtol=1e-5, atol=1e-7)


def test_nothing_is_computed_backwards_through_a_frozen_encoder(sequence_file):
    """Of a step that is nearly all encoder a third is left, the forward pass."""
    config = sequence_file.get_config("smoke")
    with config.unlocked():
        config.model.encoder, config.device.data, config.train.batch_size = "resnet18_2d", 1, 2
        config.images.images.shape = (2, 32, 32)
    devices, found = mesh.make(config.device), []
    for rate in (1.0, 0.0):
        with config.unlocked():
            config.optimizer.encoder_rate = rate
        source = synthetic.make(config, None, devices, config.train.batch_size)
        found.append(cost.operations(config, source.fitted, source.take(0)))
    whole, frozen = found
    assert 0.2 * whole < frozen < 0.37 * whole
