"""What is compared where a config names no variants: of a network of modules, each alone and left out, every rule, and no image at all."""

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke.config_variants import variants
from jaxstroke.errors import InputError
from jaxstroke.models import fusion


def ready(config):
    """The section `variants` of a config without any, by the modules, columns and rule that it has now; InputError where it has no modules.

    Rows that differ in the merge alone share the networks of stage one; `only_clinical` is a network of its own.
    """
    if config.model.name != "mri_cnn_lstm":
        raise InputError(
            f"config.variants is empty, and '{config.model.name}' has no modules to leave out: name what is to be compared, "
            "as settings.variants({'smaller': {'model.hidden': 16}})"
        )
    images = settings.image_names(config)
    found = {"all": {}} | rules(config)
    for name in images if len(images) > 1 else ():
        found[f"only_{name}"] = {"model.images": (name,), "model.fusion": "mean"}
        found[f"without_{name}"] = {"model.images": tuple(other for other in images if other != name)}
    if settings.clinical_names(config):
        found["only_clinical"] = {"model.name": "clinical_mlp", "model.fusion": "none", "model.fusion_column": "", "train.stages": "two"}
        of_encoders = ("encoder_rate", "layer_decay")
        found["only_clinical"] |= {f"optimizer.{name}": 1.0 for name in of_encoders if config.optimizer[name] != 1}
    return variants(found)


def rules(config) -> dict[str, dict]:
    """Every rule of the merge but the config's own; those that are fitted need inner folds."""
    weighted = [name for name in settings.clinical_names(config) if name in config.model.fusion_upper]
    pairs = [(kind, column) for kind in fusion.WEIGHTED for column in weighted]
    own = (config.model.fusion, config.model.fusion_column if config.model.fusion in fusion.WEIGHTED else "")
    fitted = config.split.inner_folds > 1 or config.train.stages == "joint"
    found = {}
    for kind, column in [("mean", ""), ("stacked", ""), *pairs]:
        possible = (fitted or kind not in fusion.FITTED) and (kind not in outcomes.OF_ONE_EVENT or not outcomes.has_classes(config))
        if (kind, column) != own and possible:
            named = {"model.fusion": kind} | ({"model.fusion_column": column} if column else {})
            found["_".join(filter(None, ("rule", kind, column)))] = named
    return found
