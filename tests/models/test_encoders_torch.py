"""Encoders against the same networks in PyTorch with the same weights: layout, padding, norm and running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke.models import encoders, layers, norm
from jaxstroke.models.encoders import resnet, vit

torch = pytest.importorskip("torch")
CONVS = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
NORMS = {2: torch.nn.BatchNorm2d, 3: torch.nn.BatchNorm3d}
POOLS = {2: torch.nn.MaxPool2d, 3: torch.nn.MaxPool3d}


class TorchBlock(torch.nn.Module):
    """A residual block in torchvision's words."""

    def __init__(self, dims, inside, width, stride, bottleneck):
        super().__init__()
        out = 4 * width if bottleneck else width
        plan = [(1, 1, width), (3, stride, width), (1, 1, out)] if bottleneck else [(3, stride, width), (3, 1, width)]
        self.convs, self.norms, before = torch.nn.ModuleList(), torch.nn.ModuleList(), inside
        for size, step, features in plan:
            self.convs.append(CONVS[dims](before, features, size, step, size // 2, bias=False))
            self.norms.append(NORMS[dims](features))
            before = features
        self.shortcut = None
        if stride != 1 or inside != out:
            self.shortcut = torch.nn.Sequential(CONVS[dims](inside, out, 1, stride, bias=False), NORMS[dims](out))

    def forward(self, x):
        y = x
        for number, (conv, normalise) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = normalise(conv(y))
            y = torch.relu(y) if number < len(self.convs) - 1 else y
        return torch.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class TorchResNet(torch.nn.Module):
    def __init__(self, dims, blocks, bottleneck, channels, width=64):
        super().__init__()
        self.stem = torch.nn.Sequential(
            CONVS[dims](channels, width, 7, 2, 3, bias=False), NORMS[dims](width), torch.nn.ReLU(), POOLS[dims](3, 2, 1)
        )
        self.layers, inside = torch.nn.ModuleList(), width
        for layer, count in enumerate(blocks):
            for number in range(count):
                stride = 2 if layer > 0 and number == 0 else 1
                self.layers.append(TorchBlock(dims, inside, width * 2**layer, stride, bottleneck))
                inside = width * 2**layer * (4 if bottleneck else 1)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return x.flatten(2).mean(2)


def pairs(net, tree):
    """(torch module, our entry) of every convolution and norm. tree: `params` or `batch_stats`."""
    yield net.stem[0], tree.get("stem_conv")
    yield net.stem[1], tree.get("stem_norm")
    names = sorted(name for name in tree if name.startswith("layer"))
    for block, name in zip(net.layers, names, strict=True):
        for number, (conv, normalise) in enumerate(zip(block.convs, block.norms, strict=True), 1):
            yield conv, tree[name].get(f"conv{number}")
            yield normalise, tree[name].get(f"norm{number}")
        if block.shortcut is not None:
            yield block.shortcut[0], tree[name].get("shortcut_conv")
            yield block.shortcut[1], tree[name].get("shortcut_norm")


def filled(module, x):
    """Variables with random norms, so that scale, bias and statistics all count."""
    variables = module.init(jax.random.key(0), x)
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        kind = path[-1].key
        if kind in ("scale", "var"):
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
        return jnp.asarray(0.2 * rng.normal(size=leaf.shape), jnp.float32) if kind in ("bias", "mean") else leaf

    return jax.tree_util.tree_map_with_path(draw, variables)


def copy_into(net, variables):
    with torch.no_grad():
        for module, entry in pairs(net, variables["params"]):
            if "kernel" in entry:
                kernel = np.moveaxis(np.asarray(entry["kernel"]), (-1, -2), (0, 1))  # *taps i o -> o i *taps
                module.weight.copy_(torch.tensor(kernel))
            else:
                module.weight.copy_(torch.tensor(np.asarray(entry["scale"])))
                module.bias.copy_(torch.tensor(np.asarray(entry["bias"])))
        for module, entry in pairs(net, variables["batch_stats"]):
            if entry is not None:
                module.running_mean.copy_(torch.tensor(np.asarray(entry["mean"])))
                module.running_var.copy_(torch.tensor(np.asarray(entry["var"])))


def to_torch(x):
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1).copy())


def plain(dims, blocks, bottleneck, width):
    return resnet.ResNet(dims, blocks, bottleneck, layers.Conv, norm.BatchNorm, tuple(width * 2**layer for layer in range(len(blocks))))


