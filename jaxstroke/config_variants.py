"""The section `variants` of a config: what `--mode compare` runs beside each other."""

from ml_collections import ConfigDict


def variants(changes: dict[str, dict]) -> ConfigDict:
    """{name: {"model.images": ("dwi",), "loss": {...}}}, dotted keys nested as a ConfigDict needs them.

    A variant is the config with these keys set to other values; one without any is the config itself, and the first row. A section whose
    keys are the user's own names (`loss`, `model.fusion_upper`, ...) is replaced as a whole.
    """
    return ConfigDict({name: nested(values) for name, values in changes.items()})


def nested(values: dict) -> dict:
    """{"model.images": x} as {"model": {"images": x}}."""
    found: dict = {}
    for key, value in values.items():
        *sections, leaf = key.split(".")
        place = found
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return found
