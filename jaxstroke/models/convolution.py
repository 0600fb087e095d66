"""Convolution: one function, several forms of the same sum, the form chosen by platform (stub; forms follow)."""

import jax


def conv(x: jax.Array, kernel: jax.Array, strides=1, padding="SAME", form: str = "auto") -> jax.Array:
    """`n *space i, *taps i o -> n *space' o`. strides: one, or one an axis. padding: "SAME", "VALID" or pairs (before, after)."""
    dims = kernel.ndim - 2
    strides = (strides,) * dims if isinstance(strides, int) else tuple(strides)
    letters = "DHW"[-dims:]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers)
