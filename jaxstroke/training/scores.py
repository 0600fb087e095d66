"""Every model's probabilities for a set of patients: the network, its modules and rules, and the comparators beside them.

All that is fitted here is plain json, kept in the workdir's `model.json`, so that new patients are scored without the training cohort.
"""

from dataclasses import dataclass

import numpy as np

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke.evaluation import comparators
from jaxstroke.evaluation.predictions import REGRESSIONS
from jaxstroke.training import fusion
from jaxstroke.training.fusion import Modules

PLAIN, WITH_VOLUME, WITH_TERRITORIES = REGRESSIONS  # the last with the volume too, where there is one


@dataclass(frozen=True)
class Patients:
    """What is known of n patients when they are scored. logits: the network's merged ones {task: n k}. volume_ml: n or None.

    territories: `n k` shares of each territory that are lesion, NaN where a patient has no mask; or None.
    """

    modules: Modules
    logits: dict[str, np.ndarray]
    volume_ml: np.ndarray | None
    territories: np.ndarray | None = None


@dataclass(frozen=True)
class Score:
    """One model on one task: probability n k, NaN where the model says nothing; ranks: it is no probability."""

    model: str
    task: str
    probability: np.ndarray
    ranks: bool = False


def patients_of(config, loaded, outputs: dict, rows: np.ndarray) -> Patients:
    """Rows of the cohort with what a network said of them. outputs: of `Engine.predict` for the same rows."""
    # By name: JAX hands dictionaries back with their keys sorted, not in the order of `model.images`.
    parts = [outputs["parts"][name] for name in settings.module_names(config)] if outputs["parts"] else []
    logits = {task: np.stack([part["logits"][task] for part in parts], 1) for task in outputs["logits"]} if parts else {}
    present = np.stack([part["present"] for part in parts], 1) if parts else np.zeros((len(rows), 0))
    modules = Modules(logits, present, loaded.arrays["clinical"][rows], loaded.arrays["clinical_mask"][rows])
    return Patients(modules, outputs["logits"], *of_masks(loaded, rows))


def of_masks(loaded, rows: np.ndarray) -> list[np.ndarray | None]:
    """What lesion masks say of rows: volumes, and shares of territories."""
    return [None if every is None else every[rows] for every in (loaded.volume_ml, loaded.territories)]


def joined(parts: list[Patients]) -> Patients:
    """Several sets of patients as one, in order."""

    def merge(*values):
        return None if values[0] is None else np.concatenate(values)

    tasks, merged = parts[0].modules.logits, parts[0].logits
    modules = Modules(
        {task: merge(*(part.modules.logits[task] for part in parts)) for task in tasks},
        *(merge(*(getattr(part.modules, name) for part in parts)) for name in ("present", "clinical", "clinical_mask")),
    )
    logits = {task: merge(*(part.logits[task] for part in parts)) for task in merged}
    return Patients(modules, logits, *(merge(*(getattr(part, name) for part in parts)) for name in ("volume_ml", "territories")))


def fit(
    config,
    schema,
    out_of_fold: Patients | None,
    known: Patients,
    labels: dict[str, np.ndarray],
    priors: dict,
    rows: np.ndarray,
    weights: dict,
) -> dict:
    """Numbers of fusion and comparators fitted on some rows, as json.

    known: the outer training patients; out_of_fold: the same ones with logits of inner networks that had not seen them, or None without
    inner folds (then only rules without coefficients are made). labels: {task: n}, NaN unknown. rows: indices to fit on.
    weights: {task: n or None}, what rows count.
    """
    numbers = {"comparators": {}}
    if config.train.stages == "two" and config.model.fusion != "none":
        modules = (out_of_fold or known).modules
        numbers["fusion"] = fusion.fit(config, fusion.rules(config, schema), modules, labels, priors, rows, weights)
    for task, label in labels.items():
        for name, values, mask in comparator_inputs(config, schema, known, task):
            beside = config.evaluate.comparators
            penalty = beside.territory_penalty if name == WITH_TERRITORIES else beside.penalty
            fitted = [comparators.fit(values, mask, one, rows, penalty, weights[task]) for one in column_labels(config, task, label)]
            numbers["comparators"].setdefault(name, {})[task] = fitted
    return numbers


def column_labels(config, task: str, label: np.ndarray) -> list[np.ndarray]:
    """Whether the event of each of the task's columns is there, `n` each, NaN where it is unknown."""
    reached = outcomes.of_task(config, task).reached(label, len(outcomes.columns_of(config, task)))
    return [np.where(np.isnan(label), np.nan, column) for column in reached.T]


def comparator_inputs(config, schema, patients: Patients, task: str):
    """(name, values, mask) of each logistic regression that the config asks for. A task's own column is masked: it is the answer."""
    values, mask = patients.modules.clinical, patients.modules.clinical_mask
    if not config.evaluate.comparators.clinical or not settings.clinical_names(config):
        return
    outcome = config.cohort.outcomes[task][0]
    own = np.array([schema.variables[variable] == outcome for variable in schema.source], bool)
    mask = np.where(own, 0, mask)
    yield PLAIN, values, mask
    if patients.volume_ml is not None:
        values, mask = comparators.with_volume(values, mask, patients.volume_ml)
        yield WITH_VOLUME, values, mask
    if patients.territories is not None:
        yield WITH_TERRITORIES, *comparators.with_territories(values, mask, patients.territories)


def score(config, schema, patients: Patients, numbers: dict) -> list[Score]:
    """All models on all tasks for some patients."""
    found = []
    for task in settings.task_names(config):
        kind = outcomes.of_task(config, task)
        found += network_scores(config, schema, patients, numbers, task)
        # Joint training minimises the loss of the merge: a module's own head is then no prediction.
        separate = patients.modules.logits and config.train.stages == "two"
        for number, name in enumerate(settings.module_names(config) if separate else ()):
            probability = kind.probability(patients.modules.logits[task][:, number])
            found.append(Score(f"module:{name}", task, np.where(patients.modules.present[:, [number]] > 0, probability, np.nan)))
        for name, values, mask in comparator_inputs(config, schema, patients, task):
            if name not in numbers["comparators"]:
                continue  # asked for after training
            parts = [comparators.apply(one, values, mask) for one in numbers["comparators"][name][task]]
            found.append(Score(name, task, kind.tidy(np.stack(parts, -1))))
    return found


def network_scores(config, schema, patients: Patients, numbers: dict, task: str) -> list[Score]:
    """`network` first, then every other rule; without a fitted fusion the network's own merged logits."""
    if "fusion" not in numbers:
        return [Score("network", task, outcomes.of_task(config, task).probability(patients.logits[task]), config.model.fusion == "scalar")]
    chosen = fusion.headline(config, schema)
    rules = sorted(fusion.rules(config, schema), key=lambda rule: rule.name != chosen)
    return [
        Score(
            "network" if rule.name == chosen else f"rule:{rule.name}",
            task,
            fusion.apply(config, rule, patients.modules, numbers["fusion"], task),
            rule.kind == "scalar",
        )
        for rule in rules
    ]
