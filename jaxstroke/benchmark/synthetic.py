"""A batch of the config's shapes, drawn on the device: nothing is read, so that a step's time is the computation's."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke.benchmark.source import Source
from jaxstroke.cohort import icd10
from jaxstroke.models import heads
from jaxstroke.models.modalities import PRECOMPUTED
from jaxstroke.preprocess import clinical
from jaxstroke.training import runs, step

INVENTED = ("a", "b")  # levels of a categorical column that takes them from its table


def make(config, workdir, devices: jax.sharding.Mesh, rows: int) -> Source:
    """One batch for all steps, with the entries of `feed/resident.py`, and numbers fitted on its rows. Sequences are whole."""
    shape = (devices.shape["run"], 1, rows)
    draw = jax.jit(functools.partial(draw_batch, config, shape), out_shardings=jax.NamedSharding(devices, step.ROWS))
    batch = draw(jax.random.key(0))
    names = [name for name in batch if name.startswith(("clinical", "label"))]
    arrays = {name: np.asarray(batch[name])[0, 0] for name in names}
    everyone = runs.Run(0, 0, None, 0, np.arange(rows, dtype=np.int32), *[np.zeros(0, np.int32)] * 2)
    return Source(runs.fitted(everyone, schema(config), arrays, config), lambda number: batch)


def schema(config) -> clinical.Schema:
    """The clinical columns that the network sees."""
    codes = {name: icd10.GROUPS[kind] for name, kind in config.clinical.codes.items()}  # all there are: no table says which occur
    units = [types.SimpleNamespace(clinical=dict.fromkeys(config.clinical.categorical, level) | codes) for level in INVENTED]
    return clinical.seen(clinical.schema(config, units), settings.clinical_names(config))


def draw_batch(config, shape: tuple[int, int, int], key: jax.Array) -> dict[str, jax.Array]:
    """Every entry of a batch, leading axes `shape` (run, accumulation, b): images standard normal and whole, labels half and half."""
    keys = iter(jax.random.split(key, 4 * (len(config.images) + len(config.loss) + 1)))
    batch = {}
    for name in settings.image_names(config):
        image = config.images[name]
        views = 2 if settings.pretrains_alone(config) else 1
        elements = () if image.kind == "volume" else (views * image.shape[0],)
        batch[f"images/{name}"] = jax.random.normal(next(keys), (*shape, views * image.shape[0], *image.shape[1:], image.channels))
        batch[f"images_mask/{name}"] = jnp.ones((*shape, *elements))
    batch["clinical"], batch["clinical_mask"] = draw_clinical(schema(config), shape, next(keys), next(keys))
    batch |= draw_report(config, shape, next(keys)) if settings.reads(config) else {}
    for task, size in heads.sizes(config).items():
        levels = outcomes.of_task(config, task).levels(size)
        batch[f"label/{task}"] = jax.random.randint(next(keys), shape, 0, levels).astype(jnp.float32)
        batch[f"label_mask/{task}"] = jnp.ones(shape)
    batch["weight"] = jnp.ones(shape)
    batch["row"] = jnp.broadcast_to(jnp.arange(shape[-1], dtype=jnp.int32), shape)
    batch["patient"] = batch["row"]
    batch["key"] = jax.random.split(next(keys), shape)
    return batch


def draw_report(config, shape, key: jax.Array) -> dict[str, jax.Array]:
    """Tokens or precomputed features of a report of full length, and their mask."""
    wide = (*shape, config.text.length)
    if config.text.precomputed:
        found = {PRECOMPUTED: jax.random.normal(key, (*wide, config.text.width)).astype(jnp.float16)}
    else:
        found = {"tokens": jax.random.randint(key, wide, 0, config.text.vocabulary_size)}
    return found | {f"{name}_mask": jnp.ones(wide) for name in found}


def draw_clinical(columns: clinical.Schema, shape, key: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Raw values and mask, `shape k`: numeric columns around 50, indicators 0 or 1, a tenth missing."""
    wide = (*shape, len(columns.columns))
    draws = jax.random.normal(key, wide)
    values = jnp.where(jnp.asarray(columns.indicator, bool), (draws > 0).astype(jnp.float32), 50 + 15 * draws)
    known = jax.random.bernoulli(other, 0.9, wide).astype(jnp.float32)
    return values * known, known
