"""Every method on the network of paper 5, by itself and as the one module of a merge; what a report does to its number."""

import pathlib
import sys
import types

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))

import trimodal_batch as made  # noqa: E402

from jaxstroke import models  # noqa: E402
from jaxstroke.explain import choice, maps, report, words  # noqa: E402
from jaxstroke.preprocess import wordpiece  # noqa: E402
from jaxstroke.training import step  # noqa: E402

TEXT = "Side: left.\nSize: large.\nLesions: one, of the left hemisphere."
PAIR = ("poor", "flair")


@pytest.fixture(scope="module")
def asked(trimodal_file):
    """(config, network, variables, fitted numbers with everybody's tokens, batch of one patient that finds them by its row, tokenizer)."""
    config = made.small(trimodal_file, model__fusion="stacked", text__length=40)
    batch, fitted = made.batch_of(config)
    batch = {name: np.asarray(x)[:1] for name, x in batch.items() if name not in ("key", "tokens", "tokens_mask")}
    tokenizer = wordpiece.fit([TEXT, "size: large"], 128)
    tokens, mask = wordpiece.encode(tokenizer, ["", TEXT], config.text.length)
    fitted |= {"tokens": tokens, "tokens_mask": mask}
    batch["row"] = np.ones(1, np.int32)
    network = models.build(config)
    found = jax.jit(lambda batch, fitted: network.init(jax.random.key(0), batch, fitted, train=False))(batch, fitted)
    variables = {"params": jax.tree.map(np.asarray, found["params"]), "stats": found.get("batch_stats", {})}
    return config, maps.Explained(network, {}), variables, fitted, batch, tokenizer


@pytest.fixture(scope="module")
def logit(asked):
    """The number that is explained, compiled: of (variables, fitted, batch)."""
    return jax.jit(lambda variables, fitted, batch: maps.logit(asked[1], variables, fitted, batch, *PAIR))


def said(tokenizer: str, own: bool = True) -> report.Said:
    parts = report.sections(TEXT)
    return report.Said(TEXT, report.words(TEXT, parts), parts, (tokenizer,), own, {})


def test_integrated_gradients_sum_to_the_change_with_the_report_as_it_is(asked, logit):
    _, model, variables, fitted, batch, _ = asked
    found = jax.jit(maps.attributions(model, *PAIR, 64))(variables, fitted, batch)
    assert set(found) == {"images/flair", "images/lesion", "clinical", "change"}
    total = sum(float(part.sum()) for name, part in found.items() if name != "change")
    assert abs(float(found["change"])) > 1e-3 and total == pytest.approx(float(found["change"]), rel=0.02, abs=1e-4)
    emptied = batch | {name: np.zeros_like(x) for name, x in batch.items() if name.startswith("images/")}
    emptied["clinical"] = np.where(batch["clinical_mask"] > 0, fitted["clinical_median"], batch["clinical"])
    ends = [float(logit(variables, fitted, one)) for one in (batch, emptied)]
    assert float(found["change"]) == pytest.approx(ends[0] - ends[1], abs=1e-5)


def test_the_one_module_of_a_merge_is_asked_as_the_network_alone(asked, logit, trimodal_file):
    """The number is the network's own, before a rule merges columns with it; and each image has a layer of its own."""
    config, model, variables, fitted, batch, _ = asked
    alone = made.small(trimodal_file, text__length=40)
    network = maps.Explained(models.build(alone), {})
    own = {name: tree.get("trimodal", {}) for name, tree in variables.items()}
    expected = jax.jit(lambda *arguments: step.evaluated(network, *arguments)["logits"]["poor"][0, 0])(own, fitted, batch)
    assert float(logit(variables, fitted, batch)) == pytest.approx(float(expected), abs=1e-5)
    for settings, one, tree, start in ((config, model, variables, "trimodal/"), (alone, network, own, "")):
        layers = maps.layers_of(one, tree, fitted, batch)
        for image in ("flair", "lesion"):
            assert choice.layer(settings, layers, image).startswith(f"{start}{image}/encoder/")


