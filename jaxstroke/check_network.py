"""What a network, its encoder and the images it sees must be for one another."""

from dataclasses import dataclass

from jaxstroke import config as settings
from jaxstroke import limits
from jaxstroke.errors import InputError, nearest

ENCODED = ("ich_multitask", "ct_conv_lstm", "retina_simclr")  # networks whose encoder is `model.encoder`
STAGED = ("retina_simclr", "ct_conv_lstm")  # networks whose encoder can be pre-trained without outcomes
OWN_ENCODER = ("mri_cnn_lstm", *settings.COLUMNS_ALONE)
AUGMENTATIONS = ("flip", "rotate", "shift", "zoom", "intensity", "noise")  # what `train.augment.skip` may name; see feed.augment
SMALL = {2: "plain_2d", 3: "resnet_small_3d"}  # encoders for images of so many axes that model.encoder does not take
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
    "plain_2d": Takes("a plain network of convolutions", 2, 8),
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

TRANSFORMERS = tuple(name for name in ENCODER_INPUTS if name.startswith("vit_"))


def encoder_of(config, image: str) -> str:
    """The encoder of an image of paper 5: the one named where it takes as many axes, else a small one of its kind."""
    axes = AXES_OF_KIND[config.images[image].kind]
    named = config.model.encoder
    return named if named in ENCODER_INPUTS and ENCODER_INPUTS[named].axes == axes else SMALL[axes]


def check(config):
    """Raise InputError naming the first key that cannot be right, and what it could be."""
    check_merge(config)
    check_encoder(config)
    check_transformer(config)
    check_beginning(config)
    check_stages(config)


def check_merge(config):
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
    """What the network of any number of images reads: one image of kind `sequence`, large enough for its convolutions."""
    images = settings.image_names(config)
    kinds = [config.images[name].kind for name in images]
    if kinds != ["sequence"]:
        raise InputError(
            f"config.model.name = 'ct_conv_lstm' reads one image of kind 'sequence': name one in config.model.images "
            f"(now {', '.join(images) or 'none'}, of kind {', '.join(kinds) or 'none'})"
        )
    if config.model.fusion != "none" and config.train.stages == "joint":
        raise InputError(
            f"config.model.fusion = '{config.model.fusion}' merges 'ct_conv_lstm' with clinical columns after it was trained: "
            "set config.train.stages = two"
        )
    rising = (0, *config.train.buckets, config.images[images[0]].shape[0])
    if any(low >= high for low, high in zip(rising, rising[1:], strict=False)):
        where = f"below the {rising[-1]} of config.images.{images[0]}.shape"
        raise InputError(f"config.train.buckets = {config.train.buckets} must rise, {where}")
    if config.model.encoder in ("", "plain_2d"):
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
    check_images(config, lambda name: encoder)


def check_images(config, encoder_of):
    """Images must be of the size and axes that their encoders take. encoder_of: image -> name of its encoder."""
    named = config.model.encoder
    if named not in ENCODER_INPUTS:
        raise InputError(f"config.model.encoder = '{named}' is unknown.{nearest(named, ENCODER_INPUTS)}")
    for name in settings.image_names(config):
        kind, shape = config.images[name].kind, tuple(config.images[name].shape)
        if kind not in AXES_OF_KIND:
            raise InputError(f"config.images.{name}.kind = '{kind}' is unknown.{nearest(kind, AXES_OF_KIND)}")
        takes = ENCODER_INPUTS[encoder_of(name)]
        if takes.axes != AXES_OF_KIND[kind]:
            raise InputError(f"config.images.{name}.kind = '{kind}' has {AXES_OF_KIND[kind]} axes: {takes.title} takes {takes.axes}")
        refused = takes.refusal(shape[-takes.axes :])
        if refused:
            raise InputError(f"config.images.{name}.shape = {shape}: {refused}")


