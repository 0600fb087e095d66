"""The whole cohort in device memory: a batch is a gather by row index, augmented, in one jitted call."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxstroke import hosts
from jaxstroke.feed import augment, views
from jaxstroke.feed.buckets import Buckets

AUGMENTATION, NETWORK = 0, 1  # folded into a row's key; a network folds the sites of its dropout into the key it is given


class Resident:
    """A feed: from rows to batches. arrays: the cohort's, of `feed/load.py`. augment, paired: see `changes`."""

    def __init__(self, arrays: dict[str, np.ndarray], mesh: jax.sharding.Mesh, augment, buckets: Buckets | None = None, paired=None):
        self.data, self.buckets = place(arrays, mesh), buckets
        self.takes = {train: make_take(mesh, change) for train, change in changes(augment, paired).items()}

    def batches(self, table: np.ndarray, seeds: np.ndarray, steps: np.ndarray, train: bool) -> Iterator[dict[str, jax.Array]]:
        """A batch for every entry of `table`: see `make_take`. table: `n run accumulation b`; seeds: `run`; steps: `n run`."""
        for rows, step in zip(table, steps, strict=True):
            yield self.takes[train](self.data, {}, rows, seeds, step, cut(self.buckets, rows))

    def example(self, rows: np.ndarray, seeds: np.ndarray, steps: np.ndarray) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of a batch."""
        return jax.eval_shape(self.takes[False], self.data, {}, rows, seeds, steps)


def cut(buckets: Buckets | None, rows: np.ndarray) -> tuple[str, int] | None:
    """(image, length) that a batch of these rows is cut to."""
    return None if buckets is None else (buckets.image, buckets.size(rows))


def place(arrays: dict[str, np.ndarray], mesh: jax.sharding.Mesh) -> dict[str, jax.Array]:
    """The cohort's arrays on every device of the mesh. Keys as in the batch, and `scale/<image>`, `offset/<image>`: `n`."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"'{name}' holds NaN or infinity: missing values are masked before they reach the device")
    return hosts.put(arrays, jax.NamedSharding(mesh, P()))


def changes(augment, paired) -> dict[bool, Callable | None]:
    """What is done to a batch when training (True) and when scoring: `change(batch, keys) -> batch`.

    augment: `train.augment`. paired: `config.pretrain` where there are two views of every picture, whatever they are for; else None.
    """
    if paired is not None:
        return dict.fromkeys((True, False), functools.partial(views.two, settings=paired))
    return {True: functools.partial(augmented, settings=augment), False: None}


def make_take(mesh: jax.sharding.Mesh, change: Callable | None):
    """A jitted `take(data, pixels, rows, seed, step, cut=None) -> batch`.

    data: arrays with a row a patient. pixels: {"images/<name>": `run accumulation b ...`}, images that are gathered already.
    rows: `run accumulation b` int32 indices into the cohort, -1 = padding; seed, step: `run` int32. The batch has every entry of
    `data` gathered and masked, with leading axes `run accumulation b`, images as float32, `weight` (1 for a real row), `row` and `key`.
    change: of `changes`. cut: (image, length), what its sequence is cut to.
    """

    def take(data, pixels, rows, seed, step, cut):
        _, micro, b = rows.shape
        place_in_update = jnp.arange(micro)[:, None] * b * jax.lax.axis_size("data") + jax.lax.axis_index("data") * b + jnp.arange(b)
        keys = row_keys(seed[0], step[0], place_in_update.reshape(-1))
        pixels = {name: x.reshape(micro * b, *x.shape[3:]) for name, x in pixels.items()}
        batch = gather(data, pixels, rows.reshape(-1), cut)
        if change is not None:
            batch = change(batch, keys)
        batch["key"] = jax.vmap(lambda key: jax.random.fold_in(key, NETWORK))(keys)
        return jax.tree.map(lambda x: x.reshape(1, micro, b, *x.shape[1:]), batch)

    split = P("run", None, "data")

    @functools.partial(jax.jit, static_argnames="cut")
    def mapped(data, pixels, rows, seed, step, cut=None):
        local = functools.partial(take, cut=cut)
        return jax.shard_map(local, mesh=mesh, in_specs=(P(), split, split, P("run"), P("run")), out_specs=split)(
            data, pixels, rows, seed, step
        )

    return mapped


def row_keys(seed, step, places):
    """A key a row: a function of (seed, step, place in the update), whatever the number of devices."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda place: jax.random.fold_in(key, place))(places)


def gather(
    data: dict[str, jax.Array], pixels: dict[str, jax.Array], rows: jax.Array, cut: tuple[str, int] | None = None
) -> dict[str, jax.Array]:
    """Rows of the cohort: `n ... , b -> b ...`, stored integers scaled to float32, everything of a padded row masked.

    cut: (image, length), of a sequence that is longer than any of these rows.
    """
    valid = rows >= 0
    index = jnp.maximum(rows, 0)
    batch = {}
    if cut is not None:
        names = (f"images/{cut[0]}", f"images_mask/{cut[0]}")
        data, pixels = ({name: x[:, : cut[1]] if name in names else x for name, x in found.items()} for found in (data, pixels))
    for name in data | pixels:
        if name.startswith(("scale/", "offset/")):
            continue
        part = pixels[name] if name in pixels else data[name][index]
        if name.startswith("images/"):
            image = name.removeprefix("images/")
            wide = (slice(None), *(None,) * (part.ndim - 1))
            part = part.astype(jnp.float32) * data[f"scale/{image}"][index][wide] + data[f"offset/{image}"][index][wide]
            shown = data[f"images_mask/{image}"][index]
            shown = shown * batch_mask(valid, shown.ndim)
            part = part * batch_mask(shown, part.ndim)  # an offset must not light up padded slices and rows
        if "mask" in name:
            part = part.astype(jnp.float32) * batch_mask(valid, part.ndim)
        batch[name] = part
    batch["weight"] = valid.astype(jnp.float32)
    batch["row"] = rows
    return batch


def batch_mask(mask: jax.Array, ndim: int) -> jax.Array:
    """A mask with ones behind, to multiply an array of `ndim` axes."""
    return mask.reshape(*mask.shape, *(1,) * (ndim - mask.ndim)).astype(jnp.float32)


def augmented(batch: dict[str, jax.Array], keys: jax.Array, settings) -> dict[str, jax.Array]:
    """Every image of the batch by its row's draw: all modules of a patient move together, as they are registered."""
    numbers = jax.vmap(lambda key: augment.draw(jax.random.fold_in(key, AUGMENTATION), settings))(keys)
    images = {name: x for name, x in batch.items() if name.startswith("images/")}

    def skipped(name: str) -> tuple[str, ...]:
        image = name.removeprefix("images/")
        return tuple(settings.skip[image]) if image in settings.skip else ()

    return batch | {name: augment.apply(x, numbers, settings, skipped(name)) for name, x in images.items()}
