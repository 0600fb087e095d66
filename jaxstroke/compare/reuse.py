"""Networks of one variant that another has trained already: stage one is keyed by module and settings, and done once.

Patients, records and folds are the same for all variants of a study. What else a module's network hangs on are the sections below, less
what only the merge reads; a network without modules hangs on all that it sees.
"""

import json

import jax
from etils import epath

from jaxstroke import config as settings
from jaxstroke import config_json
from jaxstroke import workdir as work
from jaxstroke.evaluation import files
from jaxstroke.training import modes, pretraining
from jaxstroke.training.checkpoint import Finished
from jaxstroke.training.engine import finished_runs
from jaxstroke.training.log import is_whole
from jaxstroke.training.pretrained import FILE, FOLDER, Pretrained

SECTIONS = ("model", "loss", "optimizer", "train", "text", "align")
OF_THE_MERGE = ("fusion", "fusion_column", "fusion_upper", "fusion_clip", "fusion_penalty", "images", "clinical")
OF_THE_MACHINE = ("feed", "ahead", "save_seconds", "seeds")  # of `train`; a seed is part of a run's name


def key(config, part: str) -> str:
    """A digest of the settings that a part's network hangs on."""
    values = {section: dict(config_json.to_json(config)[section]) for section in SECTIONS}
    for name in OF_THE_MACHINE:
        del values["train"][name]
    if part != "network":
        for name in OF_THE_MERGE:
            del values["model"][name]
        if config.optimizer.schedule == "plateau":  # falls by the sum of the modules' losses
            values["beside"] = settings.image_names(config)
    return work.digest(values | {"part": part, "primary": config.evaluate.primary})


def donors(config, ready: modes.Ready, finished: dict[str, tuple]) -> dict[str, str]:
    """{part: name of a finished variant that has its networks for every run}, {} where a part has none: then all are trained.

    finished: {name: (config, workdir)}.
    """
    found = {}
    for part in ready.engine.parts:
        for name, (other, folder) in finished.items():
            # Of a module that sees all modalities nothing is shared: its key lacks the images and columns it hangs on.
            same = key(other, part) == key(config, part) and part in ("network", *settings.image_names(other))
            if same and not modes.lacking(folder, ready.todo):
                found[part] = name
                break
        else:
            return {}
    return found


def fill(ready: modes.Ready, workdir: epath.Path, found: dict[str, str], finished: dict[str, tuple]):
    """Copy the networks of `donors` into a workdir, and the lines of their learning curves."""
    own = finished_runs(workdir)
    others = {name: finished_runs(finished[name][1]) for name in set(found.values())}
    for run in ready.todo:
        own.save(run.id, joined({name: read(other, run.id) for name, other in others.items()}, found))
    for one in (own, *others.values()):
        one.close()
    lines = [line for name in others for line in curves(finished[name][1], [part for part in found if found[part] == name])]
    files.write_text(workdir / "metrics.jsonl", "".join(f"{line}\n" for line in lines))


def share_pretraining(config, workdir: epath.Path, finished: dict[str, tuple]):
    """Copy into a variant what an earlier one has pre-trained, where the encoders, their images and settings are the same."""
    target = workdir / FOLDER
    if not settings.pretrains(config) or target.exists():
        return
    for other, folder in finished.values():
        source = folder / FOLDER
        if settings.pretrains(other) and pretraining.key(other) == pretraining.key(config) and (source / FILE).exists():
            theirs = Pretrained.read(folder)
            own, others = Finished(target / "networks"), Finished(source / "networks")
            for name in theirs.seen:
                own.save(name, read(others, name))
            for one in (own, others):
                one.close()
            for name in ("metrics.jsonl", FILE):  # the latter last: with it the stage is done
                files.write_text(target / name, files.read_text(source / name))
            return


def read(finished: Finished, run_id: str) -> dict:
    return finished.read(run_id, finished.shapes(run_id))


def joined(loaded: dict[str, dict], found: dict[str, str]) -> dict:
    """The variables of one run, each part of its donor: {"params": {part: ...}, "stats": {part: ...}}."""
    if "network" in found:
        return loaded[found["network"]]
    first = next(iter(loaded.values()))
    return {kind: {part: loaded[name][kind][part] for part, name in found.items() if part in loaded[name][kind]} for kind in first}


def curves(workdir: epath.Path, parts: list[str]) -> list[str]:
    """The lines of a donor's `metrics.jsonl`, of some parts only."""
    found = []
    for values in epochs(workdir):
        if "network" not in parts:
            values |= {name: {part: values[name][part] for part in parts if part in values[name]} for name in ("train_loss", "val_loss")}
        found.append(json.dumps(values))
    return found


def epochs(workdir: epath.Path) -> list[dict]:
    """The lines of `metrics.jsonl` that are whole."""
    return [json.loads(line) for line in files.read_text(workdir / "metrics.jsonl").splitlines() if is_whole(line)]


def parameters(ready: modes.Ready) -> int:
    """Parameters of one run's networks, a frozen encoder's among them."""
    return sum(leaf.size for leaf in jax.tree.leaves(ready.engine.abstract_variables()["params"]))
