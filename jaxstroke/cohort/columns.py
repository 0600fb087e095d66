"""Which columns of a table the config needs, and what each is: found before any cell is looked at."""

from dataclasses import dataclass, field

from jaxstroke import config as settings
from jaxstroke import outcomes as kinds
from jaxstroke.cohort import labels
from jaxstroke.errors import InputError, nearest

NO_COLUMN = ("", "none", "foreground", "ct_brain")  # values of images.<name>.brain_mask that name no column


@dataclass(frozen=True)
class Layout:
    """Which column of a table is what; "" or not listed where the config names none or the table need not have it.

    unread    images and clinical columns that the network does not see and the table does not have: missing in every unit
    labelled  False: an outcome that cannot be read is missing, and stops nobody
    text_files whether a cell of `text` may be the path of a report
    subgroups columns by which the report scores patients apart; none in a table to be predicted
    codes     column of diagnosis codes -> chapters | blocks
    cut       those among them that are cut as numbers without being clinical columns
    outside   counts the values that are out of range, while the rows are parsed
    """

    source: str
    id: str
    study: str
    group: str
    text: str
    text_files: bool
    split: str
    paths: dict[str, str]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    codes: dict[str, str]
    tasks: tuple[str, ...]
    outcomes: dict[str, tuple[str, str, object]]
    columns: tuple[str, ...]
    missing: frozenset[str]
    ranges: dict[str, tuple[float, float]]
    decimal_comma: bool
    unread: frozenset[str]
    labelled: bool
    subgroups: tuple[str, ...]
    cut: tuple[str, ...]
    outside: dict[str, int] = field(default_factory=dict)
    unread_codes: dict[str, list[str]] = field(default_factory=dict)


def layout(config, known, source: str, labelled: bool, decimal_comma: bool) -> Layout:
    """What the config says of the columns `known`; raises InputError for the first that is needed and not there, with the nearest.

    The centre and `split.column` are needed by splits alone, which say so: an external cohort is not split.
    """
    cohort, known = config.cohort, list(known)
    outcomes = {task: labels.check_rule(task, outcome) for task, outcome in cohort.outcomes.items()}
    images = image_columns(config)
    attainable = config.evaluate.attainable
    scored = (*config.evaluate.comparators.columns, *([attainable] if attainable else ()))
    needed = {"config.cohort.id": cohort.id, "config.cohort.study": cohort.study, "config.cohort.text": cohort.text}
    needed |= image_needs(config, images, labelled) | clinical_needs(config)
    if labelled:
        needed |= {f"config.cohort.outcomes.{task}": outcome[0] for task, outcome in outcomes.items()}
        more = ((task, name) for task, outcome in outcomes.items() for name in labels.columns_of(outcome)[1:])
        needed |= {f"config.cohort.outcomes.{task} ({name})": name for task, name in more}
        needed |= {f"config.evaluate.comparators.columns ({name})": name for name in config.evaluate.comparators.columns}
        needed |= {"config.evaluate.attainable": attainable}
    for key, column in needed.items():
        if column and column not in known:
            cure = "" if labelled else " A column that is empty in every row will do where no patient has it."
            cure = " It may be left out there." if key.startswith("config.evaluate") else cure
            raise InputError(f"table {source} has no column '{column}', which {key} names.{nearest(column, known)}{cure}")
    check_names(config, outcomes, scored)
    without = [name for name in known if attainable and name.startswith(f"{attainable}_without_")]
    numeric, categorical, codes = tuple(config.clinical.numeric), tuple(config.clinical.categorical), dict(config.clinical.codes)
    apart = subgroup_columns(config, known, source) if labelled else ()
    return Layout(
        source, cohort.id, cohort.study, cohort.group if cohort.group in known else "", cohort.text,
        config.text.source == "given", config.split.column if config.split.column in known else "", images, numeric, categorical, codes,
        tuple(outcomes), {task: outcome for task, outcome in outcomes.items() if set(labels.columns_of(outcome)) <= set(known)},
        tuple(name for name in dict.fromkeys((*scored, *without)) if name in known), frozenset({"", *cohort.missing}),
        {name: tuple(limits) for name, limits in cohort.ranges.items()}, decimal_comma,
        frozenset(column for column in (*images.values(), *numeric, *categorical, *codes) if column not in known), labelled,
        apart, tuple(name for name in apart if name in config.evaluate.subgroup_bounds and name not in (*numeric, *categorical)),
    )  # fmt: skip


