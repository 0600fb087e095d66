"""Reports of a cohort as a modality: from lesion masks to findings to text, or from the table (paper 5; papers' section 5.1).

A generator is called with a `Seen`, which has neither an id nor an outcome nor a clinical column. What it wrote, from what and by which
model lies in `reports.jsonl` of the workdir, a line a unit, and is not asked for again. Atlas, vocabulary and instructions are copied into
the workdir, so that new patients are read by the same.
"""

import dataclasses
import functools
import json
import logging

from etils import epath

from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.readers import read_image
from jaxstroke.errors import InputError
from jaxstroke.preprocess import model_reports, records, shards, wordpiece
from jaxstroke.preprocess.load import Prepared, Reports
from jaxstroke.preprocess.report import atlas, findings, lines, template
from jaxstroke.preprocess.report.findings import Findings, Seen
from jaxstroke.preprocess.report.lines import Places, line

logger = logging.getLogger("jaxstroke")
VOCABULARY = "vocabulary.json"
FORMAT = 1  # of findings: raise it when a mask would give others
CHUNK = 8  # units a task of a process


def attached(config, cohort, prepared: Prepared, workdir, folder, records_root):
    """(the cohort with each unit's report, prepared records that know of them).

    workdir: of the run, with what `Places` says is kept; folder: where `reports.jsonl` goes, of new patients their own. A generator that
    fails on some patients leaves them without a report, and `reports.jsonl` says why. A network that reads none has none made.
    """
    if not settings.reads(config) and not settings.finds(config):
        return cohort, prepared
    units, places = cohort.units, Places(*map(epath.Path, (workdir, folder, records_root)))
    found, names = read_masks(config, prepared, units, places)
    write = WRITERS[config.text.source] if settings.reads(config) else without
    made = write(config, prepared, units, found, places)
    for unit in units:
        made[unit.unit] |= {"findings": None if found[unit.unit] is None else findings.to_json(found[unit.unit])}
    lines.write(folder, made)
    cohort = dataclasses.replace(cohort, units=tuple(dataclasses.replace(unit, text=made[unit.unit]["text"]) for unit in cohort.units))
    if settings.reads(config):
        tell_of_missing(config, made, places)
    told = {"reports": records.digest([[unit, one["text"]] for unit, one in made.items()])}
    if settings.finds(config):
        told["findings"] = records.digest([[unit, one["findings"]] for unit, one in made.items()])
    return cohort, dataclasses.replace(
        prepared, reports=Reports(made, names, kept_vocabulary(config, places)), contents=prepared.contents | told
    )


def tell_of_missing(config, made: dict[str, dict], places: Places):
    """Say how many have no report, and why the first has none. A cohort to be trained on where nobody has one is refused."""
    none = [(unit, one["failure"]) for unit, one in made.items() if not one["text"]]
    if none and len(none) == len(made) and places.own:
        raise InputError(f"no row has a report (config.text.source = '{config.text.source}'), the first: {none[0][1]}")
    if none:
        where = places.folder / lines.FILE
        logger.warning("%d of %d rows have no report, the first: %s (%s); see %s", len(none), len(made), *none[0], where)


def as_given(config, prepared, units, found, places) -> dict[str, dict]:
    """Lines of reports that the table has."""
    failure = f"column '{config.cohort.text}' is empty"
    return {unit.unit: line(unit.text, "" if unit.text else failure, {"generator": "given"}) for unit in units}


def by_template(config, prepared, units, found: dict[str, Findings | None], places) -> dict[str, dict]:
    """Lines of reports in fixed words, without any model."""
    failure = f"image '{config.text.mask}' is missing or cannot be used, and without a mask config.text.source = 'template' says nothing"

    def one(seen: Seen) -> dict:
        text = "" if seen.findings is None else template.text(seen.findings)
        return line(text, "" if text else failure, {"generator": "template"})

    return {unit.unit: one(Seen(found[unit.unit])) for unit in units}


