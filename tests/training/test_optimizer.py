"""Optimisers against PyTorch's and against the papers' formulas, in the form in which the step applies them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxstroke import check
from jaxstroke import config as settings
from jaxstroke.errors import InputError
from jaxstroke.training import engine as engines
from jaxstroke.training import optimizer, runs, step

RATE = 3e-2
FORGETFUL = (0.9, 0.8)  # second moments that fall soon after the gradients do, so that the largest is a past one


def make_settings(name: str, **changes):
    found = settings.base().optimizer
    found.update({"name": name, "weight_decay": 0.05, "clip": 0.0} | changes)
    return found


def shrinking(count: int) -> list[dict[str, np.ndarray]]:
    """Gradients that fall thirtyfold after the fourth."""
    rng = np.random.default_rng(1)
    sizes = [1.0, 2.0, 0.5, 3.0] + [0.1] * count
    shapes = {"kernel": (4, 3), "bias": (3,)}
    return [{key: (size * rng.normal(size=shape)).astype(np.float32) for key, shape in shapes.items()} for size in sizes[:count]]


def start() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "bias": rng.normal(size=3).astype(np.float32)}


def ours(transform, gradients: list) -> dict[str, np.ndarray]:
    """Parameters after the updates, as `training/step.py` makes them. The transform sees one part, as a network's parameters are."""
    params = jax.tree.map(jnp.asarray, {"part": start()})
    state = transform.init(params)
    for gradient in gradients:
        directions, state = transform.update({"part": gradient}, state, params)
        params = jax.tree.map(lambda p, d: p - RATE * d, params, directions)
    return jax.device_get(params)["part"]


def pytorch(name: str, gradients: list, nesterov: bool, betas: tuple) -> dict[str, np.ndarray]:
    torch = pytest.importorskip("torch")
    params = {key: torch.nn.Parameter(torch.tensor(value)) for key, value in start().items()}
    made = {
        "adamw": lambda: torch.optim.AdamW(params.values(), lr=RATE, betas=betas, weight_decay=0.05),
        "adamw_amsgrad": lambda: torch.optim.AdamW(params.values(), lr=RATE, betas=betas, weight_decay=0.05, amsgrad=True),
        "sgd": lambda: torch.optim.SGD(params.values(), lr=RATE, weight_decay=0.05, momentum=0.9, nesterov=nesterov),
    }[name]()
    for gradient in gradients:
        for key, value in gradient.items():
            params[key].grad = torch.tensor(value)
        made.step()
    return {key: value.detach().numpy() for key, value in params.items()}


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize("betas", [(0.9, 0.999), FORGETFUL])
@pytest.mark.parametrize(("name", "nesterov"), [("adamw", False), ("adamw_amsgrad", False), ("sgd", False), ("sgd", True)])
def test_equals_pytorch(name, nesterov, betas, count):
    gradients = shrinking(count)
    theirs = pytorch(name, gradients, nesterov, betas)
    found = ours(optimizer.make(make_settings(name, nesterov=nesterov, betas=betas)), gradients)
    for key in theirs:
        np.testing.assert_allclose(found[key], theirs[key], rtol=0, atol=1e-5)


def test_the_maximum_is_of_the_raw_moment():
    """The gradients above tell the optimisers apart: neither plain AdamW nor optax's order gives PyTorch's numbers."""
    gradients = shrinking(10)
    found = ours(optimizer.make(make_settings("adamw_amsgrad", betas=FORGETFUL)), gradients)["kernel"]
    optax_order = optax.chain(optax.scale_by_amsgrad(*FORGETFUL), optax.add_decayed_weights(0.05))
    for other in (optimizer.make(make_settings("adamw", betas=FORGETFUL)), optax_order):
        assert np.abs(ours(other, gradients)["kernel"] - found).max() > 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_equals_its_formula(nesterov):
    trust, decay, momentum = 0.02, 0.05, 0.8
    gradients = shrinking(5)
    params, buffers = start(), {key: np.zeros_like(value) for key, value in start().items()}
    for gradient in gradients:
        full = gradient["kernel"] + decay * params["kernel"]
        local = trust * np.linalg.norm(params["kernel"]) / np.linalg.norm(full)
        for key, scaled in {"kernel": local * full, "bias": gradient["bias"]}.items():
            buffers[key] = momentum * buffers[key] + scaled
            params[key] = params[key] - RATE * (scaled + momentum * buffers[key] if nesterov else buffers[key])
    found = ours(optimizer.make(make_settings("lars", trust=trust, momentum=momentum, nesterov=nesterov)), gradients)
    for key in params:
        np.testing.assert_allclose(found[key], params[key], rtol=1e-5, atol=1e-6)


def test_lars_leaves_arrays_of_zeros_alone():
    """A ratio with a norm of 0 is 1: a layer that begins at zero can leave it, and no direction is NaN."""
    transform = optimizer.make(make_settings("lars"))
    params = {"part": {"kernel": jnp.zeros((2, 2))}}
    for gradient in (jnp.zeros((2, 2)), jnp.ones((2, 2))):
        directions, _ = transform.update({"part": {"kernel": gradient}}, transform.init(params), params)
        np.testing.assert_array_equal(directions["part"]["kernel"], gradient)


@pytest.mark.parametrize("name", optimizer.DIRECTIONS)
def test_a_real_step_moves_the_state_and_an_empty_one_does_not(config, arrays, todo, numbers, name):
    """Eight devices; every leaf of the state is a float32 or int32 array, and counters stop with the rest."""
    with config.unlocked():
        config.optimizer.name = name
        config.device.data = 8
    engine = engines.build(config, arrays, numbers[todo[0].id])
    state, fitted = (
        step.put(jax.tree.map(lambda x: np.asarray(x)[None], tree), engine.mesh) for tree in (engine.initial(0), numbers[todo[0].id])
    )
    rows = runs.epoch_rows(todo[0], 0, arrays, config)[:1].reshape(1, 1, -1)
    zeros = np.zeros(1, np.int32)
    kept = [jax.device_get(state)]
    for table in (rows, np.full_like(rows, -1)):
        batch = next(engine.feed.batches(table[None], zeros, zeros[None], train=True))
        state, _ = engine.train_step(state, fitted, batch)
        kept.append(jax.device_get(state))
    before, after, empty = kept
    assert {leaf.dtype for leaf in jax.tree.leaves(after["opt"])} <= {np.dtype("float32"), np.dtype("int32")}
    assert all(np.abs(a - b).max() > 0 for a, b in zip(jax.tree.leaves(before["opt"]), jax.tree.leaves(after["opt"]), strict=True))
    jax.tree.map(np.testing.assert_array_equal, after, empty)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("name", "adam", "adamw"),
        ("momentum", 1.0, "below 1"),
        ("betas", (0.9,), "2 entries"),
        ("trust", 0.0, "1e-12 to 1000"),
        ("weight_decay", -1.0, "0 to 1000"),
    ],
)
def test_settings_that_cannot_be_are_named(config, key, value, words):
    with config.unlocked():
        config.optimizer[key] = value
    with pytest.raises(InputError, match=rf"config\.optimizer\.{key} = .*{words}"):
        check.check(config)
