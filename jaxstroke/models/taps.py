"""Moves that convolutions and pools are made of: shifting an array by every tap of an axis, with pads, slices and reshapes alone."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Axis:
    """What a sliding window does along one axis: input size, taps, stride, padding before and after (negative: cropped)."""

    size: int
    taps: int
    stride: int
    before: int
    after: int

    @property
    def out(self) -> int:
        """Places of the window."""
        return (self.size + self.before + self.after - self.taps) // self.stride + 1

    @property
    def adjoint(self) -> "Axis":
        """Of stride 1: the window that gathers outputs onto the places of the inputs they came from, taps in reverse."""
        return Axis(self.out, self.taps, 1, self.taps - 1 - self.before, self.taps - 1 - self.after)

    def padded(self, x: jax.Array, place: int, taps: int, value: float = 0.0) -> jax.Array:
        """x with exactly the places along its axis `place` that windows of `taps` at every stride need: (out - 1) stride + taps."""
        wanted = (self.out - 1) * self.stride + taps
        return pad(x, place, self.before, wanted - self.size - self.before, value)


def pad(x: jax.Array, place: int, before: int, after: int, value: float = 0.0) -> jax.Array:
    """Pad, or crop by negative widths, one axis."""
    widths = [(before, after, 0) if at == place else (0, 0, 0) for at in range(x.ndim)]
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), widths)


def crop(x: jax.Array, place: int, size: int) -> jax.Array:
    """One axis cut or zero-padded at its end to `size`."""
    return pad(x, place, 0, size - x.shape[place])


def phases(x: jax.Array, place: int, stride: int) -> list[jax.Array]:
    """x at places 0, stride, 2 stride, ...; at 1, stride + 1, ...; and so on. The axis' size is a multiple of the stride."""
    if stride == 1:
        return [x]
    apart = x.reshape(*x.shape[:place], x.shape[place] // stride, stride, *x.shape[place + 1 :])
    return [jax.lax.index_in_dim(apart, phase, place + 1, keepdims=False) for phase in range(stride)]


def shifts(x: jax.Array, place: int, axis: Axis, value: float = 0.0) -> list[jax.Array]:
    """x as every tap sees it: a list over taps, each with `axis.out` places along its axis `place`."""
    steps = -(-axis.taps // axis.stride)
    parts = phases(axis.padded(x, place, steps * axis.stride, value), place, axis.stride)
    at = [divmod(tap, axis.stride) for tap in range(axis.taps)]
    return [jax.lax.slice_in_dim(parts[phase], step, step + axis.out, axis=place) for step, phase in at]


def gather(x: jax.Array, axes: dict[int, Axis]) -> jax.Array:
    """Taps laid side by side as channels: `... c -> ... (taps of the last axis, ..., taps of the first, c)`. Padded once, while small."""
    for place, axis in axes.items():
        x = axis.padded(x, place, -(-axis.taps // axis.stride) * axis.stride)
    for place, axis in axes.items():
        x = jnp.concatenate(shifts(x, place, dataclasses.replace(axis, size=x.shape[place], before=0, after=0)), -1)
    return x


def scatter(y: jax.Array, axes: dict[int, Axis]) -> jax.Array:
    """The sum of what every tap adds, each shifted to its place; channels as `gather` orders them, stride 1."""
    for place, axis in reversed(axes.items()):
        c = y.shape[-1] // axis.taps
        parts = [y[..., tap * c : (tap + 1) * c] for tap in range(axis.taps)]
        y = sum(pad(part, place, axis.before - tap, axis.after - (axis.taps - 1 - tap)) for tap, part in enumerate(parts))
    return y


def split_taps(x: jax.Array, kernel: jax.Array, axes: tuple[Axis, ...]) -> list[tuple[jax.Array, jax.Array]]:
    """Pairs (phase of x, taps that meet it) whose stride-1 VALID convolutions add up to the strided one."""
    pairs = [(x, kernel)]
    for place, axis in enumerate(axes, start=1):
        found = []
        for part, taps in pairs:
            steps = -(-axis.taps // axis.stride)
            for phase, values in enumerate(phases(axis.padded(part, place, steps * axis.stride), place, axis.stride)):
                if phase < axis.taps:
                    some = taps if axis.stride == 1 else jax.lax.slice_in_dim(taps, phase, axis.taps, axis.stride, axis=place - 1)
                    found.append((crop(values, place, axis.out + some.shape[place - 1] - 1), some))
        pairs = found
    return pairs


def mat(x: jax.Array) -> jax.Array:
    """`... c -> (...) c`."""
    return x.reshape(-1, x.shape[-1])
