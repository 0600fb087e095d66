"""One patient: maps and contributions by each of its networks, their mean, and what is written of them."""

import contextlib
import pathlib
from dataclasses import dataclass

import jax
import numpy as np

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke.cohort import icd10
from jaxstroke.cohort.dicom import Rules
from jaxstroke.cohort.readers import ReadError, read_image
from jaxstroke.config_images import are_pictures
from jaxstroke.evaluation import wording
from jaxstroke.explain import choice, faithfulness, files, importance, page, report, strip, told, words
from jaxstroke.models import heads
from jaxstroke.preprocess import inverse, records


@dataclass(frozen=True)
class Judged:
    """Of one map: rank correlation with that of randomised weights, and curves {"map" | "random": {"deletion" | "insertion": [...]}}."""

    spearman: float | None
    curves: dict


@dataclass(frozen=True)
class Found:
    """contributions: rows of `explain.csv`; judged: title of a map -> what is to be thought of it; pictures: lines of `importance.csv`."""

    contributions: list[tuple]
    judged: dict[str, Judged]
    pictures: list[dict]


def batch_of(engine, row: int) -> dict[str, jax.Array]:
    """The batch of one patient: every entry `1 ...`."""
    batch = next(iter(engine.unaugmented(np.full((1, 1, 1, 1), row, np.int32))))
    return {name: x[0, 0] for name, x in batch.items() if name != "key"}


@dataclass(frozen=True)
class Asking:
    """A patient and who is asked. networks: (variables, fitted numbers); tools: `mode.Tools`; said: the report, None where none is read."""

    config: object
    tools: object
    unit: object
    batch: dict[str, jax.Array]
    networks: list[tuple[dict, dict]]
    folder: pathlib.Path
    said: report.Said | None


@dataclass(frozen=True)
class Shown:
    """Maps of an image, {title: map}: on the stored voxels, and on those of the patient's file where it is a volume."""

    stored: dict[str, np.ndarray]
    on_file: dict[str, np.ndarray]


def explain(config, asked, tools, row: int, networks: list[tuple[dict, dict]]) -> Found:
    """Maps, files and page of the unit in this row. networks: (variables, fitted numbers) of those to ask."""
    unit, batch = asked.loaded.units[row], batch_of(asked.engine, row)
    folder = asked.folder / files.name_of(unit.unit)
    folder.mkdir(parents=True, exist_ok=True)
    one = Asking(config, tools, unit, batch, networks, folder, report.of_patient(config, asked, row))
    volumes, judged, seen, looks = [], {}, [], {}
    for image in choice.images(config):
        record = record_of(asked.prepared, image, unit.unit)
        if are_pictures(config.images[image]) and unit.paths[image]:
            asking = (record, unit.paths[image], batch, networks)
            seen += [importance.explain(tools, image, head, *asking) for head in choice.heads(config)]
        if not np.any(batch[f"images_mask/{image}"]):
            continue  # this patient lacks it
        shown, own = maps_of(one, image, record)
        judged |= own
        if image in tools.words and one.said.words:
            grid = grid_of(record)
            about = titled(unit, grid, image, "where words look")
            looks[image], more = words.of_patient(one, image, record, grid, about)
            shown = Shown(*(own | added for own, added in zip((shown.stored, shown.on_file), more, strict=True)))
        volumes.append(volume_of(config, unit, image, record, batch, shown))
    contributions = contributions_of(config, asked, tools, networks, batch, unit)
    for head in choice.heads(config):
        own = [added for added in contributions if added.head == head]
        if own:
            names, values = [added.column for added in own], [added.log_odds for added in own]
            files.bars(folder / f"columns_{head}.png", names, values, f"patient {unit.patient}: {head}")
    contributions += report.contributions(one)
    strips = [strip_of(config, asked, picture, batch) for picture in seen]
    title = f"{unit.patient}, {config.cohort.study} {unit.study}" if unit.study else unit.patient
    heads, text = heads_of(config, asked, unit), one.said and told.shown(config, one.said, looks)
    html = page.render(title, asked.sentence, heads, volumes, contributions, config.explain.cut, strips, text)
    records.write_text(folder / f"patient_{files.name_of(unit.unit)}.html", html)
    rows = [(unit.patient, unit.unit, row.head, row.kind, row.column, row.value, row.compared, row.log_odds) for row in contributions]
    return Found(rows, judged, [line for picture in seen for line in importance.rows(unit.patient, unit.unit, picture)])


