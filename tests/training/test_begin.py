"""What a run begins from: a whole network, or the encoders of one wherever they lie, and what does not fit is named by tensor."""

import jax
import numpy as np
import pytest

from jaxstroke.errors import InputError
from jaxstroke.training import subtrees
from jaxstroke.training.begin import Begin


def tensor(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def encoder(channels: int = 3) -> dict:
    params = {"stem_conv": {"kernel": tensor(7, 7, channels, 4)}, "stem_norm": {"scale": tensor(4)}}
    return {"params": params, "batch_stats": {"stem_norm": {"mean": tensor(4) + 1}}}


def network(**channels: int) -> dict:
    """Abstract variables of a network with an encoder for each image, below the image's name."""
    found = {"params": {"heads": {"kernel": tensor(4, 1)}}, "batch_stats": {}}
    for name, count in channels.items():
        own = encoder(count)
        found["params"][name] = {"encoder": own["params"], "project": {"kernel": tensor(4, 2)}}
        found["batch_stats"][name] = {"encoder": own["batch_stats"]}
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), found)


def test_every_encoder_of_a_network_begins_from_the_weights():
    weights = encoder()
    found = Begin("w.pth", "", weights, "encoder").onto(network(ct=3, views=3)).ready()
    assert subtrees.places(found["params"], "encoder") == [("ct", "encoder"), ("views", "encoder")]
    for name in ("ct", "views"):
        for kind in ("params", "batch_stats"):
            jax.tree.map(np.testing.assert_array_equal, found[kind][name], {"encoder": weights[kind]})


def test_a_grey_images_kernel_is_the_sum_over_colours():
    """So that a grey image gives what it gives three times over; the other image of the network stays as it is."""
    weights = encoder()
    found = Begin("w.pth", "", weights, "encoder").onto(network(grey=1, colour=3)).ready()["params"]
    kernel = found["grey"]["encoder"]["stem_conv"]["kernel"]
    np.testing.assert_array_equal(kernel, weights["params"]["stem_conv"]["kernel"].sum(2, keepdims=True))
    assert found["colour"]["encoder"]["stem_conv"]["kernel"].shape == (7, 7, 3, 4)
    x = tensor(7, 7, 1)
    np.testing.assert_allclose(
        np.einsum("hwc,hwco->o", x, kernel), np.einsum("hwc,hwco->o", np.repeat(x, 3, -1), weights["params"]["stem_conv"]["kernel"]),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


def test_what_does_not_fit_is_named_with_its_place():
    grey = Begin("w.pth", "", encoder(1), "encoder")
    with pytest.raises(InputError, match=r"ct/encoder/stem_conv/kernel is \(7, 7, 1, 4\), in the network \(7, 7, 3, 4\).*or 1"):
        grey.onto(network(ct=3))
    ungrouped = network(ct=1)
    ungrouped["batch_stats"] = {}  # group normalisation keeps no statistics
    with pytest.raises(InputError, match=r"ct/encoder/stem_norm/mean is not in the network.*norm = batch"):
        grey.onto(ungrouped)
    lacking = encoder(1)
    del lacking["params"]["stem_norm"]
    with pytest.raises(InputError, match="ct/encoder/stem_norm/scale is missing"):
        Begin("w.pth", "", lacking, "encoder").onto(network(ct=1))
    with pytest.raises(InputError, match="is of an encoder, and the network has none"):
        grey.onto(network())


def test_a_whole_network_stays_as_it_is():
    weights = encoder(3)
    assert Begin("w.pth", "", weights).onto(encoder(3)).ready() is weights
    with pytest.raises(InputError, match=r"stem_conv/kernel is \(7, 7, 3, 4\).*tasks in config.loss"):
        Begin("w.pth", "", weights).onto(encoder(1))


def test_a_file_that_is_gone_is_asked_for_when_a_run_begins():
    gone = Begin("w.pth", "", None, "encoder").onto(network(ct=3))
    with pytest.raises(InputError, match="w.pth is gone"):
        gone.ready()


def test_replaced_takes_leaves_and_keeps_the_order():
    tree = {"b": {"x": 1, "y": 2}, "a": 3}
    assert subtrees.replaced(tree, {"a": 4, "b": {"y": 5}}) == {"b": {"x": 1, "y": 5}, "a": 4}
    assert list(subtrees.replaced(tree, {"a": 4})) == ["b", "a"] and subtrees.replaced(tree, {}) == tree
    assert subtrees.without({"encoder": {"w": 1}, "net": {"encoder": {"w": 2}, "head": 3}}, "encoder") == {"net": {"head": 3}}
