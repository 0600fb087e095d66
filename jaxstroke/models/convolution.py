"""Convolution: one function, several forms of the same sum, the form chosen by platform.

    native          the compiler's own operation; a strided one gets a gradient of stride-1 convolutions, which never dilates
    products        matrix products over gathered or scattered taps, and native two-dimensional convolutions: for CPUs, whose native
                    three-dimensional convolution and kernel gradients are 3 to 6 times slower
    when_it_runs    products on a CPU, native elsewhere, decided when a program that was made for several platforms is loaded (export)
    space_to_depth  a strided one as a stride-1 convolution over the stride's phases, laid side by side as channels: for a TPU's stem,
                    where a single channel would leave most of the matrix unit empty

Arrays are `n *space i`, kernels `*taps i o`, in one, two or three dimensions. All forms are differentiable in x and kernel.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxstroke.models.taps import Axis, crop, gather, mat, pad, phases, scatter, split_taps

PLATFORM = {"cpu": "products", "tpu": "space_to_depth"}  # others: native
STEM_CHANNELS = 4  # up to so many, a strided convolution counts as a stem


def conv(x: jax.Array, kernel: jax.Array, strides=1, padding="SAME", form: str = "auto") -> jax.Array:
    """`n *space i, *taps i o -> n *space' o`. strides: one, or one an axis. padding: "SAME", "VALID" or pairs (before, after) an axis.

    form: auto (by platform) or a name of `FORMS`. Raises ValueError for shapes that do not fit.
    """
    dims = kernel.ndim - 2
    if x.ndim != kernel.ndim or x.shape[-1] != kernel.shape[-2]:
        raise ValueError(f"x {x.shape} and kernel {kernel.shape} do not fit: n *space i and *taps i o are needed")
    strides = (strides,) * dims if isinstance(strides, int) else tuple(strides)
    axes = make_axes(x.shape[1:-1], kernel.shape[:-2], strides, padding)
    if all(axis.taps == 1 and axis.before == axis.after == 0 for axis in axes):
        return pointwise(x, kernel, strides)
    kernel = kernel + jnp.zeros_like(x, shape=())  # varies over devices as x does: what a gradient of our own needs inside shard_map
    return FORMS[chosen(form, x, strides)](x, kernel, axes)


def chosen(form: str, x: jax.Array, strides: tuple[int, ...] = (1,)) -> str:
    """The name of the form that `auto` means here."""
    if form != "auto":
        return form
    form = PLATFORM.get(jax.default_backend(), "native")
    stem = max(strides) > 1 and x.shape[-1] <= STEM_CHANNELS
    return "native" if form == "space_to_depth" and not stem else form


def make_axes(sizes, taps, strides, padding) -> tuple[Axis, ...]:
    """What the convolution does along every axis; "SAME" gives ceil(size / stride) outputs, as XLA and TensorFlow mean it."""
    if padding == "SAME":
        needed = [max(0, (-(-size // s) - 1) * s + t - size) for size, t, s in zip(sizes, taps, strides, strict=True)]
        padding = [(p // 2, p - p // 2) for p in needed]
    elif padding == "VALID":
        padding = [(0, 0)] * len(sizes)
    axes = tuple(Axis(*values, *pair) for *values, pair in zip(sizes, taps, strides, padding, strict=True))
    for axis in axes:
        if axis.out < 1:
            raise ValueError(f"size {axis.size} with padding ({axis.before}, {axis.after}) is smaller than {axis.taps} taps")
    return axes


def pointwise(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    """A kernel of one tap: a product of channels; of a stride, the places that it skips are left out first."""
    for place, stride in enumerate(strides, start=1):
        if stride > 1:
            x = phases(crop(x, place, -(-x.shape[place] // stride) * stride), place, stride)[0]
    y = mat(x) @ kernel.reshape(kernel.shape[-2:])  # two-dimensional, or its gradient would transpose a copy of every place
    return y.reshape(*x.shape[:-1], -1)


def lax_conv(x: jax.Array, kernel: jax.Array, strides, padding) -> jax.Array:
    letters = "DHW"[-(kernel.ndim - 2) :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers)


def lax_axes(x: jax.Array, kernel: jax.Array, axes: tuple[Axis, ...]) -> jax.Array:
    """The compiler's convolution, padded by 0 to taps - 1 itself: with less, or in the gradient of more, XLA's CPU backend reads memory
    that nobody wrote (jax 0.10.2)."""
    widths = []
    for place, axis in enumerate(axes, start=1):
        before, after = (min(max(width, 0), axis.taps - 1) for width in (axis.before, axis.after))
        if (before, after) != (axis.before, axis.after):
            x = pad(x, place, axis.before - before, axis.after - after)
        widths.append((before, after))
    return lax_conv(x, kernel, [axis.stride for axis in axes], widths)


# native


def native(x, kernel, axes):
    return lax_axes(x, kernel, axes) if max(axis.stride for axis in axes) == 1 else strided(x, kernel, axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def strided(x, kernel, axes):
    """The compiler's strided convolution; its gradients are those of `by_phases`."""
    return lax_axes(x, kernel, axes)


def strided_forward(x, kernel, axes):
    return lax_axes(x, kernel, axes), (x, kernel)


def strided_backward(axes, saved, g):
    x, kernel = saved
    return jax.vjp(lambda x, kernel: by_phases(x, kernel, axes), x, kernel)[1](g)


strided.defvjp(strided_forward, strided_backward)