def maps_of(one: Asking, image: str, record: dict) -> tuple[Shown, dict[str, Judged]]:
    """The maps of all heads and methods, their panels and NIfTI files; and what is to be thought of each."""
    stored, on_file, judged = {}, {}, {}
    grid = grid_of(record)
    pixels = np.asarray(one.batch[f"images/{image}"])[0].mean(-1)
    for (head, of, method), function in one.tools.maps.items():
        if of != image:
            continue
        heat = np.mean([function(variables, fitted, one.batch) for variables, fitted in one.networks], 0)
        title, name = f"{image}_{head}_{method}", f"{head}: {method.replace('_', ' ')}"
        judged[title] = judge(one.tools, (head, image), function, one.networks[0], one.batch, heat)
        stored[name] = heat
        both = [page.axial(array, grid)[0] for array in (pixels, heat)]
        files.panel(one.folder / f"{title}.png", *both, titled(one.unit, grid, image, head, method), one.config.explain.cut)
        if grid is not None:
            on_file[name] = inverse.to_source_grid(record, heat)
            files.write_nifti(one.folder / f"{title}.nii.gz", on_file[name], record["affine"])
    return Shown(stored, on_file), judged


def titled(unit, grid: np.ndarray | None, *about: str) -> str:
    """The title of a panel."""
    side = "" if grid is None else "; the patient's right is on the left"
    return f"patient {unit.patient}: {', '.join(about)}{side}"


def strip_of(config, asked, one: importance.Importance, batch: dict) -> dict:
    """What the page shows of a patient's pictures and a head."""
    classes = choice.class_heads(config)
    task, place = classes.get(one.head, (one.head, 0))
    levels = 1 if one.head in classes else heads.sizes(config)[task]
    words = outcome_words(config.cohort.outcomes[task], outcomes.columns_of(config, task)[place]) if levels == 1 else ""
    of_all = "image, columns and report together" if settings.module_names(config) != settings.image_names(config) else one.image
    merged = "" if asked.engine.parts == ("network",) else of_all
    return strip.make(one, np.asarray(batch[f"images/{one.image}"])[0], config.images[one.image].normalise, words, levels, merged)


def record_of(prepared, image: str, unit: str) -> dict:
    found = records.open_records(prepared.folders[image])
    try:
        return found[found.index[unit]]
    finally:
        found.close()


def judge(tools, pair, function, network, batch, heat: np.ndarray) -> Judged:
    """Against randomised weights and a random order, by the first of the patient's networks. pair: (head, image)."""
    variables, fitted = network
    spearman = faithfulness.correlation(np.asarray(function(variables, fitted, batch)), np.asarray(function(tools.random, fitted, batch)))
    key = f"images/{pair[1]}"

    def probability(image):
        value = float(tools.logit[pair](variables, fitted, batch | {key: image[None].astype(np.float32)}))
        return 1 / (1 + np.exp(-value))

    image = np.asarray(batch[key])[0]
    chance = np.random.default_rng(0).random(heat.shape)
    return Judged(spearman, {name: faithfulness.curves(probability, image, order) for name, order in (("map", heat), ("random", chance))})


