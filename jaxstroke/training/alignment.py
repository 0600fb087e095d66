"""The objective of paper 5: the tasks, and what aligns modalities (papers' section 5.3), a weighted sum named in `config.align`."""

import jax

from jaxstroke.training import contrastive, losses

CONTRASTED = ("report", "clinical")  # of `align`, by InfoNCE over the batch of all devices
OF_ROWS = ("words", "matching")  # those that are a number a row
OWN = "own"  # the tasks' losses of each modality's own logits


def wanted(config) -> tuple[str, ...]:
    """The losses of alignment that have a weight."""
    return tuple(name for name in (*CONTRASTED, *OF_ROWS, OWN) if config.align[name] > 0)


def make_terms(config) -> losses.Terms:
    """Terms as of `losses.make_terms`, and `<part>/align_<name>` of each loss that has a weight. Inside shard_map only.

    The part is the network's; its weight is in the numerator. Of own logits there is a term a modality and task. With accumulation a
    micro-batch is contrasted with itself.
    """
    of_tasks, names = losses.make_terms(config), [name for name in wanted(config) if name != OWN]

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
        for name, total in own(outputs["own"], batch, fitted, config).items():
            found[f"{part}/align_own_{name}"] = (config.align.own * total[0], total[1])
        return found

    return terms


def own(modalities: dict, batch: dict, fitted: dict, config) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Terms `<modality>_<task>` of each modality's own logits, so that none is learned from at the others' cost."""
    found = losses.terms({"parts": modalities}, batch, fitted, config.loss, joint=False) if modalities else {}
    return {name.replace("/", "_"): total for name, total in found.items()}
