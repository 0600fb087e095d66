"""What each value of a config may be: the type of its default, and a range, held before anything of that size is made."""

import math

from etils import epath
from ml_collections import ConfigDict

from jaxstroke import config as settings
from jaxstroke.config_images import OF_PICTURES, are_pictures
from jaxstroke.errors import InputError, nearest
from jaxstroke.limits import BELOW_ONE, CODES, EITHER, IMAGE_CHOICES, IMAGE_TUPLES, OPEN, PATHS, PICTURES, RANGES, TINY, TUPLES, WINDOWED

LONGEST_PATH, LONGEST_NAME = 4096, 255
MOST_VALUES = 2**26  # of an image as it is stored: 512 x 512 x 256
MOST_ROWS = 2**20  # of an update
MOST_RUNS = 100_000
WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", tuple: "a tuple, such as ('a','b') or (1,2)"}


def check(config):
    """Raise InputError naming the first key that is missing, unknown, of another type, or out of its range."""
    if not isinstance(config, ConfigDict):
        raise InputError(f"get_config gave {type(config).__name__} and no ConfigDict: it must return the config, as those in configs/ do")
    check_section("config", config, settings.base())
    for name, image in config.images.items():
        check_section(f"config.images.{name}", image, settings.image("column"))
        check_image(f"config.images.{name}", image.to_dict())
    check_open(config)
    check_products(config)


def check_section(where: str, config, default):
    """The same keys as in the default, each of its type; what is in `OPEN` is named by the user and looked at elsewhere."""
    if not isinstance(config, ConfigDict):
        raise InputError(f"{where} = {shown(config)} must be a section with the keys {', '.join(default)}")
    for key, value in default.items():
        name = f"{where}.{key}"
        if key not in config:
            raise InputError(f"{name} is missing: the config is of another version of jaxstroke; begin a new --workdir with --config")
        if isinstance(value, ConfigDict):
            if name.removeprefix("config.") not in OPEN:
                check_section(name, config[key], value)
            elif not isinstance(config[key], ConfigDict):
                raise InputError(f"{name} = {shown(config[key])} must be a section: name: value")
        else:
            check_leaf(name, config[key], type(value))
    for key in config:
        if key not in default:
            raise InputError(f"{where}.{key} is unknown.{nearest(key, default)}")


def check_leaf(name: str, value, kind: type):
    """A value's type and range."""
    key = name.removeprefix("config.")
    if key in EITHER and isinstance(value, (tuple, list)):
        kind = tuple
    if kind is tuple:
        check_tuple(name, value, *TUPLES.get(key) or IMAGE_TUPLES[key.rpartition(".")[2]])
    else:
        check_type(name, value, kind)
    if key in RANGES:
        check_range(name, value, RANGES[key])
    if key in PATHS:
        check_path(name, value)
    if key in BELOW_ONE and not 0 <= value < 1:
        raise InputError(f"{name} = {value} must be at least 0 and below 1")


def check_type(name: str, value, kind: type):
    """A number where a number is wanted; whole numbers are numbers, True and False are none."""
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind is str and "\0" in value):
        raise InputError(f"{name} = {shown(value)} must be {WORDS[kind]}")


def check_path(name: str, value: str):
    """No longer than a system allows, and of a kind of bucket that etils knows; whether it can be reached shows when it is used."""
    if len(value) > LONGEST_PATH or max(len(part.encode()) for part in value.split("/")) > LONGEST_NAME:
        raise InputError(f"{name} = {shown(value)} is too long for a path")
    try:
        epath.Path(value)
    except KeyError:
        raise InputError(f"{name} = {shown(value)} is no kind of bucket that is read here: gs://, s3:// and the like") from None


def check_range(name: str, value, limits: tuple[float, float]):
    """Not NaN, and within both limits."""
    if not limits[0] <= value <= limits[1]:
        raise InputError(f"{name} = {shown(value)} must be {limits[0]:g} to {limits[1]:g}")


def check_tuple(name: str, value, kind: type, limits, least: int, most: int):
    """Entries of one type, within limits, and as many as there may be."""
    check_type(name, tuple(value) if isinstance(value, list) else value, tuple)
    if not least <= len(value) <= most:
        raise InputError(f"{name} = {shown(value)} must have {least if least == most else f'{least} to {most}'} entries")
    for entry in value:
        check_type(f"{name} = {shown(value)}: each entry, here", entry, kind)
        if limits:
            check_range(f"{name} = {shown(value)}: each entry, here", entry, limits)


