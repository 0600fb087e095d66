"""`preprocessing.json` of an export: how inputs are made of files and table, and what the outputs mean, in words and numbers."""

import platform

import numpy as np

from jaxstroke import config as settings
from jaxstroke import outcomes
from jaxstroke import workdir as work
from jaxstroke.cohort import icd10
from jaxstroke.config_images import are_pictures
from jaxstroke.explain.patient import outcome_words
from jaxstroke.interop import artefact
from jaxstroke.interop.image_steps import steps
from jaxstroke.models import heads
from jaxstroke.preprocess import clinical

RULES = {  # of `model.fusion`; c is the clinical value over its upper one, clipped
    "none": "the network's own output",
    "concat": "features of the images and of the clinical columns go into one layer of the network",
    "mean": "mean of the probabilities of the images that are there; the training patients' share where none is",
    "poe": "product of experts: c p / (c p + (1 - c)(1 - p)), p as by mean",
    "scalar": "c p, p as by mean: a score that ranks, no probability",
    "learned": "logistic regression on c times each image's probability, fitted on inner folds",
    "stacked": "logistic regression on each image's log-odds and the clinical columns with missing flags, fitted on inner folds",
}
MISSING = {  # by what the networks read
    "images": "An image that a patient lacks is zeros with a mask of zeros.",
    "clinical": "A clinical value that is missing has 0 (any finite number) and a mask of 0, in all columns of a categorical one and of "
    "one with codes; inside, each network puts the median of its own training patients, or no level, there, and reads a missing flag "
    "beside each column.",
}
ROWS = (  # where `evaluate.per` is patient
    "Outputs are of rows of the table, but thresholds and the reported performance are of patients: of a patient with several rows average "
    "log(p / (1 - p)) of `probability` over the rows, and likewise of `recalibrated` (of classes average log p, then divide by their sum; "
    "a score that is no probability is averaged itself). --mode predict averages each network by itself before the mean over the networks: "
    "of several rows the numbers differ a little, of one they are the same."
)
KNOWS = "Scaling, imputation, fusion and recalibration are inside the artefact: clinical values go in as they are in the table."


def describe(config, schema, kept: dict, read: dict, hashes: dict[str, str]) -> dict:
    """The content of the file. kept: `model.json`; read: {entry of the batch: shape without `b`}; hashes: sha256 by file of the export."""
    images = [name for name in settings.image_names(config) if f"images/{name}" in read]
    return {
        "about": "Research software, not a medical device: nothing that comes out of it may guide the treatment of a patient.",
        "model": config.model.name,
        "networks": list(kept["fold"]),
        "inputs": {name: {"shape": ["b", *shape], "dtype": "float32", "what": what(config, name)} for name, shape in read.items()},
        "outputs": outputs(config, kept),
        "images": {name: image(config, name) for name in images},
        "clinical": columns(config, schema) if "clinical" in read else [],
        "codes": {name: icd10.words(config.clinical.codes[name]) for name, _ in schema.codes if "clinical" in read},
        "cells_that_mean_missing": list(config.cohort.missing),
        "missing": " ".join(words for kind, words in MISSING.items() if any(name.split("/")[0] == kind for name in read)),
        "fitted": KNOWS,
        "rows": ROWS if config.evaluate.per == "patient" else "",
        "fusion": fused(config, schema),
        "tasks": {task: label(config, task) for task in settings.task_names(config)},
        "thresholds": thresholds(kept),
        "recalibration": artefact.recalibrated_tasks(kept),
        "computed_in": computed(config),
        "platforms": list(artefact.PLATFORMS),
        "versions": {name: work.version(name) for name in work.PACKAGES} | {"python": platform.python_version()},
        "sha256": hashes,
        "reloads": "with the jax of this export or a later one: a serialized program is promised to load for six months at least; in a jax "
        "that has been dropped from that promise, install the version above",
    }


def what(config, name: str) -> str:
    """What an entry of the batch holds."""
    kind, _, image_name = name.partition("/")
    each = "picture" if image_name and are_pictures(config.images[image_name]) else "slice or time point"
    return {
        "images": f"prepared values of {image_name} (images.{image_name}), 0 where there is none",
        "images_mask": f"1 for each {each} of {image_name} that is there, else 0",
        "clinical": "values of the columns, in the order of `clinical`; an indicator is 0 or 1",
        "clinical_mask": "1 where the value of that column is known, else 0",
    }[kind]