@pytest.mark.parametrize(
    ("dims", "side", "blocks", "bottleneck", "width"),
    [(2, 64, (2, 2, 2, 2), False, 16), (2, 64, (2, 1, 1), True, 16), (3, 16, (1, 1), False, 8), (3, 15, (1, 1), True, 8)],
)
def test_resnet_equals_pytorch_in_evaluation_and_training(dims, side, blocks, bottleneck, width):
    x = jax.random.normal(jax.random.key(2), (4, *(side,) * dims, 3))
    module = plain(dims, blocks, bottleneck, width)
    variables = filled(module, x)
    net = TorchResNet(dims, blocks, bottleneck, 3, width)
    copy_into(net, variables)
    net.eval()
    with torch.no_grad():
        np.testing.assert_allclose(jax.jit(module.apply)(variables, x)["pooled"], net(to_torch(x)), rtol=1e-4, atol=1e-4)
    net.train()
    weight = np.random.default_rng(3).normal(size=net(to_torch(x)).shape[1]).astype(np.float32)
    copy_into(net, variables)  # the line above moved the running statistics

    @jax.jit
    def ours(params):
        found, new = module.apply(variables | {"params": params}, x, train=True, mutable=["batch_stats"])
        return (found["pooled"] @ weight).sum(), (found["pooled"], new["batch_stats"])

    gradient, (pooled, stats) = jax.grad(ours, has_aux=True)(variables["params"])
    theirs = net(to_torch(x))
    (theirs @ torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(pooled, theirs.detach(), rtol=1e-4, atol=1e-4)
    for module, entry in pairs(net, stats):
        if entry is not None:
            np.testing.assert_allclose(entry["mean"], module.running_mean, atol=1e-4)
            np.testing.assert_allclose(entry["var"], module.running_var, rtol=1e-4, atol=1e-4)
    kernel = np.moveaxis(np.asarray(gradient["stem_conv"]["kernel"]), (-1, -2), (0, 1))
    reference = net.stem[0].weight.grad.numpy()
    np.testing.assert_allclose(kernel, reference, atol=1e-3 * np.abs(reference).max())


@pytest.mark.parametrize(
    ("name", "blocks", "count"),
    [("resnet18_3d", (2, 2, 2, 2), 33_203_904), ("resnet50_3d", (3, 4, 6, 3), 46_198_976), ("resnet50_2d", (3, 4, 6, 3), 23_508_032)],
)
def test_resnet_has_the_parameters_of_pytorchs(name, blocks, count):
    dims = encoders.ENCODERS[name].dims
    with torch.device("meta"):
        net = TorchResNet(dims, blocks, "50" in name, 3)
    assert sum(p.numel() for p in net.parameters()) == count
    module = encoders.make(name, jnp.dtype("float32"), axis=None)
    variables = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((2, *(32,) * dims, 3), jnp.float32))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


def test_transformer_equals_pytorchs_encoder_layers():
    """Patches as a strided convolution, pre-norm layers, a last norm."""
    width, heads, patch = 24, 3, 4
    module = vit.VisionTransformer(2, width, 2, heads, patch=patch, pool="token")
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    variables = module.init(jax.random.key(1), x)
    params = variables["params"]

    def tensor(array):
        return torch.tensor(np.array(array))

    kernel = np.asarray(params["embedding"]["kernel"]).reshape(patch, patch, 3, width)
    tokens = torch.nn.functional.conv2d(to_torch(x), tensor(kernel.transpose(3, 2, 0, 1)), tensor(params["embedding"]["bias"]), patch)
    tokens = tokens.flatten(2).transpose(1, 2) + tensor(params["positions"]).reshape(-1, width)
    tokens = torch.cat([tensor(params["token"] + params["token_position"]).expand(2, 1, width), tokens], 1)
    for number in (1, 2):
        layer = torch.nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        )
        ours = params[f"layer{number}"]
        weights = {"self_attn.in_proj_weight": ours["qkv"]["kernel"].T, "self_attn.in_proj_bias": ours["qkv"]["bias"]}
        for theirs, mine in (("self_attn.out_proj", "out"), ("linear1", "up"), ("linear2", "down")):
            weights |= {f"{theirs}.weight": ours[mine]["kernel"].T, f"{theirs}.bias": ours[mine]["bias"]}
        for name in ("norm1", "norm2"):
            weights |= {f"{name}.weight": ours[name]["scale"], f"{name}.bias": ours[name]["bias"]}
        layer.load_state_dict({name: tensor(value) for name, value in weights.items()})
        tokens = layer(tokens)
    expected = torch.nn.functional.layer_norm(tokens, (width,), eps=1e-6)[:, 0].detach()
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x)["pooled"], expected, rtol=1e-4, atol=1e-5)
