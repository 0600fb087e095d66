"""Both sides of the comparison compute the same: with our parameters copied over, PyTorch's networks give our logits and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rows

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

import networks  # noqa: E402
import ours  # noqa: E402
import theirs  # noqa: E402

from jaxstroke import models  # noqa: E402
from jaxstroke.interop import torch_weights  # noqa: E402
from jaxstroke.models import encoders  # noqa: E402
from jaxstroke.training import losses, step  # noqa: E402

MRI = dataclasses.replace(rows.ROWS["mri"], batch=6)


def tensor(array, *axes: int):
    """A tensor with the axes in this order, none = as they are."""
    return torch.from_numpy(np.array(array if not axes else np.transpose(array, axes)))


def size(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def channels_first(array):
    return torch.from_numpy(array).movedim(-1, 2).contiguous()


def labels(array):
    return torch.from_numpy(np.asarray(array, np.float32))


@pytest.fixture(scope="module")
def mri():
    """(config, network, variables, batch, fitted) of paper 1 at the size of `:soop`; every bias is away from its initial 0."""
    config = ours.soop(MRI)
    with config.unlocked():
        config.train.dtype = "float32"
    network = models.build(config)
    batch = ours.batch_of(MRI, config)
    fitted = ours.fitted_of(config, batch["clinical"].shape[1])
    params = jax.jit(network.init)(jax.random.key(0), batch, fitted)["params"]
    rng = np.random.default_rng(2)
    params = jax.tree.map(lambda p: p + 0.1 * rng.normal(size=p.shape).astype(np.float32) if p.ndim == 1 else p, params)
    return config, network, jax.device_get(params), batch, fitted


def module_entries(params: dict):
    """(name in `networks.ModuleNet`, array) of one module's parameters or gradients. PyTorch's second bias of the gates is left out."""
    for stage in range(4):
        entry = params["encoder"][f"ConvPool_{stage}"]
        yield f"encoder.{3 * stage}.weight", entry["kernel"].transpose(3, 2, 0, 1)
        yield f"encoder.{3 * stage}.bias", entry["bias"]
    lstm = params["lstm"]
    yield "lstm.weight_ih_l0", lstm["input"]["kernel"].T
    yield "lstm.weight_hh_l0", lstm["recurrent"].T
    yield "lstm.bias_ih_l0", lstm["input"]["bias"]
    for task in ("poor", "mrs"):
        yield f"heads.{task}.weight", params["heads"][task]["kernel"].T
        yield f"heads.{task}.bias", params["heads"][task]["bias"]


def copied(params: dict, hidden: int = 32):
    """PyTorch's ensemble with our parameters; our forget gate has 1 added to its bias, so it goes into PyTorch's second one."""
    network = networks.Ensemble({name: shape[-1] for name, shape in rows.MRI_IMAGES.items()}).eval()
    for name, net in network.nets.items():
        state = {key: tensor(value) for key, value in module_entries(params[name])}
        state["lstm.bias_hh_l0"] = torch.zeros(4 * hidden)
        state["lstm.bias_hh_l0"][hidden : 2 * hidden] = 1.0
        net.load_state_dict(state)
    return network


def test_mri_logits_are_the_same(mri):
    """Patients with fewer slices, and one without the module, included."""
    _, network, params, batch, fitted = mri
    lengths = {"lesion": np.array([12, 7, 1, 0, 12, 3]), "views": np.array([3, 2, 0, 1, 3, 3])}
    batch = dict(batch)
    for name, length in lengths.items():
        batch[f"images_mask/{name}"] = (np.arange(rows.MRI_IMAGES[name][0]) < length[:, None]).astype(np.float32)
    ours_found = jax.jit(network.apply)({"params": params}, batch, fitted)["parts"]
    with torch.no_grad():
        images = {name: channels_first(batch[f"images/{name}"]) for name in lengths}
        found = copied(params)(images, {name: torch.from_numpy(length) for name, length in lengths.items()})
    for name in lengths:
        for task in ("poor", "mrs"):
            np.testing.assert_allclose(found[name][task].numpy(), ours_found[name]["logits"][task], rtol=0, atol=1e-4)


def test_mri_gradients_are_the_same(mri):
    """Of the whole loss, as the step adds it up."""
    config, network, params, batch, fitted = mri

    def loss(params):
        found = losses.terms(network.apply({"params": params}, batch, fitted), batch, fitted, config.loss, joint=False)
        return sum(losses.ratio(numerator, denominator) for numerator, denominator in found.values())

    value, gradients = jax.jit(jax.value_and_grad(loss))(params)
    setup = theirs.mri(rows.arrays(MRI), channels_first, labels)
    torch_network = copied(params)
    torch_loss = setup.loss(torch_network(*setup.inputs))
    torch_loss.backward()
    np.testing.assert_allclose(torch_loss.item(), value, rtol=1e-5)
    for name, net in torch_network.nets.items():
        theirs_found = dict(net.named_parameters())
        for key, gradient in module_entries(jax.device_get(gradients[name])):
            np.testing.assert_allclose(theirs_found[key].grad.numpy(), gradient, rtol=1e-3, atol=1e-5)


def test_mri_is_the_configs_own(mri):
    """Sizes that the PyTorch side holds as numbers are those of the config, and so are rate, decay and clipping."""
    config = mri[0]
    shapes = {name: (*config.images[name].shape, config.images[name].channels) for name in config.images}
    assert shapes == rows.MRI_IMAGES
    setup = theirs.mri(rows.arrays(MRI), channels_first, labels)
    settings = config.optimizer
    assert (settings.name, settings.learning_rate, settings.weight_decay, settings.clip) == ("adamw", setup.rate, 1e-4, 1.0)
    assert ours.from_file("mri_cnn_lstm", "soop").train.batch_size == rows.ROWS["mri"].batch
    assert sum(p.numel() for p in setup.network.parameters()) == size(mri[2]) + 2 * 4 * 32  # PyTorch's second bias of the gates


def at(tree: dict, path: tuple[str, ...]):
    for name in path:
        tree = tree[name]
    return tree


def copy(modules: dict, params: dict, stats: dict):
    """Our convolutions and norms into PyTorch's modules, {our path: its module}."""
    for path, module in modules.items():
        entry = at(params, path)
        if "kernel" in entry:
            last, first = entry["kernel"].ndim - 1, entry["kernel"].ndim - 2
            module.weight.data = tensor(entry["kernel"], last, first, *range(first))
            continue
        module.weight.data, module.bias.data = tensor(entry["scale"]), tensor(entry["bias"])
        module.running_mean, module.running_var = tensor(at(stats, path)["mean"]), tensor(at(stats, path)["var"])


