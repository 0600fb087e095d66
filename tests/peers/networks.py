"""The networks of the comparison in PyTorch, written as its users write them; channels first.

A test copies the parameters of our networks in here and finds the same logits and gradients.
"""

import torch
from monai.networks.nets import DenseNet121
from torch import nn
from torch.nn import functional as F


class MultiTaskDenseNet(nn.Module):
    """`b 1 d h w -> {task: b k}`: MONAI's 3D DenseNet121 and a head a task (Cobo et al. 2024), named as in the published code.

    cuts: logits of the coma scale, 2 ordinal or 1 binary.
    """

    def __init__(self, dropout: float = 0.2, cuts: int = 2):
        super().__init__()
        self.feature_extractor = DenseNet121(spatial_dims=3, in_channels=1, out_channels=1, dropout_prob=dropout)
        self.feature_extractor.class_layers = nn.Identity()
        self.binary_head, self.ordinal_headGCS, self.ordinal_headAge = task_head(1), task_head(cuts), task_head(1)

    def forward(self, x):
        x = self.feature_extractor(x)
        return {"prognosis": self.binary_head(x), "gcs": self.ordinal_headGCS(x), "age": self.ordinal_headAge(x)}


def task_head(size: int) -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(1024, size))


class Perez(nn.Module):
    """`b 1 d h w -> {"prognosis": b 1}`: the baseline of Cobo et al. 2024, after Pérez et al. 2023, named as in the published code."""

    def __init__(self, dropout: float = 0.5):
        super().__init__()
        self.feature_extractor = nn.Sequential(
            nn.Conv3d(1, 16, 3, bias=False), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(16, 32, 3), nn.ReLU(), nn.MaxPool3d(2), nn.Dropout3d(dropout),
            nn.Conv3d(32, 64, 3), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(64, 128, 3, bias=False), nn.ReLU(), nn.BatchNorm3d(128), nn.AdaptiveMaxPool3d(1),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Flatten(1), nn.Linear(128, 1))

    def forward(self, x):
        return {"prognosis": self.classifier(self.feature_extractor(x))}


class Tabular(nn.Module):
    """`b k -> {"prognosis": b 1}`: the network of clinical columns of Cobo et al. 2024, named as in the published code."""

    def __init__(self, columns: int = 42, dropout: float = 0.3):
        super().__init__()
        self.feature_extractor = nn.Sequential(
            nn.Linear(columns, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(),
            nn.BatchNorm1d(16),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(16, 1))

    def forward(self, x):
        return {"prognosis": self.classifier(self.feature_extractor(x))}


class ModuleNet(nn.Module):
    """One MRI module of paper 1: `b s c h w, b -> {task: b k}`. A stage is convolution, ReLU, maximum; length: valid slices, first ones."""

    def __init__(self, channels: int, widths: tuple[int, ...], hidden: int, dropout: tuple[float, float]):
        super().__init__()
        stages = []
        for before, after in zip((channels, *widths), widths, strict=False):
            stages += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.encoder = nn.Sequential(*stages)
        self.dropout = nn.ModuleList(nn.Dropout(rate) for rate in dropout)
        self.lstm = nn.LSTM(widths[-1], hidden, batch_first=True)
        self.heads = nn.ModuleDict({"poor": nn.Linear(hidden, 1), "mrs": nn.Linear(hidden, 6)})

    def forward(self, x, length):
        features = self.encoder(x.flatten(0, 1)).mean((2, 3)).unflatten(0, x.shape[:2])  # b s f
        hidden, _ = self.lstm(self.dropout[0](features))
        last = hidden[torch.arange(len(x), device=x.device), (length - 1).clamp(min=0)]
        last = self.dropout[1](last * (length > 0)[:, None])
        return {task: head(last.float()) for task, head in self.heads.items()}


class Ensemble(nn.Module):
    """Every MRI module by itself: images and lengths in order -> {module: {task: b k}}."""

    def __init__(self, channels: dict[str, int], widths=(8, 16, 32, 64), hidden=32, dropout=(0.3, 0.5)):
        super().__init__()
        self.nets = nn.ModuleDict({name: ModuleNet(count, widths, hidden, dropout) for name, count in channels.items()})

    def forward(self, images, lengths):
        return {name: net(images[name], lengths[name]) for name, net in self.nets.items()}


class Bottleneck(nn.Module):
    """`n c h w -> n 4w h' w'`: 1 x 1, 3 x 3 with the stride (v1.5), 1 x 1, and the shortcut."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.norm3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Identity()
        if stride > 1 or channels != 4 * width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = F.relu(self.norm2(self.conv2(y)), inplace=True)
        return F.relu(self.norm3(self.conv3(y)) + self.shortcut(x), inplace=True)


class ResNet50(nn.Module):
    """`n 3 h w -> n 2048`: He et al. 2016 in the form v1.5, without the classifier."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.pool = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.MaxPool2d(3, 2, 1)
        blocks, channels = [], 64
        for stage, count in enumerate((3, 4, 6, 3)):
            for place in range(count):
                width = 64 * 2**stage
                blocks.append(Bottleneck(channels, width, 2 if stage and not place else 1))
                channels = 4 * width
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.pool(F.relu(self.norm(self.conv(x)), inplace=True))
        return self.blocks(x).mean((2, 3))


class SimCLR(nn.Module):
    """`n 3 h w -> n 128`: ResNet-50 and the projection head of Chen et al. 2020."""

    def __init__(self):
        super().__init__()
        self.encoder = ResNet50()
        self.projection = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(inplace=True), nn.Linear(2048, 128))

    def forward(self, x):
        return self.projection(self.encoder(x))