def outputs(config, kept: dict) -> dict:
    """Shapes and meaning of what comes out."""
    found = {}
    for task in settings.task_names(config):
        levels = heads.sizes(config)[task]
        meaning = (
            "a score that ranks patients, no probability" if config.model.fusion == "scalar" else "the mean probability over the networks"
        )
        found[f"probability/{task}"] = {"shape": ["b", levels], "what": f"{meaning}: column j is of labels[j] of tasks.{task}"}
    for task in artefact.recalibrated_tasks(kept):
        what_of = "the mean over the networks of the probability after each fold's recalibration"
        shape = found[f"probability/{task}"]["shape"] if outcomes.of_rule(config.cohort.outcomes[task][1]) == "classes" else ["b"]
        found[f"recalibrated/{task}"] = {"shape": shape, "what": what_of}
    return found


def image(config, name: str) -> dict:
    """All settings of an image with their units, the steps in order, and the shape of the input."""
    own = config.images[name].to_dict()
    units = {"spacing": "mm (z, y, x), 0 = the reference's own", "shape": "voxels (s, h, w)", "window": "the file's own unit"}
    if are_pictures(own):
        units = {"shape": "pictures at most, rows and columns of pixels (s, h, w)", "window": "HU of DICOM slices"}
    return {
        "settings": own,
        "units": units,
        "reference": config.cohort.reference if own["register"] else "",
        "least_overlap_with_the_reference": config.cohort.min_overlap,
        "dicom": config.cohort.dicom.to_dict(),
        "steps": steps(name, own, config.cohort.reference),
        "input_shape": ["b", *own["shape"], own["channels"]],
    }


def columns(config, schema: clinical.Schema) -> list[dict]:
    """The k clinical inputs in order."""
    found = []
    for place, (column, variable) in enumerate(zip(schema.columns, schema.source, strict=True)):
        name = schema.variables[variable]
        one = {"place": place, "input": column, "column": name}
        if schema.indicator[place]:
            found.append(one | {"kind": "indicator"} | indicator(schema, name, column))
        else:
            limits = list(config.cohort.ranges[name]) if name in config.cohort.ranges else None
            found.append(one | {"kind": "number", "range": limits, "what": "the value, in the unit of the table that was trained on"})
    return found


def indicator(schema: clinical.Schema, name: str, column: str) -> dict:
    """What an indicator of a column's level, or of a group of its codes, is 1 for."""
    codes = dict(schema.codes)
    if name in codes:
        group = column.removeprefix(f"{name}: ")
        what_of = f"in {group}" if group != clinical.OTHER else f"in none of {', '.join(codes[name])}"
        return {"group": group, "what": f"1 where one of the cell's ICD-10 codes is {what_of}, else 0"}
    levels, level = dict(schema.categorical)[name], column.removeprefix(f"{name}=")
    said = f"1 where the cell is none of {', '.join(levels)}" if level == clinical.OTHER else f"1 where the cell is {level}"
    return {"level": level, "what": f"{said}, else 0"}


def fused(config, schema) -> dict:
    """How the images of a patient become one prediction."""
    rule = artefact.rule_of(config, schema)
    found = {"rule": config.model.fusion, "what": RULES[config.model.fusion], "stages": config.train.stages}
    if config.model.fusion_column and config.model.fusion in ("poe", "scalar", "learned"):
        name = config.model.fusion_column
        upper, clip = config.model.fusion_upper[name], list(config.model.fusion_clip)
        found |= {"column": name, "upper": upper, "clip": clip}
    return found | {"inside_the_network": rule is None}


def label(config, task: str) -> dict:
    """The definition of a task's label."""
    column, rule, value = config.cohort.outcomes[task]
    value = list(value) if isinstance(value, tuple) else value
    words = [outcome_words(config.cohort.outcomes[task], name) for name in outcomes.columns_of(config, task)]
    return {"column": column, "rule": rule, "value": value, "labels": words, "loss": config.loss[task].kind}


def thresholds(kept: dict) -> dict:
    """{task: the folds' thresholds on `probability` and their median}, each from its validation patients; none of several classes."""
    found = {}
    for task, lines in kept["decisions"].get("network", {}).items():
        if any("class" in line for line in lines):
            continue  # the most probable one is predicted
        values = [line["threshold"] for line in lines if line["threshold"] is not None]
        found[task] = {
            "median": float(np.median(values)) if values else None, "by_network": values, "applies_to": f"probability/{task}",
            "what": "maximises sensitivity + specificity (Youden) on validation patients; no recommendation",
        }  # fmt: skip
    return found


def computed(config) -> str:
    """How far the numbers may be from `--mode predict`."""
    if config.train.dtype == "float32":
        return "float32"
    return (
        "float32. --mode predict computes in bfloat16 on GPU and TPU "
        f"(train.dtype = {config.train.dtype}): probabilities may differ there in the third digit"
    )
