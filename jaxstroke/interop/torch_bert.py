"""PyTorch weights of BERT (Devlin et al. 2019, arXiv 1810.04805), by Hugging Face's names, as our text encoder `Bert`.

The network may lie below a prefix such as `bert.` or `text_model.`, which is cut off, whatever it is; names of TensorFlow's conversions,
`LayerNorm.gamma` and `.beta`, are taken too. What is no part of the encoder (`pooler`, `cls`, a head) is left out and named.

Of the table of token types the first entry is taken: a report is one segment. RoBERTa has the same names with one entry alone, and counts
positions otherwise: it is refused.
"""

import json
import re
from collections.abc import Iterator

import numpy as np
from etils import epath

from jaxstroke.errors import InputError, listed
from jaxstroke.interop import torch_weights
from jaxstroke.interop.torch_weights import Layer

EVERY = "embeddings.word_embeddings.weight"  # a tensor that every BERT by these names has
OF_NETWORK = re.compile(r"(embeddings|encoder)\.")  # what is taken, or refused as unknown
COUNTED = re.compile(r"embeddings\.(position|token_type)_ids$")  # 0, 1, 2 ..., which older versions saved
LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
TABLES = {"embedding": "word_embeddings", "positions": "position_embeddings", "token_type": "token_type_embeddings"}
WHOLE_LAYER = {  # theirs -> (ours, shape as names of sizes)
    "attention.self.query": ("query", ("width", "width")),
    "attention.self.key": ("key", ("width", "width")),
    "attention.self.value": ("value", ("width", "width")),
    "attention.output.dense": ("out", ("width", "width")),
    "attention.output.LayerNorm": ("norm1", ("width",)),
    "intermediate.dense": ("up", ("intermediate", "width")),
    "output.dense": ("down", ("width", "intermediate")),
    "output.LayerNorm": ("norm2", ("width",)),
}
# What of a config.json makes another network than ours; CXR-BERT is a BERT with one more head.
ONLY = {
    "model_type": ("bert", "cxr-bert"),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "layer_norm_eps": (1e-12,),
    "is_decoder": (False,),
}


def convert(tensors: dict[str, np.ndarray], heads: int) -> tuple[dict, dict[str, int], tuple[str, ...]]:
    """(`{"params"}` of `Bert` in float32, its sizes, names of tensors that are left out).

    heads: of attention, which no tensor tells; see `read_config`. sizes: width, depth, heads, intermediate, vocabulary, positions.
    Raises InputError where no BERT is in the file, or several are, where its width does not divide by heads, and naming tensors that are
    missing, unknown, of another shape, or no finite numbers.
    """
    prefix = place_of(tensors)
    own = {modern(name.removeprefix(prefix)): name for name in tensors if name.startswith(prefix)}
    found = {name: tensors[whole] for name, whole in own.items() if OF_NETWORK.match(name) and not COUNTED.match(name)}
    sizes = sizes_of(found)
    tables = {"embedding": (-1, sizes["width"]), "positions": (-1, sizes["width"]), "token_type": (2, sizes["width"])}
    wanted = list(layers(sizes))
    shapes = {f"embeddings.{TABLES[name]}.weight": shape for name, shape in tables.items()} | torch_weights.shapes_of(wanted)
    torch_weights.refuse_others("BERT", shapes, found)
    if heads < 1 or sizes["width"] % heads:
        raise InputError(f"is a BERT of width {sizes['width']}, which does not divide by config.text.heads = {heads}: set its own number")
    params = {name: np.array(found[f"embeddings.{theirs}.weight"], np.float32) for name, theirs in TABLES.items()}
    params["token_type"] = params["token_type"][0]
    params |= torch_weights.laid_out(wanted, found)["params"]
    left = tuple(whole for name, whole in own.items() if name not in found and not COUNTED.match(name))
    left += tuple(name for name in tensors if not name.startswith(prefix))
    return {"params": params}, sizes | {"heads": heads}, left


def modern(name: str) -> str:
    """A name of today's for one of a TensorFlow conversion's."""
    for old, new in OLD.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def place_of(tensors: dict[str, np.ndarray]) -> str:
    """What stands before the network's names."""
    prefixes = [name.removesuffix(EVERY) for name in tensors if name.endswith(EVERY)]
    found = [prefix for prefix in prefixes if not prefix or prefix.endswith(".")]
    if not found:
        raise InputError(f"holds no BERT by Hugging Face's names ({EVERY} and so on); it has {listed(tensors) or 'no tensor'}")
    if len(found) > 1:
        raise InputError(f"holds several networks ({', '.join(found)}): in PyTorch, save the state_dict of the one that is meant alone")
    return found[0]


def sizes_of(tensors: dict[str, np.ndarray]) -> dict[str, int]:
    """Sizes as the tensors have them, -1 where one is missing. Layers are counted: of a gap the missing are named, not all numbers."""
    depth = len({match[1] for name in tensors if (match := LAYER.match(name))})
    if not depth:
        raise InputError(f"holds embeddings of BERT and no layer (encoder.layer.0...); it has {listed(tensors)}")

    def size(name: str, axis: int) -> int:
        shape = tensors[name].shape if name in tensors else ()
        return shape[axis] if len(shape) == 2 else -1

    return {
        "width": size(EVERY, 1),
        "depth": depth,
        "intermediate": size("encoder.layer.0.intermediate.dense.weight", 0),
        "vocabulary": size(EVERY, 0),
        "positions": size("embeddings.position_embeddings.weight", 0),
    }


def layers(sizes: dict[str, int]) -> Iterator[Layer]:
    """The linear layers and norms, names as in Hugging Face's without a prefix."""
    yield Layer("embeddings.LayerNorm", ("embedding_norm",), "layer_norm", (sizes["width"],))
    for number in range(sizes["depth"]):
        for theirs, (ours, shape) in WHOLE_LAYER.items():
            kind = "biased" if len(shape) == 2 else "layer_norm"
            weight = tuple(sizes[name] for name in shape)
            yield Layer(f"encoder.layer.{number}.{theirs}", (f"layer{number + 1}", ours), kind, weight)


def read_config(path: epath.Path) -> dict[str, int]:
    """`{"heads": ...}` of the config.json beside a file of weights; {} where there is none, or it does not tell.

    Raises InputError naming the file where it is no such file, or of a network that is not computed here.
    """
    file = path.parent / "config.json"
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text())
    except ValueError as error:  # no JSON, or no UTF-8
        raise InputError(f"{file} beside the weights cannot be read ({error}): fetch it again") from None
    if not isinstance(found, dict):
        raise InputError(f"{file} beside the weights is no config of a network: fetch it again, or give the weights a folder of their own")
    for name, known in ONLY.items():
        if found.get(name, known[0]) not in known:
            raise InputError(
                f"{file}: {name} = {found[name]} is of another network, and {' or '.join(map(str, known))} is what is computed here: "
                "choose weights of a BERT as first published, or give the weights a folder of their own if the file belongs to others"
            )
    if "num_attention_heads" not in found:
        return {}
    heads = found["num_attention_heads"]
    if type(heads) is not int or heads < 1:
        raise InputError(f"{file}: num_attention_heads = {heads} must be a number from 1: fetch it again")
    return {"heads": heads}
