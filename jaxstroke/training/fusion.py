"""Stage two: the modules' preliminary probabilities merged by every rule of paper 1 (section 1.4), fitted per fold.

Fitted rules see inner out-of-fold logits of the outer training patients: networks that had not seen those patients. Never another
outer fold's: those networks saw this fold's test patients.
"""

from dataclasses import dataclass

import numpy as np

from jaxstroke import outcomes
from jaxstroke.errors import InputError, nearest
from jaxstroke.evaluation import comparators
from jaxstroke.models import fusion


@dataclass(frozen=True)
class Modules:
    """Preliminary results and clinical values of n rows: logits {task: n m k}, present n m, clinical and its mask n k."""

    logits: dict[str, np.ndarray]
    present: np.ndarray
    clinical: np.ndarray
    clinical_mask: np.ndarray


@dataclass(frozen=True)
class Rule:
    """A way to merge. column: of the clinical array, whose value weights the modules; None where the rule reads none."""

    name: str
    kind: str
    column: int | None = None
    upper: float = 1.0


def rules(config, schema) -> list[Rule]:
    """Every rule that this config's columns allow; `poe_nihss` is `poe` weighted by NIHSS. Fitted ones need inner folds."""
    columns = [(name, schema.numeric.index(name)) for name in config.model.fusion_upper if name in schema.numeric]
    found = [Rule("mean", "mean"), Rule("stacked", "stacked")]
    for kind in fusion.WEIGHTED:
        found += [Rule(f"{kind}_{name}", kind, place, config.model.fusion_upper[name]) for name, place in columns]
    found = [rule for rule in found if rule.kind not in fusion.FITTED or config.split.inner_folds > 1]
    return [rule for rule in found if rule.kind not in outcomes.OF_ONE_EVENT or not outcomes.has_classes(config)]


def headline(config, schema) -> str:
    """The name of the rule that `model.fusion` and `model.fusion_column` ask for."""
    kind = config.model.fusion
    name = f"{kind}_{config.model.fusion_column}" if kind in fusion.WEIGHTED else kind
    known = [rule.name for rule in rules(config, schema)]
    if name not in known:
        raise InputError(
            f"config.model.fusion = '{kind}' with fusion_column '{config.model.fusion_column}' is no rule.{nearest(name, known)}"
        )
    return name


def fit(
    config, found: list[Rule], modules: Modules, labels: dict[str, np.ndarray], priors: dict[str, np.ndarray], rows: np.ndarray,
    weights: dict | None = None,
) -> dict:  # fmt: skip
    """Numbers of every rule, as plain json: {rule: {task: [numbers of each cut]}}.

    labels: {task: n} with NaN where unknown. priors: {task: k}, for patients without any module. rows: those to fit on.
    weights: {task: n or None}, what rows count, default 1.
    """
    numbers = {"priors": {task: np.asarray(value).tolist() for task, value in priors.items()}}
    medians = [float(np.median(part[known > 0])) if (known > 0).any() else 0.0 for part, known in columns_of(modules, rows)]
    numbers["medians"] = medians
    for rule in found:
        if rule.kind not in fusion.FITTED:
            continue
        numbers[rule.name] = {}
        for task, label in labels.items():
            known = rows[~np.isnan(label[rows])]
            cuts = range(modules.logits[task].shape[-1])
            fitted = [fit_cut(config, rule, modules, numbers, task, cut, label, known, (weights or {}).get(task)) for cut in cuts]
            numbers[rule.name][task] = fitted
    return numbers


def columns_of(modules: Modules, rows: np.ndarray):
    return zip(modules.clinical[rows].T, modules.clinical_mask[rows].T, strict=True)


def fit_cut(
    config, rule: Rule, modules: Modules, numbers: dict, task: str, cut: int, label: np.ndarray, rows: np.ndarray, weight: np.ndarray | None
) -> dict | None:
    """Logistic coefficients of one column, None where its event is in all of the rows or in none."""
    reached = outcomes.of_task(config, task).reached(label, modules.logits[task].shape[-1])[:, cut].astype(np.float64)
    if len(np.unique(reached[rows])) < 2:
        return None
    values, mask = inputs(config, rule, modules, numbers, task, cut)
    return comparators.fit(values, mask, reached, rows, config.model.fusion_penalty, weight)


def inputs(config, rule: Rule, modules: Modules, numbers: dict, task: str, cut: int) -> tuple[np.ndarray, np.ndarray]:
    """What a fitted rule's logistic reads, `n p` and its mask: c times each probability, or the log-odds and the clinical columns."""
    xp = outcomes.namespace(modules.present)
    logits = outcomes.of_task(config, task).log_odds(modules.logits[task])[..., cut]
    if rule.kind == "learned":
        return weight_of(config, rule, modules, numbers)[:, None] / (1 + xp.exp(-logits)), modules.present
    return xp.hstack([logits, modules.clinical]), xp.hstack([modules.present, modules.clinical_mask])


def weight_of(config, rule: Rule, modules: Modules, numbers: dict) -> np.ndarray:
    """`n`: the clinical weight c, by the training median where the value is missing."""
    xp = outcomes.namespace(modules.present)
    known = modules.clinical_mask[:, rule.column] > 0
    values = xp.where(known, modules.clinical[:, rule.column], numbers["medians"][rule.column])
    return xp.asarray(fusion.weight(values, rule.upper, tuple(config.model.fusion_clip)), dtype=float)


def apply(config, rule: Rule, modules: Modules, numbers: dict, task: str) -> np.ndarray:
    """`n k` probabilities of a task by a rule, as its kind has them; in the library of the modules' arrays."""
    xp, kind = outcomes.namespace(modules.present), outcomes.of_task(config, task)
    prior = xp.asarray(numbers["priors"][task])
    if rule.kind in fusion.FITTED:
        parts = []
        for cut, coefficients in enumerate(numbers[rule.name][task]):
            if coefficients is None:
                parts.append(xp.full(modules.present.shape[:1], prior[cut]))
            else:
                parts.append(comparators.apply(coefficients, *inputs(config, rule, modules, numbers, task, cut)))
        merged = xp.stack(parts, axis=-1)
    else:
        c = None if rule.kind == "mean" else weight_of(config, rule, modules, numbers)
        probabilities = 1 / (1 + xp.exp(-kind.log_odds(modules.logits[task])))
        merged = xp.asarray(fusion.parameter_free(rule.kind, probabilities, modules.present, c, prior), dtype=float)
    return kind.tidy(merged)
