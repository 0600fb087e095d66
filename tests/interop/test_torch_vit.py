"""Vision transformers by timm's names: the very network PyTorch computes, from MAE's and RETFound's checkpoints too, and what is not it."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from published_vit import SMALL, pretrained, published, shrunk

from jaxstroke.errors import InputError
from jaxstroke.interop import torch_file, torch_vit
from jaxstroke.models import encoders

HEADS = {384: 6, 768: 12, 1024: 16}


@pytest.fixture
def small(monkeypatch) -> str:
    return shrunk(monkeypatch)


def timm_network(torch, width: int, depth: int, side: int, last_norm: str):
    """The network of timm's `vision_transformer.py`, written again: its names, its fused qkv, and a head on a class token or on a mean."""

    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = self.qkv(x).reshape(n, t, 3, HEADS[width], width // HEADS[width]).permute(2, 0, 3, 1, 4)
            shares = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
            return self.proj((shares @ v).transpose(1, 2).reshape(n, t, width))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = torch.nn.LayerNorm(width, 1e-6), torch.nn.LayerNorm(width, 1e-6)
            self.attn, self.mlp = Attention(), torch.nn.Module()
            self.mlp.fc1, self.mlp.fc2 = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            return x + self.mlp.fc2(torch.nn.functional.gelu(self.mlp.fc1(self.norm2(x))))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
            self.pos_embed = torch.nn.Parameter(torch.zeros(1, 1 + side**2, width))
            self.patch_embed = torch.nn.Module()
            self.patch_embed.proj = torch.nn.Conv2d(3, width, 16, 16)
            self.blocks = torch.nn.Sequential(*(Block() for _ in range(depth)))
            setattr(self, last_norm, torch.nn.LayerNorm(width, 1e-6))
            self.head = torch.nn.Linear(width, 4)

        def forward(self, x):
            x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
            x = self.blocks(torch.cat([self.cls_token.expand(len(x), 1, width), x], 1) + self.pos_embed)
            pooled = self.norm(x[:, 0]) if last_norm == "norm" else self.fc_norm(x[:, 1:].mean(1))
            return pooled.numpy(), self.head(pooled).numpy()

    return Network()


def images(rows: int, side: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, 16 * side, 16 * side, 3)).astype(np.float32)


def pooled(encoder: str, variables: dict, x: np.ndarray, pool: str) -> np.ndarray:
    module = encoders.make(encoder, jnp.dtype("float32"), axis=None, pool=pool)
    return np.asarray(jax.jit(lambda variables, x: module.apply(variables, x)["pooled"])(variables, x))


def near(found: np.ndarray, expected: np.ndarray):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("encoder", "pool", "side"),
    [
        ("vit_s_2d", "token", 2),
        ("vit_s_2d", "token_mean", 3),
        pytest.param("vit_b_2d", "token_mean", 2, marks=pytest.mark.slow),
        pytest.param("vit_l_2d", "token_mean", 14, marks=pytest.mark.slow),
    ],
)
def test_features_and_logits_are_pytorchs(tmp_path, encoder, pool, side):
    """From a checkpoint as a fine-tuning saves it; ViT-L is RETFound's, of 224 pixels: 1.2 GB."""
    torch = pytest.importorskip("torch")
    last_norm = torch_vit.LAST_NORM[pool]
    network = timm_network(torch, *torch_vit.NETWORKS[encoder], side, last_norm).eval()
    weights = published(encoder, side, last_norm=last_norm)
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    path = tmp_path / "checkpoint-best.pth"
    torch.save({"model": network.state_dict(), "epoch": 49, "args": argparse.Namespace(model=encoder, global_pool=True)}, path)
    variables, left, remarks = torch_vit.convert(encoder, torch_file.read(epath.Path(path)), pool)
    path.unlink()
    x = images(2, side)
    with torch.no_grad():
        features, logits = network(torch.tensor(x.transpose(0, 3, 1, 2)))
    found = pooled(encoder, variables, x, pool)
    near(found, features)
    near(found @ weights["head.weight"].T + weights["head.bias"], logits)
    assert (left, remarks) == (("head.weight", "head.bias"), ())
    assert jax.tree.map(np.shape, variables) == {"batch_stats": {}} | shapes(encoder, pool, side)


