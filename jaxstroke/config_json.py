"""A config as plain json values and back, copies of it, and what differs between two."""

import copy
import json

from ml_collections import ConfigDict

from jaxstroke import config as settings
from jaxstroke.config_images import OF_PICTURES

# Keys that are younger than trained workdirs: what was done before they were there.
YOUNGER = {
    "model.standardise": "none", "optimizer.encoder_rate": 1.0, "optimizer.layer_decay": 1.0, "clinical.codes": {}, "split.labelled": 0,
    "model.pool": "mean", "model.drop_path": 0.0, "evaluate.per": "study", "optimizer.text_rate": 1.0, "explain.words": 12,
    "text.ordered": True, "text.pool": "mean", "align.local": "cosine", "align.own": 0.0, "align.most_words": 512,
}  # fmt: skip
YOUNGER_OF_AN_IMAGE = OF_PICTURES
YOUNGER_SECTIONS = (  # nothing read them
    "pretrain", "cohort.synthetic_retina", "text", "align", "model.modalities", "model.joined", "model.conditioned",
    "model.modality_dropout", "evaluate.comparators.territories", "evaluate.comparators.territory_penalty",
)  # fmt: skip


def completed(values: dict) -> dict:
    """A json config as a workdir holds it, with the younger keys that it was written without. It is changed in place."""
    base = to_json(settings.base())
    for key, value in (YOUNGER | {key: at(base, key) for key in YOUNGER_SECTIONS}).items():
        section, _, name = key.rpartition(".")
        place = values.get(section) if section else values
        if isinstance(place, dict):
            place.setdefault(name, copy.deepcopy(value))
    images = values.get("images")
    for image in images.values() if isinstance(images, dict) else ():
        if isinstance(image, dict):
            image.update(YOUNGER_OF_AN_IMAGE | image)
    return values


def hashed(image: dict) -> dict:
    """Settings of an image as they are hashed: without younger keys that say what was done before they were there."""
    return {key: value for key, value in image.items() if key not in YOUNGER_OF_AN_IMAGE or value != YOUNGER_OF_AN_IMAGE[key]}


def at(values, key: str):
    """What lies at a dotted key of a config, or of its json."""
    for part in key.split("."):
        values = values[part]
    return values


def to_json(config) -> dict:
    """The config as plain json values."""
    return json.loads(config.to_json_best_effort())


def from_json(values: dict) -> ConfigDict:
    """The config back from `to_json`: lists become tuples again, so that equal configs compare equal."""

    def restore(value):
        if isinstance(value, dict):
            return ConfigDict({key: restore(item) for key, item in value.items()})
        return tuple(restore(item) for item in value) if isinstance(value, list) else value

    return settings.with_short_names(restore(values)).lock()


def differences(old: dict, new: dict, prefix: str = "") -> list[tuple[str, object, object]]:
    """(key, old value, new value) of every leaf in which two json configs differ."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        a, b, name = old.get(key, "absent"), new.get(key, "absent"), f"{prefix}{key}"
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{name}.")
        elif a != b:
            found.append((name, a, b))
    return found


def copied(config) -> ConfigDict:
    """An independent config, locked."""
    return from_json(to_json(config))
