"""Norms with a mask a row: of valid rows only, over all devices, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxstroke.models import norm

CHANNELS = 3


def problem(rows=8, valid=(0, 1, 2, 5)):
    """x with another mean a channel, a mask with two rows a pair of devices, a cotangent, parameters that are not 1 and 0."""
    x = jax.random.normal(jax.random.key(0), (rows, 3, 4, CHANNELS)) * 2 + jnp.arange(CHANNELS) * 5
    mask = jnp.zeros(rows).at[jnp.array(valid)].set(1.0)
    g = jax.random.normal(jax.random.key(1), x.shape) * mask[:, None, None, None]
    params = {"scale": jnp.array([0.5, 1.5, -1.0]), "bias": jnp.array([0.1, 0.2, 0.3])}
    stats = {"mean": jnp.array([1.0, 2.0, 3.0]), "var": jnp.array([2.0, 1.0, 4.0])}
    return x, mask, g, params, stats


def train(net, params, stats, x, mask):
    y, new = net.apply({"params": params, "batch_stats": stats}, x, mask, True, mutable=["batch_stats"])
    return y, new["batch_stats"]


def test_padded_rows_are_as_if_they_were_not_there():
    x, mask, g, params, stats = problem()
    rows = np.flatnonzero(mask)
    net = norm.BatchNorm()

    def loss(params, x, mask, g):
        y, new = train(net, params, stats, x, mask)
        return (y * g).sum(), new

    other = x.at[3].set(1e4)  # what padding holds does not matter
    (a, new_a), grad_a = jax.value_and_grad(loss, has_aux=True)(params, other, mask, g)
    (b, new_b), grad_b = jax.value_and_grad(loss, has_aux=True)(params, x[rows], None, g[rows])
    for one, two in zip(jax.tree.leaves((a, new_a, grad_a)), jax.tree.leaves((b, new_b, grad_b)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_one_device_equals_eight_with_devices_that_have_no_valid_row():
    x, mask, g, params, stats = problem()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def gradients(axis):
        def objective(params, x, mask, g):
            y, new = train(norm.BatchNorm(axis=axis), params, stats, x, mask)
            return norm.total((y * g).sum(), axis), new

        return jax.value_and_grad(objective, (0, 1), has_aux=True)

    one = jax.jit(gradients(None))(params, x, mask, g)
    rows = P("data")
    many = jax.shard_map(gradients("data"), mesh=mesh, in_specs=(P(), rows, rows, rows), out_specs=((P(), P()), (P(), rows)))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(jax.jit(many)(params, x, mask, g)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_batch_without_a_valid_row_leaves_statistics_alone_and_is_finite():
    x, mask, _, params, stats = problem()
    y, new = train(norm.BatchNorm(), params, stats, x, jnp.zeros_like(mask))
    jax.tree.map(np.testing.assert_array_equal, new, stats)
    assert np.isfinite(y).all()


def test_variance_keeps_its_digits_far_from_zero():
    """E[x^2] - E[x]^2 in float32 has lost the variance of 1 at a mean of 10,000."""
    values = np.random.default_rng(0).normal(1e4, 1.0, (16, 8, 8, 1)).astype(np.float32)
    _, variance, count = norm.moments(jnp.asarray(values), None, None)
    assert float(count) == values.size
    np.testing.assert_allclose(variance[0], values.astype(np.float64).var(), rtol=1e-3)


def test_gradient_equals_the_plain_formulas():
    """The gradient of our own against autodiff of the textbook form."""
    x, mask, g, params, stats = problem()

    def plain(params, x):
        mean, variance, _ = norm.moments(x, mask, None)
        return (((x - mean) / jnp.sqrt(variance + 1e-5) * params["scale"] + params["bias"]) * g).sum()

    ours = jax.grad(lambda params, x: (train(norm.BatchNorm(), params, stats, x, mask)[0] * g).sum(), (0, 1))(params, x)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(jax.grad(plain, (0, 1))(params, x)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4)


def test_bfloat16_input_keeps_float32_statistics():
    x, mask, _, params, stats = problem()
    y, new = train(norm.BatchNorm(dtype=jnp.bfloat16), params, stats, x.astype(jnp.bfloat16), mask)
    _, exact = train(norm.BatchNorm(), params, stats, x.astype(jnp.bfloat16).astype(jnp.float32), mask)
    assert y.dtype == jnp.bfloat16
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), new, exact)


def test_batch_norm_equals_pytorch_over_steps_and_in_evaluation():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm2d(CHANNELS)
    net = norm.BatchNorm()
    stats = {"mean": jnp.zeros(CHANNELS), "var": jnp.ones(CHANNELS)}
    params = {"scale": jnp.ones(CHANNELS), "bias": jnp.zeros(CHANNELS)}
    for step in range(3):
        x = np.random.default_rng(step).normal(step, 2, (4, 5, 6, CHANNELS)).astype(np.float32)
        y, stats = train(net, params, stats, x, None)
        expected = theirs(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(y, expected.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(stats["var"], theirs.running_var.numpy(), rtol=1e-5)
    expected = theirs.eval()(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach().numpy()
    np.testing.assert_allclose(net.apply({"params": params, "batch_stats": stats}, x), expected, atol=1e-5)


def test_group_norm_equals_pytorch_and_sees_its_own_row_only():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(3, 2, (4, 5, 6, 8)).astype(np.float32)
    net = norm.GroupNorm(groups=4)
    variables = net.init(jax.random.key(0), x)
    expected = torch.nn.GroupNorm(4, 8)(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach().numpy()
    y = net.apply(variables, x)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(net.apply(variables, x[:1]), y[:1], atol=1e-6)
    with pytest.raises(ValueError, match="8 channels do not divide into 3"):
        norm.GroupNorm(groups=3).init(jax.random.key(0), x)


def test_frozen_training_is_evaluation():
    """By the running statistics, which stay, whatever the rows; the gradient of the input is that of a fixed map."""
    x, mask, g, params, stats = problem()
    y, new = train(norm.BatchNorm(frozen=True), params, stats, x, mask)
    variables = {"params": params, "batch_stats": stats}
    np.testing.assert_array_equal(y, norm.BatchNorm().apply(variables, x))
    jax.tree.map(np.testing.assert_array_equal, new, stats)
    slope = jax.grad(lambda x: (train(norm.BatchNorm(frozen=True), params, stats, x, mask)[0] * g).sum())(x)
    np.testing.assert_allclose(slope, g * params["scale"] / jnp.sqrt(stats["var"] + 1e-5), rtol=1e-5)
