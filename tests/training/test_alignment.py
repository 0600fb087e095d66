"""Losses that align modalities: CLIP's where every patient is there once, one device or eight, nothing of what is masked."""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxstroke import config as settings
from jaxstroke import models
from jaxstroke.training import alignment, contrastive, losses, mesh, optimizer, step

sys.path.append(str(pathlib.Path(__file__).parent.parent / "models"))
from trimodal_batch import batch_of, small, with_noise  # noqa: E402

EVERYTHING = {"align__report": 0.3, "align__words": 0.2, "align__clinical": 0.4, "align__matching": 0.5, "align__own": 0.7}


def unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def info_nce(count: int, first, second, patient, pair, scale):
    """(loss, gradients) with the rows over so many devices."""
    made = jax.make_mesh((count,), ("data",), devices=jax.devices()[:count], axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.P("data")

    @functools.partial(jax.shard_map, mesh=made, in_specs=(split,) * 4 + (jax.P(),), out_specs=jax.P())
    def loss(first, second, patient, pair, scale):
        numerator, denominator = jax.lax.psum(contrastive.info_nce(unit(first), unit(second), patient, pair, scale), "data")
        return numerator / denominator

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 4)))(first, second, patient, pair, jnp.float32(scale))


def pairs(rows: int, patients: int):
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(rows, 12)).astype(np.float32) for _ in range(2))
    return first, second, rng.integers(0, patients, rows).astype(np.int32), (rng.random(rows) < 0.8).astype(np.float32)


def test_info_nce_of_eight_devices_is_that_of_one():
    values = pairs(32, 9)
    (one, of_one), (many, of_many) = (info_nce(count, *values, 14.0) for count in (1, 8))
    assert abs(float(one) - float(many)) < 1e-6
    for a, b in zip(of_one, of_many, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
        assert np.abs(a).max() > 1e-3


def test_info_nce_is_clip_where_each_patient_is_there_once():
    first, second, *_ = pairs(16, 1)
    logits = 14.0 * np.asarray(unit(first)) @ np.asarray(unit(second)).T
    right = np.arange(16)
    both = [optax.softmax_cross_entropy_with_integer_labels(way, right).mean() for way in (logits, logits.T)]
    found, _ = info_nce(1, first, second, right.astype(np.int32), np.ones(16, np.float32), 14.0)
    np.testing.assert_allclose(found, np.mean(both), rtol=1e-5)


def test_rows_of_one_patient_are_no_negatives():
    first, second, *_ = pairs(8, 1)
    found, _ = info_nce(1, first, second, np.zeros(8, np.int32), np.ones(8, np.float32), 14.0)
    assert float(found) == 0


def stepped(config, batch, fitted, devices: int):
    """(parameters after a step of plain gradient descent, terms), and the network's variables before, of a batch over so many devices."""
    with config.unlocked():
        config.device.data = devices
        config.optimizer.name, config.optimizer.momentum, config.optimizer.learning_rate = "sgd", 0.0, 0.1
    made = mesh.make(config.device)
    module, transform = models.build(config), optimizer.make(config.optimizer)
    example = {name: np.asarray(x) for name, x in batch.items() if name != "key"}
    state = step.make_initial(module, transform, example, fitted)(3)
    wide = {name: x[None, None] for name, x in batch.items()}
    train = step.make_train_step(module, transform, made, config)
    state, terms = train(step.put(jax.tree.map(lambda x: np.asarray(x)[None], state), made), step.put(lead(fitted), made), wide)
    return jax.tree.map(lambda x: np.asarray(x[0]), state["params"]), jax.tree.map(lambda x: float(x[0]), terms)


def lead(tree):
    return jax.tree.map(lambda x: np.asarray(x)[None], tree)


@pytest.fixture(scope="module")
def both_ways(trimodal_file):
    """The step on one device and on eight: dropout, modality dropout, every loss, a row of padding on each."""
    config = small(trimodal_file, **EVERYTHING, model__modality_dropout=0.3, model__dropout=(0.0, 0.3))
    batch, fitted = batch_of(config)
    batch["weight"] = batch["weight"].at[jnp.array([14, 15])].set(0)
    return [stepped(config, batch, fitted, count) for count in (1, 8)], (config, batch, fitted)


def test_a_step_on_eight_devices_is_that_on_one(both_ways):
    ((one, terms), (many, others)), _ = both_ways
    own = ("own_image_poor", "own_text_poor", "own_clinical_poor")
    assert set(terms) == {"network/poor", *(f"network/align_{name}" for name in ("report", "words", "clinical", "matching", *own))}
    for name in terms:
        np.testing.assert_allclose(terms[name], others[name], rtol=1e-5)
        assert terms[name][0] > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one, many)


