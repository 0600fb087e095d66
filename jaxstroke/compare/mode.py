"""`--mode compare`: every variant of a config on the same patients, records and folds, then one page that sets them side by side.

A variant is a workdir of its own below `variants/`. The same command again resumes; a variant that is added later is the only one trained.
"""

import functools
import logging
import time

import jax
from etils import epath

from jaxstroke import config as settings
from jaxstroke import models
from jaxstroke import workdir as work
from jaxstroke.compare import reuse, variants
from jaxstroke.errors import InputError
from jaxstroke.evaluation import comparison, files
from jaxstroke.evaluation.wording import show, span
from jaxstroke.interop import init_from
from jaxstroke.preprocess.report.lines import share as share_reports
from jaxstroke.training import modes, stages
from jaxstroke.training.pretrained import FOLDER

logger = logging.getLogger("jaxstroke")
UNJUDGED = tuple(key for key in settings.MAY_DIFFER if not key.startswith("evaluate"))  # keys that change no number of a finished variant
ITSELF = "the workdir's own run"  # of --mode train, whose networks serve as a variant's do


def compare(config, workdir: epath.Path, stop):
    """Train and judge what is not there yet, then write `comparison.csv` and `comparison.html`."""
    rows = variants.configs(config)
    check_rows(config, workdir, rows)
    names = tuple(name for name in config.images if any(name in settings.prepared_names(one) for one in rows.values()))
    trained = (workdir / "networks").exists()
    names = begin_study(config, workdir, names)
    shared = {"cohort.records": str(work.records_root(config, workdir))}
    rows = {name: variants.applied(name, one, shared) for name, one in rows.items()}
    finished: dict[str, tuple] = {ITSELF: (config, workdir)} if trained else {}
    # The one with the most modules first: the others then find theirs trained.
    for number, name in enumerate(sorted(rows, key=lambda name: -len(settings.image_names(rows[name]))), 1):
        logger.info("variant %s, %d of %d", name, number, len(rows))
        folder = workdir / "variants" / name
        if not is_done(rows[name], folder):
            run(rows[name], folder, workdir, names, finished, stop)
        finished[name] = (rows[name], folder)
    write_study(config, workdir, rows)
    content = comparison.write(workdir)
    print(comparison.console_table(content))
    print(f"comparison: {workdir / 'comparison.html'}")


def check_rows(config, workdir: epath.Path, rows: dict):
    """Refuse what a variant would stop at after hours: networks begun with other settings, weights to begin from that cannot be used."""
    work.check_same(workdir, config)
    for name, one in rows.items():
        folder = workdir / "variants" / name
        try:
            models.named(one)
            init_from.begin(one, folder)
        except InputError as error:
            raise InputError(f"config.variants.{name}: {error}") from None
        lines = work.changed(folder, one)
        if lines:
            raise InputError(
                f"config.variants.{name} is not what {folder} was begun with: put it back, give the new one another name, or delete that "
                f"folder and it is trained anew. What differs:\n{lines}"
            )


def begin_study(config, workdir: epath.Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Prepare all images of the study once, make the folds that all variants share, and refuse other data than it was begun with.

    Returns the images: those of variants that are gone too, so that all have the same patients.
    """
    _, prepared, _, hashes = modes.on_disk(config, workdir, names=names)
    work.write(workdir, config, [str(device) for device in jax.devices()], hashes)
    return tuple(prepared.folders)


def is_done(config, folder: epath.Path) -> bool:
    """Whether a variant was judged to the end by this config; where its records lie and what computes does not matter."""
    there = all((folder / name).exists() for name in ("run.json", "cost.json", "predictions.csv"))
    return there and has_cost(folder) and not work.changed(folder, config, UNJUDGED)


def has_cost(folder: epath.Path) -> bool:
    """Whether `cost.json` is as it was written: else the variant is judged again, which writes it."""
    try:
        return comparison.is_of(work.read_json(folder / "cost.json"), comparison.COST)
    except InputError:
        return False


def run(config, folder: epath.Path, study: epath.Path, names: tuple[str, ...], finished: dict[str, tuple], stop):
    """One variant: networks from another one where it has the same, else trained; then judged. `cost.json` is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    cost = folder / "cost.json"
    cost.unlink(missing_ok=True)
    share_splits(study, folder)
    share_reports(study, folder)
    reuse.share_pretraining(config, folder, finished)
    pretrain = functools.partial(stages.pretrain, config, folder, stop)
    ready = modes.make_ready(config, folder, init_from.begin(config, folder), names, pretrain)
    trained = (folder / "checkpoints").exists()
    found = {} if trained else reuse.donors(config, ready, finished)
    began = time.monotonic()
    if found:
        reuse.fill(ready, folder, found, finished)
        logger.info("its networks are those of %s", ", ".join(dict.fromkeys(found.values())))
    else:
        modes.train_networks(config, folder, ready, stop)
    judged = modes.judged(config, folder, ready)
    auc = judged["tasks"][config.evaluate.primary]["auc"]
    logger.info("%s: AUC %s (%s), %.0f s", folder.name, show(auc["value"]), span(auc["ci95"]), time.monotonic() - began)
    work.write_json(cost, {
        "parameters": reuse.parameters(ready), "training_seconds": 0.0 if found else training_seconds(folder),
        "networks_of": sorted(set(found.values())),
    })  # fmt: skip


def share_splits(study: epath.Path, folder: epath.Path):
    """The study's folds into a variant; a variant that was begun with others is refused."""
    source, target = study / "splits.json", folder / "splits.json"
    if not target.exists():
        files.write_text(target, source.read_text())
    elif target.read_text() != source.read_text():
        raise InputError(f"{target} holds other folds than {source}: delete the variant's folder, or put the file back")


def training_seconds(folder: epath.Path) -> float:
    """What the steps of all epochs took, over all starts of the program, and those of a pre-training, also where variants share it."""
    places = [place for place in (folder, folder / FOLDER) if (place / "metrics.jsonl").exists()]
    return round(sum(line.get("seconds", 0.0) for place in places for line in reuse.epochs(place)), 1)


def write_study(config, workdir: epath.Path, rows: dict):
    """`variants.json`: the rows in order, what each changes and what it cost, for `evaluation.comparison`."""
    changes = variants.changes_of(config)
    lines = []
    for name in rows:
        said = {key: variants.written(value) for key, value in changes.get(name, {}).items()}
        lines.append({"name": name, "changes": said} | work.read_json(workdir / "variants" / name / "cost.json"))
    work.write_json(workdir / "variants.json", {"variants": lines})
