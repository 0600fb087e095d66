"""PyTorch weights of a ResNet-18 or ResNet-50, by torchvision's names, as our encoders `resnet18_2d` and `resnet50_2d`.

Torchvision's own files have these names, and so have timm's, MoCo's, SimCLR's and others', mostly below a prefix such as `module.`,
`backbone.` or `module.encoder_q.`, which is cut off, whatever it is. Our networks are version 1.5, as torchvision's and PyTorch's at
large: a file of the older one, whose bottlenecks have their stride in the first convolution, has the same names and shapes and would be
taken for it. What of a file is no part of the encoder (`fc`, projection heads, a momentum encoder) is left out and named.
"""

import re
from collections.abc import Iterator

import numpy as np

from jaxstroke.errors import InputError, listed
from jaxstroke.interop import torch_weights
from jaxstroke.interop.torch_weights import Layer

# Blocks of the four layers, and whether they are bottlenecks.
NETWORKS = {"resnet18_2d": ((2, 2, 2, 2), False), "resnet50_2d": ((3, 4, 6, 3), True)}
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # of a bottleneck's channels in its last convolution
# Names in torchvision of what a Sequential of a ResNet's children, as of RadImageNet's files, knows by number.
NUMBERED = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
FORMS = {"layer1.0.conv1.weight": {}, "4.0.conv1.weight": NUMBERED}  # a tensor that every ResNet has -> how its names are to be read
OF_NETWORK = re.compile(r"(conv1|bn1|layer\d+)\.")
CHOSEN = "encoder_q."  # of MoCo's two networks the one that is trained; the other is its moving mean


def convert(encoder: str, state_dict: dict[str, np.ndarray]) -> tuple[dict, tuple[str, ...]]:
    """(`{"params", "batch_stats"}` of the encoder in float32, names of the tensors that are left out). encoder: a name of `NETWORKS`.

    Raises InputError where no such network is in the file, or several are, and naming tensors of it that are missing, unknown, of another
    shape, or no finite numbers.
    """
    prefix, names = place_of(state_dict)
    tensors = {}
    for name, value in state_dict.items():
        first, _, rest = name.removeprefix(prefix).partition(".")
        renamed = f"{names.get(first, first)}.{rest}"
        if name.startswith(prefix) and OF_NETWORK.match(renamed) and not name.endswith(torch_weights.IGNORED):
            tensors[renamed] = name, value
    found = {name: value for name, (_, value) in tensors.items()}
    wanted = list(layers(encoder))
    torch_weights.refuse_others(encoder, torch_weights.shapes_of(wanted), found)
    taken = {name for name, _ in tensors.values()}
    left = tuple(name for name in state_dict if name not in taken and not name.endswith(torch_weights.IGNORED))
    return torch_weights.laid_out(wanted, found), left


def place_of(state_dict: dict[str, np.ndarray]) -> tuple[str, dict[str, str]]:
    """(what stands before the network's names, what their first parts are in torchvision where they differ)."""
    found = {}
    for name in state_dict:
        for known, names in FORMS.items():
            prefix = name.removesuffix(known)
            if name.endswith(known) and (not prefix or prefix.endswith(".")):
                found[prefix] = names
    if not found:
        raise InputError(
            f"holds no ResNet by torchvision's names (conv1, bn1, layer1.0.conv1 and so on); it has {listed(state_dict)}"
        )
    chosen = list(found) if len(found) == 1 else [prefix for prefix in found if prefix.endswith(CHOSEN)]
    if len(chosen) != 1:
        raise InputError(f"holds several networks ({', '.join(found)}): in PyTorch, save the state_dict of the one that is meant alone")
    return chosen[0], found[chosen[0]]


def layers(encoder: str) -> Iterator[Layer]:
    """The convolutions and norms of an encoder, names as in torchvision without a prefix."""
    blocks, bottleneck = NETWORKS[encoder]
    yield Layer("conv1", ("stem_conv",), "conv", (WIDTHS[0], -1, 7, 7))
    yield Layer("bn1", ("stem_norm",), "norm", (WIDTHS[0],))
    before = WIDTHS[0]
    for layer, (count, width) in enumerate(zip(blocks, WIDTHS, strict=True), 1):
        out = EXPANSION * width if bottleneck else width
        plan = ((1, width), (3, width), (1, out)) if bottleneck else ((3, width), (3, out))
        for block in range(count):
            theirs, ours, inside = f"layer{layer}.{block}", f"layer{layer}_{block}", before
            for number, (size, features) in enumerate(plan, 1):
                yield Layer(f"{theirs}.conv{number}", (ours, f"conv{number}"), "conv", (features, inside, size, size))
                yield Layer(f"{theirs}.bn{number}", (ours, f"norm{number}"), "norm", (features,))
                inside = features
            if block == 0 and before != out:
                yield Layer(f"{theirs}.downsample.0", (ours, "shortcut_conv"), "conv", (out, before, 1, 1))
                yield Layer(f"{theirs}.downsample.1", (ours, "shortcut_norm"), "norm", (out,))
            before = out