def shapes(encoder: str, pool: str, side: int) -> dict:
    module = encoders.make(encoder, jnp.dtype("float32"), axis=None, pool=pool)
    x = jax.ShapeDtypeStruct((2, 16 * side, 16 * side, 3), jnp.float32)
    return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(module.init, jax.random.key(0), x))


def test_features_are_those_of_transformers():
    """The same random weights in the other library's own network, which names them otherwise and keeps q, k and v apart."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    settings = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
    config = transformers.ViTConfig(**settings, image_size=48, patch_size=16, layer_norm_eps=1e-6)  # 1e-12 if not said
    network = transformers.ViTModel(config, add_pooling_layer=False).eval()
    weights = published("vit_s_2d", 3)
    own = {"embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed"}
    pairs = {"embeddings.patch_embeddings.projection": "patch_embed.proj", "layernorm": "norm"}
    for number in range(12):
        inside = {"layernorm_before": "norm1", "layernorm_after": "norm2", "attention.o_proj": "attn.proj", "mlp.fc1": "mlp.fc1"}
        inside["mlp.fc2"] = "mlp.fc2"
        pairs |= {f"layers.{number}.{name}": f"blocks.{number}.{one}" for name, one in inside.items()}
    own |= {f"{name}.{part}": f"{one}.{part}" for name, one in pairs.items() for part in ("weight", "bias")}
    renamed = {name: weights[one] for name, one in own.items()}
    for number in range(12):
        for part in ("weight", "bias"):
            thirds = np.split(weights[f"blocks.{number}.attn.qkv.{part}"], 3)
            renamed |= {f"layers.{number}.attention.{one}_proj.{part}": third for one, third in zip("qkv", thirds, strict=True)}
    network.load_state_dict({name: torch.tensor(value) for name, value in renamed.items()})
    x = images(2, 3)
    with torch.no_grad():
        expected = network(torch.tensor(x.transpose(0, 3, 1, 2))).last_hidden_state[:, 0].numpy()
    near(pooled("vit_s_2d", torch_vit.convert("vit_s_2d", weights, "token")[0], x, "token"), expected)


def with_prefix(prefix: str):
    return lambda weights: {f"{prefix}{name}": value for name, value in weights.items()}


CHECKPOINTS = {  # how a checkpoint names the network's tensors, and what of it is no part of an encoder
    "plain": (lambda weights: weights, 2),
    "module": (with_prefix("module."), 2),
    "encoder": (with_prefix("model.encoder."), 2),
    "with another head": (lambda weights: with_prefix("backbone.")(weights) | {"classifier.weight": np.zeros((3, 3), np.float32)}, 3),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints_of_every_kind_give_the_same_encoder(small, kind):
    weights = published(small)
    renamed, count = CHECKPOINTS[kind]
    expected, _, _ = torch_vit.convert(small, weights, "token")
    found, left, remarks = torch_vit.convert(small, renamed(weights), "token")
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert len(left) == count and not remarks


def test_a_pre_training_of_mae_as_it_is_saved(tmp_path, small):
    """With decoder, moments of the optimiser, scaler and Namespace; the norm of a mean of tokens begins at 1 and 0, as it does in MAE's."""
    torch = pytest.importorskip("torch")
    weights = pretrained(small)
    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in weights.values()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.05)
    sum(value.sum() for value in parameters).backward()
    optimizer.step()
    args = argparse.Namespace(batch_size=64, model="mae_vit_large_patch16", mask_ratio=0.75, norm_pix_loss=True, resume="")
    state = {name: torch.tensor(value) for name, value in weights.items()}
    saved = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 799, "scaler": {"scale": 65536.0}, "args": args}
    torch.save(saved, tmp_path / "weights.pth")
    read = torch_file.read(epath.Path(tmp_path / "weights.pth"))
    found, left, remarks = torch_vit.convert(small, read, "token_mean")
    assert {name for name in left if not name.startswith("decoder_")} == {"mask_token", "norm.weight", "norm.bias"}
    assert len(remarks) == 1 and "no fc_norm, which config.model.pool = token_mean needs" in remarks[0]
    np.testing.assert_array_equal(found["params"]["norm"]["scale"], np.ones(SMALL[0]))
    np.testing.assert_array_equal(found["params"]["norm"]["bias"], np.zeros(SMALL[0]))
    whole, left, remarks = torch_vit.convert(small, read, "token")
    np.testing.assert_array_equal(whole["params"].pop("norm")["scale"], weights["norm.weight"])
    found["params"].pop("norm")
    jax.tree.map(np.testing.assert_array_equal, whole, found)
    assert not remarks and "norm.weight" not in left and "decoder_norm.weight" in left


