"""Layers that several networks share: convolution with its parameters, dropout with a key a row, a masked LSTM. See also `norm`, `pooling`.

Nothing here names a mesh axis. Carries are made with `zeros_like`, which keeps an array's sharding type inside shard_map.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke.models import activation, convolution, pooling


def conv_pool_native(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`n h w i, 3 3 i o -> n h/2 w/2 o`: convolution, then maximum over 2 x 2, by the compiler's own operations."""
    return pooling.max_pool(convolution.conv(x, kernel, form="native"), 2)


def conv_pool_blocks(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same as one matrix product: every 2 x 2 block of outputs, o channels each, from its 4 x 4 window of inputs.

    16 i x 4 o instead of four times 9 i x o: 1.8 times the multiplications, but products wide enough for the CPU's matrix units where a
    convolution with few channels is bound by memory. The pool is then a maximum of four slices of the last axis.
    """
    n, h, w, i = x.shape
    o = kernel.shape[-1]
    rows, columns = h // 2, w // 2
    x = jnp.pad(x, ((0, 0), (1, 1 - h % 2), (1, 1 - w % 2), (0, 0)))
    x = x.reshape(n, rows + 1, 2, columns + 1, 2, i).transpose(0, 1, 3, 2, 4, 5).reshape(n, rows + 1, columns + 1, 4 * i)
    windows = jnp.concatenate([x[:, a : a + rows, b : b + columns] for a in (0, 1) for b in (0, 1)], -1)
    product = windows.reshape(-1, 16 * i) @ block_kernel(kernel)
    return largest_of_four(product).reshape(n, rows, columns, o)


@jax.custom_vjp
def largest_of_four(x: jax.Array) -> jax.Array:
    """`m (4 o) -> m o`: the maximum of four places. The first of equal ones takes the gradient, as in PyTorch: one pass, and no sums."""
    first, second, third, fourth = jnp.split(x, 4, -1)
    return jnp.maximum(jnp.maximum(first, second), jnp.maximum(third, fourth))


def largest_of_four_forward(x):
    y = largest_of_four(x)
    return y, (x, y)


def largest_of_four_backward(saved, g):
    x, y = saved
    untaken, found = jnp.ones_like(g, bool), []
    for part in jnp.split(x, 4, -1):
        largest = (part == y) & untaken
        untaken &= ~largest
        found.append(jnp.where(largest, g, 0))
    return (jnp.concatenate(found, -1),)


largest_of_four.defvjp(largest_of_four_forward, largest_of_four_backward)


def block_kernel(kernel: jax.Array) -> jax.Array:
    """`3 3 i o -> (2 2 2 2 i) (2 2 o)`: window position (block row, block column, row, column) by output position."""
    _, _, i, o = kernel.shape
    return jnp.einsum("abklpqxy,abio->klpqixyo", PLACES.astype(kernel.dtype), kernel).reshape(16 * i, 4 * o)


def places() -> np.ndarray:
    """Which tap (a, b) joins which window position (k l blocks, p q inside) to which output position (x y): ones, else zeros."""
    found = np.zeros((3, 3, 2, 2, 2, 2, 2, 2), np.float32)
    for x, y, a, b in np.ndindex(2, 2, 3, 3):
        row, column = x + a, y + b
        found[a, b, row // 2, column // 2, row % 2, column % 2, x, y] = 1
    return found


PLACES = places()
CONV_POOL = {"products": conv_pool_blocks}  # other forms: native


class Conv(nn.Module):
    """Convolution `n *space i -> n *space' features` with its parameters; see `convolution.conv` for strides, padding and form."""

    features: int
    kernel_size: tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: str | tuple = "SAME"
    use_bias: bool = False
    form: str = "auto"
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # Kaiming's, as in PyTorch

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        x = convolution.conv(x.astype(self.dtype), kernel.astype(self.dtype), self.strides, self.padding, self.form)
        if not self.use_bias:
            return x
        return x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)


class ConvPool(nn.Module):
    """Convolution 3 x 3, ReLU, 2 x 2 maximum: `n h w i -> n h/2 w/2 width`, in the form that suits the platform or is asked for.

    Bias and ReLU follow the maximum: both keep its order, and are a quarter of the work there.
    norm: in place of the bias, also of the maxima; it is called with the mask `n` of real images and whether it trains.
    """

    width: int
    form: str = "auto"
    dtype: jnp.dtype = jnp.float32
    norm: Callable | None = None

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, x.shape[-1], self.width))
        form = CONV_POOL.get(convolution.chosen(self.form, x), conv_pool_native)
        x = form(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.norm is not None:
            return activation.relu(self.norm(name="norm")(x, mask, train))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        return activation.relu(x + bias.astype(self.dtype))


def dropout(x: jax.Array, rate: float, keys: jax.Array | None, site: int) -> jax.Array:
    """Inverted dropout of `b ...` with one key a row, so that the mask does not depend on how rows are spread over devices.

    keys: `b` typed keys, or None in evaluation. site: a number of its own for every place in a network.
    """
    if keys is None or rate == 0.0:
        return x

    def row(key, values):
        return jax.random.bernoulli(jax.random.fold_in(key, site), 1.0 - rate, values.shape)

    return jnp.where(jax.vmap(row)(keys, x), x / (1.0 - rate), 0.0).astype(x.dtype)


def keys_of_pictures(keys: jax.Array | None, count: int) -> jax.Array | None:
    """Keys `b` to keys `(b count)`, one for each picture of a row; None stays None, as in evaluation."""
    return None if keys is None else jax.vmap(lambda key: jax.random.split(key, count))(keys).reshape(-1)


def dropped_rows(x: jax.Array, rate: float, keys: jax.Array | None, site: int) -> jax.Array:
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382): each row of `b ...` is there whole, times 1 / (1 - rate), or not at all.

    For what a residual branch adds; rate 0 to below 1, keys and site as for `dropout`.
    """
    if keys is None or rate == 0.0:
        return x
    kept = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, site), 1.0 - rate))(keys)
    return jnp.where(kept.reshape(-1, *(1,) * (x.ndim - 1)), x / (1.0 - rate), 0.0).astype(x.dtype)


