"""Paper 1: a CNN-LSTM per MRI module, merged by a clinical weight (Hatami et al. 2022, arXiv 2205.05545; papers' section 1.4).

Public: one dedicated CNN-LSTM a module, its preliminary probability, a merge weighted by age or NIHSS.
Everything else (widths, units, dropout, the rules' formulas) is a config field with a default of the published family.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke import config as settings
from jaxstroke.models import fusion, heads, layers
from jaxstroke.models.encoders import clinical, slices


class ModuleNet(nn.Module):
    """One module's preliminary logits: `b s h w c, b s -> {task: b k}` and its feature `b f`."""

    widths: tuple[int, ...]
    hidden: int
    dropout: tuple[float, float]
    tasks: dict[str, int]
    form: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, keys: jax.Array | None, site: int) -> tuple[dict, jax.Array]:
        x = slices.SliceEncoder(self.widths, self.form, self.dtype, name="encoder")(x)  # b s f
        x = layers.dropout(x, self.dropout[0], keys, 2 * site)
        x = layers.MaskedLSTM(self.hidden, self.dtype, name="lstm")(x, mask)  # b u
        dropped = layers.dropout(x, self.dropout[1], keys, 2 * site + 1)
        return heads.Heads(self.tasks, name="heads")(dropped), x


class Ensemble(nn.Module):
    """All modules and their merge; parameters of a module lie under its own name.

    `parts` holds each module's own logits; `logits` is the merge, by `rule`. In two-stage training the merge of fitted rules is
    made outside (`training/fusion.py`) and `logits` here is the plain mean.
    """

    images: tuple[str, ...]
    widths: tuple[int, ...]
    hidden: int
    dropout: tuple[float, float]
    tasks: dict[str, int]
    kinds: dict[str, str]  # of the tasks, by which a merge goes back and forth between logits and probabilities
    rule: str
    column: int  # of the clinical columns, whose value weights the modules
    upper: float
    clip: tuple[float, float]
    form: str  # of convolutions
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        keys = batch["key"] if train else None
        parts, features = {}, {}
        for site, name in enumerate(self.images):
            mask = batch[f"images_mask/{name}"]  # b s
            net = ModuleNet(self.widths, self.hidden, self.dropout, self.tasks, self.form, self.dtype, name=name)
            logits, features[name] = net(batch[f"images/{name}"], mask, keys, site)
            parts[name] = {"logits": logits, "present": (mask.sum(-1) > 0).astype(jnp.float32)}
        present = jnp.stack([part["present"] for part in parts.values()], -1)  # b m
        merged = {}
        for task in self.tasks:
            stacked = jnp.stack([part["logits"][task] for part in parts.values()], -2)  # b m k
            merged[task] = self.merge(task, stacked, present, batch, fitted)
        return {"logits": merged, "features": features, "parts": parts}

    def merge(self, task: str, logits: jax.Array, present: jax.Array, batch: dict, fitted: dict) -> jax.Array:
        """`b m k, b m -> b k` logits by the rule."""
        prior = fitted[f"prior/{task}"]
        probabilities = heads.PROBABILITY[self.kinds[task]](logits)
        if self.rule in fusion.WEIGHTED:
            known = batch["clinical_mask"][:, self.column] > 0
            value = jnp.where(known, batch["clinical"][:, self.column], fitted["clinical_median"][self.column])
            c = fusion.weight(value, self.upper, self.clip)
        if self.rule == "learned":
            x = probabilities * (c[:, None] * present)[..., None]
            return nn.Dense(logits.shape[-1], name=f"learned_{task}")(x.reshape(x.shape[0], -1))
        if self.rule == "stacked":
            x = (logits * present[..., None]).reshape(logits.shape[0], -1)
            x = jnp.concatenate([x, present, clinical.clinical_input(batch, fitted)], -1)
            return nn.Dense(logits.shape[-1], name=f"stacked_{task}")(x)
        merged = fusion.parameter_free(self.rule, probabilities, present, c if self.rule != "mean" else None, prior)
        return heads.LOGIT[self.kinds[task]](merged)


def build(config, dtype) -> Ensemble:
    columns = settings.clinical_names(config)
    name = config.model.fusion_column
    return Ensemble(
        images=settings.image_names(config),
        widths=tuple(config.model.widths),
        hidden=config.model.hidden,
        dropout=tuple(config.model.dropout),
        tasks=heads.sizes(config),
        kinds=heads.kinds(config),
        rule="mean" if config.train.stages == "two" or config.model.fusion == "none" else config.model.fusion,
        column=columns.index(name) if name else 0,
        upper=config.model.fusion_upper[name] if name else 1.0,
        clip=tuple(config.model.fusion_clip),
        form=config.device.convolution,
        dtype=dtype,
    )
