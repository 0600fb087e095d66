"""The published PyTorch weights of the haemorrhage paper as variables of our networks (Cobo et al. 2024; papers' section 3.5).

Names are those of the published code, where a network is a `feature_extractor` and heads that end in a linear layer:

    ich_multitask   MONAI's DenseNet121 as `feature_extractor.features...` and a head a task, `HEADS` below; or, of the single-task network,
                    MONAI's DenseNet121 itself: `features...` and `class_layers.out`
    perez           `feature_extractor.0, 3, 7, 10` (convolutions), `.12` (norm), `classifier.1`
    tabular_dnn     `feature_extractor.0, 3, 5` (linear), `.7` (norm), `classifier.0`

Kernels o i d h w become d h w i o, linear layers are transposed. Logits keep their order and sign.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from jaxstroke.errors import InputError, listed, nearest

# The last layer of a head, and its task: the proposed networks, and those with two tasks, of which one calls its coma scale otherwise.
# A coma scale of one logit is the task `gcs_binary`.
HEADS = {
    "binary_head.3": "prognosis",
    "ordinal_head.3": "gcs",
    "ordinal_headGCS.3": "gcs",
    "ordinal_headAge.3": "age",
    "age_head.3": "age",
    "class_layers.out": "prognosis",
}
IGNORED = "num_batches_tracked"  # PyTorch counts, ours need not


@dataclass(frozen=True)
class Layer:
    """A layer by its PyTorch name and by our path. weight: its shape in PyTorch, -1 where any size fits."""

    theirs: str
    ours: tuple[str, ...]
    kind: str
    weight: tuple[int, ...]


# Of each kind: PyTorch's name -> (our collection, our name).
KERNEL, BIAS, SCALE = ("params", "kernel"), ("params", "bias"), ("params", "scale")
KINDS = {
    "conv": {"weight": KERNEL},
    "biased": {"weight": KERNEL, "bias": BIAS},
    "layer_norm": {"weight": SCALE, "bias": BIAS},
    "norm": {"weight": SCALE, "bias": BIAS, "running_mean": ("batch_stats", "mean"), "running_var": ("batch_stats", "var")},
}


def convert(model_name: str, state_dict: dict[str, np.ndarray]) -> dict:
    """`{"params", "batch_stats"}` in float32 from a PyTorch state_dict. model_name: a name of `NETWORKS`.

    Raises InputError naming tensors that are missing, unknown, of another shape, or no finite numbers.
    """
    if model_name not in NETWORKS:
        raise InputError(f"'{model_name}' is no network with published PyTorch weights.{nearest(model_name, NETWORKS)}")
    tensors = {name: value for name, value in state_dict.items() if not name.endswith(IGNORED)}
    layers = list(NETWORKS[model_name](tensors))
    refuse_others(model_name, shapes_of(layers), tensors)
    variables = laid_out(layers, tensors)
    return with_flags(variables) if model_name == "tabular_dnn" else variables


def laid_out(layers: list[Layer], tensors: dict[str, np.ndarray]) -> dict:
    """`{"params", "batch_stats"}` of these layers."""
    variables = {"params": {}, "batch_stats": {}}
    for layer in layers:
        for name, (collection, own) in KINDS[layer.kind].items():
            place = variables[collection]
            for part in layer.ours:
                place = place.setdefault(part, {})
            place[own] = arranged(tensors[f"{layer.theirs}.{name}"])
    return variables


def arranged(value: np.ndarray) -> np.ndarray:
    """`o i *taps -> *taps i o`, and a linear layer's `o i -> i o`; vectors as they are. A copy in float32."""
    value = np.moveaxis(value, (0, 1), (-1, -2)) if value.ndim > 1 else value
    return np.array(value, np.float32, order="C")


def shapes_of(layers: list[Layer]) -> dict[str, tuple[int, ...]]:
    """{name of a tensor: its shape in PyTorch, -1 where any size fits}."""
    found = {}
    for layer in layers:
        found |= {f"{layer.theirs}.{name}": layer.weight if name == "weight" else layer.weight[:1] for name in KINDS[layer.kind]}
    return found


