"""Damaged networks and checkpoints: bytes changed, files and folders gone, and trees that another version would have written."""

import contextlib
import pathlib
import random
import shutil
import tempfile
from collections.abc import Callable

import jax
import mutations
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from jaxstroke.training import checkpoint, loop


def damage(folder: pathlib.Path, draw: random.Random) -> str:
    """Change, empty or remove one file of a checkpoint, or a folder of it; what was done."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    path = draw.choice(sorted(files, key=lambda path: (len(path.parts), path.stat().st_size,
    path.name)))  # some names are drawn anew each time
    what = draw.random()
    name = path.relative_to(folder)
    if what < 0.1:
        path.unlink()
        return f"{name} gone"
    if what < 0.2:
        parent = path.parent if path.parent != folder else folder
        shutil.rmtree(parent)
        if draw.random() < 0.5:
            parent.mkdir()
        return f"folder {parent.relative_to(folder)} gone or empty"
    content, words = mutations.any_of(path.read_bytes(), draw)
    path.write_bytes(content)
    return f"{name}: {words}"


def saved(folder: pathlib.Path, tree):
    """Any tree in place of a checkpoint."""
    shutil.rmtree(folder)
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save(folder.absolute(), tree)
    checkpointer.wait_until_finished()
    checkpointer.close()


def first_leaf_changed(tree, change: Callable):
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, [change(np.asarray(leaves[0])), *leaves[1:]])


def halved(tree):
    return jax.tree.map(lambda x: np.asarray(x).astype(np.float16), tree)


def without_a_part(tree: dict) -> dict:
    variables = tree["variables"]
    kept = sorted(variables["params"])[1:]
    return tree | {"variables": variables | {"params": {name: variables["params"][name] for name in kept}}}


# What another version, another config or another program would have left there. tree: of `training.checkpoint.Finished`.
OTHERS: dict[str, Callable[[pathlib.Path, dict], None]] = {
    "a network without a part": lambda folder, tree: saved(folder, without_a_part(tree)),
    "a network with one more array": lambda folder, tree: saved(folder, tree | {"more": np.zeros(3)}),
    "a network of another shape": lambda folder, tree: saved(folder, first_leaf_changed(tree, lambda x: np.zeros((*x.shape, 2), x.dtype))),
    "a network with other values": lambda folder, tree: saved(folder, first_leaf_changed(tree, lambda x: x + np.ones((), x.dtype))),
    "a network in half precision": lambda folder, tree: saved(folder, tree | {"variables": halved(tree["variables"])}),
    "a network without its checksum": lambda folder, tree: saved(folder, tree["variables"]),
    "no arrays of a network": lambda folder, tree: saved(folder, {"other": np.zeros(3)}),
    "a file in place of a network": lambda folder, tree: (shutil.rmtree(folder), folder.write_bytes(b"weights")),
    "an empty folder": lambda folder, tree: (shutil.rmtree(folder), folder.mkdir()),
    "a checkpoint of several items": lambda folder, tree: (saved(folder, tree), nested(folder)),
}


def nested(folder: pathlib.Path):
    """One level deeper, as a manager of checkpoints lays it out."""
    moved = folder.parent / "moved"
    folder.rename(moved)
    folder.mkdir()
    moved.rename(folder / "default")


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def equal(one, other) -> bool:
    """Whether two trees hold the same arrays, to the bit."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)]
    return all((a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes()) for a, b in pairs)  # NaN equals NaN


def resumed(engine, runs: dict, folder: pathlib.Path) -> tuple:
    """What training begins with, as the loop finds it: (state, slots, done, chunk, steps into the chunk)."""
    with contextlib.closing(checkpoint.Rolling(epath.Path(folder))) as rolling:
        return loop.restore_or_start(engine, rolling, runs)


def states(ready, folder: pathlib.Path) -> dict:
    """Chunk -> state of every whole checkpoint, each read while it is the newest."""
    found = {}
    with tempfile.TemporaryDirectory() as copy:
        for path in (path for path in folder.iterdir() if path.name.isdigit()):
            shutil.copytree(path, pathlib.Path(copy) / path.name / path.name)
            state, _, _, chunk, _ = resumed(ready.engine, {run.id: run for run in ready.todo}, pathlib.Path(copy) / path.name)
            found[chunk] = state
    return found