def check_transformer(config):
    """How tokens are pooled, and layers passed by, is of a transformer."""
    network, encoder = config.model.name, config.model.encoder
    if encoder in TRANSFORMERS or (config.model.pool, config.model.drop_path) == ("mean", 0):
        return
    what = f"config.model.encoder = '{encoder}' is none" if encoder else f"'{network}' has none"
    raise InputError(
        f"config.model.pool and .drop_path are of a transformer, and {what}: leave them at mean and 0, or set config.model.encoder to one "
        f"of {', '.join(TRANSFORMERS)}"
    )


def check_beginning(config):
    """What is done to an encoder, or to the images for its sake, needs an encoder and such images."""
    network, optimizer = config.model.name, config.optimizer
    if network in settings.COLUMNS_ALONE and (optimizer.encoder_rate, optimizer.layer_decay) != (1, 1):
        raise InputError(f"config.optimizer.encoder_rate and .layer_decay are of an encoder, and '{network}' has none: leave them at 1")
    if config.model.standardise == "none":
        return
    if network not in ("ct_conv_lstm", "retina_simclr"):
        raise InputError(
            f"config.model.standardise is of 'ct_conv_lstm' and 'retina_simclr', which read pictures; '{network}' does not: "
            "leave it at none"
        )
    for name in settings.image_names(config):
        if config.images[name].normalise not in limits.SHARES:
            raise InputError(
                f"config.model.standardise = '{config.model.standardise}' is of images from 0 to 1, and config.images.{name}.normalise = "
                f"'{config.images[name].normalise}' gives others: use one of {', '.join(limits.SHARES)}, or standardise = none"
            )


def check_stages(config):
    """What can be pre-trained, and what is merged in the network of paper 4 alone."""
    network, images = config.model.name, settings.image_names(config)
    if network == "retina_simclr":
        if not settings.staged(config):
            raise InputError(
                f"config.model.name = 'retina_simclr' is trained in stages: config.train.stages = '{config.train.stages}' must be "
                "('pretrain', 'finetune') or one of these"
            )
        if config.model.fusion not in ("concat", "none"):
            raise InputError(
                f"config.model.fusion = '{config.model.fusion}' is of other networks: 'retina_simclr' has 'concat' (with clinical columns) "
                "and 'none' (images alone)"
            )
        if not images or any(config.images[name].kind != "sequence" for name in images):
            raise InputError("config.model.name = 'retina_simclr' reads images of kind 'sequence': name one in config.model.images")
    elif config.model.fusion == "concat":
        raise InputError(f"config.model.fusion = 'concat' is of 'retina_simclr'; '{network}' merges otherwise: use one of its own rules")
    elif config.model.hidden < 1:
        raise InputError(f"config.model.hidden = 0 is the linear probe of 'retina_simclr'; '{network}' needs at least 1")
    if settings.staged(config) and network not in (*STAGED, *settings.COLUMNS_ALONE):
        raise InputError(f"config.train.stages = {config.train.stages} is of {', '.join(STAGED)}; '{network}' has 'two' and 'joint'")
    if settings.staged(config) and network == "ct_conv_lstm" and config.model.fusion != "none":
        raise InputError(f"config.train.stages = {config.train.stages} merges nothing: set config.model.fusion = none, or stages = two")
    if settings.pretrains(config):
        check_pretraining(config)


def check_pretraining(config):
    """The images that are pre-trained on, and views of them."""
    if config.model.name not in STAGED or not config.model.encoder:
        raise InputError(
            f"config.train.stages = {config.train.stages} pre-trains the encoder that config.model.encoder names; "
            f"'{config.model.name}' has none of that kind: leave 'pretrain' out, or use retina_simclr"
        )
    names = tuple(config.pretrain.images) or tuple(config.images)
    for name in names:
        if name not in config.images:
            raise InputError(f"config.pretrain.images: '{name}' is not in config.images.{nearest(name, config.images)}")
        if config.images[name].kind != "sequence":
            raise InputError(f"config.pretrain.images: '{name}' is no sequence of pictures: name those that are")
    if config.pretrain.cross_modal and len(names) < 2:
        raise InputError("config.pretrain.cross_modal needs two images of a row: config.pretrain.images has one")
    low, high = config.pretrain.crop
    if low > high:
        raise InputError(f"config.pretrain.crop = {config.pretrain.crop} must be (smallest, largest) share of the area")
