"""Every encoder, in a small variant: devices, padded rows, recomputed blocks, types, names, sizes, refusals."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxstroke import check_network
from jaxstroke.errors import InputError
from jaxstroke.models import encoders, layers, norm
from jaxstroke.models.encoders import densenet, perez, resnet, slices, vit

ROWS, DEVICES = 16, 8
ABSENT = (6, 7, 13)  # of 16 rows; on 8 devices the fourth then has no valid row
MASK = jnp.ones(ROWS).at[jnp.array(ABSENT)].set(0)


def residual(parts: encoders.Parts):
    return resnet.ResNet(parts.dims, (1, 1), parts.dims == 2, parts.conv, parts.norm, (8, 16), remat=parts.remat, dtype=parts.dtype)


def residual_small(parts: encoders.Parts):
    return encoders.resnet_small(dataclasses.replace(parts, widths=(8, 12)))


def transformer(parts: encoders.Parts):
    pool = "token" if parts.dims == 3 else "mean"
    return vit.VisionTransformer(parts.dims, 24, 2, 3, 8, pool, parts.dropout, remat=parts.remat, dtype=parts.dtype)


def transformer_of_paths(parts: encoders.Parts):
    """Rows pass by its second layer."""
    return vit.VisionTransformer(2, 24, 2, 3, 8, "token_mean", parts.dropout, 0.5 if parts.dropout else 0.0, parts.remat, parts.dtype)


def plain(parts: encoders.Parts):
    return slices.Plain((4, 8), parts.conv_pool, parts.norm, parts.dtype)


def dense(parts: encoders.Parts):
    return densenet.DenseNet(4, (2, 2), 8, 2, parts.dropout, parts.conv, parts.norm, parts.remat, parts.dtype)


def baseline(parts: encoders.Parts):
    return perez.Perez((2, 4, 4, 8), parts.dropout, parts.conv, parts.norm, parts.remat)


# name: (how it is built, spatial shape, channels, names of its features)
RESNET, VIT = ["stem", "layer1", "layer2", "pooled"], ["patches", "layer1", "layer2", "pooled"]
PEREZ = ["stage1", "stage2", "stage3", "stage4", "norm", "pooled"]
DENSENET = ["stem", "block1", "transition1", "block2", "norm5", "pooled"]
SMALL = {
    "densenet_3d": (dense, (8, 9, 8), 1, DENSENET),
    "perez_3d": (baseline, (38, 38, 39), 1, PEREZ),
    "plain_2d": (plain, (12, 16), 3, ["stage1", "stage2", "pooled"]),
    "resnet_2d": (residual, (12, 16), 3, RESNET),
    "resnet_3d": (residual, (8, 9, 8), 1, RESNET),
    "resnet_small_3d": (residual_small, (8, 9, 8), 1, RESNET),
    "vit_2d": (transformer, (16, 24), 3, VIT),
    "vit_3d": (transformer, (8, 16, 8), 1, VIT),
    "vit_paths_2d": (transformer_of_paths, (16, 24), 3, VIT),
}


def small(name, axis=None, remat=False, dtype="float32", dropout=0.2, normalise=norm.BatchNorm):
    build, space, _, _ = SMALL[name]
    dtype = jnp.dtype(dtype)
    conv = functools.partial(layers.Conv, dtype=dtype)
    conv_pool = functools.partial(encoders.remade(layers.ConvPool, remat), dtype=dtype)
    shared = {"axis": axis} if normalise is norm.BatchNorm else {"groups": 2}
    return build(encoders.Parts(len(space), conv, conv_pool, functools.partial(normalise, dtype=dtype, **shared), remat, dtype, dropout))


def inputs(name):
    _, space, channels, _ = SMALL[name]
    x = jax.random.normal(jax.random.key(1), (ROWS, *space, channels))
    return x, jax.random.split(jax.random.key(2), ROWS)


@functools.cache
def variables_of(name):
    return jax.jit(small(name).init)(jax.random.key(0), inputs(name)[0])


def graded(module, axis=None):
    """loss, gradient, running statistics and features of a masked mean over rows, which psum adds over devices inside the loss."""

    def total(x):
        return x if axis is None else jax.lax.psum(x, axis)

    def loss(params, stats, x, mask, keys):
        found, new = module.apply({"params": params, "batch_stats": stats}, x, mask, keys, True, mutable=["batch_stats"])
        each = jnp.sin(jnp.arange(found["pooled"].shape[-1])) @ jnp.tanh(found["pooled"]).T
        return total((each * mask).sum()) / total(mask.sum()), (new.get("batch_stats", {}), found)

    def run(variables, x, mask, keys):
        differentiated = jax.value_and_grad(loss, has_aux=True)
        (value, (stats, found)), gradient = differentiated(variables["params"], variables.get("batch_stats", {}), x, mask, keys)
        return (value, gradient, stats), found

    return run


@functools.cache
def one_device(name):
    """`graded` of the plain variant, compiled once for all tests of it."""
    return jax.jit(graded(small(name)))


def close(a, b, tolerance=1e-5):
    """Equal to a tolerance, as a share of an array's largest number where that is above 1."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * max(1, np.abs(y).max())), a, b)


