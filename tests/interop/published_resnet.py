"""A file of weights with torchvision's names, made by chance."""

import numpy as np

from jaxstroke.interop import torch_resnet


def published(encoder: str, channels: int = 3) -> dict[str, np.ndarray]:
    """Random tensors with the names and shapes of torchvision's network, its classifier of four classes among them."""
    rng = np.random.default_rng(0)
    found = {}
    for layer in torch_resnet.layers(encoder):
        if layer.kind == "conv":
            shape = tuple(channels if size == -1 else size for size in layer.weight)
            found[f"{layer.theirs}.weight"] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
            continue
        found |= {f"{layer.theirs}.{name}": rng.uniform(0.5, 1.5, layer.weight) for name in ("weight", "running_var")}
        found |= {f"{layer.theirs}.{name}": 0.2 * rng.normal(size=layer.weight) for name in ("bias", "running_mean")}
        found[f"{layer.theirs}.num_batches_tracked"] = np.array(7)
    features = 2048 if "50" in encoder else 512
    found |= {"fc.weight": rng.normal(size=(4, features)) / 50, "fc.bias": rng.normal(size=4)}
    return {name: value.astype(np.float32 if value.dtype == float else np.int64) for name, value in found.items()}
