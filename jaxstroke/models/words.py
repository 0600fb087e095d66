"""The report of a row into a network: its tokens through BERT, or what BERT has made of them before."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.models.encoders import bert

SITE = 320  # of BERT's first dropout
PRECOMPUTED = "words"  # the batch's entry with features in place of tokens


def of_batch(batch: dict, fitted: dict) -> tuple[jax.Array, jax.Array]:
    """Tokens and their mask, `b t`: of the batch, or by its rows of the run's own, whose vocabulary is fitted on its training patients."""
    if "tokens" in batch:
        return batch["tokens"], batch["tokens_mask"]
    row = jnp.maximum(batch["row"], 0)
    return fitted["tokens"][row], fitted["tokens_mask"][row] * (batch["row"] >= 0)[:, None]


class Reader(nn.Module):
    """`b t f, b t`: features of the tokens, and which are there. bert: a `bert.Bert` but for its name."""

    bert: Callable

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, keys: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        tokens, mask = of_batch(batch, fitted)
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
    rest = {"dropout": 0.0 if frozen else text.dropout, "vocabulary": text.vocabulary_size, "positions": text.positions, "dtype": dtype}
    return lambda name: bert.Bert(**sizes, **rest, remat=config.model.remat, name=name)


def make(config, dtype: jnp.dtype) -> Callable:
    """A `Reader` or `Read` but for its name."""
    if config.text.precomputed:
        return Read
    return lambda name: Reader(make_bert(config, dtype), name=name)