@pytest.mark.parametrize("name", SMALL)
def test_one_device_equals_eight(name):
    """Dropout on; one device holds padding alone."""
    x, keys = inputs(name)
    variables = variables_of(name)
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.shard_map(
        graded(small(name, axis="data"), "data"), mesh=mesh, in_specs=(P(), P("data"), P("data"), P("data")), out_specs=(P(), P("data"))
    )
    one, features = one_device(name)(variables, x, MASK, keys)
    eight, spread_features = jax.jit(spread)(variables, x, MASK, keys)
    close(one, eight)
    close(features, spread_features)


@pytest.mark.parametrize("name", SMALL)
def test_padded_rows_change_nothing(name):
    """Whatever lies in them, and as if they were not there."""
    x, keys = inputs(name)
    variables, run = variables_of(name), one_device(name)
    there = np.flatnonzero(MASK)
    found, features = run(variables, x, MASK, keys)
    noisy, noisy_features = run(variables, x.at[jnp.array(ABSENT)].mul(50), MASK, keys)
    close(found, noisy, 1e-6)
    close(features["pooled"][there], noisy_features["pooled"][there], 1e-6)
    without, without_features = run(variables, x[there], MASK[there], keys[there])
    close(found, without)
    close(features["pooled"][there], without_features["pooled"])


@pytest.mark.parametrize("name", SMALL)
def test_recomputing_blocks_changes_no_number(name):
    x, keys = inputs(name)
    variables = variables_of(name)
    again = jax.jit(small(name, remat=True).init)(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, variables, again)  # the same tree, names too
    kept, _ = one_device(name)(variables, x, MASK, keys)
    recomputed, _ = jax.jit(graded(small(name, remat=True)))(variables, x, MASK, keys)
    close(kept, recomputed, 5e-6)


@pytest.mark.parametrize("name", SMALL)
def test_features_are_named_and_bfloat16_adds_up_in_float32(name):
    x, keys = inputs(name)
    variables, half = variables_of(name), small(name, dtype="bfloat16")
    found, new = jax.eval_shape(lambda: half.apply(variables, x, MASK, keys, True, mutable=["batch_stats"]))
    assert sorted(found) == sorted(SMALL[name][3])
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((variables, new)))
    assert found.pop("pooled").dtype == jnp.float32 and {leaf.dtype for leaf in found.values()} == {jnp.dtype("bfloat16")}
    assert all(len(leaf.shape) == x.ndim and leaf.shape[0] == ROWS for leaf in found.values())
    names = []
    jax.eval_shape(lambda: names.extend(half.apply(variables, x)))
    assert names == SMALL[name][3]
    exact, rounded = (jax.jit(module.apply)(variables, x[:4])["pooled"] for module in (small(name), half))
    np.testing.assert_allclose(exact, rounded, atol=0.06)


def test_dropout_needs_keys_and_differs_from_row_to_row():
    x, keys = inputs("vit_2d")
    x = jnp.broadcast_to(x[:1], x.shape)
    module, variables = small("vit_2d"), variables_of("vit_2d")
    plain = jax.jit(module.apply)(variables, x)["pooled"]
    dropped = jax.jit(module.apply)(variables, x, None, keys)["pooled"]
    np.testing.assert_allclose(plain[0], plain[1], atol=1e-6)
    assert float(jnp.abs(dropped[0] - dropped[1]).max()) > 0.01


