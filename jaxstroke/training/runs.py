"""A run is (repeat, fold, inner, seed): the unit of training. Its rows, and the numbers fitted on its training rows."""

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np

from jaxstroke import outcomes
from jaxstroke.cohort import censoring
from jaxstroke.feed import buckets, plan
from jaxstroke.preprocess import clinical
from jaxstroke.training import published, vocabulary
from jaxstroke.training.losses import ROW_WEIGHT

logger = logging.getLogger("jaxstroke")


@dataclass(frozen=True)
class Run:
    """One network to train. rows are indices into the cohort; `inner` is None for the outer network of a fold."""

    repeat: int
    fold: int
    inner: int | None
    seed: int
    train: np.ndarray
    val: np.ndarray
    held: np.ndarray  # test rows of an outer run, held-out rows of an inner one

    @property
    def id(self) -> str:
        inner = "" if self.inner is None else f"-i{self.inner}"
        return f"r{self.repeat}-f{self.fold}{inner}-s{self.seed}"

    @property
    def key(self) -> tuple[int, int, int, int]:
        """What its randomness hangs on, whatever other runs there are."""
        return (self.seed, self.repeat, self.fold, 0 if self.inner is None else self.inner + 1)

    @property
    def device_seed(self) -> int:
        return int(np.random.SeedSequence(self.key).generate_state(1)[0] & 0x7FFFFFFF)


def make_runs(config, folds, index: dict[str, int]) -> list[Run]:
    """Every run of the config: each fold's outer network, then its inner ones where fusion is fitted. index: unit -> row."""
    inner_wanted = config.train.stages == "two" and config.model.fusion != "none"

    def rows(units):
        return np.array([index[unit] for unit in units if unit in index], np.int32)

    found = []
    for seed in config.train.seeds:
        for fold in folds:
            parts = [(None, fold.train, fold.val, fold.test)]
            if inner_wanted:
                parts += [(number, part.train, part.val, part.holdout) for number, part in enumerate(fold.inner)]
            found += [Run(fold.repeat, fold.fold, inner, seed, *map(rows, units)) for inner, *units in parts]
    return found


def with_fewer_labels(run: Run, config, arrays: dict[str, np.ndarray]) -> Run:
    """The run with `split.labelled` training patients, drawn by its seed with outcomes in proportion, and as large a share of validation.

    Patients, as several rows of one do not stand for several. All, where there are no more.
    """
    wanted, patient = config.split.labelled, arrays["patient"]
    count = len(np.unique(patient[run.train]))
    if not wanted or wanted >= count:
        return run
    label, known = (arrays[f"{name}/{config.evaluate.primary}"] for name in ("label", "label_mask"))
    rng = np.random.default_rng([config.split.seed, *run.key, 3])
    parts = {}
    for name, rows in (("train", run.train), ("val", run.val)):
        chosen = []
        first = rows[np.unique(patient[rows], return_index=True)[1]]  # a row a patient
        classes = np.where(known[first] > 0, label[first], -1)
        for value in np.unique(classes):
            members = rng.permutation(patient[first[classes == value]])
            chosen.append(members[: max(1, round(len(members) * wanted / count))])
        parts[name] = rows[np.isin(patient[rows], np.concatenate(chosen))] if chosen else rows
    return dataclasses.replace(run, **parts)


def labels_of(run: Run, arrays: dict[str, np.ndarray], task: str) -> np.ndarray:
    """Labels of the run's training rows, NaN where unknown."""
    known = arrays[f"label_mask/{task}"][run.train] > 0
    return np.where(known, arrays[f"label/{task}"][run.train], np.nan)


def followed(config, units) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{task: (days, whether the event ended them)} of the cohort's units, of tasks whose rows are weighted for those who were lost."""
    weighted = config.evaluate.censoring == "weights"
    tasks = [task for task in config.loss if weighted and config.cohort.outcomes[task][1] == "within"]
    return {task: censoring.follow_up(units, task) for task in tasks}


def own_weights(config, units) -> dict[str, np.ndarray]:
    """`row_weight/<task>` of units that nothing is trained on: how many are lost when is learned from all of them."""
    everyone = np.arange(len(units))
    return {
        f"{ROW_WEIGHT}{task}": censoring.row_weights(*times, config.cohort.outcomes[task][2][2], everyone)
        for task, times in followed(config, units).items()
    }