def check_image(where: str, image: dict):
    """What no image could be prepared with, and what would fill the memory."""
    for key, known in IMAGE_CHOICES.items():
        if image[key] not in known:
            raise InputError(f"{where}.{key} = '{image[key]}' is unknown.{nearest(image[key], known)}")
    for key, rule in IMAGE_TUPLES.items():
        check_tuple(f"{where}.{key}", image[key], *rule)
    check_count(f"{where}.shape = {shown(image['shape'])}", (*image["shape"], image["channels"]), MOST_VALUES, "values an image")
    if any(0 < length < 0.01 for length in image["spacing"]):
        raise InputError(f"{where}.spacing = {shown(image['spacing'])} must be 0 or at least 0.01 mm each")
    if image["sampling"] != "grid" and (image["register"] or image["axis"] != "slice"):
        raise InputError(f"{where}.sampling = '{image['sampling']}' takes a file as it is: set register=False, axis='slice'")
    if are_pictures(image):
        check_pictures(where, image)
    for key, plain in OF_PICTURES.items():
        if image[key] != plain and not are_pictures(image):
            raise InputError(f"{where}.{key} = '{image[key]}' is for pictures: set sampling='picture', or {key}='{plain}'")
    if image["normalise"] == "ct_windows" and image["channels"] != 3:
        raise InputError(f"{where}.normalise = 'ct_windows' makes three channels (brain, subdural, bone): set channels=3")
    if image["normalise"] in WINDOWED and not image["window"][1] > image["window"][0]:
        raise InputError(f"{where}.window = {shown(image['window'])}: the second value must be the larger one")
    if not image["column"]:
        raise InputError(f"{where}.column is empty: name the column of the table with its files")


def check_pictures(where: str, image: dict):
    """Pictures have no place in space, no head that is looked for, and a range of their own."""
    what = f"{where} is of pictures (sampling = 'picture', or normalise = 'photograph')"
    if image["kind"] != "sequence" or image["brain_mask"] not in ("", "none") or image["register"] or image["axis"] != "slice":
        raise InputError(f"{what}: set kind='sequence', axis='slice', register=False, brain_mask='none'")
    if image["normalise"] not in PICTURES:
        raise InputError(f"{what}: normalise = '{image['normalise']}' is not made for them; known: {', '.join(PICTURES)}")


def check_open(config):
    """Sections whose keys are the user's own names."""
    default = ConfigDict({"kind": "", "weight": 0.0})
    for task, loss in config.loss.items():
        check_section(f"config.loss.{task}", loss, default)
        check_range(f"config.loss.{task}.weight", loss.weight, (0, 1e6))
    for task, outcome in config.cohort.outcomes.items():
        if not isinstance(outcome, (tuple, list)) or len(outcome) != 3:
            raise InputError(f"config.cohort.outcomes.{task} = {shown(outcome)} must be (column, rule, value), for example ('mrs', '>', 2)")
    for name, levels in config.clinical.categorical.items():
        check_type(f"config.clinical.categorical.{name}", tuple(levels) if isinstance(levels, list) else levels, tuple)
    for name, kind in config.clinical.codes.items():
        if kind not in CODES:
            raise InputError(f"config.clinical.codes.{name} = {shown(kind)} is unknown.{nearest(kind, CODES)}")
    for name, limits in config.cohort.ranges.items():
        check_tuple(f"config.cohort.ranges.{name}", limits, float, (-1e300, 1e300), 2, 2)
    for name, cuts in config.evaluate.subgroup_bounds.items():
        check_tuple(f"config.evaluate.subgroup_bounds.{name}", cuts, float, (-1e300, 1e300), 1, 100)
    for name, value in config.model.fusion_upper.items():
        check_type(f"config.model.fusion_upper.{name}", value, float)
        check_range(f"config.model.fusion_upper.{name}", value, (TINY, 1e12))
    for name, skipped in config.train.augment.skip.items():
        check_tuple(f"config.train.augment.skip.{name}", skipped, str, None, 0, 100)
    low, high = config.model.fusion_clip
    if not 0 < low < high < 1:
        raise InputError(f"config.model.fusion_clip = {config.model.fusion_clip} must rise, between 0 and 1")


def check_products(config):
    """Values that are harmless alone."""
    shape, train, split = config.cohort.synthetic.shape, config.train, config.split
    check_count(f"config.cohort.synthetic.shape = {shown(shape)}", shape, MOST_VALUES, "voxels an image")
    what = f"config.train.batch_size = {train.batch_size} and .accumulation = {train.accumulation}"
    check_count(what, (train.batch_size, train.accumulation), MOST_ROWS, "patients an update")
    what = f"config.split.folds = {split.folds}, .repeats = {split.repeats}, .inner_folds = {split.inner_folds} and train.seeds"
    check_count(what, (split.folds, split.repeats, split.inner_folds + 1, len(train.seeds)), MOST_RUNS, "networks to train")
    if len(set(train.seeds)) < len(train.seeds):
        raise InputError(f"config.train.seeds = {shown(train.seeds)} names a seed twice")


def check_count(what: str, factors, most: int, unit: str):
    if math.prod(factors) > most:
        raise InputError(f"{what} makes {math.prod(factors):,} {unit}: at most {most:,} are possible")


def shown(value) -> str:
    """A value as it would be written, cut short."""
    try:
        text = repr(tuple(value) if isinstance(value, list) else value)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
