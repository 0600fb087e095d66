"""Augmentation on the device: draw, then apply; one draw for all slices of an image; a key a row (paper 1, section 1.4).

A rotation is three shears and a shear is a sum of shifted copies with linear weights: multiply-adds that any accelerator fuses,
instead of gathers. The shift rides on two of the shears.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

PLANES = {"plane": ((2, 3),), "volume": ((2, 3), (1, 3), (1, 2))}  # axes of `b s h w c` that a rotation turns into each other
FLIPS = {"plane": (3,), "volume": (3, 2, 1)}
EXTRA = 100  # folded into a row's key for draws beyond the first four, whose numbers must not change when one is added


def draw(key: jax.Array, settings) -> dict[str, jax.Array]:
    """One row's numbers. settings: `train.augment`.

    flip: 0 or 1 an axis; angle: radians a plane; shift: shares of (h, w); zoomed: 0 or 1; intensity: factor; noise: deviation; key: of it.
    """
    flip, angle, shift, intensity = jax.random.split(key, 4)
    more = [jax.random.fold_in(key, EXTRA + number) for number in range(7)]
    flips = [jax.random.bernoulli(one, settings.flip) for one in (flip, *more[:2])[: len(FLIPS[settings.axes])]]
    turns = [jax.random.uniform(one, (), minval=-1.0) for one in (angle, *more[2:4])[: len(PLANES[settings.axes])]]
    rotated = jax.random.bernoulli(more[4], settings.rotate_share)
    return {
        "flip": jnp.stack(flips).astype(jnp.float32),
        "angle": jnp.stack(turns) * math.radians(settings.rotate) * rotated,
        "shift": jax.random.uniform(shift, (2,), minval=-1.0) * settings.shift,
        "zoomed": jax.random.bernoulli(more[5], settings.zoom_share).astype(jnp.float32),
        "intensity": 1.0 + jax.random.uniform(intensity, (), minval=-1.0) * settings.intensity,
        "noise": settings.noise * jax.random.bernoulli(jax.random.fold_in(more[6], 0), settings.noise_share),
        "key": jax.random.fold_in(more[6], 1),
    }


def apply(x: jax.Array, numbers: dict[str, jax.Array], settings, skip: tuple[str, ...] = ()) -> jax.Array:
    """`b s h w c -> b s h w c`. numbers: of `draw`, each with a leading `b`. skip: some of `check_network.AUGMENTATIONS`."""
    if "flip" not in skip and settings.flip > 0:
        for place, axis in enumerate(FLIPS[settings.axes]):
            x = jnp.where(wide(numbers["flip"][:, place]) > 0, jnp.flip(x, axis), x)
    rotate = 0.0 if "rotate" in skip else settings.rotate
    share = 0.0 if "shift" in skip else settings.shift
    angle = numbers["angle"] * (rotate > 0)
    x = rotated(x, angle[:, 0], (2, 3), rotate, numbers["shift"] * (share > 0), share)
    for place, plane in enumerate(PLANES[settings.axes][1:], start=1):
        x = rotated(x, angle[:, place], plane, rotate, jnp.zeros_like(numbers["shift"]), 0.0)
    if "zoom" not in skip and settings.zoom_share > 0:
        x = jnp.where(wide(numbers["zoomed"]) > 0, zoomed(x, settings.zoom, (1, 2, 3) if settings.axes == "volume" else (2, 3)), x)
    if "intensity" not in skip and settings.intensity > 0:
        x = x * wide(numbers["intensity"])
    if "noise" not in skip and settings.noise > 0:
        x = x + wide(numbers["noise"]) * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(numbers["key"])
    return x


def wide(number: jax.Array) -> jax.Array:
    """`b -> b 1 1 1 1`."""
    return number[:, None, None, None, None]


def rotated(x: jax.Array, angle: jax.Array, plane: tuple[int, int], degrees: float, shift: jax.Array, share: float) -> jax.Array:
    """Turned by `angle` (`b`) in a plane of axes, and moved by `shift` (`b 2`, shares of their lengths). degrees, share: the most of each.

    Without a rotation by whole voxels: between them values would be mixed, and patients who are scored would be sharper than these.
    A rotation by `a` is shear(-tan(a/2)) of the second axis, shear(sin a) of the first, and the first shear again.
    """
    if not degrees and not share:
        return x
    first, second = plane
    h, w = x.shape[first], x.shape[second]
    half, sine = jnp.tan(angle / 2), jnp.sin(angle)
    steep, long = math.tan(math.radians(degrees) / 2), math.sin(math.radians(degrees))
    down, right = shift[:, 0] * h, shift[:, 1] * w
    if not degrees:
        down, right = jnp.round(down), jnp.round(right)
    x = shear(x, -half, right, (second, first), steep * h / 2 + share * w)
    x = shear(x, sine, down, (first, second), long * w / 2 + share * h)
    return shear(x, -half, jnp.zeros_like(half), (second, first), steep * h / 2)


def zoomed(x: jax.Array, factor: float, axes: tuple[int, ...]) -> jax.Array:
    """Enlarged about the centre, the shape kept; linear, one matrix product an axis."""
    for axis in axes:
        place = np.arange(x.shape[axis])
        centre = (x.shape[axis] - 1) / 2
        source = np.clip((place - centre) / factor + centre, 0, x.shape[axis] - 1)
        weights = np.maximum(0, 1 - np.abs(source[:, None] - place)).astype(np.float32)
        x = jnp.moveaxis(jnp.tensordot(weights, x, axes=(1, axis)), 0, axis)
    return x


def shear(x: jax.Array, slope: jax.Array, offset: jax.Array, axes: tuple[int, int], reach: float) -> jax.Array:
    """Move `x` along the first of `axes` by `slope * (position on the second, from the centre) + offset` pixels; zeros come in.

    slope, offset: `b`. reach: the largest move that can occur, in pixels; it fixes the number of shifted copies at compile time.
    """
    axis, other = axes
    size = x.shape[other]
    place = jnp.arange(size) - (size - 1) / 2
    moved = slope[:, None] * place + offset[:, None]  # b, size of the other axis
    shape = [x.shape[0], 1, 1, 1, 1]
    shape[other] = size
    moved = moved.reshape(shape)
    copies = math.ceil(reach)
    widths = [(0, 0)] * 5
    widths[axis] = (copies, copies)
    length = x.shape[axis]

    def move(x):
        around = jnp.pad(x, widths)
        total = jnp.zeros_like(x)
        for step in range(-copies, copies + 1):
            share = jnp.maximum(0.0, 1.0 - jnp.abs(moved - step)).astype(x.dtype)
            total += share * jax.lax.slice_in_dim(around, copies - step, copies - step + length, axis=axis)
        return total

    # A branch of its own: otherwise the compiler fuses successive shears and computes each inner one again for every copy of the outer.
    return jax.lax.cond(jnp.any(moved != 0), move, lambda x: x, x)
