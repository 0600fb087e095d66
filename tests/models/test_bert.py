"""The text encoder: the very numbers of Hugging Face's BertModel, padding that nobody sees, and rows that stand by themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxstroke.interop import torch_bert, torch_file
from jaxstroke.models.encoders import bert
from jaxstroke.training import rates

DEVICES = 8
ROWS, LONGEST = 16, 12
# Lengths of rows, three of them of no token at all: one device of eight has none but these.
LENGTHS = np.array([12, 5, 0, 0, 1, 3, 12, 7, 2, 9, 4, 11, 6, 0, 8, 10])
MASK = (np.arange(LONGEST) < LENGTHS[:, None]).astype(np.float32)


def small(**changes) -> bert.Bert:
    settings = {"width": 24, "depth": 2, "heads": 3, "intermediate": 40, "dropout": 0.0, "vocabulary": 50, "positions": 16}
    return bert.Bert(**settings | changes)


def drawn(vocabulary: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(5, vocabulary, (ROWS, LONGEST)).astype(np.int32)


def varied(variables: dict, seed: int = 0) -> dict:
    """The same tree with larger numbers, biases and scales among them, so that no part of the network hides behind another."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: np.asarray(leaf + rng.normal(size=leaf.shape, scale=0.2), np.float32), variables)


@pytest.fixture(scope="module")
def variables() -> dict:
    return varied(jax.jit(small().init)(jax.random.key(0), drawn(), MASK))


def theirs(sizes: dict, **config):
    """Hugging Face's network with random weights of some size."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    names = {"width": "hidden_size", "depth": "num_hidden_layers", "heads": "num_attention_heads", "vocabulary": "vocab_size"}
    names |= {"intermediate": "intermediate_size", "positions": "max_position_embeddings"}
    network = transformers.BertModel(transformers.BertConfig(**{names[name]: size for name, size in sizes.items()}, **config)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in network.parameters():
            scale = 0.1 if tensor.ndim == 1 else tensor.shape[1] ** -0.5
            tensor += scale * torch.randn(tensor.shape, generator=generator)
    return network


def answers(network, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return network(torch.tensor(tokens).long(), torch.tensor(mask).long()).last_hidden_state.numpy()


def converted(file, sizes: dict) -> dict:
    path = epath.Path(file)
    heads = torch_bert.read_config(path)["heads"]
    variables, found, left = torch_bert.convert(torch_file.read(path), heads)
    assert found == sizes and set(left) == {"pooler.dense.weight", "pooler.dense.bias"}
    return variables


SIZES = {
    "small": {"width": 32, "depth": 2, "heads": 4, "intermediate": 64, "vocabulary": 50, "positions": 12},
    "odd": {"width": 42, "depth": 3, "heads": 7, "intermediate": 30, "vocabulary": 61, "positions": 40},
    "tiny": {"width": 128, "depth": 2, "heads": 2, "intermediate": 512, "vocabulary": 1000, "positions": 512},
    "base": {"width": 768, "depth": 12, "heads": 12, "intermediate": 3072, "vocabulary": 30522, "positions": 512},
}


@pytest.mark.parametrize("name", ["small", "odd", "tiny", pytest.param("base", marks=pytest.mark.slow)])
def test_hidden_states_are_those_of_transformers(tmp_path, name):
    """From what save_pretrained writes, and from a file of torch.save; of every token, of rows of all lengths."""
    sizes = SIZES[name]
    network = theirs(sizes)
    import torch

    network.save_pretrained(tmp_path)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    tokens, there = drawn(sizes["vocabulary"]), MASK > 0
    rows = LENGTHS > 0  # theirs of a row without any token is a mean of padding
    expected = answers(network, tokens[rows], MASK[rows])
    module = bert.Bert(**sizes, dropout=0.1)
    for file in ("model.safetensors", "pytorch_model.bin"):
        variables = converted(tmp_path / file, sizes)
        shapes = jax.eval_shape(module.init, jax.random.key(0), tokens, MASK)
        assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
        found = np.asarray(jax.jit(module.apply)(variables, tokens, MASK))
        np.testing.assert_allclose(found[there], expected[there[rows]], rtol=1e-4, atol=1e-4)
        assert not found[~there].any()
    assert np.abs(expected).max() > 1  # so that the tolerance is one of 1e-4


def test_gradients_are_those_of_transformers(tmp_path):
    sizes = SIZES["odd"]
    network = theirs(sizes)
    import torch

    torch.save(network.state_dict(), tmp_path / "weights.bin")
    variables, _, _ = torch_bert.convert(torch_file.read(epath.Path(tmp_path / "weights.bin")), sizes["heads"])
    tokens, rows = drawn(sizes["vocabulary"]), LENGTHS > 0
    weight = np.random.default_rng(3).normal(size=(ROWS, LONGEST, sizes["width"])).astype(np.float32) * MASK[..., None]
    module = bert.Bert(**sizes, dropout=0.1)
    gradient = jax.jit(jax.grad(lambda variables: (module.apply(variables, tokens, MASK) * weight).sum()))(variables)
    found = network(torch.tensor(tokens[rows]).long(), torch.tensor(MASK[rows]).long()).last_hidden_state
    (found * torch.tensor(weight[rows])).sum().backward()
    theirs_by_name = {name: np.zeros_like(p.detach()) if p.grad is None else p.grad.numpy() for name, p in network.named_parameters()}
    expected, _, _ = torch_bert.convert(theirs_by_name, sizes["heads"])  # a gradient is laid out as its parameter is
    close(gradient, expected, 1e-3)


def close(found, expected, tolerance):
    """Equal to a tolerance, as a share of an array's largest number where that is above 1."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * max(1, np.abs(y).max())), found, expected)


