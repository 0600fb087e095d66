"""Paper 2: one diagnosis from any number of images of a patient, by a 2D network and a memory (Leal et al. 2020, arXiv 2010.10004; papers'
section 2.3).

Public: a convolutional network on every image, a sequence model with memory, one prediction after the last image. Widths, units and the
kind of memory are config fields with the defaults of the published family; mean, maximum and attention are its controls.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke import config as settings
from jaxstroke.models import activation, encoders, heads, layers, sequence, standardise
from jaxstroke.models.encoders import slices


class ConvSequence(nn.Module):
    """See `jaxstroke.models.build` for what goes in and comes out. The features: `patient`, `b u`, what the sequence model keeps.

    encoder: of single images by name, `n h w c -> maps`; None for convolutions of these widths. standard: of `standardise.STANDARDS`.
    """

    image: str
    encoder: nn.Module | None
    standard: str
    widths: tuple[int, ...]
    hidden: int
    dropout: tuple[float, float]
    sequence: str
    tasks: dict[str, int]
    form: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        keys = batch["key"] if train else None
        mask = batch[f"images_mask/{self.image}"]  # b s
        maps = self.maps(batch[f"images/{self.image}"], mask, batch["weight"] if train else None, keys, train)  # b s h w f
        if self.sequence != "convlstm":  # which reads maps; the others read a vector an image
            x = sequence.pooled(maps, mask)
            x = activation.relu(nn.Dense(self.hidden, dtype=self.dtype, name="project")(x))
            maps = layers.dropout(x, self.dropout[0], keys, site=0)[:, :, None, None]
        x = sequence.SEQUENCES[self.sequence](self.hidden, self.dtype, name="sequence")(maps, mask)
        dropped = layers.dropout(x, self.dropout[1], keys, site=1)
        return {"logits": heads.Heads(self.tasks, name="heads")(dropped), "features": {"patient": x}, "parts": {}}

    def maps(self, x: jax.Array, mask: jax.Array, weight: jax.Array | None, keys: jax.Array | None, train: bool) -> jax.Array:
        """`b s h w c -> b s h' w' f`: every image by the one encoder. Images that are not there do not move its norms' statistics.

        Where no map is needed, an encoder by name gives what it makes of its last one, `b s 1 1 f`: of a transformer not the mean alone.
        """
        b, s, *space = x.shape
        flat = standardise.standardised(x.reshape(b * s, *space), self.standard)
        if self.encoder is None:
            found = slices.SliceMaps(self.widths, self.form, self.dtype, name="encoder")(flat)
        else:
            shown = (mask if weight is None else mask * weight[:, None]).reshape(b * s)
            *_, last, pooled = self.encoder(flat, shown, layers.keys_of_pictures(keys, s), train).values()
            found = last if self.sequence == "convlstm" else pooled[:, None, None]
        return found.reshape(b, s, *found.shape[1:])


class Module(nn.Module):
    """The network as the one module of a merge with clinical columns, made outside (`training/fusion.py`).

    Its parameters lie under `image`. network: a `ConvSequence` but for its name.
    """

    image: str
    network: Callable

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        outputs = self.network(name=self.image)(batch, fitted, train)
        present = (batch[f"images_mask/{self.image}"].sum(-1) > 0).astype(jnp.float32)
        return outputs | {"parts": {self.image: {"logits": outputs["logits"], "present": present}}}


def build(config, dtype) -> ConvSequence | Module:
    encoder = encoders.of_config(config, dtype) if config.model.encoder else None
    network = functools.partial(
        ConvSequence,
        image=settings.image_names(config)[0],
        encoder=encoder,
        standard=config.model.standardise,
        widths=tuple(config.model.widths),
        hidden=config.model.hidden,
        dropout=tuple(config.model.dropout),
        sequence=config.model.sequence,
        tasks=heads.sizes(config),
        form=config.device.convolution,
        dtype=dtype,
    )
    return network() if config.model.fusion == "none" else Module(settings.image_names(config)[0], network)