def test_a_transformers_layers_are_passed_by_more_often_the_later_they_are():
    """What each of four layers adds is there whole, and larger, or not at all, at rates from 0 to 0.6; without keys it is plain."""
    rows, rate = 600, 0.6
    module = vit.VisionTransformer(2, 8, 4, 2, 8, drop_path=rate)
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (1, 8, 8, 1)), (rows, 8, 8, 1))
    variables = jax.jit(module.init)(jax.random.key(1), x[:1])
    apply = jax.jit(module.apply)
    found = apply(variables, x, None, jax.random.split(jax.random.key(2), rows))
    maps = [np.asarray(found[name]).reshape(rows, -1) for name in ("patches", "layer1", "layer2", "layer3", "layer4")]
    for number, (before, after) in enumerate(zip(maps, maps[1:], strict=False)):
        both = (rate * number / 3) ** 2  # neither attention nor perceptron adds anything
        assert abs((np.abs(after - before).max(1) == 0).mean() - both) < 0.06
    assert len(np.unique(maps[1].round(4), axis=0)) == 1
    plain, without = apply(variables, x), vit.VisionTransformer(2, 8, 4, 2, 8).apply(variables, x[:1])
    np.testing.assert_allclose(plain["pooled"][0], without["pooled"][0], atol=1e-6)


def test_the_mean_over_keys_of_what_a_layer_adds_is_what_it_adds():
    """Of the last branch, whose input the other draw does not change."""
    rows = 3000
    layer = vit.Layer(2, 0.0, 0.4, 1, jnp.dtype("float32"))
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (1, 3, 8)), (rows, 3, 8))
    variables = jax.jit(layer.init)(jax.random.key(1), x[:1], None)
    variables["params"]["down"] = jax.tree.map(jnp.zeros_like, variables["params"]["down"])
    found = jax.jit(layer.apply)(variables, x, jax.random.split(jax.random.key(2), rows))
    plain = layer.apply(variables, x[:1], None)[0]
    np.testing.assert_allclose(found.mean(0), plain, atol=0.05 * float(jnp.abs(plain - x[0]).max()))


def test_what_the_pools_of_a_transformer_are():
    x = jax.random.normal(jax.random.key(0), (3, 16, 24, 3))
    modules = {pool: vit.VisionTransformer(2, 24, 2, 3, 8, pool) for pool in vit.POOLS}
    variables = jax.jit(modules["token"].init)(jax.random.key(1), x)
    trees = {pool: jax.eval_shape(module.init, jax.random.key(1), x)["params"] for pool, module in modules.items()}
    assert trees["token"] == trees["token_mean"]
    assert trees["token"].keys() - trees["mean"].keys() == {"token", "token_position", "positions"}
    found = {pool: jax.jit(modules[pool].apply)(variables, x) for pool in ("token", "token_mean")}
    jax.tree.map(np.testing.assert_array_equal, *({k: v for k, v in one.items() if k != "pooled"} for one in found.values()))
    mean = found["token_mean"]["layer2"].mean((1, 2))
    np.testing.assert_allclose(found["token_mean"]["pooled"], (mean - mean.mean(1, keepdims=True)) / mean.std(1, keepdims=True), atol=1e-3)
    assert float(jnp.abs(found["token"]["pooled"] - found["token_mean"]["pooled"]).max()) > 0.1
    changed = jax.tree.map(jnp.array, variables)
    changed["params"]["token"] = changed["params"]["token"].at[0].add(1.0)
    for pool in ("token", "token_mean"):  # both look at the class token, one by attention alone
        assert float(jnp.abs(jax.jit(modules[pool].apply)(changed, x)["pooled"] - found[pool]["pooled"]).max()) > 1e-3


@pytest.mark.parametrize("name", ["densenet_3d", "perez_3d", "resnet_2d", "resnet_3d"])
def test_group_norm_needs_no_statistics(name):
    x, _ = inputs(name)
    module = small(name, normalise=norm.GroupNorm)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    assert set(variables) == {"params"}
    apply = jax.jit(module.apply)
    close(apply(variables, x)["pooled"][:3], apply(variables, x.at[3:].set(7))["pooled"][:3])


def test_the_baseline_drops_whole_channels_of_its_second_stage():
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (1, 38, 38, 38, 1)), (64, 38, 38, 38, 1))
    module = perez.Perez((1, 4, 1, 1), dropout=0.5)
    variables = jax.jit(module.init)(jax.random.key(1), x[:1])
    features = jax.jit(module.apply)(variables, x, None, jax.random.split(jax.random.key(2), 64))
    np.testing.assert_array_equal(features["stage2"][0], features["stage2"][1])
    outcomes = len(np.unique(np.asarray(features["stage3"]).reshape(64, -1).round(4), axis=0))
    assert 1 < outcomes <= 2**4  # each of four channels is there or not


