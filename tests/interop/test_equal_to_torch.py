"""Paper 3's networks against PyTorch's with the same weights, taken through a file: logits, gradients of the training loss, and updates.

In training mode a DenseNet amplifies rounding: where a ReLU's input is near 0 its gradient jumps. From plain random weights the gradients
of PyTorch in float32 are 0.4 to 4 % away from its own in float64, and two right programs cannot agree better. With 3 added to the biases
of all norms few ReLUs cut, and PyTorch's float32 comes within 2e-6 of its float64: there the two programs are compared in training.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest

from jaxstroke import models
from jaxstroke.explain import choice, maps
from jaxstroke.interop import torch_file, torch_weights
from jaxstroke.models import heads
from jaxstroke.preprocess import clinical
from jaxstroke.training import mesh, optimizer, step

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

import networks  # noqa: E402
from etils import epath  # noqa: E402

RATE, DECAY, STEPS = 1e-3, 1e-4, 5
COLUMNS = 42


@pytest.fixture(autouse=True)
def same_networks():
    torch.manual_seed(0)


@dataclasses.dataclass(frozen=True)
class Case:
    """A network of both sides. kind: of `torch_weights`. batch, fitted: ours, one run. inputs: PyTorch's. codes: {task: b k} of labels."""

    kind: str
    config: Any
    network: torch.nn.Module
    batch: dict
    fitted: dict
    inputs: torch.Tensor
    codes: dict

    @functools.cached_property
    def module(self):
        return models.build(self.config)

    def convert(self, parameters: dict) -> dict:
        """PyTorch's parameters, or their gradients, and its running statistics in our layout."""
        state = parameters | dict(self.network.named_buffers())
        return torch_weights.convert(self.kind, {name: value.detach().numpy() for name, value in state.items()})

    def loss(self) -> torch.Tensor:
        logits = self.network(self.inputs)
        each = {task: torch.nn.functional.binary_cross_entropy_with_logits(logits[task], code) for task, code in self.codes.items()}
        return sum(self.config.loss[task].weight * value for task, value in each.items())


def set_up(config, encoder: str, tasks):
    """The published network without dropout, in float32 on one device, for some of its tasks."""
    with config.unlocked():
        config.model.encoder, config.model.dropout = encoder, (0.0, 0.0)
        config.loss = {task: config.loss[task] for task in tasks}
        config.train.dtype, config.train.accumulation, config.device.data = "float32", 1, 1
        config.optimizer.update({"name": "adamw_amsgrad", "learning_rate": RATE, "weight_decay": DECAY, "schedule": "constant"})
    return config


def shuffle(network, lifted: float = 0.0):
    """Norms, biases and running statistics away from where they begin; kernels as they begin. lifted: added to a norm's bias."""
    for name, value in network.state_dict().items():
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:
            value.normal_(0, 0.2).add_(lifted if name.endswith("bias") and "norm" in name else 0)
    return network


def labels(config, patients: int, seed: int = 1):
    """Our labels and masks, and PyTorch's cumulative codes."""
    rng = np.random.default_rng(seed)
    batch, codes = {"weight": np.ones(patients, np.float32)}, {}
    for task, size in heads.sizes(config).items():
        label = rng.permutation(np.arange(patients) % (size + 1)).astype(np.float32)
        batch |= {f"label/{task}": label, f"label_mask/{task}": np.ones(patients, np.float32)}
        codes[task] = torch.from_numpy((label[:, None] > np.arange(size)).astype(np.float32))
    return batch, codes


def neutral(config, columns: dict) -> dict:
    """Fitted numbers that change nothing but the clinical columns."""
    fitted = {f"clinical_{name}": value for name, value in columns.items()} | {"total_steps": np.int32(100)}
    for task in config.loss:
        fitted |= {f"class_weight/{task}": np.ones(2, np.float32), f"logit_shift/{task}": np.float32(0)}
    return fitted


def of_images(config, kind: str, network, encoder: str, tasks, shape, lifted: float = 0.0) -> Case:
    """shape: b d h w."""
    config = set_up(config, encoder, tasks)
    with config.unlocked():
        config.images.ct.shape = shape[1:]
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    batch, codes = labels(config, shape[0])
    batch |= {"images/ct": x[..., None], "images_mask/ct": np.ones(shape[0], np.float32)}
    return Case(kind, config, shuffle(network, lifted), batch, neutral(config, {}), torch.from_numpy(x[:, None]), codes)


def densenet(config, shape, lifted: float = 0.0) -> Case:
    network = networks.MultiTaskDenseNet(dropout=0.0)
    return of_images(config, "ich_multitask", network, "densenet121_3d", ("prognosis", "gcs", "age"), shape, lifted)


def perez(config) -> Case:
    return of_images(config, "perez", networks.Perez(dropout=0.0), "perez_3d", ("prognosis",), (4, 38, 54, 62))


