"""A config checked as a whole before a file is read: every value that names something, and what must fit together."""

from dataclasses import dataclass

from jaxstroke import config as settings
from jaxstroke import outcomes, ranges
from jaxstroke.errors import InputError, nearest

ENCODED = ("ich_multitask", "ct_conv_lstm")  # networks whose encoder is `model.encoder`
OWN_ENCODER = ("mri_cnn_lstm", *settings.COLUMNS_ALONE)
CHOICES = {
    "cohort.dicom.series": ("choose", "refuse"),
    "cohort.dicom.tilt": ("correct", "refuse"),
    "split.kind": ("kfold", "given", "group", "temporal", "official"),
    "model.norm": ("batch", "group"),
    "model.scaling": ("standard", "minmax"),
    "model.sequence": ("lstm", "gru", "convlstm", "attention", "mean", "max"),  # of models.sequence.SEQUENCES
    "model.fusion": ("poe", "scalar", "learned", "mean", "stacked", "none"),
    "optimizer.name": ("adamw", "adamw_amsgrad", "sgd", "lars"),
    "optimizer.schedule": ("constant", "cosine", "plateau"),
    "train.dtype": ("auto", "float32", "bfloat16"),
    "train.watch": ("loss", "balanced_accuracy", "last"),
    "train.imbalance": ("none", "weights", "oversample"),
    "train.feed": ("auto", "resident", "grain"),
    "train.stages": ("two", "joint"),
    "train.augment.axes": ("plane", "volume"),
    "evaluate.censoring": ("exclude", "weights"),
    "device.convolution": ("auto", "native", "products", "space_to_depth"),
    "benchmark.kind": ("train", "predict", "compile", "feed"),
    "benchmark.source": ("synthetic", "records"),
}
AUGMENTATIONS = ("flip", "rotate", "shift", "zoom", "intensity", "noise")  # what `train.augment.skip` may name; see feed.augment
AXES_OF_KIND = {"volume": 3, "sequence": 2}


@dataclass(frozen=True)
class Takes:
    """The images an encoder takes: its name in messages, spatial axes, fewest voxels an axis, and what each must be a multiple of."""

    title: str
    axes: int
    smallest: int
    multiple: int = 1

    def refusal(self, shape: tuple[int, ...]) -> str:
        """Why an image of this spatial shape cannot be taken, "" where it can."""
        if len(shape) != self.axes:
            return f"{self.title} takes images of {self.axes} axes"
        if min(shape) < self.smallest:
            return f"{self.title} needs at least {self.smallest} per axis"
        if any(length % self.multiple for length in shape):
            return f"{self.title} needs a multiple of {self.multiple} per axis"
        return ""


# Of `model.encoder`; what builds them is models.encoders.ENCODERS.
ENCODER_INPUTS = {
    "densenet121_3d": Takes("DenseNet121-3D", 3, 32),
    "perez_3d": Takes("Perez-3D", 3, 38),
    "resnet_small_3d": Takes("ResNet-3D of one block a stage", 3, 8),
    "resnet18_2d": Takes("ResNet18-2D", 2, 8),
    "resnet18_3d": Takes("ResNet18-3D", 3, 8),
    "resnet50_2d": Takes("ResNet50-2D", 2, 8),
    "resnet50_3d": Takes("ResNet50-3D", 3, 8),
    "vit_s_2d": Takes("ViT-S/16", 2, 16, 16),
    "vit_b_2d": Takes("ViT-B/16", 2, 16, 16),
    "vit_l_2d": Takes("ViT-L/16", 2, 16, 16),
    "vit_s_3d": Takes("ViT-S/16-3D", 3, 16, 16),
    "vit_b_3d": Takes("ViT-B/16-3D", 3, 16, 16),
}


def check(config):
    """Raise InputError naming the first key that cannot be right, and what it could be."""
    ranges.check(config)
    for key, known in CHOICES.items():
        value = at(config, key)
        if value not in known:
            raise InputError(f"config.{key} = '{value}' is unknown.{nearest(value, known)}")
    check_tasks(config)
    check_names(config)
    check_subgroups(config)
    check_network(config)
    check_encoder(config)


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


def check_subgroups(config):
    """Bounds are of columns with numbers that make subgroups, and rise."""
    for name, cuts in config.evaluate.subgroup_bounds.items():
        known = (*settings.subgroup_names(config), *config.clinical.numeric)
        if name not in known:
            raise InputError(f"config.evaluate.subgroup_bounds.{name} is of no column in config.evaluate.subgroups.{nearest(name, known)}")
        if name in config.clinical.categorical:
            raise InputError(f"config.evaluate.subgroup_bounds.{name} cuts numbers, but config.clinical.categorical.{name} has levels")
        if any(low >= high for low, high in zip(cuts, cuts[1:], strict=False)):
            raise InputError(f"config.evaluate.subgroup_bounds.{name} = {cuts} must be rising numbers, such as (65, 80)")


