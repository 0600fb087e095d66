"""Layers against the compiler's own operations, and masks that must not leak."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke.models import layers


@pytest.mark.parametrize(("n", "h", "w", "i", "o"), [(1, 2, 2, 1, 1), (2, 8, 6, 3, 5), (3, 7, 9, 1, 4), (2, 5, 4, 4, 2)])
def test_conv_pool_forms_agree_in_value_and_gradients(n, h, w, i, o):
    x = jax.random.normal(jax.random.key(0), (n, h, w, i))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, i, o))

    def loss(form):
        return lambda x, kernel: (form(x, kernel) ** 2).sum()

    forms = (layers.conv_pool_native, layers.conv_pool_blocks)
    native, blocks = (jax.jit(jax.value_and_grad(loss(form), (0, 1)))(x, kernel) for form in forms)
    for a, b in zip(jax.tree.leaves(native), jax.tree.leaves(blocks), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_conv_pool_takes_the_form_it_is_asked_for():
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
    nets = {form: layers.ConvPool(4, form) for form in ("auto", "native", "products")}
    variables = nets["native"].init(jax.random.key(1), x)
    programs = {form: jax.jit(net.apply).lower(variables, x).as_text() for form, net in nets.items()}
    assert "stablehlo.convolution" in programs["native"]
    assert "stablehlo.convolution" not in programs["products"]
    assert programs["auto"] in (programs["native"], programs["products"])
    np.testing.assert_allclose(nets["products"].apply(variables, x), nets["native"].apply(variables, x), atol=1e-5)


def test_lstm_equals_flax_on_prefix_masks():
    """Same gates and order as flax's OptimizedLSTMCell, once its kernels are laid side by side; the forget bias of 1 is added by hand."""
    x = jax.random.normal(jax.random.key(0), (4, 6, 5))
    lengths = jnp.array([6, 3, 1, 5])
    mask = (jnp.arange(6) < lengths[:, None]).astype(jnp.float32)
    ours = layers.MaskedLSTM(3)
    variables = ours.init(jax.random.key(1), x, mask)
    kernel, bias, recurrent = variables["params"]["input"]["kernel"], variables["params"]["input"]["bias"], variables["params"]["recurrent"]
    theirs = {"params": {"cell": {}}}
    for place, gate in enumerate("ifgo"):
        part = slice(3 * place, 3 * place + 3)
        theirs["params"]["cell"][f"i{gate}"] = {"kernel": kernel[:, part]}
        theirs["params"]["cell"][f"h{gate}"] = {"kernel": recurrent[:, part], "bias": bias[part] + (1.0 if gate == "f" else 0.0)}
    reference = nn.RNN(nn.OptimizedLSTMCell(3), return_carry=True)
    (_, hidden), _ = reference.apply(theirs, x, seq_lengths=lengths)
    np.testing.assert_allclose(ours.apply(variables, x, mask), hidden, atol=1e-6)


def test_lstm_ignores_padding_wherever_it_is():
    x = jax.random.normal(jax.random.key(0), (2, 4, 5))
    net = layers.MaskedLSTM(3)
    variables = net.init(jax.random.key(1), x, jnp.ones((2, 4)))
    plain = net.apply(variables, x, jnp.ones((2, 4)))
    noise = 100 * jax.random.normal(jax.random.key(2), (2, 2, 5))
    spread = jnp.concatenate([noise[:, :1], x[:, :2], noise[:, 1:], x[:, 2:]], 1)
    mask = jnp.array([[0, 1, 1, 0, 1, 1]] * 2, jnp.float32)
    np.testing.assert_array_equal(net.apply(variables, spread, mask), plain)
    gradient = jax.grad(lambda s: net.apply(variables, s, mask).sum())(spread)
    assert float(jnp.abs(gradient[:, [0, 3]]).max()) == 0.0
    assert float(jnp.abs(gradient[:, 1]).max()) > 0.0


def test_dropout_keeps_the_mean_and_depends_on_the_row_key_only():
    keys = jax.random.split(jax.random.key(0), 6)
    x = jnp.ones((6, 4000))
    y = layers.dropout(x, 0.3, keys, site=2)
    assert abs(float(y.mean()) - 1.0) < 0.02
    np.testing.assert_array_equal(layers.dropout(x[3:], 0.3, keys[3:], site=2), y[3:])
    assert not np.array_equal(layers.dropout(x, 0.3, keys, site=3), y)
    assert layers.dropout(x, 0.3, None, site=2) is x


def test_rows_are_dropped_whole_by_their_own_keys_and_the_mean_stays():
    keys = jax.random.split(jax.random.key(0), 4000)
    x = jnp.ones((4000, 3, 2))
    y = np.asarray(layers.dropped_rows(x, 0.3, keys, site=2))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    assert abs(y.mean() - 1) < 0.04  # three deviations of the mean of so many rows: 0.031
    np.testing.assert_array_equal(layers.dropped_rows(x[7:], 0.3, keys[7:], site=2), y[7:])
    assert not np.array_equal(layers.dropped_rows(x, 0.3, keys, site=3), y)
    assert layers.dropped_rows(x, 0.3, None, site=2) is x and layers.dropped_rows(x, 0.0, keys, site=2) is x


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_conv_pool_computes_in_the_asked_dtype_with_float32_parameters(dtype):
    net = layers.ConvPool(4, dtype=jnp.dtype(dtype))
    x = jnp.ones((2, 6, 6, 1))
    variables = net.init(jax.random.key(0), x)
    assert net.apply(variables, x).dtype == dtype
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