def test_the_baseline_begins_as_published():
    """Kaiming's uniform over the fan-in, and biases of 0."""
    params = jax.jit(perez.Perez().init)(jax.random.key(0), jnp.zeros((1, 38, 38, 38, 1)))["params"]
    kernel = np.asarray(params["stage3"]["conv"]["kernel"])
    bound = (6 / (27 * 32)) ** 0.5
    assert 0.99 * bound < np.abs(kernel).max() <= bound and abs(kernel.std() - bound / 3**0.5) < 0.01 * bound
    assert [("bias" in params[f"stage{number}"]["conv"]) for number in (1, 2, 3, 4)] == [False, True, True, False]
    assert not np.asarray(params["stage2"]["conv"]["bias"]).any()


@pytest.mark.parametrize("bottleneck", [False, True])
def test_zero_last_makes_every_block_begin_as_its_shortcut(bottleneck):
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 1))
    settings = (2, (2, 1), bottleneck, layers.Conv, norm.BatchNorm)
    module = resnet.ResNet(*settings, widths=(8, 16), zero_last=True)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    last = "norm3" if bottleneck else "norm2"
    blocks = {name: block for name, block in variables["params"].items() if name.startswith("layer")}
    assert len(blocks) == 3 and all(float(jnp.abs(block[last]["scale"]).max()) == 0 for block in blocks.values())
    assert float(blocks["layer1_0"]["norm1"]["scale"].min()) == 1
    plain = jax.jit(resnet.ResNet(*settings, widths=(8, 16)).init)(jax.random.key(0), x)
    np.testing.assert_array_equal(plain["params"]["layer1_0"]["conv1"]["kernel"], blocks["layer1_0"]["conv1"]["kernel"])
    if not bottleneck:  # no shortcut convolution: the stem's map comes out as it went in
        features = jax.jit(module.apply)(variables, x)
        np.testing.assert_array_equal(features["stem"], features["layer1"])
    remade = jax.jit(resnet.ResNet(*settings, widths=(8, 16), zero_last=True, remat=True).init)(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, variables, remade)


COUNTS = {
    "densenet121_3d": 11_242_624,
    "perez_3d": 291_217 - 129,
    "plain_2d": 9 * (16 + 16 * 32 + 32 * 64 + 64 * 128) + 2 * (16 + 32 + 64 + 128),
    "resnet_small_3d": 897_360,
    "resnet18_2d": 11_170_240,
    "resnet18_3d": 33_160_000,
    "resnet50_2d": 23_501_760,
    "resnet50_3d": 46_155_072,
}


@pytest.mark.parametrize("name", encoders.ENCODERS)
def test_published_sizes_by_shape_alone(name):
    """Parameters for one channel and, of a residual network, torchvision's for three. A transformer's by formula."""
    for channels in (1, 3):
        side = 64 if name in ("densenet121_3d", "perez_3d") else 32
        params, pooled = shapes(encoders.make(name, jnp.dtype("float32")), (side,) * encoders.ENCODERS[name].dims, channels)
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        if name.startswith("vit"):
            width, depth = {"s": (384, 12), "b": (768, 12), "l": (1024, 24)}[name[4]]
            assert count == transformer_size(width, depth, channels * 16 ** encoders.ENCODERS[name].dims) and pooled == (2, width)
        else:
            dims = encoders.ENCODERS[name].dims
            assert count == COUNTS[name] + (channels - 1) * (
                16 * 3**dims if name in ("perez_3d", "plain_2d", "resnet_small_3d") else 64 * 7**dims
            )
            assert pooled == (2, {"d": 1024, "p": 128, "_": 128, "1": 512, "5": 2048}[name.removeprefix("resnet")[0]])


def test_the_two_residual_networks_are_torchvisions():
    assert COUNTS["resnet18_2d"] + 2 * 64 * 49 == 11_176_512 and COUNTS["resnet50_2d"] + 2 * 64 * 49 == 23_508_032


def test_published_vit_b_16():
    module = vit.VisionTransformer(2, 768, 12, 12, pool="token")
    params, _ = shapes(module, (224, 224), 3)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == 85_798_656 == transformer_size(768, 12, 3 * 256) + 768 + (196 + 1) * 768


