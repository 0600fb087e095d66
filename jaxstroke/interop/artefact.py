"""A trained workdir as one function of numbers: all outer networks, their fusion, recalibration and mean, for `jax.export`.

The numbers (weights, and what was fitted in each fold) are an argument, not constants: ten DenseNet121-3D are then a program of less than
1 MiB and a plain file of 432 MiB, which any tool can look into; with constants the program alone is 432 MiB. A loop runs over the
networks, so that one is compiled for all.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke import config as settings
from jaxstroke import config_json, models, outcomes
from jaxstroke.evaluation import predictions
from jaxstroke.feed import resident
from jaxstroke.models.fusion import FITTED
from jaxstroke.training import fusion, step
from jaxstroke.training.fusion import Modules

PLATFORMS = ("cpu", "cuda", "tpu")
LARGEST = math.log((1 - predictions.SMALLEST) / predictions.SMALLEST)  # log-odds, beyond which they are clipped before recalibration


def portable(config):
    """The config as it is exported: float32, convolutions in a form that every platform has."""
    changed = config_json.copied(config)
    with changed.unlocked():
        changed.train.dtype, changed.device.convolution = "float32", "when_it_runs"
    return changed


def rule_of(config, schema) -> fusion.Rule | None:
    """The headline rule, None where the network's own merged logits are the prediction."""
    if config.train.stages != "two" or config.model.fusion == "none":
        return None
    name = fusion.headline(config, schema)
    return next(rule for rule in fusion.rules(config, schema) if rule.name == name)


def numbers_of(config, schema, kept: dict, run_id: str, variables: dict) -> dict:
    """Everything a network of a fold is scored with, as a tree of float32 arrays of the same shapes in every fold. kept: `model.json`."""
    fitted = {name: value for name, value in kept["runs"][run_id].items() if name.startswith(("clinical_", "prior/", "logit_shift/"))}
    rule, merge = rule_of(config, schema), {}
    if rule is not None:
        own = kept["fold"][run_id]["fusion"]
        merge = {"priors": own["priors"], "medians": own["medians"]}
        if rule.kind in FITTED:
            merge[rule.name] = {
                task: [cut_numbers(rule, own, task, cut, variables_of(config, schema, rule)) for cut in range(len(own["priors"][task]))]
                for task in settings.task_names(config)
            }
    recalibration = {
        task: [recalibration_of(lines, run_id, name) for name in outcomes.columns_of(config, task)]
        for task, lines in recalibrated_tasks(kept).items()
    }
    found = {"network": variables, "fitted": fitted, "fusion": merge, "recalibration": recalibration}
    return jax.tree.map(lambda x: np.asarray(x, np.float32), found, is_leaf=is_vector)


def is_vector(value) -> bool:
    return isinstance(value, list) and all(isinstance(one, (int, float)) for one in value)


def variables_of(config, schema, rule: fusion.Rule) -> int:
    """How many columns a fitted rule's logistic reads."""
    return len(settings.module_names(config)) + (len(schema.columns) if rule.kind == "stacked" else 0)


def cut_numbers(rule: fusion.Rule, own: dict, task: str, cut: int, count: int) -> dict:
    """A fitted rule's coefficients; of a cut-off that was not fitted (one class in its fold) those that always give the prior."""
    numbers = own[rule.name][task][cut]
    if numbers is not None:
        return numbers
    prior = own["priors"][task][cut]
    return {
        "median": [0.0] * count, "mean": [0.0] * count, "scale": [1.0] * count, "coefficients": [0.0] * (2 * count),
        "intercept": math.log(prior / (1 - prior)),
    }  # fmt: skip


def recalibrated_tasks(kept: dict) -> dict[str, list[dict]]:
    """{task: a line a fold, and a class, with intercept and slope} of the network's tasks without levels; a score that ranks has none."""
    lines = {
        task: [line for line in found if line["intercept"] is not None] for task, found in kept["decisions"].get("network", {}).items()
    }
    return {task: found for task, found in lines.items() if found}


def recalibration_of(lines: list[dict], run_id: str, name: str = "") -> list[float]:
    """[intercept, slope] of a fold's network, NaN where its validation part had no label. name: of the class, where there are several."""
    own = [line for line in lines if line.get("class", "") == name]
    found = {f"r{line['repeat']}-f{line['fold']}-s{line['seed']}": [line["intercept"], line["slope"]] for line in own}
    return found.get(run_id, [math.nan, math.nan])


def flat(trees: list[dict]) -> tuple[dict[str, np.ndarray], jax.tree_util.PyTreeDef]:
    """Trees of one shape as {path: arrays with a leading axis of networks}, in the order of the leaves, and their structure."""
    stacked = jax.tree.map(lambda *x: np.stack(x), *trees)
    leaves, structure = jax.tree_util.tree_flatten_with_path(stacked)
    found = {"/".join(str(getattr(key, "key", getattr(key, "idx", ""))) for key in path): leaf for path, leaf in leaves}
    if len(found) != len(leaves):
        raise ValueError("two arrays of a network have one path")
    return found, structure