def test_padding_changes_nothing(variables):
    """As if it were not there, and whatever lies in it, numbers that are in no vocabulary too."""
    module, tokens = small(), drawn()
    found = np.asarray(jax.jit(module.apply)(variables, tokens, MASK))
    for noise in (0, 7, 10**6, -3):
        again = jax.jit(module.apply)(variables, np.where(MASK > 0, tokens, noise).astype(np.int32), MASK)
        np.testing.assert_array_equal(again, found)
    for row in (1, 4, 7):
        short = module.apply(variables, tokens[row : row + 1, : LENGTHS[row]], MASK[row : row + 1, : LENGTHS[row]])
        close(found[row, : LENGTHS[row]], np.asarray(short[0]), 3e-6)  # sums of another length are added in another order


def test_a_row_without_any_token_is_zeros_and_has_no_part_in_gradients(variables):
    module, tokens, keys = small(dropout=0.3), drawn(), jax.random.split(jax.random.key(1), ROWS)

    def loss(variables, tokens, mask, keys):
        return jnp.tanh(module.apply(variables, tokens, mask, keys)).sum()

    assert not np.asarray(module.apply(variables, tokens, MASK))[LENGTHS == 0].any()
    rows = LENGTHS > 0
    found = jax.jit(jax.grad(loss))(variables, tokens, MASK, keys)
    close(found, jax.jit(jax.grad(loss))(variables, tokens[rows], MASK[rows], keys[rows]), 1e-5)
    nothing = jax.jit(jax.grad(loss))(variables, tokens, np.zeros_like(MASK), keys)
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(nothing))  # and so no NaN
    assert all(np.asarray(leaf).any() for name, leaf in found["params"]["layer1"]["query"].items() if name == "kernel")


def test_a_token_that_is_in_no_vocabulary_is_no_number(variables):
    """A tokenizer of another network must not pass unseen."""
    tokens = drawn()
    tokens[1, 0] = 50
    found = np.asarray(small().apply(variables, tokens, MASK))
    assert np.isnan(found[1, 0]).all() and np.isfinite(np.delete(found, 1, 0)).all()


def test_dropout_goes_by_a_rows_key_and_not_by_its_place(variables):
    module, tokens, keys = small(dropout=0.3), drawn(), jax.random.split(jax.random.key(1), ROWS)
    run = jax.jit(module.apply)
    found = np.asarray(run(variables, tokens, MASK, keys))
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_allclose(run(variables, tokens[order], MASK[order], keys[order]), found[order], atol=1e-6)
    assert np.abs(found - run(variables, tokens, MASK)).max() > 0.1
    same = np.asarray(run(variables, np.broadcast_to(tokens[:1], tokens.shape), np.ones_like(MASK), keys))
    assert np.abs(same - same[:1])[1:].max((1, 2)).min() > 0.1  # every row has its own


def test_every_place_of_dropout_has_a_site_of_its_own(variables):
    """As many as `sites` tells, from the first on: the places of two encoders with the same keys can be kept apart."""
    drawn_at = []
    original = jax.random.fold_in

    def noted(key, site):
        drawn_at.append(site)
        return original(key, site)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.random, "fold_in", noted)
        small(dropout=0.3).apply(variables, drawn(), MASK, jax.random.split(jax.random.key(1), ROWS), 40)
    assert sorted(drawn_at) == list(range(40, 40 + bert.sites(2)))


def graded(module, axis=None):
    """Loss and gradient of a mean over tokens, which psum adds over devices inside the loss, and the hidden states."""

    def total(x):
        return x if axis is None else jax.lax.psum(x, axis)

    def loss(variables, tokens, mask, keys):
        found = module.apply(variables, tokens, mask, keys)
        return total((jnp.tanh(found) @ jnp.sin(jnp.arange(found.shape[-1]))).sum()) / total(mask.sum()), found

    def run(*arguments):
        (value, found), gradient = jax.value_and_grad(loss, has_aux=True)(*arguments)
        return (value, gradient), found

    return run


def test_one_device_equals_eight(variables):
    """Dropout on; one device has rows without any token alone."""
    tokens, keys = drawn(), jax.random.split(jax.random.key(1), ROWS)
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
    module = small(dropout=0.2)
    spread = jax.shard_map(graded(module, "data"), mesh=mesh, in_specs=(P(), *(P("data"),) * 3), out_specs=(P(), P("data")))
    one, eight = (jax.jit(run)(variables, tokens, MASK, keys) for run in (graded(module), spread))
    close(one, eight, 1e-5)


def test_recomputing_layers_changes_no_number(variables):
    tokens, keys = drawn(), jax.random.split(jax.random.key(1), ROWS)
    kept, again = (jax.jit(graded(small(dropout=0.2, remat=remat)))(variables, tokens, MASK, keys) for remat in (False, True))
    close(kept, again, 5e-6)


def test_bfloat16_stays_near_and_gives_float32(variables):
    found = small(dtype=jnp.bfloat16).apply(variables, drawn(), MASK)
    assert found.dtype == jnp.float32
    expected = np.asarray(small().apply(variables, drawn(), MASK))
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_layers_are_known_by_where_they_lie():
    """For a learning rate that falls towards the input."""
    params = jax.eval_shape(small(depth=3).init, jax.random.key(0), drawn(), MASK)["params"]
    numbers = {name: rates.layer_of(name) for name in params}
    first = dict.fromkeys(("embedding", "positions", "token_type", "embedding_norm"), 0)
    assert numbers == first | {"layer1": 1, "layer2": 2, "layer3": 3}


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(ValueError, match="a width of 24 does not divide by 5 heads"):
        small(heads=5).init(jax.random.key(0), drawn(), MASK)
    with pytest.raises(ValueError, match="there are 8 positions"):
        small(positions=8).init(jax.random.key(0), drawn(), MASK)