def tabular(config, patients: int = 24) -> Case:
    """Columns on scales of their own; PyTorch's are scaled to 0 to 1 here, ours by the numbers that `clinical.fit` finds."""
    config = set_up(config, "", ("prognosis",))
    with config.unlocked():
        config.model.name = "tabular_dnn"
    rng = np.random.default_rng(3)
    values = (rng.normal(size=(patients, COLUMNS)) * rng.uniform(1, 100, COLUMNS) + rng.uniform(-50, 50, COLUMNS)).astype(np.float32)
    schema = clinical.Schema(tuple(f"column{number}" for number in range(COLUMNS)), ())
    known = np.ones_like(values)
    scaled = (values - values.min(0)) / np.ptp(values, 0)
    batch, codes = labels(config, patients)
    batch |= {"clinical": values, "clinical_mask": known}
    fitted = neutral(config, clinical.fit(schema, values, known, range(patients), "minmax"))
    return Case("tabular_dnn", config, shuffle(networks.Tabular(COLUMNS, dropout=0.0)), batch, fitted, torch.from_numpy(scaled), codes)


def through_a_file(case: Case, folder) -> dict:
    """What PyTorch saves, as our variables."""
    path = epath.Path(folder) / "weights.pth"
    torch.save(case.network.state_dict(), path)
    return torch_weights.convert(case.kind, torch_file.read(path))


def on_one_device(case: Case, variables: dict):
    """(mesh, state, fitted, batch) as the program's own step takes them."""
    devices = mesh.make(case.config.device)
    transform = optimizer.make(case.config.optimizer)
    example = jax.tree.map(lambda x: x[:1], case.batch)
    state = step.make_initial(case.module, transform, example, case.fitted)(0, variables)
    state, fitted = (step.put(jax.tree.map(lambda x: np.asarray(x)[None], tree), devices) for tree in (state, case.fitted))
    keys = jax.random.split(jax.random.key(0), (1, 1, len(case.batch["weight"])))
    batch = jax.tree.map(lambda x: x[None, None], case.batch) | {"key": keys}
    return devices, transform, state, fitted, jax.device_put(batch, jax.NamedSharding(devices, step.ROWS))


def by_name(tree: dict) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def furthest(ours: dict, theirs: dict, floor: float = 0.0) -> tuple[float, str]:
    """The largest difference as a share of its tensor's largest number, and where. floor: a share of the largest number of all tensors,
    below which a tensor is rounding alone: a gradient that is 0 but for it."""
    ours, theirs = by_name(ours), by_name(theirs)
    assert ours.keys() == theirs.keys()
    lowest = floor * max(np.abs(value).max() for value in theirs.values())
    return max((float(np.abs(ours[name] - value).max() / max(np.abs(value).max(), lowest)), name) for name, value in theirs.items())


def flat(tree: dict) -> np.ndarray:
    return np.concatenate([value.ravel() for value in by_name(tree).values()])


SMALL = {"tabular": tabular, "perez": perez}


@pytest.mark.parametrize("name", [*SMALL, "densenet", pytest.param("densenet_large", marks=pytest.mark.slow)])
def test_logits(ich_file, tmp_path, name):
    """In evaluation, from plain random weights and random running statistics."""
    shapes = {"densenet": (2, 32, 32, 32), "densenet_large": (2, 40, 96, 96)}
    config = ich_file.get_config("paper")
    case = SMALL[name](config) if name in SMALL else densenet(config, shapes[name])
    variables = through_a_file(case, tmp_path)
    found = jax.jit(lambda variables, batch: case.module.apply(variables, batch, case.fitted)["logits"])(variables, case.batch)
    with torch.no_grad():
        expected = {task: value.numpy() for task, value in case.network.eval()(case.inputs).items()}
    share, where = furthest(found, expected)
    assert share < 1e-4, where


def in_training(ich_file, name: str) -> Case:
    config = ich_file.get_config("paper")
    return SMALL[name](config) if name in SMALL else densenet(config, (2, 32, 64, 64), lifted=3.0)


@pytest.mark.parametrize("name", [*SMALL, pytest.param("densenet", marks=pytest.mark.slow)])
def test_gradients_and_running_statistics(ich_file, tmp_path, name):
    """Of the whole training loss, by the step's own objective, with batch norm in training mode."""
    case = in_training(ich_file, name)
    devices, _, state, fitted, batch = on_one_device(case, through_a_file(case, tmp_path))

    def one_run(state, fitted, batch):
        objective = step.make_objective(case.module, state, fitted, batch, case.config)
        gradients, stats, _ = step.accumulated(objective, state["params"], state["stats"], batch)
        return {"params": gradients, "batch_stats": stats}

    found = step.mapped(one_run, devices, (step.RUN, step.RUN, step.ROWS), step.RUN)(state, fitted, batch)
    found = jax.tree.map(lambda x: np.asarray(x)[0], found)
    case.network.train()
    case.loss().backward()
    expected = case.convert({key: value.grad for key, value in case.network.named_parameters()})
    for collection, bound in (("params", 1e-3), ("batch_stats", 1e-5)):
        share, where = furthest(found[collection], expected[collection], floor=1e-3)
        assert share < bound, where


