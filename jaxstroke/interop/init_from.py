"""`config.init_from`: the PyTorch weights that every run begins from, of a published network or of an encoder alone."""

import hashlib

from etils import epath

from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.errors import InputError, listed
from jaxstroke.interop import torch_bert, torch_file, torch_resnet, torch_vit, torch_weights
from jaxstroke.training.begin import Begin
from jaxstroke.training.pretrained import Pretrained

# (config.model.name, config.model.encoder) -> a network of torch_weights.
PUBLISHED = {
    ("ich_multitask", "densenet121_3d"): "ich_multitask",
    ("ich_multitask", "perez_3d"): "perez",
    ("tabular_dnn", ""): "tabular_dnn",
}

READ = 2**24  # bytes


def begin(config, workdir: epath.Path) -> Begin | Pretrained | None:
    """What the runs of a workdir begin from, or None where that is random.

    A workdir that was begun goes on without the file: `Begin` then refuses only a run that has not begun.
    """
    if config.text.init_from and settings.reads(config):
        return of_reports(config, workdir)
    source = config.model.init_from
    if not source:
        return None
    path = work.absolute(source)
    if path.is_dir():
        return Pretrained.read(path, source)
    network = PUBLISHED.get((config.model.name, config.model.encoder))
    if network is None and config.model.encoder not in (*torch_resnet.NETWORKS, *torch_vit.NETWORKS):
        known = ", ".join(" on ".join(filter(None, pair)) for pair in PUBLISHED)
        resnets, transformers = (", ".join(of.NETWORKS) for of in (torch_resnet, torch_vit))
        raise InputError(
            f"config.model.init_from = {source}: '{config.model.name}' has no published weights. Known: {known}; and by torchvision's "
            f"names those of config.model.encoder = {resnets}; and by timm's those of {transformers}."
        )
    written = work.read(workdir)
    if not path.exists():
        if written is None:
            raise InputError(f"config.model.init_from = {source}: there is no such file")
        return Begin(source, written["records"].get("init_from", ""), None, "" if network else "encoder")
    try:
        tensors = torch_file.read(path)
        made = of_network(network, tensors) if network else of_encoder(config, tensors)
    except (InputError, OSError) as error:
        raise InputError(f"config.model.init_from = {source}: {error}") from None
    return Begin(source, digest(path), **made)


def of_reports(config, workdir: epath.Path) -> Begin:
    """What the encoder of reports of every run begins from."""
    source = config.text.init_from
    path, written = work.absolute(source), work.read(workdir)
    if not path.exists():
        if written is None:
            raise InputError(f"config.text.init_from = {source}: there is no such file")
        return Begin(source, written["records"].get("init_from", ""), None, "bert", key="text.init_from")
    try:
        heads = torch_bert.read_config(path).get("heads")
        variables, sizes, left = torch_bert.convert(torch_file.read(path), heads or config.text.heads)
    except (InputError, OSError) as error:
        raise InputError(f"config.text.init_from = {source}: {error}") from None
    sizes = {"vocabulary_size" if name == "vocabulary" else name: size for name, size in sizes.items()}
    other = [f"--config.text.{name}={size}" for name, size in sizes.items() if config.text[name] != size]
    if other:
        raise InputError(f"config.text.init_from = {source} is of a network of other sizes: set {' '.join(other)}")
    remarks = (f"left out of config.text.init_from: {listed(left)}",) if left else ()
    if heads is None:
        remarks += (f"no config.json beside {source} says how many heads its attention has: config.text.heads = {config.text.heads}",)
    return Begin(source, digest(path), {"batch_stats": {}} | variables, "bert", tuple(left), remarks, key="text.init_from")


def digest(path: epath.Path) -> str:
    """sha256 of a file, which may be larger than memory."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ):
            found.update(part)
    return found.hexdigest()


def of_network(network: str, tensors: dict) -> dict:
    """What `Begin` knows of a whole network's weights."""
    return {"variables": torch_weights.convert(network, tensors)}


def of_encoder(config, tensors: dict) -> dict:
    """What `Begin` knows of an encoder's weights."""
    if config.model.encoder in torch_vit.NETWORKS:
        variables, left, said = torch_vit.convert(config.model.encoder, tensors, config.model.pool)
    else:
        variables, left = torch_resnet.convert(config.model.encoder, tensors)
        said = ()
    remarks = [*said, f"left out of config.model.init_from: {listed(left)}"] if left else [*said]
    if config.model.standardise == "none":
        remarks.append("images go into the network as they are prepared; weights of ImageNet expect config.model.standardise = imagenet")
    return {"variables": variables, "subtree": "encoder", "left_out": left, "remarks": tuple(remarks)}
