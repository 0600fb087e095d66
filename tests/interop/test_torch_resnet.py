"""ResNets by torchvision's names: the very network PyTorch computes, from whatever checkpoint holds it, and what is not it is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from published_resnet import published

from jaxstroke.errors import InputError
from jaxstroke.interop import torch_file, torch_resnet
from jaxstroke.models import encoders


def torchvision_network(torch, blocks: tuple[int, ...], bottleneck: bool):
    """The network of torchvision's `models/resnet.py`, written again: its names, strides, paddings and the places of its ReLUs."""

    def conv(inside, out, size, stride=1):
        return torch.nn.Conv2d(inside, out, size, stride, size // 2, bias=False)

    class Block(torch.nn.Module):
        def __init__(self, inside, width, stride):
            super().__init__()
            out = 4 * width if bottleneck else width
            plan = ((1, 1, width), (3, stride, width), (1, 1, out)) if bottleneck else ((3, stride, width), (3, 1, out))
            self.count, before = len(plan), inside
            for number, (size, step, features) in enumerate(plan, 1):
                setattr(self, f"conv{number}", conv(before, features, size, step))
                setattr(self, f"bn{number}", torch.nn.BatchNorm2d(features))
                before = features
            self.downsample = None
            if stride != 1 or inside != out:
                self.downsample = torch.nn.Sequential(conv(inside, out, 1, stride), torch.nn.BatchNorm2d(out))

        def forward(self, x):
            y = x
            for number in range(1, self.count + 1):
                y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
                y = torch.relu(y) if number < self.count else y
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64)
            self.maxpool, inside = torch.nn.MaxPool2d(3, 2, 1), 64
            for number, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
                out, layer = 4 * width if bottleneck else width, torch.nn.Sequential()
                for place in range(count):
                    layer.append(Block(out if place else inside, width, 1 if place or number == 1 else 2))
                inside = out
                setattr(self, f"layer{number}", layer)
            self.fc = torch.nn.Linear(inside, 4)

        def forward(self, x):
            maps = {"stem": self.maxpool(torch.relu(self.bn1(self.conv1(x))))}
            for number in range(1, 5):
                maps[f"layer{number}"] = x = getattr(self, f"layer{number}")(maps["stem"] if number == 1 else x)
            return maps, self.fc(x.mean((2, 3))).numpy()

    return Network()


