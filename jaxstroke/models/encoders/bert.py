"""BERT as an encoder of reports: Devlin et al. 2019 (arXiv 1810.04805), post-norm, in the numbers of Hugging Face's `BertModel`.

Reports are single segments, so of the table of token types the first entry alone is a parameter; there is no pooler.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models import layers

EPSILON = 1e-12
DRAWN = nn.initializers.normal(0.02)


def sites(depth: int) -> int:
    """How many sites of dropout a `Bert` takes from its `first_site` on: the embeddings', and of each layer `Layer.SITES`."""
    return 1 + Layer.SITES * depth


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each added to its input and then normed: `b t f, b t -> b t f`. No token attends to padding.

    site: of its first dropout, of the attention's shares; the next are of the attention's and of the perceptron's result.
    """

    SITES = 3

    heads: int
    intermediate: int
    dropout: float
    site: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, keys: jax.Array | None) -> jax.Array:
        b, t, f = x.shape
        inside = f // self.heads
        q, k, v = (dense(f, self.dtype, name)(x).reshape(b, t, self.heads, inside) for name in ("query", "key", "value"))
        scores = jnp.einsum("bthf,bshf->bhts", q, k, preferred_element_type=jnp.float32) / math.sqrt(inside)
        # The smallest number and not -inf: a row with no token at all would be 0 / 0.
        scores = jnp.where(mask[:, None, None] > 0, scores, jnp.finfo(jnp.float32).min)
        shares = layers.dropout(nn.softmax(scores), self.dropout, keys, self.site).astype(self.dtype)
        y = dense(f, self.dtype, "out")(jnp.einsum("bhts,bshf->bthf", shares, v).reshape(b, t, f))
        x = norm(self.dtype, "norm1")(x + layers.dropout(y, self.dropout, keys, self.site + 1))
        y = nn.gelu(dense(self.intermediate, self.dtype, "up")(x), approximate=False)
        y = dense(f, self.dtype, "down")(y)
        return norm(self.dtype, "norm2")(x + layers.dropout(y, self.dropout, keys, self.site + 2))


class Bert(nn.Module):
    """Last hidden states of tokens: `b t -> b t width` float32, zeros where the mask is 0, in rows without any token too.

    vocabulary, positions: entries of the two tables; positions is the longest text there can be. ordered: whether tokens know their place;
    without it there is no such table, and what order a text has changes nothing. dropout: of embeddings, of attention's
    shares and of what both halves of a layer add. remat: a layer is computed again in the backward pass.
    Layer normalisation throughout, so every row is by itself and no mesh axis is named. ValueError for a width that does not divide by
    heads, and for more tokens than positions. A token that is not in the vocabulary gives NaN.
    """

    width: int
    depth: int
    heads: int
    intermediate: int
    dropout: float
    vocabulary: int
    positions: int
    dtype: jnp.dtype = jnp.float32
    remat: bool = False
    ordered: bool = True

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array, keys: jax.Array | None = None, first_site: int = 0) -> jax.Array:
        """tokens: `b t` int32. mask: `b t`, 1 = a token. keys: `b` for dropout, or None. first_site: of `sites(depth)` dropouts."""
        t = tokens.shape[1]
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} does not divide by {self.heads} heads")
        if t > self.positions:
            raise ValueError(f"b t = {tokens.shape}: there are {self.positions} positions")
        words = self.param("embedding", DRAWN, (self.vocabulary, self.width))
        kind = self.param("token_type", DRAWN, (self.width,))
        # Padding is the first entry whatever it holds, for a number not in the table is NaN, and 0 times NaN no 0.
        x = jnp.take(words, jnp.where(mask > 0, tokens, 0), axis=0) + kind
        x = x + self.param("positions", DRAWN, (self.positions, self.width))[:t] if self.ordered else x
        x = norm(self.dtype, "embedding_norm")(x)
        x = layers.dropout(x, self.dropout, keys, first_site)
        layer = nn.remat(Layer) if self.remat else Layer
        for number in range(self.depth):
            site = first_site + 1 + Layer.SITES * number
            x = layer(self.heads, self.intermediate, self.dropout, site, self.dtype, name=f"layer{number + 1}")(x, mask, keys)
        return jnp.where(mask[..., None] > 0, x.astype(jnp.float32), 0.0)


def dense(features: int, dtype: jnp.dtype, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, kernel_init=DRAWN, name=name)


def norm(dtype: jnp.dtype, name: str) -> nn.LayerNorm:
    """Layer normalisation, statistics in float32 and in two passes."""
    return nn.LayerNorm(epsilon=EPSILON, dtype=dtype, use_fast_variance=False, name=name)
