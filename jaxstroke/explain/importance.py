"""Which of a patient's pictures decided: the network is asked again without some of them.

    leave_one_out   log-odds with all pictures less those without this one: above 0 it raises the probability
    alone           log-odds of a patient of whom there is this picture and no other
    attention       the network's own weight of the picture, where its sequence model has weights; they sum to 1
    decides         of the fewest pictures without which, together, the prediction is another, see `decisive`; two that show the same stand
                    in for each other, so that by itself neither matters
    all, rest       log-odds with all pictures, and without those that decide

Numbers are means over the networks that are asked. Nothing is assumed of a network but what all of this package hold to: what lies at
mask 0 changes nothing. Of an ordinal outcome the log-odds are summed over its levels, as in `maps`.
"""

import collections
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke.cohort.files import called
from jaxstroke.errors import InputError
from jaxstroke.explain import maps
from jaxstroke.preprocess import inverse
from jaxstroke.training import step

logger = logging.getLogger("jaxstroke")
CHUNK = 16  # masks at a time: what a network makes of each picture by itself is computed once for all of them
SHARE = 0.5  # of the largest change that taking pictures away makes: what decides makes as much
LEAST = 0.1  # log-odds, 2.5 percentage points at most: where less changes, nothing decides
MOST = 0.5  # of a patient's pictures: more are not a few that decide
SAME = re.compile(r"file (\d+) of \d+")  # in a remark on a picture that is another's equal
COLUMNS = (
    "patient_id", "unit_id", "image", "head", "number", "file", "leave_one_out", "low", "high", "alone", "attention", "decides", "all",
    "rest", "left_out",
)  # fmt: skip


@dataclass(frozen=True)
class Importance:
    """Of the n pictures of one image that the network saw, in its order, for one head; n may be 0.

    files      base names, with the number of the picture where the file holds several
    change     (networks, n) log-odds with all pictures less those without this one
    alone      (networks, n) log-odds with each by itself
    whole      (networks,) log-odds with all pictures; rest: (networks,) with those that do not decide
    decides    (n,) bool
    attention  (n,) mean over the networks, or None
    left_out   (base name, why) of the other files of the patient's cell
    """

    image: str
    head: str
    files: tuple[str, ...]
    change: np.ndarray
    alone: np.ndarray
    whole: np.ndarray
    rest: np.ndarray
    decides: np.ndarray
    attention: np.ndarray | None
    left_out: tuple[tuple[str, str], ...]

    @property
    def mean(self) -> np.ndarray:
        """(n,) the change over all networks."""
        return self.change.mean(0)


def measure(model, head: str, image: str) -> Callable:
    """Jitted `measure(variables, fitted, batch) -> {"leave_one_out": s, "alone": s, "all": ()}`, 0 at padding. model, batch: of `maps`."""

    def one(variables, fitted, batch):
        mask = batch[f"images_mask/{image}"][0]  # s
        s, only = len(mask), jnp.eye(len(mask), dtype=mask.dtype)
        masks = jnp.concatenate([mask * (1 - only), mask * only, mask[None]])
        found = log_odds(model, variables, fitted, batch, head, image, masks)
        without, alone, whole, there = found[:s], found[s : 2 * s], found[2 * s], mask > 0
        return {"leave_one_out": jnp.where(there, whole - without, 0.0), "alone": jnp.where(there, alone, 0.0), "all": whole}

    return jax.jit(one)


def removal(model, head: str, image: str) -> Callable:
    """Jitted `removal(variables, fitted, batch, ranks) -> 2 s`: log-odds without the first, the first two, ... and without the last, the
    last two, ... of the pictures. ranks: `s` int, 0 of the first; of padding beyond the others."""

    def one(variables, fitted, batch, ranks):
        mask = batch[f"images_mask/{image}"][0]
        taken = jnp.arange(1, len(mask) + 1)[:, None]
        kept = jnp.concatenate([ranks >= taken, ranks < mask.sum() - taken])
        return log_odds(model, variables, fitted, batch, head, image, mask * kept).reshape(2, -1)

    return jax.jit(one)


def log_odds(model, variables, fitted, batch: dict, head: str, image: str, masks: jax.Array) -> jax.Array:
    """`m` of the patient with each of the masks `m s` of an image."""

    def value(row):
        return maps.logit(model, variables, fitted, batch | {f"images_mask/{image}": row[None]}, head, image)

    filled = jnp.pad(masks, ((0, -len(masks) % CHUNK), (0, 0)))
    return jax.lax.map(jax.vmap(value), filled.reshape(-1, CHUNK, masks.shape[1])).reshape(-1)[: len(masks)]


def decisive(whole: np.ndarray, without: np.ndarray) -> tuple[int, int]:
    """(direction, count): the fewest pictures of `removal` without which the log-odds change by LEAST, by SHARE of the largest change of
    any number, and in one direction by every network; count 0 where there are none, or more than MOST of all.

    whole: (networks,) log-odds with all n pictures; without: (networks, 2, n - 1).
    """
    change = whole[:, None, None] - without
    size = np.abs(change.mean(0)) * (np.sign(change) == np.sign(change[:1])).all(0)  # 2 n-1
    enough = size >= max(LEAST, SHARE * size.max(initial=0.0))
    counts = [int(np.argmax(row)) + 1 if row.any() else len(row) + 2 for row in enough]
    direction = int(np.argmin(counts))
    return direction, counts[direction] if counts[direction] <= MOST * (without.shape[2] + 1) else 0