def kept_channels(rate: float, keys: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Inverted dropout of whole channels, as PyTorch's Dropout3d does, of all layers in one draw: factors `b *shape`, 0 or 1 / (1 - rate).

    None where nothing is dropped: in evaluation (keys None) or at rate 0.
    """
    if keys is None or rate == 0.0:
        return None
    return jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, shape))(keys) / (1.0 - rate)


def masked_mean(x: jax.Array, mask: jax.Array) -> jax.Array:
    """`b n f, b n -> b f` float32 over what is there, 0 where nothing is."""
    x = (x.astype(jnp.float32) * mask[..., None]).sum(-2)
    return x / jnp.maximum(mask.sum(-1, keepdims=True), 1)


def unit(x: jax.Array, smallest: float) -> jax.Array:
    """`... f` float32 of length 1; shorter than the root of `smallest` it is as much longer as one of that length, and zeros stay zeros."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), smallest))


class MaskedLSTM(nn.Module):
    """The hidden state after the last valid element: `b s f, b s -> b units`. Padding anywhere in the sequence changes nothing.

    Gates input, forget, cell, output in one kernel. forget: what the bias of the forget gate begins at, 1 as in Jozefowicz et al. 2015.
    """

    units: int
    dtype: jnp.dtype = jnp.float32
    forget: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        units = self.units
        recurrent = self.param("recurrent", nn.initializers.orthogonal(), (units, 4 * units))
        projected = nn.Dense(4 * units, dtype=self.dtype, name="input")(x)  # b s 4u: one product for all elements
        projected = projected.astype(jnp.float32).at[..., units : 2 * units].add(self.forget)

        def step(carry, element):
            cell, hidden = carry
            gates, valid = element
            gates = gates + hidden.astype(self.dtype) @ recurrent.astype(self.dtype)
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            new_cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
            new_hidden = nn.sigmoid(o) * jnp.tanh(new_cell)
            valid = valid[:, None] > 0
            return (jnp.where(valid, new_cell, cell), jnp.where(valid, new_hidden, hidden)), None

        start = jnp.zeros_like(projected, shape=(x.shape[0], units))
        elements = (projected.swapaxes(0, 1), mask.swapaxes(0, 1))
        (_, hidden), _ = jax.lax.scan(step, (start, start), elements)
        return hidden
