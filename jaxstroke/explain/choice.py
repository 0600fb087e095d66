"""What is explained: heads, images, layers and patients that `config.explain` names, or InputError with the nearest name."""

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke.errors import InputError, nearest
from jaxstroke.explain import files, maps

PAPERS_LAYER = {"densenet121_3d": "transition3/conv"}  # papers' section 3.9
LEAST_PLACES = 4  # along two axes, of a layer that is chosen


def heads(config) -> list[str]:
    """What `explain.head` or the primary task asks for: the task itself, of a task with classes every one of them; or a class alone."""
    name = config.explain.head or config.evaluate.primary
    classes = class_heads(config)
    known = {outcomes.columns_of(config, task)[place]: [head] for head, (task, place) in classes.items()}
    known |= {task: [head for head, (of, _) in classes.items() if of == task] or [task] for task in config.loss}
    if name not in known:
        raise InputError(f"config.explain.head = '{name}' is no task of config.loss, nor a class of one.{nearest(name, known)}")
    return known[name]


def class_heads(config) -> dict[str, tuple[str, int]]:
    """{head: (task, place)} of every class of every task with classes; a head's name is part of files' names."""
    return {
        f"{task}-{files.name_of(name)}": (task, place)
        for task in config.loss
        if outcomes.of_rule(config.cohort.outcomes[task][1]) == "classes"
        for place, name in enumerate(outcomes.columns_of(config, task))
    }


def images(config) -> list[str]:
    """`explain.image`, or every image that the network sees."""
    known = settings.image_names(config)
    if config.explain.image and config.explain.image not in known:
        hint = nearest(config.explain.image, known)
        raise InputError(f"config.explain.image = '{config.explain.image}' is no image that this network sees.{hint}")
    return [config.explain.image] if config.explain.image else list(known)


def methods(config) -> list[str]:
    """`explain.method`, one name or several."""
    for name in config.explain.method:
        if name not in maps.METHODS:
            raise InputError(f"config.explain.method: '{name}' is unknown.{nearest(name, maps.METHODS)}")
    return list(config.explain.method)


def layer(config, found: dict[str, tuple[int, ...]], image: str) -> str:
    """A path of `maps.layers_of`: that which ends as `explain.layer` says, or one that still knows where things are.

    By default the paper's of its encoder; else the last convolution with at least four places along two axes.
    """
    # A module's parameters lie under its image's name, those of one that sees all images under its own before.
    own = (f"{image}/", *(f"{name}/{image}/" for name in settings.module_names(config)))
    paths = [path for path in found if path.startswith(own)] or list(found)
    wanted = config.explain.layer or PAPERS_LAYER.get(config.model.encoder, "")
    fitting = [path for path in paths if wanted and (path == wanted or path.endswith(f"/{wanted}"))]
    if fitting:
        return fitting[-1]
    if config.explain.layer:
        raise InputError(f"config.explain.layer = '{config.explain.layer}' is no layer with a map.{nearest(config.explain.layer, paths)}")
    convolutions = [path for path in paths if "conv" in path.rpartition("/")[2].lower()] or paths
    wide = [path for path in convolutions if sum(n >= LEAST_PLACES for n in found[path][1:-1]) >= 2]
    if not convolutions:
        raise InputError(f"image '{image}' has no layer with a map in this network: config.explain.method = ('integrated_gradients',)")
    return wide[-1] if wide else convolutions[0]


def rows(config, units, tested: set[int] | None = None) -> list[int]:
    """Rows of the units of `explain.patients`, by the table's ids; without any the first `explain.most`. tested: only these rows."""
    wanted = tuple(str(one) for one in config.explain.patients)
    known = {unit.patient for unit in units}
    for one in wanted:
        if one not in known:
            raise InputError(f"config.explain.patients: '{one}' is not in the cohort.{nearest(one, sorted(known))}")
    asked = [row for row in range(len(units)) if tested is None or row in tested]
    chosen = [row for row in asked if units[row].patient in wanted] if wanted else asked
    return chosen if wanted else chosen[: config.explain.most]