@pytest.mark.parametrize(("name", "led"), [("tabular", False), ("perez", True), pytest.param("densenet", False, marks=pytest.mark.slow)])
def test_five_updates(ich_file, tmp_path, name, led):
    """By the program's own step against AdamW with amsgrad: every loss as a share of the first, and all parameters as one vector.

    Where a gradient is 0 but for rounding, Adam steps by its sign: parameters with less than 1e-4 of the largest gradient are left out.
    led: every step begins at PyTorch's parameters, with our own moments: which voxel is the largest of a window may tip for good.
    """
    case = in_training(ich_file, name)
    devices, transform, state, fitted, batch = on_one_device(case, through_a_file(case, tmp_path))
    train_step = step.make_train_step(case.module, transform, devices, case.config)
    theirs = torch.optim.AdamW(case.network.parameters(), lr=RATE, weight_decay=DECAY, amsgrad=True)
    case.network.train()
    losses, moved = [], True
    for _ in range(STEPS):
        state, terms = train_step(state, fitted, batch)
        theirs.zero_grad()
        loss = case.loss()
        loss.backward()
        gradient = flat(case.convert({key: value.grad.abs() for key, value in case.network.named_parameters()})["params"])
        theirs.step()
        losses.append((sum(float((numerator / denominator)[0]) for numerator, denominator in terms.values()), loss.item()))
        expected = case.convert(dict(case.network.named_parameters()))
        ours, there = flat(jax.tree.map(lambda x: np.asarray(x)[0], state["params"])), flat(expected["params"])
        counted = gradient > 1e-4 * gradient.max()
        moved = counted if led else moved & counted
        assert moved.mean() > 0.2
        assert np.linalg.norm((ours - there)[moved]) < 1e-4 * np.linalg.norm(there[moved])
        if led:
            placed = step.put(jax.tree.map(lambda x: np.asarray(x)[None], expected), devices)
            state |= {"params": placed["params"], "stats": placed["batch_stats"]}
    np.testing.assert_allclose(*np.transpose(losses), rtol=0, atol=1e-4 * losses[0][1])


def torch_grad_cam(network, x: torch.Tensor, head: str) -> np.ndarray:
    """`d h w` by hooks at the paper's layer, enlarged as PyTorch does."""
    kept = {}
    layer = network.feature_extractor.features.transition3.conv
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: kept.update(features=output)),
        layer.register_full_backward_hook(lambda module, inner, outer: kept.update(gradient=outer[0])),
    ]
    network.zero_grad()
    network(x)[head].sum().backward()
    for handle in handles:
        handle.remove()
    weights = kept["gradient"].mean((2, 3, 4), keepdim=True)
    heat = torch.relu((weights * kept["features"]).sum(1, keepdim=True))
    return torch.nn.functional.interpolate(heat, x.shape[2:], mode="trilinear", align_corners=False)[0, 0].detach().numpy()


def torch_guided(network, x: torch.Tensor, head: str) -> np.ndarray:
    """`d h w`: the size of the image's gradient, every ReLU passing what is positive alone."""
    handles = []
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
            handles.append(module.register_full_backward_hook(lambda module, inner, outer: (inner[0].clamp(min=0),)))
    x = x.clone().requires_grad_()
    network(x)[head].sum().backward()
    for handle in handles:
        handle.remove()
    return x.grad.abs()[0, 0].numpy()


@pytest.mark.slow  # two minutes of compilation each
@pytest.mark.parametrize("head", ["prognosis", "gcs"])
def test_maps_of_a_converted_network_are_those_of_hooks(ich_file, tmp_path, head):
    """Grad-CAM at the paper's layer, guided backpropagation, and their product."""
    case = densenet(ich_file.get_config("paper"), (1, 32, 64, 64), lifted=3.0)
    variables = through_a_file(case, tmp_path)
    kept = {"params": variables["params"], "stats": variables["batch_stats"]}
    network = case.network.eval()
    layer = choice.layer(case.config, maps.layers_of(case.module, kept, case.fitted, case.batch), "ct")
    coarse, fine = torch_grad_cam(network, case.inputs, head), torch_guided(network, case.inputs, head)
    expected = {"grad_cam": coarse, "guided_backpropagation": fine, "guided_grad_cam": coarse * fine}
    for method, theirs in expected.items():
        ours = np.asarray(maps.make(method, case.module, case.config.explain, head, "ct", layer)(kept, case.fitted, case.batch))
        assert theirs.max() > 0
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * theirs.max(), err_msg=method)