def make(config, schema, names: tuple[str, ...], structure):
    """`score(numbers, batch) -> {"probability": {task: b k}, "recalibrated": {task: b, of classes b k}}`, the means over the networks.

    numbers: as `flat` gives them; names: its keys. batch: "images/<name>" `b s h w c`, 0 where its mask is, "images_mask/<name>" `b s`,
    "clinical" and "clinical_mask" `b k`, those of them that the network reads. config: of `portable`.
    """
    model, rule = models.build(config), rule_of(config, schema)

    def one(batch, numbers):
        outputs = step.shifted(step.evaluated(model, numbers["network"], numbers["fitted"], batch), numbers["fitted"])
        modules = None if rule is None else modules_of(config, outputs, batch)
        found = {"probability": {}, "recalibrated": {}}
        for task in settings.task_names(config):
            kind = outcomes.of_task(config, task)
            if rule is None:
                probability, logit = kind.probability(outputs["logits"][task]), kind.log_odds(outputs["logits"][task])
            else:
                probability = fusion.apply(config, rule, modules, numbers["fusion"], task)
                logit = jnp.log(probability) - jnp.log1p(-probability)
            found["probability"][task] = probability
            if task in numbers["recalibration"]:
                again = recalibrated(numbers["recalibration"][task], jnp.clip(logit, -LARGEST, LARGEST), kind)
                found["recalibrated"][task] = again if len(numbers["recalibration"][task]) > 1 else again[:, 0]
        return found

    def score(numbers, batch):
        tree = jax.tree.unflatten(structure, [numbers[name] for name in names])
        found = jax.lax.map(lambda own: one(batch, own), tree)
        return jax.tree.map(lambda x: jnp.nanmean(x, 0), found)  # as --mode predict: a network without a number is left out

    return score


def recalibrated(fitted: list, logit: jax.Array, kind: outcomes.Kind) -> jax.Array:
    """`b k`: the probability of each column after the fold's recalibration. fitted: (intercept, slope) of each."""
    return kind.tidy(jnp.stack([predictions.sigmoid(a + b * logit[:, place]) for place, (a, b) in enumerate(fitted)], -1))


def shown(batch: dict) -> dict:
    """The batch with images that are 0 where their mask is, as the feed gives them; a network of volumes reads no mask."""
    masked = {}
    for name, mask in batch.items():
        kind, _, image = name.partition("/")
        if kind == "images_mask":
            x = batch[f"images/{image}"]
            masked[f"images/{image}"] = x * resident.batch_mask(mask, x.ndim)
    return batch | masked


def modules_of(config, outputs: dict, batch: dict) -> Modules:
    """What a rule reads, of the network's outputs for a batch."""
    parts = [outputs["parts"][name] for name in settings.module_names(config)]
    logits = {task: jnp.stack([part["logits"][task] for part in parts], 1) for task in outputs["logits"]}
    return Modules(logits, jnp.stack([part["present"] for part in parts], 1), batch["clinical"], batch["clinical_mask"])


def shapes(config, schema) -> dict[str, tuple[int, ...]]:
    """{entry of the batch: its shape without `b`} of all that a network of this config could read."""
    found = {}
    for name in settings.image_names(config):
        size = tuple(config.images[name].shape)
        found |= {f"images/{name}": (*size, config.images[name].channels), f"images_mask/{name}": size[:1]}
    return found | dict.fromkeys(("clinical", "clinical_mask"), (len(schema.columns),))


def export(config, schema, trees: list[dict]) -> tuple[bytes, dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
    """(the artefact, its numbers, the shapes of the entries it reads) of a workdir's networks. trees: `numbers_of` each."""
    config = portable(config)
    numbers, structure = flat(trees)
    score = make(config, schema, tuple(numbers), structure)
    read = shapes(config, schema)
    kept = set(lowered(score, numbers, read, 2, PLATFORMS[:1]).module_kept_var_idx)  # with any number of patients all are kept
    place = {name: number for number, name in enumerate([*sorted(numbers), *sorted(read)])}  # as JAX flattens dictionaries
    read = {name: shape for name, shape in read.items() if place[name] in kept}
    (b,) = jax.export.symbolic_shape("b")
    exported = lowered(lambda numbers, batch: score(numbers, shown(batch)), numbers, read, b, PLATFORMS)
    return bytes(exported.serialize()), numbers, read


def lowered(score, numbers: dict, read: dict[str, tuple[int, ...]], b, platforms: tuple[str, ...]) -> jax.export.Exported:
    """The function for `b` patients on these platforms. read: the entries of its batch."""
    weights = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in numbers.items()}
    batch = {name: jax.ShapeDtypeStruct((b, *shape), jnp.float32) for name, shape in read.items()}
    with jax.default_matmul_precision("highest"):  # float32 on a TPU and a recent GPU too
        return jax.export.export(jax.jit(score), platforms=platforms)(weights, batch)


def abstract_variables(config, schema, fitted: dict) -> dict:
    """Shapes of one network's variables, as they are kept. fitted: `runs.fitted` of any run."""
    model = models.build(portable(config))
    batch = {name: np.zeros((2, *shape), np.float32) for name, shape in shapes(config, schema).items()}
    found = jax.eval_shape(lambda: model.init(jax.random.key(0), batch, fitted, train=False))
    return {"params": found["params"], "stats": found.get("batch_stats", {})}
