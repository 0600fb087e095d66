"""DenseNet (Huang et al. 2017) in three dimensions, as MONAI builds it: the encoder of the haemorrhage paper (section 3.5).

Every layer normalises all features before it. A feature map's batch statistics are the same in every later layer, so they are computed
once, when the map is made; layers differ by scale and bias (and keep running statistics of their own).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.check_network import Takes
from jaxstroke.models import activation, layers, norm, pooling


class DenseLayer(nn.Module):
    """`n d h w c -> n d h w growth`: norm, ReLU, 1x1x1 to `bottleneck * growth`, norm, ReLU, 3x3x3 to `growth`, dropout of whole channels.

    kept: `n growth` factors of the channels, None in evaluation.
    """

    growth: int
    bottleneck: int
    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x, known, mask, kept, train):
        x = activation.relu(normalised(self.norm(name="norm1"), x, mask, train, known))
        x = self.conv(self.bottleneck * self.growth, (1, 1, 1), name="conv1")(x)
        x = activation.relu(self.norm(name="norm2")(x, mask, train))
        x = self.conv(self.growth, (3, 3, 3), padding=((1, 1),) * 3, name="conv2")(x)
        return x if kept is None else x * kept[:, None, None, None].astype(x.dtype)


class Transition(nn.Module):
    """Norm, ReLU, 1x1x1 to half the channels, mean over 2x2x2."""

    conv: Any
    norm: Any

    @nn.compact
    def __call__(self, x, known, mask, train):
        channels = x.shape[-1]
        x = activation.relu(normalised(self.norm(name="norm"), x, mask, train, known))
        x = self.conv(channels // 2, (1, 1, 1), name="conv")(x)
        return x, pooling.mean_pool(x, 2)


class DenseNet(nn.Module):
    """`n d h w c -> {"stem", "block1", "transition1", ..., "norm5", "pooled": n f}`; DenseNet121 by default.

    `transition<k>` is the map before its pooling, where the paper looks with Grad-CAM. Needs 32 voxels an axis with four blocks.
    """

    growth: int = 32
    blocks: tuple[int, ...] = (6, 12, 24, 16)
    initial: int = 64
    bottleneck: int = 4
    dropout: float = 0.2
    conv: Any = layers.Conv
    norm: Any = norm.BatchNorm
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, keys: jax.Array | None = None, train: bool = False) -> dict:
        refused = Takes("this DenseNet", 3, smallest=2 ** (len(self.blocks) + 1)).refusal(x.shape[1:-1])
        if refused:
            raise ValueError(f"n d h w c = {x.shape}: {refused}")
        layer = nn.remat(DenseLayer, static_argnums=(5,)) if self.remat else DenseLayer
        x = self.conv(self.initial, (7, 7, 7), strides=2, padding=((3, 3),) * 3, name="stem")(x)
        features = {"stem": (x := activation.relu(self.norm(name="norm0")(x, mask, train)))}
        x = pooling.max_pool(x, 3, 2, 1)
        kept = layers.kept_channels(self.dropout, keys, (sum(self.blocks), self.growth))
        layers_before = 0
        for number, count in enumerate(self.blocks, start=1):
            maps, known = [x], [self.known(x, mask, train)]
            for place in range(count):
                one = layer(self.growth, self.bottleneck, self.conv, self.norm, name=f"block{number}_layer{place + 1}")
                own = None if kept is None else kept[:, layers_before + place]
                maps.append(one(jnp.concatenate(maps, -1), joined(known), mask, own, train))
                known.append(self.known(maps[-1], mask, train))
            layers_before += count
            x, known = jnp.concatenate(maps, -1), joined(known)
            features[f"block{number}"] = x
            if number < len(self.blocks):
                features[f"transition{number}"], x = Transition(self.conv, self.norm, name=f"transition{number}")(x, known, mask, train)
        x = normalised(self.norm(name="norm5"), x, mask, train, known)
        features["norm5"] = x
        return features | {"pooled": activation.relu(x).mean((1, 2, 3), dtype=jnp.float32)}

    def known(self, x, mask, train):
        """Statistics of a new map, for every layer after it; None where they are not needed."""
        rule = self.norm(parent=None)
        return norm.moments(x, mask, rule.axis) if train and isinstance(rule, norm.BatchNorm) and not rule.frozen else None


def joined(known: list) -> tuple | None:
    """Statistics of maps that are laid side by side."""
    if known[0] is None:
        return None
    means, variances, counts = zip(*known, strict=True)
    return jnp.concatenate(means), jnp.concatenate(variances), counts[0]


def normalised(rule: nn.Module, x, mask, train, known):
    """A norm applied with statistics that are known already, or by itself where it keeps none over the batch."""
    return rule(x, mask, train) if known is None else rule(x, mask, train, known)