def check_network(config):
    """What the network sees, how it merges, and how it is trained must go together."""
    images = settings.image_names(config)
    if config.model.name in settings.COLUMNS_ALONE and config.model.fusion != "none":
        raise InputError(f"config.model.name = '{config.model.name}' has no modules to merge: set config.model.fusion = none")
    if config.model.name == "mri_cnn_lstm" and not images:
        raise InputError("config.model.name = 'mri_cnn_lstm' needs an image in config.images; 'clinical_mlp' does without")
    if config.train.stages == "two" and config.model.fusion in ("learned", "stacked") and config.split.inner_folds < 2:
        raise InputError(
            f"config.model.fusion = '{config.model.fusion}' is fitted on inner folds: config.split.inner_folds must be 2 or more"
        )
    for name in images if config.model.name == "mri_cnn_lstm" else ():
        check_halved(config, name)
    for name, skipped in config.train.augment.skip.items():
        if name not in config.images or set(skipped) - set(AUGMENTATIONS):
            raise InputError(f"config.train.augment.skip.{name} = {skipped} must be an image with some of {', '.join(AUGMENTATIONS)}")


def check_any_number(config):
    """What the network of any number of images reads: one image of kind `sequence`, large enough for its own convolutions."""
    images = settings.image_names(config)
    kinds = [config.images[name].kind for name in images]
    if kinds != ["sequence"] or config.model.fusion != "none":
        raise InputError(
            f"config.model.name = 'ct_conv_lstm' reads one image of kind 'sequence' and merges nothing: name one in config.model.images "
            f"(now {', '.join(images) or 'none'}, of kind {', '.join(kinds) or 'none'}), and set config.model.fusion = none"
        )
    rising = (0, *config.train.buckets, config.images[images[0]].shape[0])
    if any(low >= high for low, high in zip(rising, rising[1:], strict=False)):
        where = f"below the {rising[-1]} of config.images.{images[0]}.shape"
        raise InputError(f"config.train.buckets = {config.train.buckets} must rise, {where}")
    if not config.model.encoder:
        check_halved(config, images[0])


def check_halved(config, name: str):
    """Rows and columns must last for the stages of a network's own convolutions."""
    smallest = 2 ** len(config.model.widths)
    if min(config.images[name].shape[1:]) < smallest:
        raise InputError(
            f"config.images.{name}.shape = {config.images[name].shape}: rows and columns must be at least {smallest}: each of the "
            f"{len(config.model.widths)} stages in config.model.widths halves them"
        )


def check_encoder(config):
    """The images a network sees must be of the size and axes that its encoder takes."""
    encoder, network, images = config.model.encoder, config.model.name, settings.image_names(config)
    if network != "ct_conv_lstm" and config.train.buckets:
        raise InputError(f"config.train.buckets is of 'ct_conv_lstm', which reads any number of images; '{network}' does not")
    if network == "ct_conv_lstm":
        check_any_number(config)
        if not encoder:
            return
    if network in OWN_ENCODER:
        if encoder:
            raise InputError(f"config.model.encoder = '{encoder}', but '{network}' has an encoder of its own: leave it empty")
        if config.model.remat or config.model.norm != "batch":
            raise InputError(f"config.model.remat and config.model.norm are of encoders by name; '{network}' has its own")
        return
    if network not in ENCODED:
        return  # models.named knows the others
    if network == "ich_multitask":
        kinds = [config.images[name].kind for name in images]
        if kinds != ["volume"] or config.model.fusion != "none":
            raise InputError(
                f"config.model.name = 'ich_multitask' reads one image of kind 'volume' and merges nothing: name one in config.model.images "
                f"(now {', '.join(images) or 'none'}, of kind {', '.join(kinds) or 'none'}), and set config.model.fusion = none"
            )
        if images[0] not in config.cohort.complete:
            raise InputError(
                f"config.cohort.complete must name '{images[0]}': without its one image 'ich_multitask' knows nothing of a patient"
            )
    if encoder not in ENCODER_INPUTS:
        raise InputError(f"config.model.encoder = '{encoder}' is unknown.{nearest(encoder, ENCODER_INPUTS)}")
    for name in images:
        kind, shape = config.images[name].kind, tuple(config.images[name].shape)
        if kind not in AXES_OF_KIND:
            raise InputError(f"config.images.{name}.kind = '{kind}' is unknown.{nearest(kind, AXES_OF_KIND)}")
        takes = ENCODER_INPUTS[encoder]
        if takes.axes != AXES_OF_KIND[kind]:
            raise InputError(f"config.images.{name}.kind = '{kind}' has {AXES_OF_KIND[kind]} axes: {takes.title} takes {takes.axes}")
        refused = takes.refusal(shape[-takes.axes :])
        if refused:
            raise InputError(f"config.images.{name}.shape = {shape}: {refused}")