def grid_of(record: dict) -> np.ndarray | None:
    """4 x 4 stored (s, h, w) to mm of a volume, or of slices chosen evenly from it; None of pictures and time points."""
    steps = {step["name"]: step for step in record["transforms"]}
    if "resample" not in steps or "slices" not in steps:
        return None
    index = np.asarray(steps["slices"]["index"])
    index = index[index >= 0]
    step = (index[-1] - index[0]) / max(len(index) - 1, 1) if len(index) else 1.0
    chosen = np.diag([step or 1.0, 1.0, 1.0, 1.0])
    chosen[0, 3] = index[0] if len(index) else 0.0
    return np.asarray(steps["resample"]["affine"]) @ chosen  # chosen slices are evenly spaced, to the nearest


def volume_of(config, unit, image: str, record: dict, batch: dict, shown: Shown) -> page.Volume:
    """The patient's file with the maps on its voxels; the stored image where the file is gone, or is no single volume."""
    grid, paths, source = grid_of(record), unit.paths[image], None
    if grid is not None and len(paths) == 1:
        with contextlib.suppress(ReadError):
            source = read_image(paths[0], Rules(**config.cohort.dicom))
    if source is not None and source.affine is not None and source.array.ndim == 3:
        return page.Volume(image, source.array, record["affine"], shown.on_file)
    stored = np.asarray(batch[f"images/{image}"])[0].mean(-1)
    if not are_pictures(config.images[image]):
        return page.Volume(image, stored, grid, shown.stored)
    labels = importance.names(record, paths)
    there = slice(len(labels))  # padding follows
    return page.Volume(image, stored[there], None, {title: heat[there] for title, heat in shown.stored.items()}, labels)


def heads_of(config, asked, unit) -> list[page.Head]:
    """The network's probabilities of every task, with the range over the networks that were asked.

    Where a patient's rows are scored as one (`evaluate.per`), those of a patient of the training cohort are of all its rows.
    """
    scored, found = asked.scored, []
    frame = scored[scored["unit_id"] == unit.unit]
    frame = scored[scored["patient_id"] == unit.patient] if frame.empty else frame
    for task in settings.task_names(config):
        for level, rows in frame[frame["task"] == task].groupby("class", sort=True, dropna=False):
            values = rows["probability"].to_numpy()
            low, high = (float(values.min()), float(values.max())) if len(values) > 1 else (None, None)
            found.append(page.Head(task, outcome_words(config.cohort.outcomes[task], level), float(values.mean()), low, high))
    return found


def outcome_words(outcome: tuple, level: str) -> str:
    """What a probability is of, as `mrs > 2`; level: a column of the task, of an ordinal one from 1 on, of classes the name."""
    column, rule, value = outcome
    if rule == "within":
        return wording.horizon_words(column, value)
    if rule == "classes":
        return f"{column} is {level}"
    if rule != "ordinal":
        return f"{column} {rule} {value}"
    return f"{column} {'>=' if value[0] <= value[-1] else '<'} {value[int(level) - 1]}"


def contributions_of(config, asked, tools, networks, batch, unit) -> list[page.Contribution]:
    """Integrated gradients of the clinical columns, summed over a column's indicators; none where the network sees none of them."""
    schema, found = asked.loaded.schema, []
    if not schema.variables:
        return []
    image = (choice.images(config) or [""])[0]
    for head in choice.heads(config):
        added = np.mean([tools.attributions[head, image](variables, fitted, batch)["clinical"] for variables, fitted in networks], 0)
        if not added.any():
            continue  # its clinical columns enter by the merge alone
        medians = np.mean([fitted["clinical_median"] for _, fitted in networks], 0)
        known = np.asarray(batch["clinical_mask"])[0]
        starts = [*schema.first, len(added)]
        for name, first, behind in zip(schema.variables, starts, starts[1:], strict=False):
            value = unit.clinical.get(name) if known[first] else None
            value = value if not isinstance(value, tuple) else "|".join(value) or icd10.NOTHING[0]
            compared = round(float(medians[first]), 4) if name in schema.numeric else None
            found.append(page.Contribution(head, name, value, compared, float(added[first:behind].sum())))
    return sorted(found, key=lambda one: (one.head, -abs(one.log_odds)))
