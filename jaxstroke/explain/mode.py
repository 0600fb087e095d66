"""`--mode explain`: maps, contributions and a page for patients of a trained workdir, or for new ones.

A patient of the workdir is explained by the networks for which it was a test patient, a new one by those of all folds; maps are means over
them. Under `explain/` (of new patients `external/<hash>/explain/`): `<unit>/<image>_<head>_<method>.nii.gz` on the voxels of the patient's
file, and `.png`, a panel on the stored slices; `<unit>/patient_<unit>.html`; `<unit>/columns_<head>.png`; `<unit>/<image>_words.nii.gz`
(x, y, z, word), `<unit>/<image>_words.csv` and `<unit>/words_<image>.png`: where the words of a report look, see `words`; `explain.csv`
with all contributions; `importance.csv`: which pictures decided, see `importance`; `explain.json` and `faithfulness.png`: whether the maps
can be trusted, see `faithfulness`, and in the former the lines of `importance.csv`.
"""

import csv
import io
import pathlib
from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
from etils import epath

from jaxstroke import terminal
from jaxstroke import workdir as work
from jaxstroke.errors import InputError
from jaxstroke.evaluation import predictions, report
from jaxstroke.explain import choice, faithfulness, files, importance, maps, patient, words
from jaxstroke.feed import load
from jaxstroke.models import build
from jaxstroke.preprocess import records
from jaxstroke.training import engine as engines
from jaxstroke.training import modes, predict

COLUMNS = ("patient_id", "unit_id", "head", "kind", "name", "value", "compared", "contribution")


@dataclass(frozen=True)
class Asked:
    """Everything there is to ask. networks: row -> ids of the runs to ask; scored: rows of `predictions.csv`; prepared: see `load`.

    tokenizers: of runs with a vocabulary of their own, by id, as json text.
    """

    loaded: load.Loaded
    prepared: object
    engine: engines.Engine
    numbers: dict[str, dict]
    networks: dict[int, list[str]]
    scored: pd.DataFrame
    folder: pathlib.Path
    sentence: str
    tokenizers: dict[str, str]


def explain(config, workdir: epath.Path, cohort_table: str):
    """Explain the patients that `config.explain` names."""
    choice.heads(config), choice.images(config), choice.methods(config)  # before anything is prepared
    with config.unlocked():
        config.device.run, config.device.data = 1, 1  # a patient at a time
    written = predict.check_whole(config, workdir)
    is_new = cohort_table or any(config.cohort[key] != written["config"]["cohort"][key] for key in ("root", "table"))
    asked = new(config, workdir, cohort_table) if is_new else trained(config, workdir)
    asked.folder.mkdir(parents=True, exist_ok=True)
    finished, like = engines.finished_runs(workdir), asked.engine.abstract_variables()
    tools = make_tools(config, asked, like)
    rows, pictures, judged = [], [], {}
    line = terminal.progress("explain", len(asked.networks), "patient")
    for row, ids in asked.networks.items():
        networks = [(finished.load(run, like), asked.numbers[run]) for run in ids]
        found = patient.explain(config, asked, tools, row, networks)
        rows += found.contributions
        pictures += found.pictures
        for title, one in found.judged.items():
            judged.setdefault(title, []).append(one)
        line.advance()
    line.close()
    finished.close()
    write_csv(asked.folder / "explain.csv", [COLUMNS, *rows])
    if pictures:
        lines = [[one[name] for name in importance.COLUMNS] for one in pictures]
        write_csv(asked.folder / "importance.csv", [importance.COLUMNS, *lines])
    summary = summarise(judged)
    work.write_json(epath.Path(asked.folder) / "explain.json", summary | ({"importance": pictures} if pictures else {}))
    if judged:
        files.curves(asked.folder / "faithfulness.png", {title: one["curves"] for title, one in summary.items()})
    for title, one in summary.items():
        shown = "–" if one["randomised_spearman"] is None else f"{one['randomised_spearman']:.2f}"
        print(f"{title}: rank correlation with randomised weights {shown}. {one['words']}")
    if not is_new:
        report.write_report(workdir, work.read_json(workdir / "metrics.json"))  # it has a section on maps
    print(f"{len(asked.networks)} patients explained: {asked.folder}")


def write_csv(path: pathlib.Path, rows: list):
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    records.write_text(path, table.getvalue())


