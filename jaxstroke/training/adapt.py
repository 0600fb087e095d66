"""Weights brought onto a network whose images are others than those they were trained on: of one colour, or of another size."""

from collections.abc import Iterator

import jax
import numpy as np

from jaxstroke.training import subtrees

CUBIC = -0.75  # slope of the cubic, as PyTorch's `interpolate(mode="bicubic")` has it
COLOURS = 3


def adapted(variables: dict, like: dict) -> tuple[dict, tuple[str, ...]]:
    """(the variables where they can be brought to the network's shapes, else as they are; remarks). like: abstract, of the network."""
    remarks = []

    def one(path, value):
        wanted = getattr(subtrees.at(like, tuple(key.key for key in path)), "shape", None)
        name = path[-1].key
        if wanted is None or wanted == value.shape:
            return value
        if name == "positions" and len(value.shape) == len(wanted) and value.shape[-1] == wanted[-1]:
            sizes = (" x ".join(map(str, shape[:-1])) for shape in (value.shape, wanted))
            remarks.append("learned positions of {} patches are interpolated bicubically to {}".format(*sizes))
            return resized(value, wanted[:-1])
        if name == "kernel":
            return for_grey(value, wanted, of_patches=path[-2].key == "embedding")
        return value

    return jax.tree_util.tree_map_with_path(one, variables), tuple(remarks)


def for_grey(kernel: np.ndarray, wanted: tuple[int, ...], of_patches: bool) -> np.ndarray:
    """A kernel over the three colours of a picture, summed where the network's is over one channel; else as it is.

    A grey image then gives what it would give in place of each of the three. of_patches: of a transformer's embedding, `(p p c) f`, where a
    convolution's is `*taps c f`.
    """
    *taps, inside, out = kernel.shape
    if of_patches and wanted == (inside // COLOURS, out) and inside % COLOURS == 0:
        return kernel.reshape(-1, COLOURS, out).sum(1)
    grey = taps and inside == COLOURS and wanted == (*taps, 1, out)
    return kernel.sum(-2, keepdims=True) if grey else kernel


def resized(grid: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """`*grid f -> *sizes f` by cubics along each axis, corners of images on corners: in two dimensions PyTorch's bicubic."""
    for axis, size in enumerate(sizes):
        grid = np.moveaxis(np.tensordot(cubics(grid.shape[axis], size), grid, (1, axis)), 0, axis)
    return grid.astype(np.float32)


def cubics(before: int, after: int) -> np.ndarray:
    """`after before`: the share of each old place in each new one; beyond the border the last one is repeated."""
    found = np.zeros((after, before))
    for row, place in enumerate((np.arange(after) + 0.5) * before / after - 0.5):
        first = int(np.floor(place)) - 1
        for tap, share in enumerate(taps(place - first - 1)):
            found[row, min(max(first + tap, 0), before - 1)] += share
    return found


def taps(offset: float) -> Iterator[float]:
    """Shares of the four nearest places (Keys 1981); offset: 0 to 1, from the second of them."""
    for distance in (1 + offset, offset, 1 - offset, 2 - offset):
        if distance <= 1:
            yield (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
        else:
            yield CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
