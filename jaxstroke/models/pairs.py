"""An image and a report that belong together, against those of other patients: matching (papers' section 5.4, as SSMSRPM), and words that
must find more in their own image (GLoRIA, Huang et al. 2021: attention of words, contrasted over images; papers' section 5.3, B).

Every row is set against one other report and one other image of the batch of all devices, drawn by how alike they are to its own.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models.cross_attention import LEAST, Attention, Perceptron, unit
from jaxstroke.models.layers import masked_mean

SITES = {"matching": 400, "words": 402}  # of the draws of others, two each
SOME = 404  # of the draw of words


class Matcher(nn.Module):
    """The log-odds that words belong to an image, `b`: words look at the image, and are pooled."""

    heads: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, image: jax.Array, mask: jax.Array, words: jax.Array, words_mask: jax.Array) -> jax.Array:
        seen, _ = Attention(self.heads, self.dtype, name="words_to_image")(words, image, mask)
        x = Perceptron(0.0, 0, self.dtype, name="perceptron")(words + seen, None)
        return nn.Dense(1, name="head")(masked_mean(x, words_mask))[:, 0]


def found_again(words: jax.Array, looked: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean cosine of words and what they look at, `b t f, b t f, b t -> b`, 0 without a word."""
    return masked_mean((unit(words) * unit(looked)).sum(-1, keepdims=True), mask)[:, 0]


def with_others(score: Callable, image: tuple, words: tuple, batch: dict, aligned: dict, site: int, axis: str = "data") -> tuple:
    """Scores of a row's own pair, of its image with another's words, of another's image with its words; whether there is another. `b` each.

    score: (*image, *words) -> `b`. image, words: arrays `b ...` each. aligned: of `Trimodal.aligned`, by which others are drawn. Inside
    shard_map only. What is drawn takes no gradient.
    """
    (*own, pair), scale = aligned["report"], aligned["scale"]
    others, of, there = jax.lax.all_gather(((words, image), batch["patient"], pair * batch["weight"]), axis, tiled=True)
    allowed = (batch["patient"][:, None] != of) & (there > 0)

    def of_another(number: int):
        every = jax.lax.all_gather(own[1 - number], axis, tiled=True)
        similar = jnp.where(allowed, jnp.matmul(own[number], every.T, precision=jax.lax.Precision.HIGHEST) * scale, LEAST)
        place = hardest(jax.lax.stop_gradient(similar), batch["key"], site + number)
        return jax.tree.map(lambda x: x[place], others[number])

    scores = score(*image, *words), score(*image, *of_another(0)), score(*of_another(1), *words)
    return *scores, allowed.any(-1).astype(jnp.float32)


def hardest(similar: jax.Array, keys: jax.Array, site: int) -> jax.Array:
    """`b N -> b`: the place of another drawn by the softmax of its similarity; what does not count is `LEAST`."""
    return jax.vmap(lambda key, row: jax.random.categorical(jax.random.fold_in(key, site), row))(keys, similar)


def matching(score: Callable, image: tuple, words: tuple, batch: dict, aligned: dict) -> jax.Array:
    """Cross-entropy of matching a row, `b`: its own pair is one, the two others are none. Alone a row gives its own pair's loss."""
    own, *wrong, any_other = with_others(score, image, words, batch, aligned, SITES["matching"])
    return (nn.softplus(-own) + any_other * sum(map(nn.softplus, wrong))) / (1 + 2 * any_other)


def some(words: jax.Array, mask: jax.Array, keys: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """At most so many of a row's words, drawn anew in every step, `b t f, b t -> b most f, b most`: their mean is that of all, expected."""
    if words.shape[1] <= most:
        return words, mask
    drawn = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, SOME), mask.shape[1:]))(keys)
    _, places = jax.lax.top_k(jnp.where(mask > 0, drawn, -1.0), most)
    return jnp.take_along_axis(words, places[..., None], 1), jnp.take_along_axis(mask, places, 1)


def contrast(score: Callable, image: tuple, words: tuple, batch: dict, aligned: dict) -> tuple[jax.Array, jax.Array]:
    """InfoNCE of a row's own pair against either other, `b`, and its weight: 0 of a row that finds no other."""
    own, *wrong, any_other = with_others(score, image, words, batch, aligned, SITES["words"])
    return sum(nn.softplus(aligned["scale"] * (other - own)) for other in wrong) / 2, any_other