def refuse_others(model_name: str, wanted: dict[str, tuple[int, ...]], tensors: dict[str, np.ndarray]):
    """Raise for tensors that are not those of these names and shapes."""
    both = [name for name in wanted if name in tensors]
    wrong = {
        "missing": [name for name in wanted if name not in tensors],
        "unknown": [name for name in tensors if name not in wanted],
        "of another shape": [other for name in both if (other := misfit(name, tensors[name].shape, wanted[name]))],
        "not finite numbers": [name for name in both if not is_finite(tensors[name])],
    }
    if any(wrong.values()):
        told = "; ".join(f"{what}: {listed(names)}" for what, names in wrong.items() if names)
        raise InputError(f"these are not the weights of '{model_name}': {told}")


def misfit(name: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """`name (shape instead of wanted)`, "" where it fits."""
    fits = len(shape) == len(wanted) and all(size == one or one == -1 for size, one in zip(shape, wanted, strict=True))
    return "" if fits else f"{name} ({shown(shape)} instead of {shown(wanted)})"


def shown(shape: tuple[int, ...]) -> str:
    return " x ".join("any" if size == -1 else str(size) for size in shape) or "a single number"


def is_finite(value: np.ndarray) -> bool:
    return not np.issubdtype(value.dtype, np.integer) and value.dtype != bool and bool(np.isfinite(value.astype(np.float32)).all())


def densenet(tensors) -> Iterator[Layer]:
    """DenseNet121 as MONAI builds it, and the heads that are there."""
    prefix = "features." if any(name.startswith("features.") for name in tensors) else "feature_extractor.features."
    growth, channels = 32, 64

    def layer(theirs: str, ours: tuple[str, ...], kind: str, *weight: int) -> Layer:
        return Layer(prefix + theirs, ("encoder", *ours), kind, weight)

    yield layer("conv0", ("stem",), "conv", channels, 1, 7, 7, 7)
    yield layer("norm0", ("norm0",), "norm", channels)
    for block, count in enumerate((6, 12, 24, 16), start=1):
        for place in range(1, count + 1):
            theirs, ours = f"denseblock{block}.denselayer{place}.layers", f"block{block}_layer{place}"
            yield layer(f"{theirs}.norm1", (ours, "norm1"), "norm", channels)
            yield layer(f"{theirs}.conv1", (ours, "conv1"), "conv", 4 * growth, channels, 1, 1, 1)
            yield layer(f"{theirs}.norm2", (ours, "norm2"), "norm", 4 * growth)
            yield layer(f"{theirs}.conv2", (ours, "conv2"), "conv", growth, 4 * growth, 3, 3, 3)
            channels += growth
        if block < 4:
            yield layer(f"transition{block}.norm", (f"transition{block}", "norm"), "norm", channels)
            yield layer(f"transition{block}.conv", (f"transition{block}", "conv"), "conv", channels // 2, channels, 1, 1, 1)
            channels //= 2
    yield layer("norm5", ("norm5",), "norm", channels)
    found = [theirs for theirs in HEADS if f"{theirs}.weight" in tensors] or ["binary_head.3"]
    for theirs in found:
        binary = HEADS[theirs] == "gcs" and len(tensors[f"{theirs}.weight"]) == 1
        yield Layer(theirs, ("heads", "gcs_binary" if binary else HEADS[theirs]), "biased", (-1, channels))


def perez(tensors) -> Iterator[Layer]:
    before = 1
    for stage, (place, width) in enumerate({0: 16, 3: 32, 7: 64, 10: 128}.items(), start=1):
        kind = "biased" if stage in (2, 3) else "conv"
        yield Layer(f"feature_extractor.{place}", ("encoder", f"stage{stage}", "conv"), kind, (width, before, 3, 3, 3))
        before = width
    yield Layer("feature_extractor.12", ("encoder", "norm"), "norm", (before,))
    yield Layer("classifier.1", ("heads", "prognosis"), "biased", (1, before))


def tabular(tensors) -> Iterator[Layer]:
    before = -1
    for number, (place, width) in enumerate({0: 64, 3: 32, 5: 16}.items(), start=1):
        yield Layer(f"feature_extractor.{place}", (f"dense{number}",), "biased", (width, before))
        before = width
    yield Layer("feature_extractor.7", ("norm",), "norm", (before,))
    yield Layer("classifier.0", ("heads", "prognosis"), "biased", (1, before))


def with_flags(variables: dict) -> dict:
    """Zeros for the missing flags, which the published network does not read: `k 64 -> 2k 64`."""
    dense = variables["params"]["dense1"]
    dense["kernel"] = np.concatenate([dense["kernel"], np.zeros_like(dense["kernel"])])
    return variables


NETWORKS: dict[str, Callable] = {"ich_multitask": densenet, "perez": perez, "tabular_dnn": tabular}
