"""What turns an image, or a row of columns, into features. `ENCODERS` names those that `config.model.encoder` can be.

An encoder is called `encoder(x, mask=None, keys=None, train=False)` with x `n h w c` or `n d h w c`, mask `n` (1 = a valid row), keys
`n` for dropout, and gives named feature maps in order and, last, `pooled`: `n f` float32.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp

from jaxstroke.check_network import ENCODER_INPUTS, Takes
from jaxstroke.errors import InputError, nearest
from jaxstroke.models import layers
from jaxstroke.models import norm as norms
from jaxstroke.models.encoders import densenet, perez, resnet, slices, vit


@dataclass(frozen=True)
class Parts:
    """What every encoder is made of. dims: spatial axes. dropout: a rate.

    conv, conv_pool, norm: `layers.Conv`, `layers.ConvPool` and a norm, partially applied.

    widths: channels of the stages, where an encoder's name does not say them. pool, drop_path: of a transformer, see `vit`.
    """

    dims: int
    conv: Callable
    conv_pool: Callable
    norm: Callable
    remat: bool
    dtype: jnp.dtype
    dropout: float
    widths: tuple[int, ...] = ()
    pool: str = "mean"
    drop_path: float = 0.0


@dataclass(frozen=True)
class Encoder:
    """A kind of encoder: the images it takes, how it is built of its parts, and how heads on it begin, a name of `heads.INITIAL`."""

    takes: Takes
    build: Callable[[Parts], nn.Module]
    heads: str = "pytorch"

    @property
    def dims(self) -> int:
        """Spatial axes, 2 or 3."""
        return self.takes.axes


def densenet121(parts: Parts) -> nn.Module:
    return densenet.DenseNet(dropout=parts.dropout, conv=parts.conv, norm=parts.norm, remat=parts.remat, dtype=parts.dtype)


def perez_3d(parts: Parts) -> nn.Module:
    return perez.Perez(dropout=parts.dropout, conv=parts.conv, norm=parts.norm, remat=parts.remat)


def plain(parts: Parts) -> nn.Module:
    return slices.Plain(parts.widths, parts.conv_pool, parts.norm, parts.dtype)


def resnet_small(parts: Parts) -> nn.Module:
    """One residual block a stage: for a few hundred images of 16 to 64 voxels an axis and no accelerator."""
    once = (1,) * len(parts.widths)
    return resnet.ResNet(parts.dims, once, False, parts.conv, parts.norm, parts.widths, small=True, remat=parts.remat, dtype=parts.dtype)


def resnet18(parts: Parts) -> nn.Module:
    return resnet.ResNet(parts.dims, (2, 2, 2, 2), False, parts.conv, parts.norm, remat=parts.remat, dtype=parts.dtype)


def resnet50(parts: Parts) -> nn.Module:
    return resnet.ResNet(parts.dims, (3, 4, 6, 3), True, parts.conv, parts.norm, remat=parts.remat, dtype=parts.dtype)


def transformer(parts: Parts, width: int, depth: int, heads: int) -> nn.Module:
    settings = {"pool": parts.pool, "dropout": parts.dropout, "drop_path": parts.drop_path, "remat": parts.remat, "dtype": parts.dtype}
    return vit.VisionTransformer(parts.dims, width, depth, heads, **settings)


def vit_s(parts: Parts) -> nn.Module:
    return transformer(parts, 384, 12, 6)


def vit_b(parts: Parts) -> nn.Module:
    return transformer(parts, 768, 12, 12)


def vit_l(parts: Parts) -> nn.Module:
    return transformer(parts, 1024, 24, 16)


ENCODERS = {
    name: Encoder(ENCODER_INPUTS[name], build)
    for name, build in {
        "densenet121_3d": densenet121,
        "plain_2d": plain,
        "resnet_small_3d": resnet_small,
        "resnet18_2d": resnet18,
        "resnet18_3d": resnet18,
        "resnet50_2d": resnet50,
        "resnet50_3d": resnet50,
        "vit_s_2d": vit_s,
        "vit_b_2d": vit_b,
        "vit_l_2d": vit_l,
        "vit_s_3d": vit_s,
        "vit_b_3d": vit_b,
    }.items()
} | {"perez_3d": Encoder(ENCODER_INPUTS["perez_3d"], perez_3d, heads="xavier")}
NORMS = {"batch": norms.BatchNorm, "group": norms.GroupNorm}


def make(
    name: str,
    dtype: jnp.dtype,
    form: str = "auto",
    norm: str = "batch",
    axis: str | None = "data",
    remat: bool = False,
    dropout: float = 0.0,
    widths: tuple[int, ...] = (16, 32, 64, 128),
    frozen: bool = False,
    pool: str = "mean",
    drop_path: float = 0.0,
) -> nn.Module:
    """The encoder of this name.

    form: of the convolutions, see `convolution.conv`. norm: batch or group; a transformer has layer normalisation whatever it says.
    axis: the mesh axis that shares a batch's rows, for batch normalisation in training; None outside shard_map. remat: compute each block
    again in the backward pass. dropout: of whole channels in a DenseNet and in Perez's network, of transformers; a ResNet has none.
    widths: channels of the stages of `plain_2d` and `resnet_small_3d`; the others' are those published. frozen: in training as in
    evaluation, without dropout and by the running statistics, as of a backbone whose weights do not change (`optimizer.encoder_rate` of 0).
    pool, drop_path: of a transformer, see `vit.VisionTransformer`; others have none. Unknown names raise InputError.
    """
    for key, value, known in (("encoder", name, ENCODERS), ("norm", norm, NORMS), ("pool", pool, vit.POOLS)):
        if value not in known:
            raise InputError(f"config.model.{key} = '{value}' is unknown.{nearest(value, known)}")
    shared = {"axis": axis, "frozen": frozen} if norm == "batch" else {}
    encoder = ENCODERS[name]
    parts = Parts(
        dims=encoder.dims,
        conv=functools.partial(layers.Conv, form=form, dtype=dtype),
        conv_pool=functools.partial(remade(layers.ConvPool, remat), form=form, dtype=dtype),
        norm=functools.partial(NORMS[norm], dtype=dtype, **shared),
        remat=remat,
        dtype=dtype,
        dropout=0.0 if frozen else dropout,
        widths=widths,
        pool=pool,
        drop_path=0.0 if frozen else drop_path,
    )
    return encoder.build(parts)


def of_config(config, dtype: jnp.dtype, name: str = "") -> nn.Module:
    """The encoder of this name, default `config.model.encoder`, by the config's other keys, for the step's shard_map."""
    return make(
        name or config.model.encoder,
        dtype,
        form=config.device.convolution,
        norm=config.model.norm,
        axis="data",
        remat=config.model.remat,
        dropout=config.model.dropout[0],
        widths=tuple(config.model.widths),
        frozen=config.optimizer.encoder_rate == 0,
        pool=config.model.pool,
        drop_path=config.model.drop_path,
    )


def remade(layer: Callable, remat: bool) -> Callable:
    """A layer called with (x, mask, train), which computes its activations again in the backward pass where that is asked for."""
    return nn.remat(layer, static_argnums=(3,)) if remat else layer
