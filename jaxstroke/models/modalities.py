"""Image and report of a row as tokens: the last map of an encoder; BERT's features, or what BERT has made before."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models import layers
from jaxstroke.models.encoders import bert, vit

SITE = 320  # of BERT's first dropout
PRECOMPUTED = "words"  # the batch's entry with features in place of tokens


class Image(nn.Module):
    """An image as tokens: `b *axes c, b s -> b n f, b n` and their grid. It is the encoder's last map, each place knowing where it is.

    A sequence `b s h w c` is seen picture by picture, a volume `b d h w c` whole.
    """

    encoder: nn.Module
    whole: bool
    width: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, shown: jax.Array, keys: jax.Array | None, train: bool) -> tuple:
        b, s = x.shape[:2]
        present = (mask.reshape(b, -1).max(-1) > 0).astype(jnp.float32)
        if self.whole:
            maps = self.last_map(x, shown * present, keys, train)
            grid, there = maps.shape[1:-1], jnp.broadcast_to(present[:, None], (b, maps[0, ..., 0].size))
        else:
            flat = (mask * shown[:, None]).reshape(-1)
            maps = self.last_map(x.reshape(b * s, *x.shape[2:]), flat, layers.keys_of_pictures(keys, s), train)
            grid = (s, *maps.shape[1:-1])
            there = jnp.repeat(mask, maps[0, ..., 0].size, -1)
        tokens = nn.Dense(self.width, dtype=self.dtype, name="project")(maps.reshape(b, -1, maps.shape[-1]))
        tokens = tokens + jnp.asarray(vit.sincos(grid, self.width), self.dtype)
        named = self.param("image", nn.initializers.normal(0.02), (self.width,))
        return vit.norm(self.dtype, "norm")(tokens + named.astype(self.dtype)), there, grid

    def last_map(self, x: jax.Array, mask: jax.Array, keys: jax.Array | None, train: bool) -> jax.Array:
        *_, last, _ = self.encoder(x, mask, keys, train).values()
        return last


def of_batch(batch: dict, fitted: dict) -> tuple[jax.Array, jax.Array]:
    """Tokens and their mask, `b t`: of the batch, or by its rows of the run's own, whose vocabulary is fitted on its training patients."""
    if "tokens" in batch:
        return batch["tokens"], batch["tokens_mask"]
    row = jnp.maximum(batch["row"], 0)
    tokens, mask = (jnp.asarray(fitted[name])[row] for name in ("tokens", "tokens_mask"))
    return tokens, mask * (batch["row"] >= 0)[:, None]


class Reader(nn.Module):
    """`b t f, b t`: features of the tokens, and which are there. bert: a `bert.Bert` but for its name.

    unread: probability that a token, but for the first, is passed over in training, as if the report were without it.
    """

    bert: Callable
    unread: float = 0.0

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, keys: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        tokens, mask = of_batch(batch, fitted)
        read = layers.dropout(jnp.ones_like(mask), self.unread, keys, SITE - 1) > 0
        mask = mask * read.at[:, 0].set(True)
        return self.bert(name="bert")(tokens, mask, keys, SITE), mask


class Read(nn.Module):
    """The same of features that were computed before: entries `words` and `words_mask` of the batch."""

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, keys: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        return batch[PRECOMPUTED].astype(jnp.float32), batch[f"{PRECOMPUTED}_mask"]


def make_bert(config, dtype: jnp.dtype) -> Callable:
    """A `bert.Bert` by section `text`, without a name."""
    text = config.text
    sizes = {"width": text.width, "depth": text.depth, "heads": text.heads, "intermediate": text.intermediate}
    frozen = config.optimizer.text_rate == 0 or text.precomputed
    tables = {"vocabulary": text.vocabulary_size, "positions": text.positions}
    rest = {"dropout": 0.0 if frozen else text.dropout, "ordered": text.ordered or bool(text.init_from)}
    return lambda name: bert.Bert(**sizes, **tables, **rest, dtype=dtype, remat=config.model.remat, name=name)


def reader(config, dtype: jnp.dtype) -> Callable:
    """A `Reader` or `Read` but for its name."""
    if config.text.precomputed:
        return Read
    return lambda name: Reader(make_bert(config, dtype), config.text.unread, name=name)


def zeros(batch: dict) -> jax.Array:
    """`b`, of an entry that every batch has, so that they are spread over devices as it is."""
    return jnp.zeros_like(batch["clinical_mask"], shape=batch["clinical_mask"].shape[:1])


def nothing(batch: dict, width: int, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """A modality that the network does not see: one token `b 1 f`, and that it is not there, `b 1`."""
    mask = zeros(batch)[:, None]
    return jnp.zeros_like(mask, shape=(mask.shape[0], 1, width), dtype=dtype), mask