def attention(network, image: str) -> Callable:
    """A jitted `attention(variables, fitted, batch) -> s` of what a network says its weights are, None where it says nothing."""

    def one(variables, fitted, batch):
        said = network.apply(step.collections(variables), batch, fitted, train=False, mutable=["intermediates"])[1]
        return weights_of(said.get("intermediates", {}), image, batch[f"images_mask/{image}"].shape)

    return jax.jit(one)


def weights_of(said: dict, image: str, shape: tuple[int, int]) -> jax.Array | None:
    """`s`: the mean of all that is called `attention` and has the shape of the mask, below the image's name if anything is."""
    leaves = jax.tree_util.tree_flatten_with_path(said)[0]
    found = [({getattr(key, "key", None) for key in path}, leaf) for path, leaf in leaves if leaf.shape == shape]
    found = [(names, leaf) for names, leaf in found if "attention" in names]
    own = [leaf for names, leaf in found if image in names] or [leaf for _, leaf in found]
    return jnp.stack(own).mean(0)[0] if own else None


def explain(tools, image: str, head: str, record: dict, paths, batch: dict, networks: list[tuple[dict, dict]]) -> Importance:
    """Of one patient. tools: `mode.Tools`; record, paths: of the patient's image; networks: (variables, fitted numbers) of those to ask."""
    unseen, count = left_out(record, paths), len(networks)
    if record["missing"]:
        none, each = np.zeros((count, 0)), np.zeros(count)
        return Importance(image, head, (), none, none, each, each, np.zeros(0, bool), None, unseen)
    files = names(record, paths)
    n, s = len(files), batch[f"images_mask/{image}"].shape[1]
    own = [jax.device_get(tools.importance[head, image](*network, batch)) for network in networks]
    change, alone, whole = (np.stack([one[name] for one in own]) for name in ("leave_one_out", "alone", "all"))
    change, alone = change[:, :n], alone[:, :n]
    ranks = np.full(s, s, np.int32)
    ranks[np.argsort(-alone.mean(0), kind="stable")] = np.arange(n)
    without = np.stack([tools.removal[head, image](*network, batch, ranks) for network in networks])
    direction, taken = decisive(whole, without[:, :, : n - 1])
    decides = ranks[:n] < taken if direction == 0 else ranks[:n] >= n - taken
    rest = without[:, direction, taken - 1] if taken else whole
    weights = [tools.attention[image](*network, batch) for network in networks]
    attended = None if weights[0] is None else np.mean(weights, 0)[:n]
    return Importance(image, head, files, change, alone, whole, rest, decides, attended, unseen)


def names(record: dict, paths) -> tuple[str, ...]:
    """Base names of the pictures of a record, in order; numbers and a warning where the table names other files than it was made of."""
    try:
        files = [path and name_of(path) for path in inverse.files_of(record, paths)]
    except InputError as error:
        logger.warning("%s", error)
        files = [f"file {place + 1}" if place >= 0 else None for place in places(record)]
    return tuple(called(file, number) for file, number in zip(files, inverse.frames_of(record), strict=True) if file is not None)


def places(record: dict) -> list[int]:
    """Which of the cell's files each element of a sequence is, -1 for padding."""
    return next(step["index"] for step in record["transforms"] if step["name"] == "slices")


def left_out(record: dict, paths) -> tuple[tuple[str, str], ...]:
    """(base name, why) of the files of a cell that are no element of its sequence, and what is said of those of which only parts are."""
    said = collections.defaultdict(list)
    for place, why in (*record["notes"], *record["unread"]):
        said[place].append(why)
    used, whole, dropped = set(), set(), ""
    if record["missing"]:
        said[record["file"]] = [record["reason"]]
    else:
        used = set(places(record)) - {-1}
        whole = {place for place, number in zip(places(record), inverse.frames_of(record), strict=True) if number < 0}
        count = sum(place >= 0 for place in places(record))
        kept = f"the {count} central ones" if inverse.pick_of(record) == "central" else f"{count} evenly spaced ones"
        dropped = f"one too many: of all pictures {kept} are kept"
    reasons = [(path, said[place] or [dropped] * (place not in used)) for place, path in enumerate(paths) if place not in whole]
    return tuple((name_of(path), named(why, paths)) for path, own in reasons for why in own)


def named(words: str, paths) -> str:
    """A remark in which a file of the cell is called by its name, where it was called by its number."""
    return SAME.sub(lambda found: name_of(paths[int(found[1]) - 1]), words)


def name_of(path: str) -> str:
    """The last part of a path: folders may name a patient."""
    return path.replace("\\", "/").rpartition("/")[2]


def rows(patient: str, unit: str, one: Importance) -> list[dict]:
    """Lines of `importance.csv`: a picture each, then those that were left out."""
    start = {"patient_id": patient, "unit_id": unit, "image": one.image, "head": one.head}
    numbers = {"leave_one_out": one.mean, "low": one.change.min(0), "high": one.change.max(0), "alone": one.alone.mean(0)}
    if one.attention is not None:
        numbers["attention"] = one.attention
    empty, patient_own = dict.fromkeys(COLUMNS), {"all": float(one.whole.mean()), "rest": float(one.rest.mean())}
    shown = [
        empty | start | {name: float(values[place]) for name, values in numbers.items()}
        | {"number": place + 1, "file": file, "decides": int(one.decides[place])} | patient_own
        for place, file in enumerate(one.files)
    ]  # fmt: skip
    return shown + [empty | start | {"file": file, "left_out": why} for file, why in one.left_out]
