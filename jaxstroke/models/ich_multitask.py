"""Paper 3: prognosis of an intracranial haemorrhage from one head CT, with coma scale and age as further tasks (Cobo et al. 2024,
arXiv 2408.08784; papers' section 3.5).

Published with code: a DenseNet121-3D without classifier, dropout 0.2 of whole channels, and for every task ReLU, global mean, linear layer.
Its baselines are this network with one task: on the same encoder, and on `perez_3d`, whose maximum takes the place of ReLU and mean.
Clinical variables are outputs, never inputs.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke import config as settings
from jaxstroke.models import encoders, heads


class MultiTask(nn.Module):
    """One volume, one encoder, a linear layer a task; see `jaxstroke.models.build` for what goes in and comes out.

    The features are the encoder's maps by name, and `pooled`: `b f`, what it makes of its last map for a head.
    initial: how the heads begin, see `heads.Heads`.
    """

    image: str
    encoder: nn.Module
    tasks: dict[str, int]
    initial: str = "pytorch"

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        keys = mask = None
        if train:
            keys = batch["key"]
            mask = batch["weight"] * present(batch[f"images_mask/{self.image}"])  # who is not there must not move the norm's statistics
        features = self.encoder(batch[f"images/{self.image}"], mask, keys, train)
        logits = heads.Heads(self.tasks, self.initial, name="heads")(features["pooled"])
        return {"logits": logits, "features": features, "parts": {}}


def present(mask: jax.Array) -> jax.Array:
    """`b`, or `b d` of a volume that was stored slice by slice, `-> b`: whether a patient has the image. Slices that pad it are air."""
    return mask.reshape(len(mask), -1).max(-1).astype(jnp.float32)


def build(config, dtype) -> MultiTask:
    encoder = encoders.make(
        config.model.encoder,
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
    return MultiTask(settings.image_names(config)[0], encoder, heads.sizes(config), encoders.ENCODERS[config.model.encoder].heads)
