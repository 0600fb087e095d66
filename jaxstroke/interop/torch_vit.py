"""PyTorch weights of a vision transformer, by timm's names, as our encoders `vit_s_2d`, `vit_b_2d` and `vit_l_2d`.

MAE's files have these names (He et al. 2022, arXiv 2111.06377), and so have RETFound's (Zhou et al. 2023, doi 10.1038/s41586-023-06555-x:
ViT-L/16, of MAE on retinal images), mostly below a prefix such as `module.` or `encoder.`, which is cut off, whatever it is. What of a file
is no part of the encoder (`decoder_blocks`, `mask_token`, `head`) is left out and named.

The last norm is that of what is pooled: `norm` of a class token, `fc_norm` of a mean of tokens. A file that has the other one alone was
trained for the other; then ours begins at 1 and 0, as in MAE's own fine-tuning from its pre-training.
"""

import math
import re
from collections.abc import Iterator

import numpy as np

from jaxstroke.errors import InputError, listed
from jaxstroke.interop import torch_weights
from jaxstroke.interop.torch_weights import Layer

NETWORKS = {"vit_s_2d": (384, 12), "vit_b_2d": (768, 12), "vit_l_2d": (1024, 24)}  # width and layers
PATCH = 16
LAST_NORM = {"token": "norm", "token_mean": "fc_norm"}  # by config.model.pool
EVERY = "blocks.0.attn.qkv.weight"  # a tensor that every transformer by these names has
# What is taken, or refused as unknown: a network with more of these computes something else.
OF_NETWORK = re.compile(r"(cls_token|pos_embed|reg_token|dist_token)$|(patch_embed|norm_pre|blocks)\.")
ATTENTION = {"attn.qkv": "qkv", "attn.proj": "out", "mlp.fc1": "up", "mlp.fc2": "down"}


def convert(encoder: str, state_dict: dict[str, np.ndarray], pool: str) -> tuple[dict, tuple[str, ...], tuple[str, ...]]:
    """(`{"params", "batch_stats"}` of the encoder in float32, names of tensors that are left out, remarks).

    encoder: a name of `NETWORKS`. pool: `config.model.pool`. Raises InputError where no such network is in the file, or several are, and
    naming tensors of it that are missing, unknown, of another shape, or no finite numbers.
    """
    if pool not in LAST_NORM:
        raise InputError(
            f"a vision transformer's weights have a class token and learned positions, and config.model.pool = {pool} has neither: set "
            "config.model.pool = token_mean (RETFound's and MAE's) or token"
        )
    prefix = place_of(state_dict)
    width, _ = NETWORKS[encoder]
    own = {name.removeprefix(prefix): name for name in state_dict if name.startswith(prefix)}
    last = LAST_NORM[pool]
    has_norm = f"{last}.weight" in own
    found = {name: state_dict[whole] for name, whole in own.items() if OF_NETWORK.match(name) or name.startswith(f"{last}.")}
    wanted = list(layers(encoder, last if has_norm else ""))
    tokens = {"cls_token": (1, 1, width), "pos_embed": (1, -1, width)}
    torch_weights.refuse_others(encoder, torch_weights.shapes_of(wanted) | tokens, found)
    variables = torch_weights.laid_out(wanted, found)
    params = variables["params"] | placed(found, width)
    params["embedding"]["kernel"] = params["embedding"]["kernel"].reshape(-1, width)  # p p c f -> (p p c) f
    remarks = ()
    if not has_norm:
        params["norm"] = {"scale": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}
        remarks = (f"the weights have no {last}, which config.model.pool = {pool} needs: the encoder's last norm begins at 1 and 0",)
    left = tuple(whole for name, whole in own.items() if name not in found)
    left += tuple(name for name in state_dict if not name.startswith(prefix))
    return variables | {"params": params}, left, remarks


def place_of(state_dict: dict[str, np.ndarray]) -> str:
    """What stands before the network's names."""
    prefixes = [name.removesuffix(EVERY) for name in state_dict if name.endswith(EVERY)]
    found = [prefix for prefix in prefixes if not prefix or prefix.endswith(".")]
    if not found:
        raise InputError(
            f"holds no vision transformer by timm's names (cls_token, patch_embed.proj.weight, {EVERY} and so on); it has "
            f"{listed(state_dict)}"
        )
    if len(found) > 1:
        raise InputError(f"holds several networks ({', '.join(found)}): in PyTorch, save the state_dict of the one that is meant alone")
    return found[0]


def layers(encoder: str, last_norm: str) -> Iterator[Layer]:
    """The linear layers and norms of an encoder, names as in timm without a prefix. last_norm: its name, "" where there is none."""
    width, depth = NETWORKS[encoder]
    yield Layer("patch_embed.proj", ("embedding",), "biased", (width, -1, PATCH, PATCH))
    shapes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    for number in range(depth):
        theirs, ours = f"blocks.{number}", f"layer{number + 1}"
        for norm in ("norm1", "norm2"):
            yield Layer(f"{theirs}.{norm}", (ours, norm), "layer_norm", (width,))
        for (name, own), shape in zip(ATTENTION.items(), shapes, strict=True):
            yield Layer(f"{theirs}.{name}", (ours, own), "biased", shape)
    if last_norm:
        yield Layer(last_norm, ("norm",), "layer_norm", (width,))


def placed(tensors: dict[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """Class token and learned positions, which in timm are of one table `1 (1 + rows columns) f` of a square grid."""
    token, positions = (np.array(tensors[name], np.float32) for name in ("cls_token", "pos_embed"))
    side = math.isqrt(max(positions.shape[1] - 1, 0))
    if not side or side**2 + 1 != positions.shape[1]:
        raise InputError(f"pos_embed has {positions.shape[1]} places, which are not a class token and a square grid of patches")
    grid = positions[0, 1:].reshape(side, side, width)
    return {"token": token[0, 0], "token_position": positions[0, 0], "positions": grid}
