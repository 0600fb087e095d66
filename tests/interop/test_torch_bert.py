"""BERT by Hugging Face's names: whatever prefix, old names, what is left out, and what is not it. Its numbers are in models/test_bert."""

import json
import pathlib

import jax
import numpy as np
import pytest
from etils import epath
from safetensors.numpy import save_file

from jaxstroke.errors import InputError
from jaxstroke.interop import torch_bert, torch_file, torch_weights
from jaxstroke.models.encoders import bert

SIZES = {"width": 12, "depth": 2, "intermediate": 20, "vocabulary": 30, "positions": 16}
HEAD = {"pooler.dense.weight": (12, 12), "pooler.dense.bias": (12,)}


def published() -> dict[str, np.ndarray]:
    """Random tensors with the names and shapes of BertModel."""
    rng = np.random.default_rng(0)
    shapes = torch_weights.shapes_of(list(torch_bert.layers(SIZES))) | HEAD
    sizes = {"word": SIZES["vocabulary"], "position": SIZES["positions"], "token_type": 2}
    shapes = {f"embeddings.{name}_embeddings.weight": (size, SIZES["width"]) for name, size in sizes.items()} | shapes
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def old_name(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def with_prefix(prefix: str):
    return lambda weights: {f"{prefix}{name}": value for name, value in weights.items()}


COUNTED = {"embeddings.position_ids": np.arange(16)[None], "embeddings.token_type_ids": np.zeros((1, 16), np.int64)}
CHECKPOINTS = {  # how a checkpoint names the network's tensors, and what of it is no part of an encoder
    "plain": (lambda weights: weights, set(HEAD)),
    "bert": (with_prefix("bert."), {f"bert.{name}" for name in HEAD}),
    "text_model": (with_prefix("model.text_model."), {f"model.text_model.{name}" for name in HEAD}),
    "counted": (lambda weights: with_prefix("bert.")(weights | COUNTED), {f"bert.{name}" for name in HEAD}),
    "tensorflow's": (lambda weights: {old_name(name): value for name, value in weights.items()}, set(HEAD)),
    "with a head": (
        lambda weights: with_prefix("bert.")(weights) | {"cls.predictions.transform.LayerNorm.gamma": np.zeros(12, np.float32)},
        {f"bert.{name}" for name in HEAD} | {"cls.predictions.transform.LayerNorm.gamma"},
    ),
    "half precision": (lambda weights: {name: value.astype(np.float16).astype(np.float32) for name, value in weights.items()}, set(HEAD)),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints_of_every_kind_give_the_same_encoder(tmp_path, kind):
    """Read from a file; the tree is that of the network."""
    renamed, expected_left = CHECKPOINTS[kind]
    expected, _, _ = torch_bert.convert(published(), 3)
    save_file({name: np.ascontiguousarray(value) for name, value in renamed(published()).items()}, tmp_path / "model.safetensors")
    found, sizes, left = torch_bert.convert(torch_file.read(epath.Path(tmp_path / "model.safetensors")), 3)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3 if kind == "half precision" else 0, atol=1e-4), found, expected)
    assert set(left) == expected_left and sizes == SIZES | {"heads": 3}
    module = bert.Bert(**sizes, dropout=0.1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 4), np.int32), np.ones((1, 4)))
    assert jax.tree.map(np.shape, found) == jax.tree.map(lambda leaf: leaf.shape, shapes)


def test_of_the_token_types_the_first_is_taken_and_a_linear_layer_is_transposed():
    weights = published()
    params = torch_bert.convert(weights, 3)[0]["params"]
    np.testing.assert_array_equal(params["token_type"], weights["embeddings.token_type_embeddings.weight"][0])
    np.testing.assert_array_equal(params["layer2"]["up"]["kernel"], weights["encoder.layer.1.intermediate.dense.weight"].T)
    np.testing.assert_array_equal(params["layer1"]["norm1"]["scale"], weights["encoder.layer.0.attention.output.LayerNorm.weight"])


def refusal(weights: dict, heads: int = 3) -> str:
    with pytest.raises(InputError) as caught:
        torch_bert.convert(weights, heads)
    return str(caught.value)