@pytest.mark.parametrize("method", ["grad_cam", "guided_backpropagation", "occlusion"])
def test_a_map_depends_on_the_image_and_on_what_was_learned(asked, method):
    config, model, variables, fitted, batch, _ = asked
    layer = choice.layer(config, maps.layers_of(model, variables, fitted, batch), "flair")
    explain = types.SimpleNamespace(patch=(4, 8, 8), stride=(4, 8, 8), steps=4)
    function = maps.make(method, model, explain, *PAIR, layer)
    heat = np.asarray(function(variables, fitted, batch))
    assert heat.shape == (8, 16, 16) and np.ptp(heat) > 0 and np.isfinite(heat).all()
    other = variables | {"params": jax.tree.map(lambda x: x[::-1] if x.ndim else x, variables["params"])}
    assert np.abs(np.asarray(function(other, fitted, batch)) - heat).max() > 1e-6


def test_attention_of_a_word_sums_to_one_over_the_images(asked):
    config, model, variables, fitted, batch, tokenizer = asked
    network, one, share = model.model, said(tokenizer), 0.0
    attention = jax.jit(lambda *arguments: step.evaluated(network, *arguments)["features"])(variables, fitted, batch)
    for image in ("flair", "lesion"):
        function = words.attention(config, network, image)
        found = words.looks(config, function, one, batch, [(variables, fitted)], (8, 16, 16), None)
        share = share + found.share
        raw = attention[f"attention/{image}"][0]
        places = 2 * np.prod(raw.shape[1:])  # both images have as many
        assert found.values.shape[1:] == raw.shape[1:]
        np.testing.assert_allclose(found.values.reshape(len(one.words), -1).sum(1), places * found.share, rtol=1e-5)
    np.testing.assert_allclose(share, 1, rtol=1e-5)
    missing = batch | {"images_mask/flair": np.zeros_like(batch["images_mask/flair"])}
    found = words.looks(config, words.attention(config, network, "lesion"), one, missing, [(variables, fitted)], (8, 16, 16), None)
    np.testing.assert_allclose(found.share, 1, rtol=1e-5)
    np.testing.assert_allclose(found.values.reshape(len(one.words), -1).mean(1), 1, rtol=1e-5)


def test_a_report_is_taken_away_as_if_there_were_none(asked, logit):
    _, _, variables, fitted, batch, tokenizer = asked
    tools = types.SimpleNamespace(logit={PAIR: logit})
    found = dict(report.taken_away(tools, PAIR, said(tokenizer), batch, [(variables, fitted)]))
    whole = float(logit(variables, fitted, batch))
    nobody = float(logit(variables, fitted, batch | {"row": np.zeros(1, np.int32)}))  # row 0 has no report
    assert found[report.WHOLE] == pytest.approx(whole - nobody, abs=1e-5) and abs(whole - nobody) > 1e-4
    assert list(found)[1:] == [f"section {name} (taken away)" for name in ("side", "size", "lesions")]
    pieces = wordpiece.words(tokenizer, fitted["tokens"][1], fitted["tokens_mask"][1])
    mask, first = fitted["tokens_mask"][1:].copy(), pieces.index("size")
    assert pieces[first : first + 4] == ["size", ":", "large", "."]
    mask[0, first : first + 4] = 0
    without = float(logit(variables, fitted, batch | {"tokens": fitted["tokens"][1:], "tokens_mask": mask}))
    assert found["section size (taken away)"] == pytest.approx(whole - without, abs=1e-5) and abs(whole - without) > 1e-6
    others = report.taken_away(tools, PAIR, said(tokenizer, own=False), batch, [(variables, fitted)])
    assert [name for name, _ in others] == [report.WHOLE]  # sections of another's report are none of this one


def test_features_that_were_computed_before_are_taken_away_by_their_mask():
    batch = {"words": np.ones((1, 5, 2)), "words_mask": np.ones((1, 5))}
    assert report.with_tokens(batch, {}) == (batch, "words_mask")
