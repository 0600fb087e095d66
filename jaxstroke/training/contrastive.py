"""Contrastive losses over the batch of all devices: NT-Xent of SimCLR (Chen et al. 2020, arXiv 2002.05709; papers' section 4.4), and
InfoNCE of two modalities (CLIP, Radford et al. 2021, arXiv 2103.00020; papers' section 5.3). Two rows of one patient are never negatives.
"""

import jax
import jax.numpy as jnp

from jaxstroke.training.losses import Terms

LEAST = -1e9  # in place of a similarity that does not count: its exponential is exactly 0


def nt_xent(
    first: jax.Array, second: jax.Array, patient: jax.Array, mask: jax.Array, temperature: float, axis: str = "data"
) -> tuple[jax.Array, jax.Array]:
    """(sum of the losses of all anchors of this device, their number). Inside shard_map; the caller adds both over devices.

    first, second: `n f` float32 of length 1, two views of each picture; patient: `n` numbers; mask: `n`, 1 where the picture is there.
    Every view of a picture is an anchor: -log(exp(p / t) / (exp(p / t) + sum over all views z of other patients of exp(z / t))), p its
    similarity to the picture's other view. With one picture a patient it is the loss of the paper. An anchor without a negative gives 0.
    """
    anchors, own, there = jnp.concatenate([first, second]), jnp.tile(patient, 2), jnp.tile(mask, 2)
    positive = jnp.tile((first * second).sum(-1), 2)
    return (there * contrasted(anchors, positive, anchors, own, there, 1 / temperature, axis)).sum(), there.sum()


def info_nce(
    first: jax.Array, second: jax.Array, patient: jax.Array, pair: jax.Array, scale: jax.Array, axis: str = "data"
) -> tuple[jax.Array, jax.Array]:
    """(sum of the losses of all pairs of this device, their number). Inside shard_map; the caller adds both over devices.

    first, second: `n f` float32 of length 1, a row's two modalities; pair: `n`, 1 where it has both; scale: 1 / temperature. A pair's loss
    is the mean of both directions: of each modality against the other one of all other patients. Without a negative it is 0.
    """
    positive = (first * second).sum(-1)
    there, back = (contrasted(*way, patient, pair, scale, axis) for way in ((first, positive, second), (second, positive, first)))
    return (pair * (there + back) / 2).sum(), pair.sum()


def contrasted(anchors, positive, others, patient, mask, scale, axis: str) -> jax.Array:
    """`n`: -log(exp(p s) / (exp(p s) + sum over the others z of all devices, of other patients, of exp(z s))), p the positive's similarity.

    anchors, others: `n f`, row by row of the same patient; mask: `n`, rows that are there.
    """
    everyone, of, shown = (jax.lax.all_gather(x, axis, tiled=True) for x in (others, patient, mask))
    similar = jnp.matmul(anchors, everyone.T, precision=jax.lax.Precision.HIGHEST) * scale  # n N
    similar = jnp.where((patient[:, None] != of) & (shown > 0), similar, LEAST)
    positive = positive * scale
    return jax.nn.logsumexp(jnp.concatenate([positive[:, None], similar], 1), axis=1) - positive


def make_terms(config) -> Terms:
    """Terms as of `losses.make_terms`, one for each image, and with `pretrain.cross_modal` for each pair of images of a row."""

    def terms(outputs: dict, batch: dict, fitted: dict) -> dict[str, tuple[jax.Array, jax.Array]]:
        found = {}
        for name, (first, second, patient, mask) in outputs["pairs"].items():
            found[f"network/{name}"] = nt_xent(first, second, patient, mask, config.pretrain.temperature)
        return found

    return terms
