"""Which of a patient's pictures decided: the network is asked again without each of them, and for each of them alone.

    leave_one_out   log-odds with all pictures less those without this one: above 0 it raises the probability. Two pictures that show the
                    same stand in for each other, so that neither seems to matter: what each says alone tells of them
    alone           log-odds of a patient of whom there is this picture and no other
    all             log-odds with all of them
    attention       the network's own weight of the picture, where its sequence model has weights; they sum to 1

Numbers are means over the networks that are asked, with the lowest and the highest. Nothing is assumed of a network but what all of this
package hold to: what lies at mask 0 changes nothing. Of an ordinal outcome the log-odds are summed over its levels, as in `maps`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke.explain import maps
from jaxstroke.preprocess import inverse
from jaxstroke.training import step

CHUNK = 16  # masks at a time: what a network makes of each picture by itself is computed once for all of them
SHARE = 0.5  # of the largest change: pictures that change the log-odds by as much decide with it
LEAST = 0.1  # log-odds, 2.5 percentage points at most: where nothing changes by more, no single picture decides
SAME = re.compile(r"file (\d+) of \d+")  # in a remark on a picture that is another's equal
COLUMNS = (
    "patient_id", "unit_id", "image", "head", "number", "file", "leave_one_out", "low", "high", "all", "alone", "attention", "decides",
    "left_out",
)  # fmt: skip


@dataclass(frozen=True)
class Importance:
    """Of the n pictures of one image that the network saw, in its order, for one head; n may be 0.

    files      base names
    change     (networks, n) log-odds with all pictures less those without this one
    whole      (networks,) log-odds with all pictures; alone: (networks, n) with each by itself
    attention  (n,) mean over the networks, or None
    left_out   (base name, why) of the other files of the patient's cell
    """

    image: str
    head: str
    files: tuple[str, ...]
    change: np.ndarray
    whole: np.ndarray
    alone: np.ndarray
    attention: np.ndarray | None
    left_out: tuple[tuple[str, str], ...]

    @property
    def mean(self) -> np.ndarray:
        """(n,) the change over all networks."""
        return self.change.mean(0)

    @property
    def decides(self) -> np.ndarray:
        """(n,) whether a picture changes the log-odds by LEAST and by SHARE of the largest change, in one direction by every network."""
        size, signs = np.abs(self.mean), np.sign(self.change)
        return (size >= max(LEAST, SHARE * size.max(initial=0.0))) & (signs == signs[:1]).all(0)


def measure(model, head: str, image: str) -> Callable:
    """Jitted `measure(variables, fitted, batch) -> {"leave_one_out": s, "alone": s, "all": ()}`, 0 at padding. model, batch: of `maps`."""
    key = f"images_mask/{image}"

    def one(variables, fitted, batch):
        mask = batch[key][0]  # s
        s, only = len(mask), jnp.eye(len(mask), dtype=mask.dtype)
        masks = jnp.concatenate([mask * (1 - only), mask * only, mask[None], jnp.zeros((-(2 * s + 1) % CHUNK, s), mask.dtype)])

        def value(row):
            return maps.logit(model, variables, fitted, batch | {key: row[None]}, head, image)

        found = jax.lax.map(jax.vmap(value), masks.reshape(-1, CHUNK, s)).reshape(-1)
        without, alone, whole = found[:s], found[s : 2 * s], found[2 * s]
        there = mask > 0
        return {"leave_one_out": jnp.where(there, whole - without, 0.0), "alone": jnp.where(there, alone, 0.0), "all": whole}

    return jax.jit(one)


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
    unseen = left_out(record, paths)
    if record["missing"]:
        none = np.zeros((len(networks), 0))
        return Importance(image, head, (), none, np.zeros(len(networks)), none, None, unseen)
    files = tuple(name_of(path) for path in inverse.files_of(record, paths) if path is not None)
    own = [jax.device_get(tools.importance[head, image](variables, fitted, batch)) for variables, fitted in networks]
    weights = [tools.attention[image](variables, fitted, batch) for variables, fitted in networks]
    found = {name: np.stack([one[name] for one in own]) for name in own[0]}
    attended = None if weights[0] is None else np.mean(weights, 0)[: len(files)]
    n = len(files)
    return Importance(image, head, files, found["leave_one_out"][:, :n], found["all"], found["alone"][:, :n], attended, unseen)


def left_out(record: dict, paths) -> tuple[tuple[str, str], ...]:
    """(base name, why) of the files of a cell that are no element of its sequence."""
    said = dict([*record["notes"], *record["unread"]])
    used = set()
    if record["missing"]:
        said[record["file"]] = record["reason"]
    else:
        used = {place for step in record["transforms"] if step["name"] == "slices" for place in step["index"]}
    spaced = f"one too many: of all pictures {len(used - {-1})} evenly spaced ones are kept"
    return tuple((name_of(path), named(said.get(place, spaced), paths)) for place, path in enumerate(paths) if place not in used)


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
    empty = dict.fromkeys(COLUMNS)
    shown = [
        empty | start | {name: float(values[place]) for name, values in numbers.items()}
        | {"number": place + 1, "file": file, "all": float(one.whole.mean()), "decides": int(one.decides[place])}
        for place, file in enumerate(one.files)
    ]  # fmt: skip
    return shown + [empty | start | {"file": file, "left_out": why} for file, why in one.left_out]