def without(config, prepared, units, found, places) -> dict[str, dict]:
    """Lines of a cohort whose masks alone are asked for."""
    return {unit.unit: line("", "the network reads no reports", {}) for unit in units}


WRITERS = {"given": as_given, "template": by_template, "llm": model_reports.written}


def read_masks(config, prepared: Prepared, units, places: Places) -> tuple[dict[str, Findings | None], dict[int, str]]:
    """({unit: findings, None without a usable mask}, the atlas's territories), kept beside the records so that they are found once."""
    if not settings.finds(config):
        return {unit.unit: None for unit in units}, {}
    paths = kept_atlas(config, places)
    known = atlas.read(*paths) if paths else None
    of_images = {name: prepared.contents[name] for name in (config.text.mask, *config.text.signals)}
    digest = records.digest([FORMAT, of_images, [unit.unit for unit in units], "" if known is None else atlas.digest(known)])
    path = places.records / f"findings-{digest[:16]}.json"
    cure = f"delete {path} and the masks are read again"
    if not path.exists():
        failed = {(unit, name) for unit, name, _, _ in prepared.failures}
        jobs = [
            {name: unit.paths[name] for name in of_images if unit.paths[name] and (unit.unit, name) not in failed} for unit in units
        ]
        tasks = [tuple(jobs[start : start + CHUNK]) for start in range(0, len(jobs), CHUNK)]
        one = functools.partial(of_files, config.text.mask, paths)
        with_line = shards.mapped(one, tasks, config.cohort.workers, "findings", len(units))
        records.write_text(path, json.dumps([each for task in with_line for each in task]))
    try:
        found = [None if one is None else findings.from_json(one) for one in json.loads(path.read_text())]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not as it was written: {cure}") from None
    names = {} if known is None else {number: known.name_of(number) for number in known.sizes}
    return {unit.unit: one for unit, one in zip(units, found, strict=True)}, names


def of_files(mask: str, paths: tuple[str, str] | None, jobs: tuple[dict, ...]) -> list[dict | None]:
    """Findings of some units as json; runs in a worker process. paths: of the atlas."""
    known = read_atlas(paths) if paths else None
    return [of_unit(mask, known, job) for job in jobs]


@functools.lru_cache(1)
def read_atlas(paths: tuple[str, str]) -> atlas.Atlas:
    return atlas.read(*paths)


def of_unit(mask: str, known: atlas.Atlas | None, files: dict[str, tuple[str, ...]]) -> dict | None:
    """Findings of a unit as json, None where it has no mask. What cannot be read, preparation has listed."""
    try:
        if mask not in files:
            return None
        read = {name: read_image(paths[0]) for name, paths in files.items()}
        images = {name: (image.array, image.affine) for name, image in read.items() if name != mask}
        return findings.to_json(findings.of_mask(read[mask].array, read[mask].affine, known, images))
    except ReadError:
        return None


def kept_atlas(config, places: Places) -> tuple[str, str] | None:
    """(atlas, its names) in the workdir, copied before anything is begun there; None without one."""
    if not config.text.atlas:
        return None
    kept = atlas.kept(places.workdir) if places.begun else None
    return kept or atlas.copied(config.text.atlas, config.text.territories, places.workdir)


def kept_vocabulary(config, places: Places) -> str:
    """The tokenizer that was given, as json text, kept in the workdir; "" where each fold has its own."""
    if not config.text.vocabulary or not settings.reads(config):
        return ""
    path = places.workdir / VOCABULARY
    if not (places.begun and path.exists()):
        made = wordpiece.read(work.absolute(config.text.vocabulary))
        if wordpiece.size_of(made) > config.text.vocabulary_size:
            cure = f"set config.text.vocabulary_size={wordpiece.size_of(made)}"
            raise InputError(f"config.text.vocabulary = {config.text.vocabulary} has more entries than the network: {cure}")
        records.write_text(path, made)
    return path.read_text()
