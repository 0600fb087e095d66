"""A config checked as a whole before a file is read: every value that names something, and what must fit together."""

from jaxstroke import check_network, check_reports, config_json, outcomes, ranges
from jaxstroke import config as settings
from jaxstroke.errors import InputError, nearest

CHOICES = {
    "cohort.dicom.series": ("choose", "refuse"),
    "cohort.dicom.tilt": ("correct", "refuse"),
    "split.kind": ("kfold", "given", "group", "temporal", "official"),
    "model.norm": ("batch", "group"),
    "model.scaling": ("standard", "minmax"),
    "model.standardise": ("none", "imagenet", "each"),  # of models.standardise.STANDARDS
    "model.pool": ("mean", "token", "token_mean"),
    "model.sequence": ("lstm", "gru", "convlstm", "attention", "mean", "max"),  # of models.sequence.SEQUENCES
    "model.fusion": ("poe", "scalar", "learned", "mean", "stacked", "none", "concat"),
    "model.joined": ("cross_attention", "concat", "two_tower"),
    "text.source": ("none", "given", "template", "llm"),
    "text.control": ("none", "shuffled", "constant"),
    "text.pool": ("attention", "mean"),
    "align.local": ("contrast", "cosine"),
    "optimizer.name": ("adamw", "adamw_amsgrad", "sgd", "lars"),
    "optimizer.schedule": ("constant", "cosine", "plateau"),
    "train.dtype": ("auto", "float32", "bfloat16"),
    "train.watch": ("loss", "balanced_accuracy", "last"),
    "train.imbalance": ("none", "weights", "oversample"),
    "train.feed": ("auto", "resident", "grain"),
    "train.stages": ("two", "joint", ("pretrain",), ("finetune",), ("pretrain", "finetune")),
    "train.augment.axes": ("plane", "volume"),
    "pretrain.name": ("adamw", "adamw_amsgrad", "sgd", "lars"),
    "evaluate.per": ("study", "patient"),
    "evaluate.censoring": ("exclude", "weights"),
    "device.convolution": ("auto", "native", "products", "space_to_depth"),
    "benchmark.kind": ("train", "predict", "compile", "feed"),
    "benchmark.source": ("synthetic", "records"),
}


def check(config):
    """Raise InputError naming the first key that cannot be right, and what it could be."""
    ranges.check(config)
    for key, known in CHOICES.items():
        value = config_json.at(config, key)
        if value not in known:
            raise InputError(f"config.{key} = '{value}' is unknown.{nearest(value, known)}")
    check_tasks(config)
    check_names(config)
    check_subgroups(config)
    check_network.check(config)
    check_reports.check(config)


def check_tasks(config):
    """Losses, outcomes and the primary task must be of the same tasks."""
    if settings.pretrains_alone(config) and not len(config.loss):
        return  # nothing is learned of an outcome
    if config.evaluate.primary not in config.loss:
        hint = nearest(config.evaluate.primary, config.loss)
        raise InputError(f"config.evaluate.primary = '{config.evaluate.primary}' is no task of config.loss.{hint}")
    for task in config.loss:
        if task not in config.cohort.outcomes:
            raise InputError(f"config.loss.{task} has no outcome in config.cohort.outcomes.{nearest(task, config.cohort.outcomes)}")
        (_, rule, value), kind = config.cohort.outcomes[task], config.loss[task].kind
        needed = outcomes.of_rule(rule)
        several = isinstance(value, (tuple, list)) and value and all(isinstance(one, (str, int, float)) for one in value)
        if needed != "binary" and not several:  # how many logits there are hangs on it; what they are is looked at with the table
            raise InputError(f"config.cohort.outcomes.{task}: rule '{rule}' needs a tuple of values, for example (1, 2, 3).")
        if kind != needed:
            raise InputError(f"config.loss.{task}.kind = '{kind}', but its outcome's rule needs '{needed}'")
        if needed == "classes" and config.model.fusion in outcomes.OF_ONE_EVENT:
            known = ", ".join(rule for rule in CHOICES["model.fusion"] if rule not in outcomes.OF_ONE_EVENT)
            raise InputError(
                f"config.model.fusion = '{config.model.fusion}' weighs the probability of one event, but config.loss.{task} has classes: "
                f"use one of {known}"
            )


def check_names(config):
    """Images and columns that are named must be there, and so must what the fusion reads."""
    for name in config.model.images:
        if name not in config.images:
            raise InputError(f"config.model.images: '{name}' is not in config.images.{nearest(name, config.images)}")
    columns = settings.clinical_columns(config)
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


def check_subgroups(config):
    """Subgroups are of columns with a value a patient; bounds are of those with numbers, and rise."""
    for name in settings.subgroup_names(config):
        if name in config.clinical.codes:
            raise InputError(
                f"config.evaluate.subgroups: '{name}' holds several diagnosis codes a patient, which make no groups of patients: "
                "add a column to the table that says yes or no to the diagnosis, and name that one"
            )
    for name, cuts in config.evaluate.subgroup_bounds.items():
        known = (*settings.subgroup_names(config), *config.clinical.numeric)
        if name not in known:
            raise InputError(f"config.evaluate.subgroup_bounds.{name} is of no column in config.evaluate.subgroups.{nearest(name, known)}")
        if name in config.clinical.categorical:
            raise InputError(f"config.evaluate.subgroup_bounds.{name} cuts numbers, but config.clinical.categorical.{name} has levels")
        if any(low >= high for low, high in zip(cuts, cuts[1:], strict=False)):
            raise InputError(f"config.evaluate.subgroup_bounds.{name} = {cuts} must be rising numbers, such as (65, 80)")
