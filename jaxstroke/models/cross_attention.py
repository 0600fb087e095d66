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
    """Words moved by what the image shows, the paper's conditional prior: `(1 + g(v)) LN(T) + b(v)`; g and b begin at 0.

    `b t f, b f, b -> b t f`; there: whether a row has an image.
    """

    wanted: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, words: jax.Array, seen: jax.Array, there: jax.Array) -> jax.Array:
        words = norm(self.dtype, "norm")(words)
        if not self.wanted:
            return words
        moved = nn.Dense(2 * words.shape[-1], kernel_init=nn.initializers.zeros, dtype=self.dtype, name="film")(seen)
        scale, shift = jnp.split((moved * there[:, None]).astype(self.dtype)[:, None], 2, -1)
        return words * (1 + scale) + shift


class CrossAttention(nn.Module):
    """Both ways at once, then a gate between image and text: (`b 3f`, attention of words to voxels `b t n`).

    image `b n f` with mask `b n`, words `b t f` (conditioned) with masks `b t`: shown, those that are merged; columns `b f`, zeros where
    there are none.
    """

    heads: int
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, image: jax.Array, mask: jax.Array, words: jax.Array, shown: jax.Array, columns: jax.Array, keys) -> tuple:
        seen, where = Attention(self.heads, self.dtype, name="words_to_image")(words, image, mask)
        read, _ = Attention(self.heads, self.dtype, name="image_to_words")(image, words, shown)
        gate = jnp.concatenate([masked_mean(image, mask), masked_mean(words, shown), columns], -1)
        gate = nn.sigmoid(nn.Dense(image.shape[-1], dtype=self.dtype, name="gate")(gate).astype(jnp.float32))
        image = Perceptron(self.dropout, 301, self.dtype, name="image_perceptron")(image + read, keys)
        words = Perceptron(self.dropout, 302, self.dtype, name="words_perceptron")(words + seen, keys)
        merged = [gate * masked_mean(image, mask), (1 - gate) * masked_mean(words, shown), columns]
        return jnp.concatenate(merged, -1), where


class Late(nn.Module):
    """Image, words and columns side by side, as `CrossAttention` is called; `where` is even, as no word looks anywhere."""

    @nn.compact
    def __call__(self, image: jax.Array, mask: jax.Array, words: jax.Array, shown: jax.Array, columns: jax.Array, keys) -> tuple:
        where = jnp.broadcast_to((mask / jnp.maximum(mask.sum(-1, keepdims=True), 1))[:, None], (*words.shape[:2], mask.shape[-1]))
        return jnp.concatenate([masked_mean(image, mask), masked_mean(words, shown), columns], -1), where


class Matcher(nn.Module):
    """The log-odds that words belong to an image, `b`: words look at the image, and are pooled."""

    heads: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, image: jax.Array, mask: jax.Array, words: jax.Array, words_mask: jax.Array) -> jax.Array:
        seen, _ = Attention(self.heads, self.dtype, name="words_to_image")(words, image, mask)
        x = Perceptron(0.0, 0, self.dtype, name="perceptron")(words + seen, None)
        return nn.Dense(1, name="head")(masked_mean(x, words_mask))[:, 0]


def hardest(similar: jax.Array, keys: jax.Array, site: int) -> jax.Array:
    """`b N -> b`: the place of another drawn by the softmax of its similarity; what does not count is `LEAST`."""
    return jax.vmap(lambda key, row: jax.random.categorical(jax.random.fold_in(key, site), row))(keys, similar)


def matching(match: Callable, sides: dict, projected: tuple, patient: jax.Array, pair: jax.Array, scale: jax.Array, keys, axis: str):
    """Cross-entropy of matching a row, `b`: its own pair against the hardest other report and the hardest other image of the batch.

    match: (image, mask, words, mask) -> log-odds. sides: {"image": (tokens, mask), "words": (tokens, mask)}. projected: both, `b f` of
    length 1. pair: `b`, 1 where a row has both. Inside shard_map only. A row that finds no other gives its own pair's loss alone.
    """
    others, of, there = jax.lax.all_gather((sides, patient, pair), axis, tiled=True)
    allowed = (patient[:, None] != of) & (there > 0)
    found = nn.softplus(-match(*sides["image"], *sides["words"]))
    any_other = allowed.any(-1).astype(jnp.float32)
    for number, (own, name) in enumerate((("image", "words"), ("words", "image"))):
        every = jax.lax.all_gather(projected[1 - number], axis, tiled=True)
        similar = jnp.where(allowed, jnp.matmul(projected[number], every.T, precision=jax.lax.Precision.HIGHEST) * scale, LEAST)
        place = hardest(jax.lax.stop_gradient(similar), keys, 400 + number)
        wrong = jax.tree.map(lambda x, place=place: x[place], others[name])
        pairs = (*sides[own], *wrong) if own == "image" else (*wrong, *sides[own])
        found = found + any_other * nn.softplus(match(*pairs))
    return found / (1 + 2 * any_other)
