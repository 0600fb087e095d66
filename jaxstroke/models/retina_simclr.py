"""Paper 4: stroke from retinal OCT and infrared images and health records (Shurrab et al. 2025, arXiv 2505.02677; papers' section 4.4).

Public: encoders pre-trained by SimCLR, merged with demographics, vital signs and diagnosis codes. Everything else is a config field with
a default of the authors' own code on another organ. An eye is a row; how a patient's rows become one score is `evaluate.per`.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke import config as settings
from jaxstroke.models import activation, encoders, heads, layers, simclr, standardise
from jaxstroke.models import norm as norms
from jaxstroke.models.encoders import clinical


class Eye(nn.Module):
    """What one image's pictures say of a row: `b s h w c, b s -> b f` float32, the mean of the encoder's features over those there."""

    encoder: nn.Module
    standard: str

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, keys: jax.Array | None, train: bool) -> jax.Array:
        b, s, *space = x.shape
        flat = standardise.standardised(x.reshape(b * s, *space), self.standard)
        pooled = self.encoder(flat, mask.reshape(-1), layers.keys_of_pictures(keys, s), train)["pooled"].reshape(b, s, -1)
        return layers.masked_mean(pooled, mask)


class Retina(nn.Module):
    """See `jaxstroke.models.build` for what goes in and comes out. The features: of each image `b f`, and what is merged.

    networks: by image, an `Eye` but for its name. clinical: whether health records are merged in. hidden: units of each projection and of
    the layer behind them; 0 is a linear probe: normalised features, and columns, straight into the heads.
    """

    networks: dict[str, Callable]
    clinical: bool
    hidden: int
    dropout: float
    tasks: dict[str, int]
    norm: Callable
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        keys = batch["key"] if train else None
        features, merged = {}, []
        for name, network in self.networks.items():
            mask = batch[f"images_mask/{name}"]  # b s
            shown = mask * batch["weight"][:, None] if train else mask
            features[name] = network(name=name)(batch[f"images/{name}"], shown, keys, train)
            present = (shown.sum(-1) > 0).astype(jnp.float32)
            x = self.projected(name, features[name], present, train) * present[:, None]
            merged += [x, 1 - present[:, None]]
        if self.clinical:
            merged.append(self.records(batch, fitted, keys))
        x = jnp.concatenate(merged, -1)
        if self.hidden:
            x = activation.relu(nn.Dense(self.hidden, dtype=self.dtype, name="merge")(x))
            x = layers.dropout(x, self.dropout, keys, site=200)
        logits = heads.Heads(self.tasks, "lecun" if self.hidden else "zeros", name="heads")(x)
        return {"logits": logits, "features": features | {"patient": x}, "parts": {}}

    def projected(self, name: str, x: jax.Array, present: jax.Array, train: bool) -> jax.Array:
        """`b f -> b hidden`, layer-normalised; for a probe `b f` over the batch, as for MAE (He et al. 2021)."""
        if not self.hidden:
            return self.norm(name=f"{name}_norm")(x, present, train)
        x = nn.Dense(self.hidden, dtype=self.dtype, name=f"{name}_project")(x)
        return nn.LayerNorm(use_fast_variance=False, dtype=self.dtype, name=f"{name}_norm")(x)

    def records(self, batch: dict, fitted: dict, keys: jax.Array | None) -> jax.Array:
        """`b k -> b f`: standardised columns and missing flags, through two layers where there is no probe."""
        x = clinical.clinical_input(batch, fitted)
        if not self.hidden:
            return x
        x = clinical.ClinicalEncoder(self.hidden // 2, (self.dropout, self.dropout), self.dtype, name="records")(x, keys)
        x = nn.Dense(self.hidden, dtype=self.dtype, name="records_project")(x)
        return nn.LayerNorm(use_fast_variance=False, dtype=self.dtype, name="records_norm")(x)


def build(config, dtype) -> Retina | simclr.Contrast:
    if settings.pretrains_alone(config):
        return simclr.build(config, dtype)
    standard = config.model.standardise
    return Retina(
        networks={name: functools.partial(Eye, encoders.of_config(config, dtype), standard) for name in settings.image_names(config)},
        clinical=config.model.fusion == "concat",
        hidden=config.model.hidden,
        dropout=config.model.dropout[1],
        tasks=heads.sizes(config),
        norm=functools.partial(norms.BatchNorm, axis="data", dtype=dtype),
        dtype=dtype,
    )