def test_the_class_token_has_the_first_position_and_patches_go_by_rows(small):
    weights = published(small, 3)
    found = torch_vit.convert(small, weights, "token")[0]["params"]
    np.testing.assert_array_equal(found["token"], weights["cls_token"][0, 0])
    np.testing.assert_array_equal(found["token_position"], weights["pos_embed"][0, 0])
    np.testing.assert_array_equal(found["positions"][1, 2], weights["pos_embed"][0, 1 + 1 * 3 + 2])


def refusal(encoder: str, weights: dict, pool: str = "token") -> str:
    with pytest.raises(InputError) as caught:
        torch_vit.convert(encoder, weights, pool)
    return str(caught.value)


def test_tensors_of_the_encoder_that_are_missing_or_too_many_are_named(small):
    weights = published(small)
    lacking = {name: value for name, value in weights.items() if name not in ("blocks.1.attn.qkv.bias", "cls_token")}
    message = refusal(small, with_prefix("backbone.")(lacking))
    assert "missing: blocks.1.attn.qkv.bias, cls_token" in message and f"not the weights of '{small}'" in message
    for name in ("blocks.3.norm1.weight", "blocks.0.ls1.gamma", "reg_token", "dist_token", "norm_pre.weight", "patch_embed.norm.bias"):
        assert f"unknown: {name}" in refusal(small, weights | {name: np.zeros(3, np.float32)})
    assert "patch_embed.proj.weight (48 x 3 x 14 x 14 instead of 48 x any x 16 x 16)" in refusal(
        small, weights | {"patch_embed.proj.weight": np.zeros((48, 3, 14, 14), np.float32)}
    )
    assert "patch_embed.proj.weight (48 x 3 x 16 x 16 instead of 768 x any x 16 x 16)" in refusal("vit_b_2d", weights)
    assert "not finite numbers: cls_token" in refusal(small, weights | {"cls_token": np.full((1, 1, 48), np.nan, np.float32)})
    assert "missing: norm.bias" in refusal(small, {name: value for name, value in weights.items() if name != "norm.bias"})
    for places in (4, 7, 1, 0):
        message = refusal(small, weights | {"pos_embed": np.zeros((1, places, 48), np.float32)})
        assert f"pos_embed has {places} places" in message


def test_files_of_no_transformer_or_of_several_and_another_pool_are_refused(small):
    weights = published(small)
    assert "no vision transformer by timm's names" in refusal(small, {"layer1.0.conv1.weight": np.zeros(3)})
    assert "no vision transformer by timm's names" in refusal(small, {"decoder_blocks.0.attn.qkv.weight": np.zeros(3)})
    both = with_prefix("student.")(weights) | with_prefix("teacher.")(weights)
    assert "holds several networks (student., teacher.)" in refusal(small, both)
    assert "set config.model.pool = token_mean (RETFound's and MAE's) or token" in refusal(small, weights, "mean")