def subgroup_columns(config, known: list[str], source: str) -> tuple[str, ...]:
    """The columns by which the report scores patients apart: clinical ones, which may be absent unseen, others of the table, the centre."""
    clinical = settings.clinical_columns(config)
    for name in config.evaluate.subgroups:
        if name not in known and name not in clinical:
            raise InputError(
                f"table {source} has no column '{name}', which config.evaluate.subgroups names: leave it out there.{nearest(name, known)}"
            )
    return tuple(name for name in settings.subgroup_names(config) if name in (*known, *clinical))


def image_columns(config) -> dict[str, str]:
    """Column of each image, and of each brain mask, which goes by its column's name."""
    found = {name: image.column for name, image in config.images.items()}
    for name, image in config.images.items():
        column = image.brain_mask
        if column not in NO_COLUMN and found.setdefault(column, column) != column:
            raise InputError(f"config.images.{name}.brain_mask '{column}' is also an image with another column: rename that image.")
    return found


def image_needs(config, images: dict[str, str], labelled: bool) -> dict[str, str]:
    """Config key and column of the images that are used: what the network sees, the reference, their masks, and the comparator's volume."""
    used = {*settings.image_names(config), config.cohort.reference}
    used |= {config.evaluate.comparators.volume} if labelled else set()
    used |= {name for name in config.cohort.complete if name in config.images} if labelled else set()
    needed = {}
    for name in (name for name in config.images if name in used):
        needed[f"config.images.{name}.column"] = images[name]
        if config.images[name].brain_mask not in NO_COLUMN:
            needed[f"config.images.{name}.brain_mask"] = config.images[name].brain_mask
    return needed


def clinical_needs(config) -> dict[str, str]:
    """Config key and column of the clinical columns that are used."""
    needed = {}
    for kind in ("numeric", "categorical", "codes"):
        for name in config.clinical[kind]:
            if not config.model.clinical or name in config.model.clinical:
                needed[f"config.clinical.{kind} ({name})"] = name
    return needed


def check_one_kind(config):
    """A clinical column is of one kind."""
    kinds = ("numeric", "categorical", "codes")
    for name in settings.clinical_columns(config):
        several = [kind for kind in kinds if name in config.clinical[kind]]
        if len(several) > 1:
            raise InputError(f"clinical column '{name}' is listed as {' and as '.join(several)}: keep one.")


def check_names(config, outcomes, scored):
    """`cohort.complete` may name only what is read; ranges are pairs; no clinical column is of two kinds, or of a time after a start."""
    clinical = settings.clinical_columns(config)
    read = {*config.images, *clinical, *(outcome[0] for outcome in outcomes.values()), *scored}
    for name in config.cohort.complete:
        if name not in read:
            raise InputError(f"config.cohort.complete names '{name}', which is no image, clinical column or outcome.{nearest(name, read)}")
    check_one_kind(config)
    for task, (event, rule, value) in outcomes.items():
        for name in (event, value[1]) if rule == "within" else ():
            if name in clinical:
                raise InputError(f"clinical column '{name}' is known only after the start of '{task}': take it out of config.clinical.")
        for name in labels.columns_of((event, rule, value)) if rule == "within" else ():
            if name in config.cohort.ranges:
                raise InputError(f"config.cohort.ranges.{name} is of a column with dates, which '{task}' reads: take it out.")
    for task, (_, rule, value) in outcomes.items():
        named = kinds.KINDS["classes"].names(value) if rule == "classes" else (value,) if rule == "contains" else ()
        for name in named:
            if name in config.cohort.missing:
                raise InputError(
                    f"config.cohort.outcomes.{task}: '{name}' is in config.cohort.missing too, so that nobody could have it: take it out "
                    "of one of them."
                )
    for name, limits in config.cohort.ranges.items():
        if len(limits) != 2 or not all(map(labels.is_number, limits)) or limits[0] > limits[1]:
            raise InputError(f"config.cohort.ranges.{name} must be (lowest, highest), for example (0, 6).")