def away(stats: dict) -> dict:
    """Running statistics away from 0 and 1."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda s: s + 0.2 * rng.random(s.shape).astype(np.float32), stats)


def test_densenet_is_the_published_one():
    """The same parameters, logits and optimiser; tests/interop compares gradients and updates."""
    row = dataclasses.replace(rows.ROWS["densenet"], shape=(32, 32, 32))
    config = ours.ich(row)
    with config.unlocked():
        config.train.dtype = "float32"
    model, batch = models.build(config), ours.batch_of(row, config)
    fitted = ours.fitted_of(config, batch["clinical"].shape[1])
    network = networks.MultiTaskDenseNet().eval()
    variables = torch_weights.convert("ich_multitask", {name: value.numpy() for name, value in network.state_dict().items()})
    assert size(variables["params"]) == sum(p.numel() for p in network.parameters()) == 11_246_724
    logits = jax.jit(model.apply)(variables, batch, fitted)["logits"]
    with torch.no_grad():
        found = network(tensor(batch["images/ct"], 0, 4, 1, 2, 3))
    for task in ("prognosis", "gcs", "age"):
        np.testing.assert_allclose(found[task].numpy(), logits[task], rtol=1e-3, atol=1e-3)
    settings, setup = config.optimizer, theirs.densenet(rows.arrays(row), lambda x: labels(x).movedim(-1, 1), labels)
    assert (settings.name, settings.learning_rate, settings.weight_decay, settings.clip) == ("adamw_amsgrad", setup.rate, 1e-4, 0.0)
    assert setup.amsgrad and not setup.clipped
    named = {task: (config.loss[task].kind, config.loss[task].weight) for task in config.loss}
    assert named == {"prognosis": ("binary", 0.4), "gcs": ("ordinal", 0.3), "age": ("binary", 0.3)}


def resnet_modules(network):
    """{our path: PyTorch's module} of every convolution and norm of ResNet-50."""
    found = {("stem_conv",): network.conv, ("stem_norm",): network.norm}
    names = [f"layer{layer}_{number}" for layer, count in enumerate((3, 4, 6, 3), 1) for number in range(count)]
    for name, block in zip(names, network.blocks, strict=True):
        for place in (1, 2, 3):
            found |= {(name, f"{kind}{place}"): getattr(block, f"{kind}{place}") for kind in ("conv", "norm")}
        if len(list(block.shortcut.children())):
            found |= {(name, "shortcut_conv"): block.shortcut[0], (name, "shortcut_norm"): block.shortcut[1]}
    return found


def test_resnet50_features_are_the_same():
    """In evaluation."""
    encoder = encoders.make("resnet50_2d", jnp.dtype("float32"), axis=None)
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    variables = jax.device_get(jax.jit(encoder.init)(jax.random.key(0), x))
    stats, network = away(variables["batch_stats"]), networks.ResNet50().eval()
    assert size(stats) == sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert size(variables["params"]) == sum(p.numel() for p in network.parameters()) == 23_508_032
    copy(resnet_modules(network), variables["params"], stats)
    pooled = jax.jit(encoder.apply)({"params": variables["params"], "batch_stats": stats}, x)["pooled"]
    with torch.no_grad():
        np.testing.assert_allclose(network(tensor(x, 0, 3, 1, 2)).numpy(), pooled, rtol=1e-3, atol=1e-3)


def test_contrastive_losses_are_the_same():
    projected = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    np.testing.assert_allclose(theirs.nt_xent(torch.from_numpy(projected)).item(), ours.nt_xent(jnp.asarray(projected)), rtol=1e-5)
    found = jax.eval_shape(lambda: ours.SimCLR(encoders.make("resnet50_2d", jnp.dtype("float32"), axis=None), jnp.float32).init(
        jax.random.key(0), jnp.zeros((2, 32, 32, 3))))  # fmt: skip
    assert size(found["params"]) == sum(p.numel() for p in networks.SimCLR().parameters())


def test_steps_of_both_sides_train(monkeypatch):
    """The very functions that are timed: parameters move, here and there."""
    kept = {}

    def remember(*arguments):
        setup, *rest = arguments
        kept["network"], kept["before"] = setup.network, [p.detach().clone() for p in setup.network.parameters()]
        return training_step(setup, *rest)

    training_step = theirs.training_step
    monkeypatch.setattr(theirs, "training_step", remember)
    theirs.make(MRI, "channels_last", torch.get_num_threads())()
    assert all((a != b).any() for a, b in zip(kept["before"], kept["network"].parameters(), strict=True))

    def watch(model, transform, devices, config):
        inner = make_train_step(model, transform, devices, config)

        def train_step(state, fitted, batch):
            before = jax.device_get(state["params"])
            state, terms = inner(state, fitted, batch)
            kept["moved"] = jax.tree.map(lambda a, b: bool((a != np.asarray(b)).any()), before, state["params"])
            return state, terms

        return train_step

    make_train_step = step.make_train_step
    monkeypatch.setattr(step, "make_train_step", watch)
    config = ours.soop(MRI)
    with config.unlocked():
        config.device.data = 1
    ours.real_step(MRI, config)()
    assert all(jax.tree.leaves(kept["moved"]))
