"""Paper 5's network: what is masked may hold anything, each modality counts where it is there, and words look at the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trimodal_batch import LACKING, batch_of, masks_of, small, with_noise

from jaxstroke import models

MADE = {}


def made(config):
    """(its forward pass, variables, a batch, what is fitted), compiled once for all tests of a config."""
    key = config.to_json()
    if key not in MADE:
        module, (batch, fitted) = models.build(config), batch_of(config)
        variables = jax.jit(lambda batch, fitted: module.init(jax.random.key(0), batch, fitted, train=False))(batch, fitted)
        MADE[key] = jax.jit(module.apply), variables, batch, fitted
    return MADE[key]


def moved(variables):
    """Weights that begin at 0 moved, so that nothing is equal because a factor is 0."""
    keys = iter(jax.random.split(jax.random.key(9), len(jax.tree.leaves(variables))))
    return jax.tree.map(lambda x: x + 0.05 * jax.random.normal(next(keys), x.shape), variables)


@pytest.mark.parametrize("joined, words", [("cross_attention", 0.1), ("concat", 0.0)])
def test_what_is_masked_may_hold_anything(trimodal_file, joined, words):
    apply, variables, batch, fitted = made(small(trimodal_file, model__joined=joined, align__words=words))
    variables, noisy = moved(variables), with_noise(batch)
    assert not np.array_equal(batch["images/flair"], noisy["images/flair"]) and not np.array_equal(batch["tokens"], noisy["tokens"])
    plain, noise = (apply(variables, one, fitted) for one in (batch, noisy))
    for name in ("patient", "attention/flair"):
        np.testing.assert_allclose(plain["features"][name], noise["features"][name], atol=1e-6)
    np.testing.assert_allclose(plain["logits"]["poor"], noise["logits"]["poor"], atol=1e-6)
    assert np.ptp(plain["logits"]["poor"]) > 1e-3
    for name in ("report", "words") if words else ("report",):
        pair = np.asarray(plain["aligned"][name][-1]) > 0
        for a, b in zip(plain["aligned"][name], noise["aligned"][name], strict=True):
            np.testing.assert_allclose(np.asarray(a)[pair], np.asarray(b)[pair], atol=1e-6)


@pytest.mark.parametrize("modality", ["image", "text", "clinical"])
def test_a_modality_counts_in_rows_that_have_it(trimodal_file, modality):
    apply, variables, batch, fitted = made(small(trimodal_file))
    content = {"image": "images/flair", "text": "tokens", "clinical": "clinical"}[modality]
    changed = jnp.flip(batch[content], -1 if modality == "text" else 1)
    changed = jnp.where(batch["tokens_mask"] > 0, jnp.roll(batch["tokens"], 7, 0), batch["tokens"]) if modality == "text" else changed
    one, other = (apply(moved(variables), batch | new, fitted)["logits"]["poor"] for new in ({}, {content: changed}))
    differs = np.abs(one - other)[:, 0] > 1e-6
    lacking = np.isin(np.arange(len(differs)), LACKING[modality])
    assert not differs[lacking].any() and differs[~lacking].all()


@pytest.mark.parametrize("modality", ["image", "text", "clinical"])
def test_a_network_of_one_modality_reads_it_alone(trimodal_file, modality):
    config = small(trimodal_file, model__modalities=(modality,), align__report=0.0, align__words=0.0)
    apply, variables, batch, fitted = made(config)
    own = ("images", "tokens", "clinical")[("image", "text", "clinical").index(modality)]
    needed = {name: x for name, x in batch.items() if name.startswith((own, "clinical_mask", "row", "weight", "patient"))}
    if modality != "clinical":
        needed["clinical_mask"] = jnp.zeros_like(batch["clinical_mask"])
    np.testing.assert_array_equal(
        apply(variables, needed, fitted)["logits"]["poor"], apply(variables, batch, fitted)["logits"]["poor"]
    )


def test_own_logits_are_added_where_the_modality_is_there(trimodal_file):
    apply, variables, batch, fitted = made(small(trimodal_file))
    variables = moved(variables)
    found = apply(variables, batch, fitted)
    silent = jax.tree.map(jnp.zeros_like, {name: x for name, x in variables["params"].items() if name.startswith("own_")})
    merged = apply({**variables, "params": variables["params"] | silent}, batch, fitted)["logits"]["poor"]
    assert set(found["own"]) == {"image", "text", "clinical"} and len(silent) == 3
    for name, one in found["own"].items():
        np.testing.assert_array_equal(one["present"], ~np.isin(np.arange(len(merged)), LACKING[name]))
    added = sum(one["logits"]["poor"] * one["present"][:, None] for one in found["own"].values())
    np.testing.assert_allclose(found["logits"]["poor"], merged + added, atol=1e-6)
    assert np.abs(added).min() > 1e-4


def test_a_word_looks_at_voxels_that_are_there(trimodal_file):
    """Its shares add up to 1 over all images of a row that has one, and to 0 without; an image alone takes all of it."""
    apply, variables, batch, fitted = made(small(trimodal_file))
    batch = batch | {"images_mask/lesion": batch["images_mask/lesion"].at[4].set(0)}
    found = apply(moved(variables), batch, fitted)["features"]
    shares = {name: np.asarray(found[f"attention/{name}"].sum((2, 3, 4))) for name in ("flair", "lesion")}
    total = sum(shares.values())
    lacking = np.isin(np.arange(len(total)), LACKING["image"])
    np.testing.assert_allclose(total[~lacking], 1, atol=1e-5)
    np.testing.assert_array_equal(total[lacking], 0)
    np.testing.assert_allclose(shares["flair"][4], 1, atol=1e-5)


def test_the_condition_is_of_rows_with_an_image(trimodal_file):
    """Without an image words are those of an unconditioned network, with one they are not."""
    (apply, variables, batch, fitted), (plain, *_) = made(small(trimodal_file)), made(small(trimodal_file, model__conditioned=False))
    variables = moved(variables)
    condition = {"condition": {"norm": variables["params"]["condition"]["norm"]}}
    without = {"params": variables["params"] | condition, "batch_stats": variables["batch_stats"]}
    one, other = (net(held, batch, fitted)["logits"]["poor"][:, 0] for net, held in ((apply, variables), (plain, without)))
    same = np.abs(one - other) < 1e-6
    lacking = np.isin(np.arange(len(same)), LACKING["image"]) | np.isin(np.arange(len(same)), LACKING["text"])
    np.testing.assert_array_equal(same, lacking)


@pytest.mark.parametrize("conditioned", [True, False])
def test_a_report_is_aligned_by_what_it_says_alone(trimodal_file, conditioned):
    """Its vector knows nothing of the image, which it would be aligned with by a copy of the image's own."""
    apply, variables, batch, fitted = made(small(trimodal_file, model__conditioned=conditioned))
    other = batch | {"images/flair": jnp.flip(batch["images/flair"], 1)}
    (image, words, pair), (changed, same, _) = (apply(moved(variables), b, fitted)["aligned"]["report"] for b in (batch, other))
    np.testing.assert_array_equal(words, same)
    there = np.asarray(pair) > 0
    assert (np.abs(image - changed).max(-1)[there] > 1e-6).all()


