"""One training step of every row in PyTorch: `make(row, variant) -> step`, a function that runs one step and waits for its end."""

from collections.abc import Callable
from dataclasses import dataclass, field

import networks
import numpy as np
import rows
import torch
from torch import nn
from torch.nn import functional as F

TEMPERATURE = 0.5  # of NT-Xent


@dataclass
class Setup:
    """What a row trains. inputs: of the network. loss: of its outputs. clipped: modules whose gradients are each clipped at norm 1."""

    network: nn.Module
    inputs: tuple
    loss: Callable
    rate: float = 0.0  # 0 = no update
    amsgrad: bool = False
    clipped: list[nn.Module] = field(default_factory=list)


def densenet(arrays: dict, images: Callable, labels: Callable) -> Setup:
    """The paper's own loss and optimiser (Cobo et al. 2024)."""
    wanted = {"prognosis": labels(arrays["prognosis"])[:, None], "age": labels(arrays["age"])[:, None]}
    wanted["gcs"] = (labels(arrays["gcs"])[:, None] > labels(np.arange(2.0))).float()

    def loss(logits):
        weights = {"prognosis": 0.4, "gcs": 0.3, "age": 0.3}
        return sum(weight * F.binary_cross_entropy_with_logits(logits[task].float(), wanted[task]) for task, weight in weights.items())

    return Setup(networks.MultiTaskDenseNet(), (images(arrays["ct"]),), loss, rate=1e-3, amsgrad=True)


def mri(arrays: dict, images: Callable, labels: Callable) -> Setup:
    """The sum of every module's losses: `poor` and half of the mean over the six cut-offs of `mrs`, over patients who have the module."""
    poor, reached = labels(arrays["poor"])[:, None], (labels(arrays["mrs"])[:, None] > labels(np.arange(6.0))).float()
    lengths = {name: labels(np.full(len(arrays[name]), arrays[name].shape[1])).long() for name in rows.MRI_IMAGES}
    present = {name: (length > 0).float() for name, length in lengths.items()}

    def loss(parts):
        total = 0.0
        for name, logits in parts.items():
            one = F.binary_cross_entropy_with_logits(logits["poor"].float(), poor, reduction="none").mean(1)
            two = F.binary_cross_entropy_with_logits(logits["mrs"].float(), reached, reduction="none").mean(1)
            total = total + ((one + 0.5 * two) * present[name]).sum() / present[name].sum()
        return total

    network = networks.Ensemble({name: shape[-1] for name, shape in rows.MRI_IMAGES.items()})
    shown = {name: images(arrays[name]) for name in rows.MRI_IMAGES}
    return Setup(network, (shown, lengths), loss, rate=2e-3, clipped=list(network.nets.values()))


def resnet50(arrays: dict, images: Callable, labels: Callable) -> Setup:
    return Setup(networks.ResNet50(), (images(arrays["image"]),), lambda pooled: pooled.float().square().mean())


def simclr(arrays: dict, images: Callable, labels: Callable) -> Setup:
    return Setup(networks.SimCLR(), (images(arrays["image"]),), nt_xent, rate=1e-3)


def nt_xent(projected):
    """`n f -> ()`: cross-entropy of finding the other view, i + n / 2, among all others (Chen et al. 2020), float32."""
    n = len(projected)
    z = F.normalize(projected.float())
    near = (z @ z.T / TEMPERATURE).masked_fill(torch.eye(n, dtype=torch.bool, device=z.device), -torch.inf)
    return F.cross_entropy(near, (torch.arange(n, device=z.device) + n // 2) % n)


SETUPS = {"densenet": densenet, "mri": mri, "resnet50": resnet50, "simclr": simclr}


def make(row: rows.Row, variant: str, threads: int) -> Callable[[], None]:
    """The step of a row in one of `rows.ALL`. The CPU's threads number `threads`; a GPU's float32 products may use TF32, as XLA's do."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    device = torch.device({"cpu": "cpu", "gpu": "cuda"}[row.device])
    if row.device == "gpu":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    last = variant.startswith("channels_last")

    def images(array):
        """Seen as channels first; in memory channels come last where the variant says so."""
        x = torch.from_numpy(array).to(device).movedim(-1, 2 if row.network == "mri" else 1)
        return x if last else x.contiguous()

    def labels(array):
        return torch.from_numpy(np.asarray(array, np.float32)).to(device)

    setup = SETUPS[row.network](rows.arrays(row), images, labels)
    if last:
        setup.network.to(memory_format=torch.channels_last_3d if row.network == "densenet" else torch.channels_last)
    setup.network.to(device).train()
    forward = torch.compile(setup.network, dynamic=False) if variant.endswith("compile") else setup.network
    return training_step(setup, forward, row, device)


def training_step(setup: Setup, forward: Callable, row: rows.Row, device: torch.device) -> Callable[[], None]:
    """Gradients, clipping, update; weight decay 1e-4 and the optimiser's fused form, its fastest."""
    optimiser = None
    if setup.rate:
        optimiser = torch.optim.AdamW(setup.network.parameters(), setup.rate, weight_decay=1e-4, amsgrad=setup.amsgrad, fused=True)

    def step():
        setup.network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=row.dtype == "bfloat16"):
            outputs = forward(*setup.inputs)
        setup.loss(outputs).backward()
        for part in setup.clipped:
            nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        if optimiser:
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step
