"""A config checked as a whole before a file is read: every value that names something, and what must fit together."""

from jaxstroke import config as settings
from jaxstroke.errors import InputError, nearest

CHOICES = {
    "split.kind": ("kfold", "given", "group", "temporal", "official"),
    "model.fusion": ("poe", "scalar", "learned", "mean", "stacked", "none"),
    "optimizer.name": ("adam", "sgd"),
    "optimizer.schedule": ("constant", "cosine"),
    "train.dtype": ("auto", "float32", "bfloat16"),
    "train.imbalance": ("none", "weights", "oversample"),
    "train.feed": ("auto", "resident"),
    "train.stages": ("two", "joint"),
}
POSITIVE = (
    "split.folds", "split.repeats", "model.hidden", "optimizer.learning_rate", "train.batch_size", "train.accumulation", "train.epochs",
    "train.patience", "evaluate.bootstrap", "evaluate.batch_size", "evaluate.comparators.penalty", "model.fusion_penalty", "device.run",
    "device.space",
)  # fmt: skip
LOSS_OF_RULE = {"ordinal": "ordinal"}  # every other rule makes a binary label


def check(config):
    """Raise InputError naming the first key that cannot be right, and what it could be."""
    for key, known in CHOICES.items():
        value = at(config, key)
        if value not in known:
            raise InputError(f"config.{key} = '{value}' is unknown.{nearest(value, known)}")
    for key in POSITIVE:
        if not at(config, key) > 0:
            raise InputError(f"config.{key} = {at(config, key)} must be above 0")
    for key in ("train.smoothing", "split.inner_share", "cohort.max_failed_share"):
        if not 0 <= at(config, key) < 1:
            raise InputError(f"config.{key} = {at(config, key)} must be at least 0 and below 1")
    if len(config.model.dropout) != 2 or not all(0 <= rate < 1 for rate in config.model.dropout):
        raise InputError(f"config.model.dropout = {config.model.dropout} must be two rates, at least 0 and below 1")
    if not config.train.seeds:
        raise InputError("config.train.seeds is empty: name at least one, such as (0,)")
    check_tasks(config)
    check_names(config)
    check_network(config)


def at(config, key: str):
    """The value of a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


def check_tasks(config):
    """Losses, outcomes and the primary task must be of the same tasks."""
    if config.evaluate.primary not in config.loss:
        hint = nearest(config.evaluate.primary, config.loss)
        raise InputError(f"config.evaluate.primary = '{config.evaluate.primary}' is no task of config.loss.{hint}")
    for task in config.loss:
        if task not in config.cohort.outcomes:
            raise InputError(f"config.loss.{task} has no outcome in config.cohort.outcomes.{nearest(task, config.cohort.outcomes)}")
        kind, needed = config.loss[task].kind, LOSS_OF_RULE.get(config.cohort.outcomes[task][1], "binary")
        if kind != needed:
            raise InputError(f"config.loss.{task}.kind = '{kind}', but its outcome's rule needs '{needed}'")


def check_names(config):
    """Images and columns that are named must be there, and so must what the fusion reads."""
    for name in config.model.images:
        if name not in config.images:
            raise InputError(f"config.model.images: '{name}' is not in config.images.{nearest(name, config.images)}")
    columns = (*config.clinical.numeric, *config.clinical.categorical)
    for name in config.model.clinical:
        if name not in columns:
            raise InputError(f"config.model.clinical: '{name}' is not in config.clinical.{nearest(name, columns)}")
    volume = config.evaluate.comparators.volume
    if volume and volume not in config.images:
        raise InputError(f"config.evaluate.comparators.volume = '{volume}' is not in config.images.{nearest(volume, config.images)}")
    column = config.model.fusion_column
    seen = [name for name in settings.clinical_names(config) if name in config.clinical.numeric]
    if config.model.fusion in ("poe", "scalar", "learned") and not column:
        possible = ", ".join(seen) or "none"
        raise InputError(f"config.model.fusion = '{config.model.fusion}' needs config.model.fusion_column: one of {possible}")
    if column and (column not in seen or column not in config.model.fusion_upper):
        raise InputError(
            f"config.model.fusion_column = '{column}' must be a numeric clinical column that the network sees, with its upper value in "
            f"config.model.fusion_upper.{nearest(column, [name for name in seen if name in config.model.fusion_upper])}"
        )


def check_network(config):
    """What the network sees, how it merges, and how it is trained must go together."""
    images = settings.image_names(config)
    if config.model.name == "clinical_mlp" and config.model.fusion != "none":
        raise InputError("config.model.name = 'clinical_mlp' has no modules to merge: set config.model.fusion = none")
    if config.model.name == "mri_cnn_lstm" and not images:
        raise InputError("config.model.name = 'mri_cnn_lstm' needs an image in config.images; 'clinical_mlp' does without")
    if config.train.stages == "two" and config.model.fusion in ("learned", "stacked") and config.split.inner_folds < 2:
        raise InputError(
            f"config.model.fusion = '{config.model.fusion}' is fitted on inner folds: config.split.inner_folds must be 2 or more"
        )
    if config.train.imbalance == "oversample" and len(config.loss) > 1:
        raise InputError("config.train.imbalance = 'oversample' balances one task: list one in config.loss, or use 'weights'")
    for name in images:
        smallest = 2 ** len(config.model.widths)
        if min(config.images[name].shape[1:]) < smallest:
            raise InputError(
                f"config.images.{name}.shape = {config.images[name].shape}: rows and columns must be at least {smallest}: each of the "
                f"{len(config.model.widths)} stages in config.model.widths halves them"
            )
    for name, skipped in config.train.augment.skip.items():
        if name not in config.images or set(skipped) - {"flip", "rotate", "shift", "intensity"}:
            known = "flip, rotate, shift, intensity"
            raise InputError(f"config.train.augment.skip.{name} = {skipped} must be an image with some of {known}")