def test_tensors_that_are_missing_or_too_many_are_named():
    weights = published()
    for name in weights.keys() - HEAD.keys() - {torch_bert.EVERY}:
        lacking = {other: value for other, value in with_prefix("bert.")(weights).items() if other != f"bert.{name}"}
        message = refusal(lacking)
        assert "not the weights of 'BERT'" in message and f"missing: {name}" in message
    for name in ("encoder.layer.0.attention.self.distance_embedding.weight", "encoder.layer.1.crossattention.self.query.weight"):
        assert f"unknown: {name}" in refusal(weights | {name: np.zeros((3, 3), np.float32)})
    assert "unknown: embeddings.LayerNorm.scale" in refusal(weights | {"embeddings.LayerNorm.scale": np.zeros(12, np.float32)})
    gap = {name.replace("encoder.layer.1.", "encoder.layer.999999999."): value for name, value in weights.items()}
    message = refusal(gap)
    assert "missing: encoder.layer.1." in message and "unknown: encoder.layer.999999999." in message


def test_tensors_of_another_shape_are_named():
    weights = published()
    message = refusal(weights | {"encoder.layer.1.output.dense.weight": np.zeros((12, 21), np.float32)})
    assert "encoder.layer.1.output.dense.weight (12 x 21 instead of 12 x 20)" in message
    message = refusal(weights | {"embeddings.position_embeddings.weight": np.zeros((16, 8), np.float32)})
    assert "embeddings.position_embeddings.weight (16 x 8 instead of any x 12)" in message
    roberta = weights | {"embeddings.token_type_embeddings.weight": np.zeros((1, 12), np.float32)}
    assert "embeddings.token_type_embeddings.weight (1 x 12 instead of 2 x 12)" in refusal(roberta)
    assert torch_bert.EVERY in refusal(weights | {torch_bert.EVERY: np.zeros(12, np.float32)})
    wrong = weights | {"embeddings.LayerNorm.bias": np.full(12, np.nan, np.float32)}
    assert "not finite numbers: embeddings.LayerNorm.bias" in refusal(wrong)


def test_files_of_no_bert_or_of_several_and_other_heads_are_refused():
    weights = published()
    assert "holds no BERT by Hugging Face's names" in refusal({"blocks.0.attn.qkv.weight": np.zeros(3)})
    assert "it has no tensor" in refusal({})
    assert "holds several networks (student., teacher.)" in refusal(with_prefix("student.")(weights) | with_prefix("teacher.")(weights))
    assert "embeddings of BERT and no layer" in refusal({name: value for name, value in weights.items() if "layer" not in name})
    for heads in (5, 0):
        assert f"width 12, which does not divide by config.text.heads = {heads}" in refusal(weights, heads)


def told(folder: pathlib.Path, text: str) -> dict:
    (folder / "config.json").write_text(text)
    return torch_bert.read_config(epath.Path(folder / "model.safetensors"))


def test_a_config_beside_the_weights_tells_the_heads(tmp_path):
    assert torch_bert.read_config(epath.Path(tmp_path / "model.safetensors")) == {}
    assert told(tmp_path, "{}") == {}
    assert told(tmp_path, json.dumps({"num_attention_heads": 12, "hidden_act": "gelu", "position_embedding_type": "absolute"})) == {
        "heads": 12
    }
    assert told(tmp_path, json.dumps({"model_type": "cxr-bert", "num_attention_heads": 12, "layer_norm_eps": 1e-12})) == {"heads": 12}


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("hidden_act", "relu", "gelu is what is computed here"),
        ("position_embedding_type", "relative_key", "absolute is what is computed here"),
        ("model_type", "roberta", "bert or cxr-bert is what is computed here"),
        ("layer_norm_eps", 1e-5, "1e-12 is what is computed here"),
        ("is_decoder", True, "False is what is computed here"),
        ("num_attention_heads", "twelve", "must be a number from 1"),
        ("num_attention_heads", 0, "must be a number from 1"),
    ],
)
def test_a_config_of_another_network_is_refused(tmp_path, name, value, cure):
    with pytest.raises(InputError) as caught:
        told(tmp_path, json.dumps({"num_attention_heads": 12} | {name: value}))
    message = str(caught.value)
    assert str(tmp_path / "config.json") in message and f"{name} = {value}" in message and cure in message


@pytest.mark.parametrize(("text", "cure"), [("{", "cannot be read"), ("[1]", "is no config of a network"), ("\ud800", "cannot be read")])
def test_a_config_that_is_none_is_refused(tmp_path, text, cure):
    with pytest.raises(InputError, match=cure):
        (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        torch_bert.read_config(epath.Path(tmp_path / "model.safetensors"))


def test_a_config_that_transformers_writes_is_taken(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.BertConfig(num_attention_heads=4, hidden_size=64).save_pretrained(tmp_path)
    assert torch_bert.read_config(epath.Path(tmp_path / "model.safetensors")) == {"heads": 4}
    transformers.RobertaConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="roberta"):
        torch_bert.read_config(epath.Path(tmp_path / "model.safetensors"))
