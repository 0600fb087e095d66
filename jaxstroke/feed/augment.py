"""Augmentation on the device: draw, then apply; one draw for all slices of an image; a key a row (paper 1, section 1.4).

A rotation is three shears and a shear is a sum of shifted copies with linear weights: multiply-adds that any accelerator fuses,
instead of gathers. The shift rides on two of the shears.
"""

import math

import jax
import jax.numpy as jnp


def draw(key: jax.Array, settings) -> dict[str, jax.Array]:
    """One row's numbers: flip 0 or 1, angle in radians, shift as shares of (h, w), intensity factor. settings: `train.augment`."""
    flip, angle, shift, intensity = jax.random.split(key, 4)
    return {
        "flip": jax.random.bernoulli(flip, settings.flip).astype(jnp.float32),
        "angle": jax.random.uniform(angle, (), minval=-1.0) * math.radians(settings.rotate),
        "shift": jax.random.uniform(shift, (2,), minval=-1.0) * settings.shift,
        "intensity": 1.0 + jax.random.uniform(intensity, (), minval=-1.0) * settings.intensity,
    }


def apply(x: jax.Array, numbers: dict[str, jax.Array], settings, skip: tuple[str, ...] = ()) -> jax.Array:
    """`b s h w c -> b s h w c`. numbers: of `draw`, each with a leading `b`. skip: names among flip, rotate, shift, intensity."""
    _, _, h, w, _ = x.shape
    if "flip" not in skip and settings.flip > 0:
        x = jnp.where(numbers["flip"][:, None, None, None, None] > 0, x[:, :, :, ::-1], x)
    angle = jnp.zeros_like(numbers["angle"]) if "rotate" in skip else numbers["angle"]
    offset = jnp.zeros_like(numbers["shift"]) if "shift" in skip else numbers["shift"]
    degrees = 0.0 if "rotate" in skip else settings.rotate
    share = 0.0 if "shift" in skip else settings.shift
    if degrees or share:
        # A rotation by `a` is shear_w(-tan(a/2)) shear_h(sin a) shear_w(-tan(a/2)).
        half, sine = jnp.tan(angle / 2), jnp.sin(angle)
        steep, long = math.tan(math.radians(degrees) / 2), math.sin(math.radians(degrees))
        x = shear(x, -half, offset[:, 1] * w, 3, steep * h / 2 + share * w)
        x = shear(x, sine, offset[:, 0] * h, 2, long * w / 2 + share * h)
        x = shear(x, -half, jnp.zeros_like(half), 3, steep * h / 2)
    if "intensity" not in skip and settings.intensity > 0:
        x = x * numbers["intensity"][:, None, None, None, None]
    return x


def shear(x: jax.Array, slope: jax.Array, offset: jax.Array, axis: int, reach: float) -> jax.Array:
    """Move `x` along `axis` (2 = h, 3 = w) by `slope * (position on the other axis, from the centre) + offset` pixels; zeros come in.

    slope, offset: `b`. reach: the largest move that can occur, in pixels; it fixes the number of shifted copies at compile time.
    """
    other = 5 - axis
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
