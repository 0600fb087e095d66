"""The variants of a study as configs: the reference first, each checked as any config is."""

import re

from ml_collections import ConfigDict

from jaxstroke import check, config_json, limits
from jaxstroke.compare import ablations
from jaxstroke.errors import InputError, nearest
from jaxstroke.evaluation.predictions import REGRESSIONS

BASE = "base"  # the config itself, where no variant is without a change
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,99}")
TAKEN = ("network", *REGRESSIONS)  # models of the reference's own report
SHARED = ("cohort", "images", "clinical", "split", "variants", "evaluate.censoring", "evaluate.per")  # what makes patients, records, folds


def configs(config) -> dict[str, ConfigDict]:
    """{name: locked config} of every variant; the first is the reference, which changes nothing. InputError naming what cannot be."""
    changes = changes_of(config)
    plain = [name for name, values in changes.items() if not values]
    if len(plain) > 1:
        raise InputError(f"config.variants: {plain[0]} and {plain[1]} both change nothing: keep one, it is the first row")
    if not plain and BASE in changes:
        raise InputError(f"config.variants.{BASE} has changes, but this is the name of the config itself: give it another name")
    first = plain[0] if plain else BASE
    order = [first, *(name for name in changes if name != first)]
    return {name: applied(name, config, changes.get(name, {})) for name in order}


def changes_of(config) -> dict[str, dict]:
    """{name: {dotted key: value}} of `config.variants`, or where it is empty of the ready ablations."""
    section = config.variants or ablations.ready(config)
    return {name: flattened(name, values, config) for name, values in section.items()}


def flattened(name: str, section, config) -> dict[str, object]:
    """{dotted key: value} of a variant; a section with the user's own names stays one value."""
    if not NAME.fullmatch(name) or name in TAKEN:
        raise InputError(f"config.variants: '{name}' is no name for a variant: use letters, digits and _ + -, and none of {TAKEN}")
    return dict(leaves(name, section, config, ""))


def leaves(name: str, section, config, prefix: str):
    """(dotted key, value) of every key of a variant's section; keys that the config does not have are refused."""
    if not isinstance(section, ConfigDict):
        raise InputError(f"config.variants.{name}{'.' * bool(prefix)}{prefix} must be a section: key: value")
    for key, value in section.items():
        dotted = f"{prefix}.{key}" if prefix else key
        if key not in config:
            raise InputError(f"config.variants.{name}: config.{dotted} is unknown.{nearest(key, config)}")
        if dotted in SHARED:
            raise InputError(
                f"config.variants.{name}.{dotted}: variants share patients, records and folds, so nothing in {', '.join(SHARED)} may "
                "differ. What a network sees is model.images and model.clinical"
            )
        if isinstance(config[key], ConfigDict) and dotted not in limits.OPEN:
            yield from leaves(name, value, config[key], dotted)
        else:
            yield dotted, value


def applied(name: str, config, changes: dict[str, object]) -> ConfigDict:
    """The config with a variant's keys set, checked and locked."""
    made = config_json.copied(config)
    with made.unlocked(), made.ignore_type():
        made.variants = ConfigDict()
        for key, value in changes.items():
            *sections, leaf = key.split(".")
            place = made
            for section in sections:
                place = place[section]
            place[leaf] = value
    made = config_json.copied(made)
    try:
        check.check(made)
    except InputError as error:
        raise InputError(f"config.variants.{name}: {error}") from None
    return made


def written(value) -> str:
    """A changed value in a table."""
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
