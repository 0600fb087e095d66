"""Prepared records to the cohort's arrays on the host: the batch's entries for all rows, missing ones zero and masked.

Where the images do not fit into memory their pixels stay on disk, and grain streams them.
"""

import logging
from dataclasses import dataclass

import numpy as np

from jaxstroke import config as settings
from jaxstroke import hosts
from jaxstroke.cohort.table import Cohort, Unit
from jaxstroke.feed import memory
from jaxstroke.feed.stream import Stored
from jaxstroke.preprocess import clinical, prepare
from jaxstroke.preprocess.load import Reports

logger = logging.getLogger("jaxstroke")
SHARE = 0.3  # of the free memory that images may take: on the host they are there twice while they are placed, and a step needs the rest


@dataclass(frozen=True)
class Loaded:
    """Rows of `arrays` follow `units`. schema: of the clinical array; cohort_schema: of all columns; volume_ml: n or None.

    stored: images whose pixels are not among the arrays, but on disk; {} where everything is in memory. territories: n k shares, NaN where
    a patient has no lesion mask, or None. reports: of `preprocess.reports`, or None.
    """

    units: tuple[Unit, ...]
    arrays: dict[str, np.ndarray]
    stored: dict[str, Stored]
    schema: clinical.Schema
    cohort_schema: clinical.Schema
    volume_ml: np.ndarray | None
    territories: np.ndarray | None = None
    reports: Reports | None = None

    @property
    def index(self) -> dict[str, int]:
        """Unit to row."""
        return {unit.unit: row for row, unit in enumerate(self.units)}


def load(config, cohort: Cohort, prepared) -> Loaded:
    """Every unit of the cohort that preparation did not leave out.

    arrays: `images/<name>` (n s h w c) as stored, `images_mask/<name>` (n s), `scale/<name>`, `offset/<name>` (n), `clinical` (n k) raw,
    `clinical_mask` (n k), `label/<task>`, `label_mask/<task>` (n), `patient` (n) a number a patient.
    """
    units = tuple(unit for unit in cohort.units if unit.unit not in prepared.left_out)
    arrays = {}
    stored = stay_on_disk(config, prepared, units)
    for name in settings.image_names(config):
        pixels, mask, scale, offset, _ = prepare.load_arrays(prepared, name, units, pixels=name not in stored)
        arrays |= {f"images_mask/{name}": mask, f"scale/{name}": scale, f"offset/{name}": offset}
        if name not in stored:
            arrays[f"images/{name}"] = pixels
    schema = network_schema(config, prepared.schema)
    arrays["clinical"], arrays["clinical_mask"] = clinical.encode_all(schema, units)
    for task in config.loss:
        labels = np.array([np.nan if unit.labels.get(task) is None else unit.labels[task] for unit in units], np.float32)
        arrays[f"label/{task}"], arrays[f"label_mask/{task}"] = np.nan_to_num(labels), (~np.isnan(labels)).astype(np.float32)
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(unit.patient for unit in units))}
    arrays["patient"] = np.array([numbers[unit.patient] for unit in units], np.int32)
    found = prepared.reports
    territories = None if found is None or not config.evaluate.comparators.territories else found.shares(units)
    return Loaded(units, arrays, stored, schema, prepared.schema, volumes(config, prepared, units), territories, found)


def stay_on_disk(config, prepared, units) -> dict[str, Stored]:
    """Images to be streamed: all with `train.feed` grain, none with resident; with auto all if they take too much of what is free."""
    if config.train.feed == "resident":
        return {}
    stored = {}
    for name in settings.image_names(config):
        stored[name] = Stored(prepared.folders[name], *prepare.places(prepared, name, units))
    if config.train.feed == "grain":
        return stored
    size, free = sum(one.bytes for one in stored.values()), memory.free()
    if hosts.everywhere(free is None or size <= SHARE * free):
        return {}
    logger.info("images of %.1f GiB are too much for the memory that is free: they are read from disk as they are needed", size / 2**30)
    return stored


def network_schema(config, schema: clinical.Schema) -> clinical.Schema:
    """The part of the cohort's schema that the network sees (`model.clinical`)."""
    return clinical.seen(schema, settings.clinical_names(config))


def volumes(config, prepared, units) -> np.ndarray | None:
    """Volume in ml of the image that `evaluate.comparators.volume` names, NaN where a patient has none."""
    name = config.evaluate.comparators.volume
    if not name:
        return None
    _, mask, _, _, volume = prepare.load_arrays(prepared, name, units, pixels=False)
    return np.where(mask.reshape(len(units), -1).any(1), volume, np.nan)
