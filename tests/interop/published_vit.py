"""A file of weights with timm's names, made by chance."""

import numpy as np

from jaxstroke.check_network import ENCODER_INPUTS
from jaxstroke.interop import torch_vit, torch_weights
from jaxstroke.models import encoders

SMALL = (48, 3)  # width and layers


def shrunk(monkeypatch) -> str:
    """The name of an encoder that is made small enough for what is not about size."""
    name = "vit_s_2d"
    monkeypatch.setitem(torch_vit.NETWORKS, name, SMALL)
    monkeypatch.setitem(
        encoders.ENCODERS, name, encoders.Encoder(ENCODER_INPUTS[name], lambda parts: encoders.transformer(parts, *SMALL, 3))
    )
    return name


def published(encoder: str, side: int = 2, channels: int = 3, last_norm: str = "norm") -> dict[str, np.ndarray]:
    """Random tensors with the names and shapes of timm's network for images of `16 side` pixels, its head of four classes among them."""
    rng = np.random.default_rng(0)
    width, _ = torch_vit.NETWORKS[encoder]
    found = {"cls_token": rng.normal(size=(1, 1, width)), "pos_embed": rng.normal(size=(1, 1 + side**2, width))}
    for name, shape in torch_weights.shapes_of(list(torch_vit.layers(encoder, last_norm))).items():
        shape = tuple(channels if size == -1 else size for size in shape)
        if len(shape) > 1:
            found[name] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        else:
            found[name] = rng.uniform(0.5, 1.5, shape) if "norm" in name and name.endswith("weight") else 0.2 * rng.normal(size=shape)
    found |= {"head.weight": rng.normal(size=(4, width)) / 20, "head.bias": rng.normal(size=4)}
    return {name: value.astype(np.float32) for name, value in found.items()}


def pretrained(encoder: str, side: int = 2) -> dict[str, np.ndarray]:
    """As MAE saves its pre-training: a decoder beside the encoder, whose last norm is that of every token, and no head."""
    weights = published(encoder, side)
    more = {f"decoder_{name}": value for name, value in weights.items() if name.startswith(("pos_embed", "blocks.0.", "norm."))}
    inside = {name: value for name, value in weights.items() if not name.startswith("head")}
    return inside | {"mask_token": weights["cls_token"]} | more
