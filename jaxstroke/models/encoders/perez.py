"""The baseline of the haemorrhage paper: the image network of Pérez et al. 2023 as Cobo et al. wrote it again (papers' section 3.5).

The published 291,217 parameters, with a head of one logit, are reached with biases in the second and third convolution alone.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.check_network import Takes
from jaxstroke.models import activation, layers, norm, pooling

KAIMING_UNIFORM = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")
SMALLEST = 38  # voxels an axis: 38, 18, 8, 3 before the four convolutions


class Stage(nn.Module):
    """`n d h w c -> n d' h' w' width`: 3x3x3 without padding, ReLU, and the maximum over 2x2x2 where it pools."""

    width: int
    biased: bool
    pools: bool
    conv: Any

    @nn.compact
    def __call__(self, x):
        x = self.conv(self.width, (3, 3, 3), padding="VALID", use_bias=self.biased, kernel_init=KAIMING_UNIFORM, name="conv")(x)
        return activation.relu(pooling.max_pool(x, 2) if self.pools else x)  # ReLU keeps the order: after the maximum an eighth of the work


class Perez(nn.Module):
    """`n d h w c -> {"stage1", ..., "stage4", "norm", "pooled": n 128}`; dropout of whole channels after the second stage.

    `pooled` is the maximum over space of the normalised last map, without a ReLU. Needs 38 voxels an axis.
    """

    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    dropout: float = 0.5
    conv: Any = layers.Conv
    norm: Any = norm.BatchNorm
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, keys: jax.Array | None = None, train: bool = False) -> dict:
        refused = Takes("this network", 3, SMALLEST).refusal(x.shape[1:-1])
        if refused:
            raise ValueError(f"n d h w c = {x.shape}: {refused}")
        stage = nn.remat(Stage) if self.remat else Stage
        features = {}
        for number, width in enumerate(self.widths, start=1):
            x = stage(width, biased=number in (2, 3), pools=number < 4, conv=self.conv, name=f"stage{number}")(x)
            features[f"stage{number}"] = x
            kept = layers.kept_channels(self.dropout, keys, (width,)) if number == 2 else None
            x = x if kept is None else x * kept[:, None, None, None].astype(x.dtype)
        features["norm"] = x = self.norm(name="norm")(x, mask, train)
        return features | {"pooled": pooling.global_max(x).astype(jnp.float32)}
