"""Reports, and the network that reads them: what must be there, and fit together."""

from jaxstroke import config as settings
from jaxstroke.check_network import check_images, encoder_of
from jaxstroke.errors import InputError, nearest

MODALITIES = ("image", "clinical", "text")
HEADS = 8  # of attention between image and text
MASKS = ("mask", "mask_log")  # of preprocess.normalise.MASKS


def check(config):
    """Raise InputError naming the first key that cannot be right, and what it could be."""
    if config.evaluate.comparators.territories and not (config.text.mask and config.text.atlas):
        raise InputError("config.evaluate.comparators.territories needs config.text.mask and config.text.atlas: set both, or leave it out")
    check_source(config)
    if config.model.name != settings.ALIGNED:
        return
    check_modalities(config)
    if "image" in config.model.modalities:
        check_images(config, lambda name: encoder_of(config, name))
    check_merge(config)
    if "text" in config.model.modalities:
        check_encoder(config)


def check_source(config):
    """Where reports come from, and what that needs."""
    text = config.text
    for key, names in (("mask", (text.mask,)), ("signals", text.signals), ("llm.image", (text.llm.image,))):
        for name in names:
            if name and name not in config.images:
                raise InputError(f"config.text.{key}: '{name}' is not in config.images.{nearest(name, config.images)}")
    if text.mask and config.images[text.mask].normalise not in MASKS:
        known = " or ".join(MASKS)
        raise InputError(f"config.text.mask = '{text.mask}' is no mask: its image needs normalise = {known}")
    if text.source == "given" and not config.cohort.text:
        raise InputError("config.text.source = 'given' needs config.cohort.text: the column with the reports, or with .txt files")
    if text.source == "template" and not text.mask:
        raise InputError(
            "config.text.source = 'template' needs config.text.mask, the image with the lesion mask that it describes; without masks 'llm' "
            "describes key slices (config.text.llm.image), and 'given' takes reports from the table"
        )
    if text.source == "llm":
        for key in ("url", "model"):
            if not text.llm[key]:
                raise InputError(f"config.text.llm.{key} is empty: config.text.source = 'llm' needs a server and the name of its model")
        if not text.mask and not text.llm.image:
            raise InputError("config.text.source = 'llm' has nothing to describe: set config.text.mask, config.text.llm.image or both")


def check_modalities(config):
    """What the network sees must be there."""
    sees = tuple(config.model.modalities)
    unknown = [name for name in sees if name not in MODALITIES]
    if unknown or len(set(sees)) < len(sees):
        what = f"'{unknown[0]}' is unknown.{nearest(unknown[0], MODALITIES)}" if unknown else "one is named twice"
        raise InputError(f"config.model.modalities = {sees}: {what}")
    if "text" in sees and config.text.source == "none":
        raise InputError(
            "config.model.modalities has 'text', but config.text.source = 'none': set it to given, template or llm, or leave 'text' out"
        )
    if "clinical" in sees and not settings.clinical_names(config):
        raise InputError("config.model.modalities has 'clinical', but config.clinical names no column: name some, or leave 'clinical' out")
    if "image" in sees and not settings.image_names(config):
        raise InputError("config.model.modalities has 'image', but config.images has none: add one, or leave 'image' out")


def check_merge(config):
    """How modalities are joined, and what is merged with columns outside."""
    model = config.model
    if model.fusion not in ("none", "stacked"):
        raise InputError(
            f"config.model.fusion = '{model.fusion}' is of other networks: '{model.name}' has 'stacked' (a regression on its logit and the "
            "clinical columns) and 'none'"
        )
    if model.fusion == "stacked" and config.train.stages != "two":
        raise InputError("config.model.fusion = 'stacked' is fitted after the network was trained: set config.train.stages = two")
    if model.hidden % HEADS:
        raise InputError(f"config.model.hidden = {model.hidden} must be a multiple of the {HEADS} heads of attention")
    if model.joined != "cross_attention" and config.align.words > 0:
        raise InputError(
            f"config.align.words aligns words with what they attend to, and config.model.joined = '{model.joined}' has no attention: "
            "set it to 0"
        )


def check_encoder(config):
    """The text encoder's sizes, and what weights from a file need."""
    text = config.text
    if config.train.augment.flip > 0:
        raise InputError("config.train.augment.flip mirrors images, and reports name sides: set it to 0")
    if text.width % text.heads:
        raise InputError(f"config.text.width = {text.width} must be a multiple of config.text.heads = {text.heads}")
    if text.length > text.positions:
        raise InputError(f"config.text.length = {text.length} is more than the {text.positions} of config.text.positions")
    if text.init_from and not text.vocabulary:
        raise InputError("config.text.init_from has weights of a vocabulary of its own: name its file in config.text.vocabulary")
    if text.precomputed and not text.init_from:
        raise InputError("config.text.precomputed computes features by weights from a file: set config.text.init_from and .vocabulary")
    if text.init_from and config.model.init_from:
        raise InputError("config.text.init_from and config.model.init_from are both set: a run begins from one file, leave one empty")
