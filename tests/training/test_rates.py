"""How fast parts of a network learn: factors by place under every optimiser, and an encoder that is frozen altogether."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxstroke import config as settings
from jaxstroke.errors import InputError
from jaxstroke.models import encoders
from jaxstroke.models.encoders import slices
from jaxstroke.training import engine as engines
from jaxstroke.training import optimizer, rates, runs, step, subtrees

DECAY = 0.65


def optimizer_settings(**changes):
    found = settings.base().optimizer
    found.update(changes)
    return found


def params_of(name: str) -> dict:
    """Abstract parameters of a network with this encoder and a head."""
    module, takes = encoders.make(name, jnp.dtype("float32"), axis=None, widths=(4, 8)), encoders.ENCODERS[name].takes
    side = -(-max(takes.smallest, 8) // takes.multiple) * takes.multiple
    made = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *(side,) * takes.axes, 1), jnp.float32))
    return {"image": {"encoder": made["params"]}, "heads": {"poor": {"kernel": jax.ShapeDtypeStruct((8, 1), jnp.float32)}}}


# Of an encoder: its layers, entries before the first layer, of the first and last layer, and after it.
PLACES = {
    "vit_s_2d": (12, ("embedding",), ("layer1",), ("layer12",), ("norm",)),
    "resnet50_2d": (4, ("stem_conv", "stem_norm"), ("layer1_0", "layer1_2"), ("layer4_0", "layer4_2"), ()),
    "resnet_small_3d": (2, ("stem_conv", "stem_norm"), ("layer1_0",), ("layer2_0",), ()),
    "densenet121_3d": (4, ("stem", "norm0"), ("block1_layer1", "transition1"), ("block4_layer16",), ("norm5",)),
    "perez_3d": (4, (), ("stage1",), ("stage4",), ("norm",)),
}


@pytest.mark.parametrize("name", PLACES)
def test_factors_fall_by_layer_from_the_head_down(name):
    params = params_of(name)
    found = rates.factors(params, optimizer_settings(layer_decay=DECAY, encoder_rate=0.5))
    assert jax.tree.structure(found) == jax.tree.structure(params)
    last, before, first, final, after = PLACES[name]
    assert found["heads"]["poor"]["kernel"] == 1
    for entries, power in ((before, last + 1), (first, last), (final, 1), (after, 0)):
        for entry in entries:
            assert set(jax.tree.leaves(found["image"]["encoder"][entry])) == {0.5 * DECAY**power}, entry
    assert len(set(jax.tree.leaves(found["image"]["encoder"]))) == last + bool(before) + bool(after)


def test_factors_of_the_small_encoder_of_slices():
    params = slices.SliceMaps((2, 2, 2)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    found = rates.factors({"encoder": params, "heads": {"w": 0}}, optimizer_settings(layer_decay=DECAY))
    assert [found["encoder"][f"ConvPool_{place}"]["kernel"] for place in range(3)] == [DECAY**3, DECAY**2, DECAY]


def of_mae(name: str, layers: int) -> float:
    """The factor of a parameter by its name in timm, as MAE's `get_layer_id_for_vit` counts (He et al. 2022, its fine-tuning code)."""
    number = 0 if name.startswith(("cls_token", "pos_embed", "patch_embed")) else layers + 1
    return DECAY ** (layers + 1 - (int(name.split(".")[1]) + 1 if name.startswith("blocks") else number))


def test_factors_of_retfounds_transformer_are_those_of_mae():
    module = encoders.make("vit_l_2d", jnp.dtype("float32"), axis=None, pool="token_mean")
    made = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))["params"]
    found = rates.factors({"encoder": made, "heads": {"kernel": 0}}, optimizer_settings(layer_decay=DECAY))
    theirs = {"token": "cls_token", "embedding": "patch_embed.proj", "norm": "fc_norm"}
    theirs |= {"token_position": "pos_embed", "positions": "pos_embed"}
    for name, entry in found["encoder"].items():
        other = theirs.get(name) or f"blocks.{int(name.removeprefix('layer')) - 1}.mlp"
        np.testing.assert_allclose(jax.tree.leaves(entry), of_mae(other, 24), rtol=1e-12)
    assert len(found["encoder"]) == 24 + len(theirs) and found["heads"]["kernel"] == 1 == of_mae("head", 24)
    assert set(jax.tree.leaves(found["encoder"]["layer24"])) == {0.65}
    assert abs(found["encoder"]["embedding"]["kernel"] / 0.65**25 - 1) < 1e-12


def test_positions_and_token_of_a_transformer_count_as_its_embedding():
    assert [rates.layer_of(name) for name in ("positions", "token", "embedding", "layer3", "norm")] == [0, 0, 0, 3, None]


def test_a_network_without_an_encoder_is_refused_where_one_is_to_be_slower():
    """Also one that somebody has added, of which the config says nothing."""
    rates.check({"net": {"trunk": {}}}, optimizer_settings())
    rates.check({"net": {"encoder": {}}}, optimizer_settings(encoder_rate=0.0))
    for changes in ({"encoder_rate": 0.0}, {"layer_decay": 0.9}):
        with pytest.raises(InputError, match="this network has none"):
            rates.check({"net": {"trunk": {}}}, optimizer_settings(**changes))