@pytest.mark.parametrize("encoder", torch_resnet.NETWORKS)
def test_every_map_and_the_logits_are_pytorchs(tmp_path, encoder):
    torch = pytest.importorskip("torch")
    network = torchvision_network(torch, *torch_resnet.NETWORKS[encoder]).eval()
    weights = published(encoder)
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    variables, left = torch_resnet.convert(encoder, torch_file.read(epath.Path(tmp_path / "weights.pth")))
    x = np.random.default_rng(1).normal(size=(2, 75, 64, 3)).astype(np.float32)
    found = jax.jit(encoders.make(encoder, jnp.dtype("float32"), axis=None).apply)(variables, x)
    with torch.no_grad():
        maps, logits = network(torch.tensor(x.transpose(0, 3, 1, 2)))
    for name, value in maps.items():
        value = value.numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4 * np.abs(value).max())
    pooled = np.asarray(found["pooled"])
    np.testing.assert_allclose(pooled @ weights["fc.weight"].T + weights["fc.bias"], logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
    assert left == ("fc.weight", "fc.bias")
    assert jax.tree.map(np.shape, variables) == shapes(encoder)


def test_features_are_those_of_transformers():
    """The same random weights in the other library's own ResNet-50, which names them otherwise."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    network = transformers.ResNetModel(transformers.ResNetConfig()).eval()
    weights = published("resnet50_2d")
    parts = {"conv": "convolution", "bn": "normalization"}
    renamed = {}
    for name, value in weights.items():
        first, *rest, last = name.split(".")
        if first == "fc":
            continue
        if rest:
            number = int(rest[1][-1]) - 1 if rest[1] != "downsample" else int(rest[2])
            part = parts[rest[1][:-1]] if rest[1] != "downsample" else list(parts.values())[number]
            place = f"layer.{number}" if rest[1] != "downsample" else "shortcut"
            renamed[f"encoder.stages.{int(first[-1]) - 1}.layers.{rest[0]}.{place}.{part}.{last}"] = torch.tensor(value)
        else:
            renamed[f"embedder.embedder.{parts[first[:-1]]}.{last}"] = torch.tensor(value)
    network.load_state_dict(renamed)
    x = np.random.default_rng(1).normal(size=(2, 75, 64, 3)).astype(np.float32)
    variables, _ = torch_resnet.convert("resnet50_2d", weights)
    found = jax.jit(encoders.make("resnet50_2d", jnp.dtype("float32"), axis=None).apply)(variables, x)["pooled"]
    with torch.no_grad():
        expected = network(torch.tensor(x.transpose(0, 3, 1, 2))).pooler_output.numpy()[..., 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def shapes(encoder: str, norm: str = "batch") -> dict:
    module = encoders.make(encoder, jnp.dtype("float32"), axis=None, norm=norm)
    made = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32))
    return jax.tree.map(lambda leaf: leaf.shape, made)


NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def numbered(name: str) -> str:
    """A name in a Sequential of the network's children, as RadImageNet's backbone is one."""
    first, _, rest = name.partition(".")
    return f"backbone.{NUMBERS.get(first, first)}.{rest}"


def with_prefix(prefix: str):
    return lambda weights: {f"{prefix}{name}": value for name, value in weights.items()}


def contrastive(weights: dict) -> dict:
    """Both of MoCo's networks, of which the other would give other numbers, and its queue."""
    inside = {name: value for name, value in weights.items() if not name.startswith("fc")}
    other = {f"encoder_k.{name}": value + 1 for name, value in inside.items()}
    return {f"encoder_q.{name}": value for name, value in inside.items()} | other | {"queue": np.zeros((2, 3), np.float32)}


CHECKPOINTS = {  # how a checkpoint names the network's tensors, and how many of them are no part of an encoder
    "plain": (lambda weights: weights, 2),
    "backbone": (with_prefix("backbone."), 2),
    "encoder": (with_prefix("model.encoder."), 2),
    "numbered": (lambda weights: {numbered(name): value for name, value in weights.items()}, 2),
    "moco": (contrastive, 101),
    "with a head": (lambda weights: with_prefix("net.")(weights) | {"projection.0.weight": np.zeros((3, 3), np.float32)}, 3),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints_of_every_kind_give_the_same_encoder(kind):
    weights = published("resnet18_2d")
    expected, _ = torch_resnet.convert("resnet18_2d", weights)
    renamed, count = CHECKPOINTS[kind]
    found, left = torch_resnet.convert("resnet18_2d", renamed(weights))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert len(left) == count and not any("num_batches" in name for name in left)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_what_training_scripts_save(tmp_path, wrapper):
    torch = pytest.importorskip("torch")
    weights = published("resnet18_2d")
    inside = {f"module.{name}": torch.tensor(value) for name, value in contrastive(weights).items()}
    torch.save({"epoch": 3, "arch": "resnet18", wrapper: inside, "optimizer": {"state": {}}}, tmp_path / "checkpoint.pth.tar")
    found, _ = torch_resnet.convert("resnet18_2d", torch_file.read(epath.Path(tmp_path / "checkpoint.pth.tar")))
    jax.tree.map(np.testing.assert_array_equal, found, torch_resnet.convert("resnet18_2d", weights)[0])


def refusal(encoder: str, weights: dict) -> str:
    with pytest.raises(InputError) as caught:
        torch_resnet.convert(encoder, weights)
    return str(caught.value)


def test_tensors_of_the_encoder_that_are_missing_or_too_many_are_named():
    weights = published("resnet18_2d")
    lacking = {name: value for name, value in weights.items() if name != "layer3.0.downsample.1.running_mean"}
    assert "missing: layer3.0.downsample.1.running_mean" in refusal("resnet18_2d", with_prefix("backbone.")(lacking))
    deeper = weights | {"layer1.2.conv1.weight": weights["layer1.1.conv1.weight"]}  # as of a ResNet-34, whose other tensors would fit
    assert "unknown: layer1.2.conv1.weight" in refusal("resnet18_2d", deeper)
    assert "layer1.0.conv3.weight" in refusal("resnet50_2d", weights)
    wide = weights | {"conv1.weight": np.zeros((32, 3, 7, 7), np.float32)}
    assert "conv1.weight (32 x 3 x 7 x 7 instead of 64 x any x 7 x 7)" in refusal("resnet18_2d", wide)
    broken = weights | {"bn1.weight": np.full(64, np.nan, np.float32)}
    assert "not finite numbers: bn1.weight" in refusal("resnet18_2d", broken)


def test_files_of_no_network_or_of_several_are_refused():
    weights = published("resnet18_2d")
    assert "holds no ResNet by torchvision's names" in refusal("resnet18_2d", {"blocks.0.attn.qkv.weight": np.zeros(3)})
    both = with_prefix("student.")(weights) | with_prefix("teacher.")(weights)
    assert "holds several networks (student., teacher.)" in refusal("resnet18_2d", both)