def fitted(
    run: Run, schema: clinical.Schema, arrays: dict[str, np.ndarray], config, follow_up: dict | None = None, loaded=None
) -> dict[str, np.ndarray]:
    """Numbers the step needs that were fitted on this run's training rows only: imputation, scaling, class weights, priors, updates.

    loaded: the cohort, of a network that reads reports: `tokens` and `tokens_mask` are `n t`, by the vocabulary of this run.

    follow_up: of `followed`; those tasks get `row_weight/<task>`, `n` weights of the cohort's rows: how many are lost when is learned from
    the run's training and validation rows alone. Class weights count patients as they are; the logits' shift undoes them all the same.
    """
    numbers = {}
    columns = clinical.fit(schema, arrays["clinical"], arrays["clinical_mask"], run.train, config.model.scaling)
    numbers |= {f"clinical_{name}": np.asarray(value, np.float32) for name, value in columns.items()}
    for task in config.loss:
        labels, weight = labels_of(run, arrays, task), np.ones(len(run.train))
        known = ~np.isnan(labels)
        kind, k = outcomes.of_task(config, task), len(outcomes.columns_of(config, task))
        if task in (follow_up or {}):
            horizon = config.cohort.outcomes[task][2][2]
            every = censoring.row_weights(*follow_up[task], horizon, np.concatenate([run.train, run.val]))
            numbers[f"{ROW_WEIGHT}{task}"] = every.astype(np.float32)
            weight = every[run.train]
        reached = weight[known] @ kind.reached(labels[known], k)
        numbers[f"prior/{task}"] = kind.tidy((reached + 0.5).astype(np.float32) / (float(weight[known].sum()) + 1))
        numbers[f"class_weight/{task}"] = class_weights(labels[known], config.train.imbalance, kind, k)
        numbers[f"logit_shift/{task}"] = prior_shift(run, arrays, config, task, weight)
    if loaded is not None:
        numbers |= vocabulary.tokens(config, loaded, run)
    steps = len(epoch_rows(run, 0, arrays, config))
    numbers["total_steps"] = np.asarray(steps * config.train.epochs, np.int32)
    return numbers


def class_weights(labels: np.ndarray, imbalance: str, kind: outcomes.Kind, k: int) -> np.ndarray:
    """A weight a level: n / (c n_level), c levels of which there are any, where `train.imbalance` is `weights`; else ones.

    An ordinal task, which no weights are taken of, has two ones.
    """
    if not kind.weighted:
        return np.ones(2, np.float32)
    counts = np.bincount(labels.astype(int), minlength=kind.levels(k))
    if imbalance != "weights":
        return np.ones(len(counts), np.float32)
    present = (counts > 0).sum()
    return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 1).astype(np.float32)


def prior_shift(run: Run, arrays: dict[str, np.ndarray], config, task: str, weight: np.ndarray) -> np.ndarray:
    """`k`: what a task's logits must be moved by, since training saw another prevalence than the patients have. weight: of training rows.

    Class weights balance every task without levels by itself; oversampling balances the primary one, and moves the others with it.
    """
    labels = labels_of(run, arrays, task)
    kind, k = outcomes.of_task(config, task), len(outcomes.columns_of(config, task))
    if config.train.imbalance == "none" or config.train.as_published or (config.train.imbalance == "weights" and not kind.weighted):
        return np.zeros(k, np.float32)
    balanced = labels_of(run, arrays, config.evaluate.primary) if config.train.imbalance == "oversample" else labels
    seen = plan.frequencies(balanced)
    known = ~np.isnan(labels)
    reached = kind.reached(labels[known], k)
    with np.errstate(invalid="ignore"):  # infinite less infinite, of a class that nobody has
        shift = kind.strength(reached, weight[known]) - kind.strength(reached, (weight * seen)[known])
    return np.where(np.isfinite(shift), shift, 0.0).astype(np.float32)


def kept(numbers: dict[str, np.ndarray]) -> dict:
    """What of `fitted` scores new patients, as json."""
    return {name: np.asarray(value).tolist() for name, value in numbers.items() if not name.startswith((ROW_WEIGHT, "tokens"))}


def warn_of_caps(numbers: dict[str, dict[str, np.ndarray]], tasks):
    """Say for how many patients the largest weight stands in that is taken, in any run. numbers: `fitted` of each; tasks: weighted ones."""
    for task in tasks:
        count = int(np.any([censoring.capped(one[f"{ROW_WEIGHT}{task}"]) for one in numbers.values()], 0).sum())
        if count:
            logger.warning(
                "%s: the weights of %d patients are capped at %g: few were followed as long; a shorter horizon would be safer",
                task, count, 1 / censoring.LEAST,
            )  # fmt: skip


def epoch_rows(run: Run, epoch: int, arrays: dict[str, np.ndarray], config) -> np.ndarray:
    """The epoch's rows, `steps rows-an-update`, padded with -1."""
    balance = labels_of(run, arrays, config.evaluate.primary) if config.train.imbalance == "oversample" else None
    width = config.train.batch_size * config.train.accumulation
    if config.train.as_published:
        rows = plan.shuffled(run.train, (*run.key, epoch), balance)
        return published.grouped(rows, config.train.batch_size, config.train.accumulation)
    found = buckets.make(config, arrays)
    return plan.epoch_rows(run.train, width, (*run.key, epoch), balance, None if found is None else found.number)