@pytest.mark.parametrize("name", optimizer.DIRECTIONS)
def test_the_default_keeps_the_state_that_workdirs_hold(name):
    """Checkpoints of before encoders had a rate of their own are restored into the same tree."""
    chosen, params = optimizer_settings(name=name), {"net": {"encoder": {"stem": {"kernel": jnp.ones((2, 2))}}, "heads": jnp.ones(2)}}
    plain = optax.chain(optimizer.clip_by_part(chosen.clip), optimizer.DIRECTIONS[name](chosen))
    ours, expected = optimizer.make(chosen).init(params), plain.init(params)
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    gradients = jax.tree.map(lambda x: 3 * x, params)
    jax.tree.map(
        np.testing.assert_array_equal, optimizer.make(chosen).update(gradients, ours, params), plain.update(gradients, expected, params)
    )


def updates(config, arrays, run, numbers, count: int) -> tuple[dict, dict]:
    """The state before and after some updates by the real step, on the host."""
    engine = engines.build(config, arrays, numbers[run.id])
    state, fitted = (
        step.put(jax.tree.map(lambda x: np.asarray(x)[None], tree), engine.mesh) for tree in (engine.initial(0), numbers[run.id])
    )
    before = jax.device_get(state)
    table = runs.epoch_rows(run, 0, arrays, config).reshape(-1, 1, config.train.accumulation, config.train.batch_size)
    zeros = np.zeros(1, np.int32)
    for number in range(count):
        batch = next(engine.feed.batches(table[None, number % len(table)], zeros, zeros[None] + number, train=True))
        state, _ = engine.train_step(state, fitted, batch)
    return before, jax.device_get(state)


def by_name(tree: dict) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def moves(before: dict, after: dict) -> dict[str, np.ndarray]:
    first, last = by_name(before["params"]), by_name(after["params"])
    return {name: last[name] - first[name] for name in first}


@pytest.mark.parametrize("name", optimizer.DIRECTIONS)
def test_factors_come_last_whatever_the_optimiser(name):
    """Three updates: weight decay, moments, momentum and trust are those of the whole rate, and the direction is a share of it."""
    common = {"name": name, "weight_decay": 0.1, "trust": 0.1}
    random = np.random.default_rng(0)
    params = {"encoder": {"stem": {"kernel": random.normal(size=(3, 2))}, "layer1": random.normal(size=2)}, "heads": random.normal(size=2)}
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    found = []
    for changes in ({}, {"encoder_rate": 0.25, "layer_decay": 0.5}):
        transform = optimizer.make(optimizer_settings(**common, **changes))
        state = transform.init(params)
        for number in range(3):
            directions, state = transform.update(jax.tree.map(lambda x, n=number: jnp.cos(n * x), params), state, params)
        found.append((directions, state))
    (whole, state), (slow, slow_state) = found
    jax.tree.map(np.testing.assert_array_equal, state, slow_state)
    wanted = {"encoder": {"stem": {"kernel": 0.0625}, "layer1": 0.125}, "heads": 1.0}
    jax.tree.map(lambda a, b, factor: np.testing.assert_allclose(a, factor * b, rtol=1e-6), slow, whole, wanted)
    assert all(np.abs(leaf).min() > 1e-6 for leaf in jax.tree.leaves(whole))


def test_the_real_steps_in_an_encoder_are_its_factors_of_the_whole_ones(config, arrays, todo, numbers):
    with config.unlocked():
        config.model.images = ("dwi",)
        config.optimizer.update({"name": "sgd", "weight_decay": 0.1, "schedule": "constant", "learning_rate": 0.01})
    whole = moves(*updates(config, arrays, todo[0], numbers, 1))
    with config.unlocked():
        config.optimizer.update({"encoder_rate": 0.25, "layer_decay": 0.5})
    slow = moves(*updates(config, arrays, todo[0], numbers, 1))
    last = len(config.model.widths) - 1
    for key, value in whole.items():
        factor = 0.25 * 0.5 ** (last + 1 - int(key.partition("ConvPool_")[2][0])) if "encoder" in key else 1.0
        np.testing.assert_allclose(slow[key], factor * value, rtol=1e-3, atol=2e-7)
        assert np.abs(value).max() > 1e-6


@pytest.mark.parametrize(("name", "accumulation"), list(zip(optimizer.DIRECTIONS, (1, 2, 2, 1), strict=True)))
def test_a_frozen_encoder_stays_to_the_bit_and_has_no_moments(config, arrays, todo, numbers, name, accumulation):
    """Weight decay does not touch it either; what reads it learns. Eight devices, where some have no valid row."""
    with config.unlocked():
        config.optimizer.update({"name": name, "weight_decay": 0.1, "encoder_rate": 0.0})
        config.train.accumulation, config.device.data = accumulation, 8
    before, after = updates(config, arrays, todo[0], numbers, 3)
    assert not any("encoder" in key for key in by_name(after["opt"]))
    places = subtrees.places(before["params"], "encoder")
    assert places == [("dwi", "encoder"), ("tmax", "encoder")]
    for place in places:
        jax.tree.map(np.testing.assert_array_equal, subtrees.at(before["params"], place), subtrees.at(after["params"], place))
    moved = moves(before, after)
    assert all(np.abs(value).max() > 0 for key, value in moved.items() if "encoder" not in key)


def test_devices_do_not_change_the_result_on_a_frozen_encoder(config, arrays, todo, numbers):
    found = []
    for devices in (1, 8):
        with config.unlocked():
            config.model.images = ("dwi",)
            config.optimizer.update({"encoder_rate": 0.0, "layer_decay": 0.5})
            config.train.accumulation, config.device.data = 2, devices
        found.append(updates(config, arrays, todo[0], numbers, 4)[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *found)
