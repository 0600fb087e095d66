"""Weights on images of another size or colour: PyTorch's interpolation, and a grey image in place of each colour."""

import jax
import numpy as np
import pytest

from jaxstroke.models.encoders import vit
from jaxstroke.training import adapt
from jaxstroke.training.begin import Begin


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("sizes", [(24, 24), (7, 9), (14, 28), (1, 40)])
def test_positions_are_interpolated_as_by_pytorch(sizes):
    torch = pytest.importorskip("torch")
    grid = drawn(14, 14, 5)
    theirs = torch.nn.functional.interpolate(torch.tensor(grid.transpose(2, 0, 1)[None]), sizes, mode="bicubic", align_corners=False)
    np.testing.assert_allclose(adapt.resized(grid, sizes), theirs[0].numpy().transpose(1, 2, 0), atol=1e-5)


def test_interpolation_keeps_a_constant_and_the_same_size():
    grid = drawn(6, 5, 3)
    np.testing.assert_allclose(adapt.resized(grid, (6, 5)), grid, atol=1e-6)
    np.testing.assert_allclose(adapt.cubics(14, 33).sum(1), 1, atol=1e-12)


def test_a_network_of_other_images_begins_from_the_weights_and_says_how():
    """Grey pictures of another size: the colours summed, positions interpolated; what fits nothing stays, for the check to name."""
    x, module = drawn(2, 8, 12, 3), vit.VisionTransformer(2, 12, 1, 2, 4, "token_mean")
    weights = jax.tree.map(np.asarray, jax.jit(module.init)(jax.random.key(0), drawn(1, 12, 12, 3)))["params"]
    grey = x[..., :1]
    like = {"net": {"encoder": jax.eval_shape(module.init, jax.random.key(0), grey)["params"]}}
    begin = Begin("w.pth", "", {"params": weights, "batch_stats": {}}, "encoder", remarks=("first",))
    onto = begin.onto({"params": like, "batch_stats": {}})
    found = onto.ready()["params"]["net"]["encoder"]
    assert onto.remarks == ("first", "learned positions of 3 x 3 patches are interpolated bicubically to 2 x 3")
    assert found["embedding"]["kernel"].shape == (16, 12) and found["positions"].shape == (2, 3, 12)
    np.testing.assert_array_equal(found["token_position"], weights["token_position"])
    coloured = weights | {"positions": found["positions"]}
    apply = jax.jit(lambda params, x: module.apply({"params": params}, x)["pooled"])
    np.testing.assert_allclose(apply(found, grey), apply(coloured, np.repeat(grey, 3, -1)), atol=1e-4)
    other, _ = adapt.adapted({"params": {"embedding": {"kernel": drawn(48, 12)}}}, {"params": {"embedding": {"kernel": drawn(32, 12)}}})
    assert other["params"]["embedding"]["kernel"].shape == (48, 12)
