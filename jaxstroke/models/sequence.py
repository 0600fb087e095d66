"""From the features of any number of images to one of the patient: `SEQUENCES` names what `config.model.sequence` can be.

A sequence model is called with feature maps `b s h w f` of every image and a mask `b s`, and gives `b u`. What lies at mask 0 changes
nothing and gets a gradient of exactly 0, wherever in the sequence it is; a patient without a valid image gets zeros. Recurrent ones read
the images in order and give the state after the last valid one; the others do not know the order.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models import layers

FORGET = 3.0  # bias of an LSTM's forget gate at the start: 0.95 of a state is kept an image, where 1 would leave 0.08 of it after 8 images


def pooled(maps: jax.Array, mask: jax.Array) -> jax.Array:
    """`b s h w f, b s -> b s f` float32: the mean over each map; what is at mask 0 is cut off here, also from the gradient."""
    return jnp.where(mask[..., None] > 0, maps.mean((2, 3), dtype=jnp.float32), 0.0)


class Lstm(nn.Module):
    """The hidden state of an LSTM, which at the start of training remembers longer than usual (Tallec and Ollivier 2018)."""

    units: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, maps: jax.Array, mask: jax.Array) -> jax.Array:
        return layers.MaskedLSTM(self.units, self.dtype, FORGET, name="lstm")(pooled(maps, mask), mask)


class Gru(nn.Module):
    """The state of a gated recurrent unit (Cho et al. 2014), its reset gate applied after the product, as PyTorch's and cuDNN's."""

    units: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, maps: jax.Array, mask: jax.Array) -> jax.Array:
        units = self.units
        recurrent = self.param("recurrent", nn.initializers.orthogonal(), (units, 3 * units))
        bias = self.param("recurrent_bias", nn.initializers.zeros, (units,))
        projected = nn.Dense(3 * units, dtype=self.dtype, name="input")(pooled(maps, mask)).astype(jnp.float32)  # b s 3u

        def step(hidden, element):
            gates, valid = element
            inner = hidden.astype(self.dtype) @ recurrent.astype(self.dtype)
            reset, update = jnp.split(nn.sigmoid(gates[:, : 2 * units] + inner[:, : 2 * units]), 2, -1)
            candidate = jnp.tanh(gates[:, 2 * units :] + reset * (inner[:, 2 * units :] + bias))
            new = update * hidden + (1 - update) * candidate
            return jnp.where(valid[:, None] > 0, new, hidden), None

        start = jnp.zeros_like(projected, shape=(maps.shape[0], units))
        return jax.lax.scan(step, start, (projected.swapaxes(0, 1), mask.swapaxes(0, 1)))[0]


class ConvLstm(nn.Module):
    """The hidden map of a convolutional LSTM (Shi et al. 2015, without peepholes), averaged over its places: it keeps where things are."""

    units: int
    dtype: jnp.dtype
    form: str = "auto"

    @nn.compact
    def __call__(self, maps: jax.Array, mask: jax.Array) -> jax.Array:
        b, s, h, w, f = maps.shape
        conv = functools.partial(layers.Conv, 4 * self.units, (3, 3), form=self.form, dtype=self.dtype)
        maps = jnp.where(mask[:, :, None, None, None] > 0, maps, 0)
        projected = conv(use_bias=True, name="input")(maps.reshape(b * s, h, w, f)).reshape(b, s, h, w, -1).astype(jnp.float32)

        def step(cell, carry, element):
            old_cell, old_hidden = carry
            gates, valid = element
            i, f, g, o = jnp.split(gates + cell(old_hidden).astype(jnp.float32), 4, -1)
            new_cell = nn.sigmoid(f + FORGET) * old_cell + nn.sigmoid(i) * jnp.tanh(g)
            new_hidden = nn.sigmoid(o) * jnp.tanh(new_cell)
            valid = valid[:, None, None, None] > 0
            return (jnp.where(valid, new_cell, old_cell), jnp.where(valid, new_hidden, old_hidden)), None

        start = jnp.zeros_like(projected, shape=(b, h, w, self.units))
        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        (_, hidden), _ = scan(conv(name="recurrent"), (start, start), (projected.swapaxes(0, 1), mask.swapaxes(0, 1)))
        return hidden.mean((1, 2))


class Attention(nn.Module):
    """Gated attention over instances (Ilse, Tomczak and Welling 2018): a mean weighted by what each image says of its own worth."""

    units: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, maps: jax.Array, mask: jax.Array) -> jax.Array:
        x = pooled(maps, mask)  # b s f
        signal = jnp.tanh(nn.Dense(self.units, dtype=self.dtype, name="signal")(x))
        gate = nn.sigmoid(nn.Dense(self.units, dtype=self.dtype, name="gate")(x))
        score = nn.Dense(1, dtype=jnp.float32, name="score")((signal * gate).astype(jnp.float32))[..., 0]  # b s
        valid = mask > 0
        score = jnp.where(valid, score, -jnp.inf)
        raised = jnp.where(valid, jnp.exp(score - jax.lax.stop_gradient(jnp.max(score, -1, keepdims=True, initial=-1e30))), 0.0)
        weight = raised / jnp.maximum(raised.sum(-1, keepdims=True), 1e-12)
        self.sow("intermediates", "attention", weight)
        return (weight[..., None] * x).sum(1)


class Mean(nn.Module):
    """The mean over the images: with a linear head, the mean of per-image log-odds."""

    units: int
    dtype: jnp.dtype

    def __call__(self, maps: jax.Array, mask: jax.Array) -> jax.Array:
        return pooled(maps, mask).sum(1) / jnp.maximum(mask.sum(-1, keepdims=True), 1.0)


class Max(nn.Module):
    """The largest value of every feature over the images."""

    units: int
    dtype: jnp.dtype

    def __call__(self, maps: jax.Array, mask: jax.Array) -> jax.Array:
        x = jnp.where(mask[..., None] > 0, pooled(maps, mask), -jnp.inf).max(1)
        return jnp.where(mask.sum(-1, keepdims=True) > 0, x, 0.0)


SEQUENCES = {"lstm": Lstm, "gru": Gru, "convlstm": ConvLstm, "attention": Attention, "mean": Mean, "max": Max}