def trained(config, workdir: epath.Path) -> Asked:
    """Patients of the workdir's own cohort, by networks that had not seen them."""
    ready = modes.make_ready(config, workdir)
    modes.check_trained(workdir, ready.todo)
    outers = [run for run in ready.todo if run.inner is None]
    tested = {row for run in outers for row in run.held}
    rows = choice.rows(config, ready.loaded.units, tested)
    if not rows:
        raise InputError("config.explain.patients: none of them was a test patient of a fold, so every network has seen them")
    networks = {row: [run.id for run in outers if row in run.held] for row in rows}
    frame = predictions.read(workdir / "predictions.csv")
    frame = frame[(frame["split"] == "test") & (frame["model"] == "network")]
    sentence = "By the networks for which this was a test patient; none of them had seen it."
    folder, own = pathlib.Path(workdir / "explain"), tokenizers(predict.read_model(workdir))
    return Asked(ready.loaded, ready.prepared, ready.engine, ready.numbers, networks, frame, folder, sentence, own)


def new(config, workdir: epath.Path, cohort_table: str) -> Asked:
    """New patients, by the networks of all folds."""
    found = predict.read_new(config, workdir, cohort_table)
    kept, loaded, numbers = found.kept, found.loaded, predict.with_reports(config, found)
    rows = choice.rows(config, loaded.units)
    frame = predict.score_new(config, workdir, found, "new")
    frame = frame[frame["model"] == "network"]
    engine = engines.build(config, loaded.arrays, next(iter(numbers.values())), loaded.stored)
    networks = {row: list(kept["fold"]) for row in rows}
    sentence = f"A new patient, by the {len(kept['fold'])} networks of all folds."
    folder = pathlib.Path(found.folder / "explain")
    return Asked(loaded, found.prepared, engine, numbers, networks, frame, folder, sentence, tokenizers(kept))


def tokenizers(kept: dict) -> dict[str, str]:
    """The tokenizer of every outer run that has one of its own. kept: `model.json`."""
    return {run: kept["tokenizers"][name] for run, name in kept.get("tokenizer", {}).items()}


@dataclass(frozen=True)
class Tools:
    """Compiled functions. maps: (head, image, method) -> function of `maps`; attributions, logit, importance and removal: by
    (head, image); attention and words: by image, the latter of images that words are shown on."""

    maps: dict
    attributions: dict
    logit: dict
    importance: dict
    removal: dict
    attention: dict
    words: dict
    random: dict


def make_tools(config, asked: Asked, like) -> Tools:
    """Every method for every head and image. like: shapes of a network's variables."""
    network = build(config)
    model = maps.Merged(network) if config.train.stages == "joint" else network
    model = maps.Explained(model, choice.class_heads(config))
    batch = patient.batch_of(asked.engine, next(iter(asked.networks)))
    fitted = next(iter(asked.numbers.values()))
    shapes = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    layers = maps.layers_of(model, shapes, fitted, batch)
    found = {}
    for head in choice.heads(config):
        for image in choice.images(config):
            for method in choice.methods(config):
                layer = choice.layer(config, layers, image) if "grad_cam" in method else ""
                found[head, image, method] = maps.make(method, model, config.explain, head, image, layer)
    pairs = [(head, image) for head in choice.heads(config) for image in choice.images(config) or [""]]

    def value(head, image):
        return jax.jit(lambda variables, fitted, batch: maps.logit(model, variables, fitted, batch, head, image))

    return Tools(
        found,
        {pair: jax.jit(maps.attributions(model, *pair, config.explain.steps)) for pair in pairs},
        {pair: value(*pair) for pair in pairs},
        {pair: importance.measure(model, *pair) for pair in pairs},
        {pair: importance.removal(model, *pair) for pair in pairs},
        {image: importance.attention(network, image) for image in choice.images(config)},
        {image: words.attention(config, network, image) for image in choice.images(config) if words.wanted(config)},
        jax.tree.map(np.asarray, asked.engine.initial(2**30)["best"]),
    )


def summarise(judged: dict[str, list[patient.Judged]]) -> dict:
    """Means over patients, by map."""
    summary = {}
    for title, ones in judged.items():
        known = [one.spearman for one in ones if one.spearman is not None]
        spearman = float(np.mean(known)) if known else None
        curves = {
            order: {kind: np.mean([one.curves[order][kind] for one in ones], 0).tolist() for kind in ("deletion", "insertion")}
            for order in ("map", "random")
        }
        areas = {order: {kind: faithfulness.area(curve) for kind, curve in each.items()} for order, each in curves.items()}
        summary[title] = {
            "patients": len(ones), "randomised_spearman": spearman, "words": faithfulness.words(spearman), "areas": areas, "curves": curves,
        }  # fmt: skip
    return summary
