"""Sequence models: padding changes nothing and gets no gradient, order only where it should, recurrent cells equal PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke.models import sequence

ORDERED = ("lstm", "gru", "convlstm")


def made(name, maps, mask, seed=0):
    module = sequence.SEQUENCES[name](6, jnp.float32)
    return module, {"params": module.init(jax.random.key(seed), maps, mask).get("params", {})}


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    maps = jnp.asarray(random.normal(size=(4, 7, 3, 3, 5)), jnp.float32)
    mask = jnp.asarray([[1] * 7, [1, 1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0, 0], [0] * 7], jnp.float32)
    return maps, mask


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_what_lies_at_mask_0_changes_nothing(data, name):
    maps, mask = data
    module, variables = made(name, maps, mask)
    noise = jnp.where(mask[..., None, None, None] > 0, maps, 1e3)
    longer = jnp.concatenate([maps, jnp.full((4, 5, 3, 3, 5), 7.0)], 1)
    plain = module.apply(variables, maps, mask)
    np.testing.assert_allclose(module.apply(variables, noise, mask), plain, atol=1e-6)
    np.testing.assert_allclose(module.apply(variables, longer, jnp.pad(mask, ((0, 0), (0, 5)))), plain, atol=1e-6)
    assert (np.asarray(plain[3]) == 0).all() and np.isfinite(plain).all()


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_gradients_of_padding_are_exactly_0(data, name):
    maps, mask = data
    module, variables = made(name, maps, mask)
    gradients = jax.grad(lambda x: (module.apply(variables, x, mask) ** 2).sum())(maps)
    shown = np.asarray(jnp.broadcast_to(mask[..., None, None, None], maps.shape)) > 0
    assert np.isfinite(gradients).all() and (np.asarray(gradients)[~shown] == 0).all()
    assert (np.abs(gradients).sum((1, 2, 3, 4))[:3] > 0).all()


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_order_counts_where_the_model_reads_in_order(data, name):
    maps, mask = data
    module, variables = made(name, maps, mask)
    order = np.random.default_rng(1).permutation(7)
    plain, shuffled = (np.asarray(module.apply(variables, x, m)) for x, m in ((maps, mask), (maps[:, order], mask[:, order])))
    if name in ORDERED:
        assert np.abs(plain - shuffled)[0].max() > 1e-4
    else:
        np.testing.assert_allclose(plain, shuffled, atol=1e-6)


def test_the_mean_is_that_of_the_images_alone(data):
    """With a linear head, the mean of per-image log-odds: the control of the paper."""
    maps, mask = data
    module, variables = made("mean", maps, mask)
    each = jnp.stack([module.apply(variables, maps[:, s : s + 1], jnp.ones((4, 1))) for s in range(7)], 1)
    expected = (each * mask[..., None]).sum(1)[:3] / mask.sum(1)[:3, None]
    np.testing.assert_allclose(module.apply(variables, maps, mask)[:3], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_cells_equal_pytorchs(data, name):
    torch = pytest.importorskip("torch")
    maps, _ = data
    module, variables = made(name, maps, jnp.ones((4, 7)))
    params = variables["params"]["lstm"] if name == "lstm" else variables["params"]
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](5, 6, batch_first=True)
    bias = np.array(params["input"]["bias"])
    other = np.zeros_like(bias)
    if name == "lstm":
        bias[6:12] += sequence.FORGET  # the forget gate's
    else:
        other[12:] = np.asarray(params["recurrent_bias"])
    with torch.no_grad():
        for key, value in {
            "weight_ih_l0": np.asarray(params["input"]["kernel"]).T, "weight_hh_l0": np.asarray(params["recurrent"]).T,
            "bias_ih_l0": bias, "bias_hh_l0": other,
        }.items():  # fmt: skip
            getattr(theirs, key).copy_(torch.from_numpy(np.array(value)))
        expected = theirs(torch.from_numpy(np.array(maps.mean((2, 3)))))[0][:, -1].numpy()
    np.testing.assert_allclose(module.apply(variables, maps, jnp.ones((4, 7))), expected, atol=1e-5)


def test_attention_says_its_weights(data):
    maps, mask = data
    module, variables = made("attention", maps, mask)
    _, said = module.apply(variables, maps, mask, mutable=["intermediates"])
    weights = np.asarray(said["intermediates"]["attention"][0])
    np.testing.assert_allclose(weights.sum(1), [1, 1, 1, 0], atol=1e-6)
    assert (weights[np.asarray(mask) == 0] == 0).all()
