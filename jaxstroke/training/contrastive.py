"""NT-Xent, the loss of SimCLR (Chen et al. 2020, arXiv 2002.05709), over the batch of all devices; two pictures of one patient are never
negatives of each other (papers' section 4.4)."""

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
    everyone, of, shown = (jax.lax.all_gather(x, axis, tiled=True) for x in (anchors, own, there))
    similar = jnp.matmul(anchors, everyone.T, precision=jax.lax.Precision.HIGHEST) / temperature  # 2n 2N
    similar = jnp.where((own[:, None] != of) & (shown > 0), similar, LEAST)
    positive = jnp.tile((first * second).sum(-1) / temperature, 2)
    loss = jax.nn.logsumexp(jnp.concatenate([positive[:, None], similar], 1), axis=1) - positive
    return (there * loss).sum(), there.sum()


def make_terms(config) -> Terms:
    """Terms as of `losses.make_terms`, one for each image, and with `pretrain.cross_modal` for each pair of images of a row."""

    def terms(outputs: dict, batch: dict, fitted: dict) -> dict[str, tuple[jax.Array, jax.Array]]:
        found = {}
        for name, (first, second, patient, mask) in outputs["pairs"].items():
            found[f"network/{name}"] = nt_xent(first, second, patient, mask, config.pretrain.temperature)
        return found

    return terms