@pytest.mark.parametrize("pool", ["attention", "mean"])
def test_without_places_the_order_of_words_changes_nothing(trimodal_file, pool):
    config = small(trimodal_file, text__pool=pool)
    apply, variables, batch, fitted = made(config)
    lengths = np.asarray(batch["tokens_mask"].sum(1), int)
    turned = np.array(batch["tokens"])
    for row, length in enumerate(lengths):
        turned[row, :length] = turned[row, :length][::-1]
    one, other = (apply(moved(variables), batch | {"tokens": x}, fitted)["logits"]["poor"] for x in (batch["tokens"], turned))
    np.testing.assert_allclose(one, other, atol=1e-5)
    with config.unlocked():
        config.text.ordered = True
    apply, variables, batch, fitted = made(config)
    one, other = (apply(moved(variables), batch | {"tokens": x}, fitted)["logits"]["poor"] for x in (batch["tokens"], turned))
    assert np.abs(one - other).max() > 1e-4


def test_pictures_and_volumes_side_by_side(trimodal_file):
    """A sequence of pictures is seen picture by picture: one that is not there is nowhere looked at."""
    config = small(trimodal_file)
    with config.unlocked():
        config.images.flair.kind = "sequence"
    apply, variables, batch, fitted = made(config)
    batch = batch | {"images_mask/flair": batch["images_mask/flair"].at[0, 3].set(0)}
    assert variables["params"]["flair"]["encoder"].keys() != variables["params"]["lesion"]["encoder"].keys()
    looked = apply(variables, batch, fitted)["features"]["attention/flair"]
    assert looked.shape == (16, config.text.length, 8, 4, 4)
    assert np.asarray(looked[0, :, 3]).max() == 0 and np.asarray(looked[0, :, 2]).min() > 0


def test_tokens_of_the_run_are_those_of_the_batch(trimodal_file):
    """By row of the cohort, padding (-1) without any."""
    apply, variables, batch, fitted = made(small(trimodal_file))
    order = np.random.default_rng(0).permutation(16)
    held = {name: jnp.zeros_like(batch[name]).at[order].set(batch[name]) for name in ("tokens", "tokens_mask")}
    rows = jnp.asarray(order, jnp.int32).at[7].set(-1)
    other = {name: x for name, x in batch.items() if not name.startswith("tokens")} | {"row": rows}
    mine = batch | {"tokens_mask": batch["tokens_mask"].at[7].set(0)}
    one, another = (apply(variables, b, f)["logits"]["poor"] for b, f in ((mine, fitted), (other, fitted | held)))
    np.testing.assert_allclose(one, another, atol=1e-6)


def test_masks_have_names(trimodal_file):
    batch, _ = batch_of(small(trimodal_file))
    assert {name: masks_of(batch, name) for name in LACKING} == {
        "image": ["images_mask/flair", "images_mask/lesion"], "text": ["tokens_mask"], "clinical": ["clinical_mask"],
    }  # fmt: skip