def test_denominators_are_pairs_that_are_there(both_ways):
    """16 rows, two of padding; 1 and 5 lack the image, 2 and 5 the report, 3 the columns."""
    ((_, terms), _), _ = both_ways
    counts = {name.removeprefix("network/"): denominator for name, (_, denominator) in terms.items()}
    own = {"align_own_image_poor": 12, "align_own_text_poor": 12, "align_own_clinical_poor": 13}
    assert counts == {"poor": 14, "align_report": 11, "align_words": 11, "align_matching": 11, "align_clinical": 11} | own


def test_noise_behind_masks_changes_no_step(both_ways):
    ((one, terms), _), (config, batch, fitted) = both_ways
    other, again = stepped(config, with_noise(batch), fitted, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), one, other)
    for name in terms:
        np.testing.assert_allclose(terms[name], again[name], rtol=1e-5)


@pytest.mark.slow  # six compilations of a step
def test_every_loss_moves_what_it_is_of(both_ways, trimodal_file):
    """The temperature and the projections learn where their loss has a weight, and stay where it has none."""
    _, (_, batch, fitted) = both_ways

    def moved(**changes):
        config = small(trimodal_file, **(dict.fromkeys(EVERYTHING, 0.0) | changes))
        module = models.build(config)
        before = step.make_initial(module, optimizer.make(config.optimizer), batch, fitted)(3)["params"]
        after, _ = stepped(config, batch, fitted, 1)
        names = ("log_temperature", "align_image", "align_pool", "align_text", "align_clinical", "align_seen", "match", "own_image")
        differs = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
        return {name for name in names if any(jax.tree.leaves(differs.get(name)))}

    assert moved() == set()
    assert moved(align__report=0.1) == {"log_temperature", "align_image", "align_pool", "align_text"}
    assert moved(align__clinical=0.1) == {"log_temperature", "align_image", "align_clinical"}
    assert moved(align__words=0.1) == {"log_temperature", "align_seen"}
    assert moved(align__words=0.1, align__local="cosine") == set()
    assert moved(align__matching=0.1) == {"match"}
    assert moved(align__own=0.1) == {"own_image", "align_pool"}


def test_validation_is_of_the_tasks_alone(trimodal_file):
    config = small(trimodal_file, **EVERYTHING)
    batch, fitted = batch_of(config)
    with config.unlocked():
        config.device.data = 1
    module, made = models.build(config), mesh.make(config.device)
    variables = module.init(jax.random.key(0), batch, fitted, train=False)
    state = {"params": variables["params"], "stats": variables["batch_stats"]}
    _, sums = step.make_forward(module, made, config)(lead(state), lead(fitted), {name: x[None, None] for name, x in batch.items()})
    assert list(sums["loss"]) == ["network/poor"]
    assert step.judged_by(config) is losses and alignment.wanted(config) == ("report", "clinical", "words", "matching", "own")


def test_each_modality_is_judged_by_itself():
    """Its term is the task's loss of its own logits where it is there, in rows that have a label."""
    config = settings.base()
    config.cohort.outcomes.poor, config.loss.poor = ("mrs", ">", 2), {"kind": "binary", "weight": 2.0}
    logits, label = np.array([0.5, -1.0, 2.0, 0.1], np.float32), np.array([1.0, 0.0, 0.0, 1.0], np.float32)
    batch = {"weight": np.array([1, 1, 1, 0]), "label/poor": label, "label_mask/poor": np.array([1, 1, 0, 1]), "row": np.arange(4)}
    made = {"image": {"logits": {"poor": logits[:, None]}, "present": np.array([1, 0, 1, 1])}}
    found = alignment.own(made, batch, {"class_weight/poor": jnp.ones(2)}, config)
    assert set(found) == {"image_poor"}
    np.testing.assert_allclose(found["image_poor"], (2 * np.log1p(np.exp(-0.5)), 1), rtol=1e-6)