def by_phases(x, kernel, axes):
    """A strided convolution as a sum of stride-1 ones: every phase of x (place modulo stride) with the taps that meet it."""
    total = 0
    for part, taps in split_taps(x, kernel, axes):
        total = total + lax_conv(part, taps, (1,) * len(axes), "VALID")
    return total


# space to depth


def space_to_depth(x, kernel, axes):
    """The phases as channels, one stride-1 convolution; taps that no phase has are zeros."""
    for place, axis in enumerate(axes, start=1):
        steps = -(-axis.taps // axis.stride)
        x = phases(axis.padded(x, place, steps * axis.stride), place, axis.stride)
        x = jnp.concatenate(x, -1)
        spare = steps * axis.stride - axis.taps
        kernel = jnp.pad(kernel, [(0, spare) if at == place - 1 else (0, 0) for at in range(kernel.ndim)])
        kernel = jnp.concatenate(phases(kernel, place - 1, axis.stride), -2)
    return lax_conv(x, kernel, (1,) * len(axes), "VALID")


# products


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def products(x, kernel, axes):
    """The sum as matrix products. Many channels to few: `scattered`; on a small plane one product; else the leading axis folded."""
    i, o = kernel.shape[-2:]
    narrows = max(axis.stride for axis in axes) == 1 and len(axes) == 3 and 2 * o <= i
    if narrows:
        return scattered(x, kernel, axes)
    return gathered(x, kernel, axes) if on_small_plane(axes) else folded(x, kernel, axes)


def products_forward(x, kernel, axes):
    return products(x, kernel, axes), (x, kernel)


def products_backward(axes, saved, g):
    x, kernel = saved
    return input_gradient(x, g, kernel, axes).astype(x.dtype), kernel_gradient(x, g, kernel, axes).astype(kernel.dtype)


products.defvjp(products_forward, products_backward)


def on_small_plane(axes) -> bool:
    """Whether a window of the last two axes has more taps than places. The compiler's convolution then takes up to 60 times as long."""
    return math.prod(axis.out for axis in axes[-2:]) < math.prod(axis.taps for axis in axes[-2:])


def gathered(x, kernel, axes):
    """Every place with all its taps as channels, and one product."""
    columns = gather(x, places(axes))
    flat = kernel.transpose(*reversed(range(len(axes))), -2, -1).reshape(-1, kernel.shape[-1])  # (taps, the last axis slowest, i) o
    return (mat(columns) @ flat).reshape(*columns.shape[:-1], -1)


def scattered(x, kernel, axes):
    """One product makes what every tap adds; shifted, they are summed. Nothing is copied before the product, as a gather would."""
    dims = len(axes)
    flat = kernel.transpose(dims, *reversed(range(dims)), dims + 1).reshape(kernel.shape[dims], -1)  # i (taps, the last axis slowest, o)
    return scatter((mat(x) @ flat).reshape(*x.shape[:-1], -1), places(axes))


def places(axes) -> dict[int, Axis]:
    return dict(enumerate(axes, start=1))


def folded(x, kernel, axes):
    """Taps along the leading axis become channels, and one native two-dimensional convolution does the rest."""
    if len(axes) < 3:
        return lax_axes(x, kernel, axes)
    x = gather(x, {1: axes[0]})  # n d' h w (taps i)
    n, d, h, w, c = x.shape
    y = lax_axes(x.reshape(n * d, h, w, c), kernel.transpose(1, 2, 0, 3, 4).reshape(*kernel.shape[1:3], c, -1), axes[1:])
    return y.reshape(n, d, *y.shape[1:])


def input_gradient(x, g, kernel, axes):
    """A convolution with the kernel turned round; of a stride, each phase of x by itself, then interleaved."""
    if max(axis.stride for axis in axes) > 1:
        forward = gathered if on_small_plane(axes) else by_phases
        return jax.vjp(lambda x: forward(x, kernel, axes), x)[1](g)[0]
    return products(g, jnp.flip(kernel, range(len(axes))).swapaxes(-1, -2), tuple(axis.adjoint for axis in axes))


def kernel_gradient(x, g, kernel, axes):
    """One product over all places of gathered g and gathered x: axis by axis, taps are gathered on the side that is narrower by then."""
    widths = {"g": kernel.shape[-1], "x": kernel.shape[-2]}
    on = {"g": {}, "x": {}}
    for place, axis in places(axes).items():
        side = "g" if axis.stride == 1 and widths["g"] <= widths["x"] else "x"
        widths[side] *= axis.taps
        on[side][place] = axis
    columns = mat(gather(x, on["x"]))
    shifted = mat(gather(g, {place: axis.adjoint for place, axis in on["g"].items()}))
    order = [*reversed(on["g"]), "o", *reversed(on["x"]), "i"]
    sizes = {place: axis.taps for place, axis in places(axes).items()} | {"i": kernel.shape[-2], "o": kernel.shape[-1]}
    found = (shifted.T @ columns).reshape([sizes[name] for name in order])
    found = found.transpose([order.index(name) for name in (*places(axes), "i", "o")])
    return jnp.flip(found, [place - 1 for place in on["g"]])


# when it runs


def when_it_runs(x, kernel, axes):
    """The form of the platform that a program for several runs on at last: it holds both."""
    return jax.lax.platform_dependent(
        x, kernel, cpu=lambda x, kernel: products(x, kernel, axes), default=lambda x, kernel: native(x, kernel, axes)
    )


FORMS = {"native": native, "products": products, "space_to_depth": space_to_depth, "when_it_runs": when_it_runs}
