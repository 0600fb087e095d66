"""`config.init_from`: the published PyTorch weights that every run begins from."""

import hashlib

from etils import epath

from jaxstroke import workdir as work
from jaxstroke.errors import InputError
from jaxstroke.interop import torch_file, torch_weights
from jaxstroke.training.begin import Begin

# (config.model.name, config.model.encoder) -> a network of torch_weights.
PUBLISHED = {
    ("ich_multitask", "densenet121_3d"): "ich_multitask",
    ("ich_multitask", "perez_3d"): "perez",
    ("tabular_dnn", ""): "tabular_dnn",
}


def begin(config, workdir: epath.Path) -> Begin | None:
    """What the runs of a workdir begin from, or None where that is random.

    A workdir that was begun goes on without the file: `Begin` then refuses only a run that has not begun.
    """
    source = config.model.init_from
    if not source:
        return None
    network = PUBLISHED.get((config.model.name, config.model.encoder))
    if network is None:
        known = ", ".join(" on ".join(filter(None, pair)) for pair in PUBLISHED)
        raise InputError(f"config.model.init_from = {source}: '{config.model.name}' has no published weights. Known: {known}.")
    path, written = work.absolute(source), work.read(workdir)
    if not path.exists():
        if written is None:
            raise InputError(f"config.model.init_from = {source}: there is no such file")
        return Begin(source, written["records"].get("init_from", ""), None)
    try:
        variables = torch_weights.convert(network, torch_file.read(path))
    except (InputError, OSError) as error:
        raise InputError(f"config.model.init_from = {source}: {error}") from None
    return Begin(source, hashlib.sha256(path.read_bytes()).hexdigest(), variables)
