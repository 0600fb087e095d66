"""The objective of paper 5: the tasks, and what aligns modalities (papers' section 5.3), a weighted sum named in `config.align`."""

import jax

from jaxstroke.training import contrastive, losses

CONTRASTED = ("report", "clinical")  # of `align`, by InfoNCE over the batch of all devices
OF_ROWS = ("words", "matching")  # those that are a number a row


def wanted(config) -> tuple[str, ...]:
    """The losses of alignment that have a weight."""
    return tuple(name for name in (*CONTRASTED, *OF_ROWS) if config.align[name] > 0)


def make_terms(config) -> losses.Terms:
    """Terms as of `losses.make_terms`, and `<part>/align_<name>` of each loss that has a weight. Inside shard_map only.

    The part is the network's; its weight is in the numerator. With accumulation a micro-batch is contrasted with itself.
    """
    of_tasks, names = losses.make_terms(config), wanted(config)

    def terms(outputs: dict, batch: dict, fitted: dict) -> dict[str, tuple[jax.Array, jax.Array]]:
        found, aligned = of_tasks(outputs, batch, fitted), outputs["aligned"]
        part = next(iter(outputs["parts"]), "network")
        for name in names:
            if name in CONTRASTED:
                first, second, pair = aligned[name]
                total = contrastive.info_nce(first, second, batch["patient"], pair * batch["weight"], aligned["scale"])
            else:
                each, pair = aligned[name]
                counted = pair * batch["weight"]
                total = (counted * each).sum(), counted.sum()
            found[f"{part}/align_{name}"] = (config.align[name] * total[0], total[1])
        return found

    return terms
