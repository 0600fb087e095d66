"""How image and text look at each other: masked attention and the paper's fusion (VDAFM; papers' section 5.3)."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models import layers
from jaxstroke.models.encoders.vit import norm
from jaxstroke.models.layers import masked_mean

SMALLEST = 1e-4  # squared length; a row whose units are all dropped is 0, and its gradient is this root's inverse times the others'
LEAST = -1e9  # in place of the logit of a key that is not there


def unit(x: jax.Array) -> jax.Array:
    """`... f` of length 1, float32; zeros stay zeros."""
    return layers.unit(x.astype(jnp.float32), SMALLEST)


class Attention(nn.Module):
    """Queries `b q f` over keys `b k f` with mask `b k`: (what is seen `b q f`, where `b q k` float32, the mean over heads).

    A row without a key sees zeros.
    """

    heads: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, queries: jax.Array, keys: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        *_, f = queries.shape

        def parted(x, name):
            return nn.Dense(f, dtype=self.dtype, name=name)(x).reshape(*x.shape[:2], self.heads, f // self.heads)

        q, k, v = parted(queries, "query"), parted(keys, "key"), parted(keys, "value")
        logits = jnp.einsum("bqhf,bkhf->bhqk", q, k, preferred_element_type=jnp.float32) * (f // self.heads) ** -0.5
        logits = jnp.where(mask[:, None, None] > 0, logits, LEAST)
        weights = jax.nn.softmax(logits, -1) * (mask.max(-1) > 0)[:, None, None, None]
        seen = jnp.einsum("bhqk,bkhf->bqhf", weights.astype(self.dtype), v).reshape(queries.shape)
        # Without a bias what is seen of nothing is zero.
        return nn.Dense(f, use_bias=False, dtype=self.dtype, name="out")(seen), weights.mean(1)


class Perceptron(nn.Module):
    """Two layers behind attention, on a normed copy and added: `b n f -> b n f`. site: of the dropout."""

    dropout: float
    site: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        f = x.shape[-1]
        y = nn.gelu(nn.Dense(2 * f, dtype=self.dtype, name="up")(norm(self.dtype, "norm")(x)))
        return x + layers.dropout(nn.Dense(f, dtype=self.dtype, name="down")(y), self.dropout, keys, self.site)


class Conditioned(nn.Module):
    """Words normed, and these moved by what the image shows, the paper's conditional prior: `LN(T)` and `(1 + g(v)) LN(T) + b(v)`.

    g and b begin at 0. `b t f, b f, b -> b t f` twice; there: whether a row has an image.
    """

    wanted: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, words: jax.Array, seen: jax.Array, there: jax.Array) -> tuple[jax.Array, jax.Array]:
        words = norm(self.dtype, "norm")(words)
        if not self.wanted:
            return words, words
        moved = nn.Dense(2 * words.shape[-1], kernel_init=nn.initializers.zeros, dtype=self.dtype, name="film")(seen)
        scale, shift = jnp.split((moved * there[:, None]).astype(self.dtype)[:, None], 2, -1)
        return words, words * (1 + scale) + shift


class Pool(nn.Module):
    """Words to one vector, `b t f, b t -> b f` float32, zeros where no word is there. kind: mean | attention.

    Attention: each of `heads` parts of the vector is a mean of its own, by shares that every word asks for, so that one word among fifty
    can be heard.
    """

    kind: str
    heads: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, words: jax.Array, mask: jax.Array) -> jax.Array:
        if self.kind == "mean":
            return masked_mean(words, mask)
        asked = nn.Dense(self.heads, dtype=self.dtype, name="ask")(words).astype(jnp.float32)
        shares = nn.softmax(jnp.where(mask[..., None] > 0, asked, LEAST), 1) * mask[..., None]
        values = nn.Dense(words.shape[-1], dtype=self.dtype, name="value")(words).reshape(*asked.shape, -1)
        return jnp.einsum("bth,bthf->bhf", shares, values.astype(jnp.float32)).reshape(len(words), -1)


class CrossAttention(nn.Module):
    """Both ways at once, then a gate between image and text: (`b 3f`, attention of words to voxels `b t n`).

    image `b n f` with mask `b n`, words `b t f` (conditioned) with masks `b t`: shown, those that are merged; columns `b f`, zeros where
    there are none. pool: a `Pool` but for its name.
    """

    width: int
    heads: int
    pool: Callable
    dropout: float
    dtype: jnp.dtype

    def setup(self):
        self.words_to_image, self.image_to_words = (Attention(self.heads, self.dtype) for _ in range(2))
        self.gate = nn.Dense(self.width, dtype=self.dtype)
        self.image_perceptron, self.words_perceptron = (Perceptron(self.dropout, site, self.dtype) for site in (301, 302))
        self.words_pool = self.pool()

    def __call__(self, image: jax.Array, mask: jax.Array, words: jax.Array, shown: jax.Array, columns: jax.Array, keys) -> tuple:
        seen, where = self.words_to_image(words, image, mask)
        read, _ = self.image_to_words(image, words, shown)
        gate = self.gate(jnp.concatenate([masked_mean(image, mask), masked_mean(words, shown), columns], -1))
        gate = nn.sigmoid(gate.astype(jnp.float32))
        image = self.image_perceptron(image + read, keys)
        words = self.words_perceptron(words + seen, keys)
        merged = [gate * masked_mean(image, mask), (1 - gate) * self.words_pool(words, shown), columns]
        return jnp.concatenate(merged, -1), where

    def look(self, words: jax.Array, image: jax.Array, mask: jax.Array) -> jax.Array:
        """Where words look, in any image: `b t f, b n f, b n -> b t n`."""
        return self.words_to_image(words, image, mask)[1]


class Late(nn.Module):
    """Image, words and columns side by side, as `CrossAttention` is called; `where` is even, as no word looks anywhere."""

    pool: Callable

    @nn.compact
    def __call__(self, image: jax.Array, mask: jax.Array, words: jax.Array, shown: jax.Array, columns: jax.Array, keys) -> tuple:
        where = jnp.broadcast_to((mask / jnp.maximum(mask.sum(-1, keepdims=True), 1))[:, None], (*words.shape[:2], mask.shape[-1]))
        return jnp.concatenate([masked_mean(image, mask), self.pool(name="words_pool")(words, shown), columns], -1), where