def transformer_size(width: int, depth: int, patch: int) -> int:
    """Embedding, then per layer 4 w^2 of attention and 8 w^2 of the perceptron with biases 9 w and two norms, then the last norm."""
    return (patch + 1) * width + depth * (12 * width**2 + 13 * width) + 2 * width


def shapes(module, space, channels):
    x = jax.ShapeDtypeStruct((2, *space, channels), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    return variables["params"], jax.eval_shape(module.apply, variables, x)["pooled"].shape


def test_sincos_places_are_distinct_and_those_of_the_formula():
    places = vit.sincos((3, 4), 16)
    assert places.shape == (12, 16) and len(np.unique(places.round(5), axis=0)) == 12
    np.testing.assert_allclose(places[1 * 4 + 2, :8], [*np.sin([1, 0.1, 0.01, 0.001]), *np.cos([1, 0.1, 0.01, 0.001])], rtol=1e-6)
    np.testing.assert_allclose(places[1 * 4 + 2, 8:10], np.sin([2, 0.2]), rtol=1e-6)
    assert vit.sincos((2, 2, 2), 14).shape == (8, 14) and not vit.sincos((2, 2, 2), 14)[:, 12:].any()


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("resnet18_2d", (7, 32), "at least 8 per axis"),
        ("resnet50_3d", (32, 32), "3 axes"),
        ("vit_s_2d", (32, 40), "multiple of 16"),
        ("vit_b_3d", (16, 8, 16), "at least 16"),
        ("densenet121_3d", (8, 96, 96), "32"),
        ("perez_3d", (37, 301, 301), "at least 38"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_by_the_encoder_and_by_the_check(name, shape, words):
    with pytest.raises(ValueError):
        shapes(encoders.make(name, jnp.dtype("float32")), shape, 1)
    assert words in check_network.ENCODER_INPUTS[name].refusal(shape)


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(InputError, match="resnet18_3d"):
        encoders.make("resnet18_3", jnp.dtype("float32"))
    with pytest.raises(InputError, match="group"):
        encoders.make("resnet18_3d", jnp.dtype("float32"), norm="groups")
    with pytest.raises(InputError, match="token_mean"):
        encoders.make("vit_s_2d", jnp.dtype("float32"), pool="tokenmean")
    with pytest.raises(ValueError, match="token_mean"):
        vit.VisionTransformer(2, 8, 1, 1, pool="none").init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))


def test_what_is_asked_for_reaches_the_encoder():
    module = encoders.make("resnet18_3d", jnp.dtype("bfloat16"), form="native", norm="batch", axis=None, remat=True)
    assert module.conv.keywords == {"form": "native", "dtype": jnp.dtype("bfloat16")} and module.remat
    assert module.norm.func is norm.BatchNorm and module.norm.keywords == {"axis": None, "frozen": False, "dtype": jnp.dtype("bfloat16")}
    assert encoders.make("resnet18_3d", jnp.dtype("float32"), norm="group").norm.func is norm.GroupNorm
    module = encoders.make("vit_s_2d", jnp.dtype("float32"), dropout=0.3, pool="token", drop_path=0.1)
    assert (module.dropout, module.pool, module.drop_path) == (0.3, "token", 0.1)
    assert encoders.make("vit_s_2d", jnp.dtype("float32"), drop_path=0.1, frozen=True).drop_path == 0


@pytest.mark.parametrize("name", SMALL)
def test_a_frozen_encoder_trains_as_it_is_evaluated(name, monkeypatch):
    """Without dropout, by the running statistics, which stay."""
    build, space, _, _ = SMALL[name]
    monkeypatch.setitem(encoders.ENCODERS, "small", encoders.Encoder(check_network.Takes("small", len(space), 8), build))
    module = encoders.make("small", jnp.dtype("float32"), axis=None, dropout=0.5, frozen=True)
    (x, keys), variables = inputs(name), variables_of(name)
    found, new = jax.jit(lambda x: module.apply(variables, x, MASK, keys, True, mutable=["batch_stats"]))(x)
    plain = jax.jit(lambda x: small(name).apply(variables, x))(x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, plain)
    jax.tree.map(np.testing.assert_array_equal, new.get("batch_stats", {}), variables.get("batch_stats", {}))
