"""Reports of a cohort as a modality: from lesion masks to findings to text, or from the table (paper 5; papers' section 5.1).

A generator is called with a `Seen`, which has neither an id nor an outcome nor a clinical column. What it wrote, from what and by which
model lies in `reports.jsonl` of the workdir, a line a unit, and is not asked for again. Atlas and vocabulary are copied into the workdir,
so that new patients are read by the same.
"""

import contextlib
import dataclasses
import functools
import json
import logging

import numpy as np
from etils import epath

from jaxstroke import config as settings
from jaxstroke import terminal
from jaxstroke.cohort.files import ReadError
from jaxstroke.cohort.readers import read_image
from jaxstroke.errors import InputError
from jaxstroke.preprocess import records, shards, wordpiece
from jaxstroke.preprocess.load import Prepared, Reports, load_arrays
from jaxstroke.preprocess.report import answers, atlas, findings, key_slices, llm, template
from jaxstroke.preprocess.report.findings import Findings, Seen

logger = logging.getLogger("jaxstroke")
FILE, VOCABULARY = "reports.jsonl", "vocabulary.json"
FORMAT = 1  # of findings: raise it when a mask would give others
CHUNK = 8  # units a task of a process


def attached(config, cohort, prepared: Prepared, workdir, folder, records_root):
    """(the cohort with each unit's report, prepared records that know of them).

    workdir: of the run, with atlas and vocabulary; folder: where `reports.jsonl` goes, of new patients their own. A generator that fails on
    some patients leaves them without a report, in the list `prepare_report.csv`.
    """
    if not settings.reads(config) and not settings.finds(config):
        return cohort, prepared
    units = cohort.units
    found, names = read_masks(config, prepared, units, workdir, records_root)
    lines = WRITERS[config.text.source](config, prepared, units, found, folder, records_root)
    for unit in units:
        lines[unit.unit] |= {"findings": None if found[unit.unit] is None else findings.to_json(found[unit.unit])}
    records.write_text(epath.Path(folder) / FILE, "".join(json.dumps({"unit": unit} | line) + "\n" for unit, line in lines.items()))
    cohort = dataclasses.replace(cohort, units=tuple(dataclasses.replace(unit, text=lines[unit.unit]["text"]) for unit in cohort.units))
    warn_of_missing(config, lines)
    told = {"reports": records.digest([[unit, line["text"], line["findings"]] for unit, line in lines.items()])}
    made = Reports(lines, names, kept_vocabulary(config, workdir))
    return cohort, dataclasses.replace(prepared, reports=made, contents=prepared.contents | told)


def warn_of_missing(config, lines: dict[str, dict]):
    """Say how many have no report, and why the first has none."""
    none = [(unit, line["failure"]) for unit, line in lines.items() if not line["text"]]
    if none and settings.reads(config):
        logger.warning("%d of %d rows have no report, the first: %s (%s)", len(none), len(lines), *none[0])
    if none and len(none) == len(lines) and settings.reads(config):
        raise InputError(f"no row has a report (config.text.source = '{config.text.source}'): {none[0][1]}")


def as_given(config, prepared, units, found, folder, records_root) -> dict[str, dict]:
    """Lines of reports that the table has."""
    failure = f"column '{config.cohort.text}' is empty"
    return {unit.unit: line(unit.text, "" if unit.text else failure, {"generator": "given"}) for unit in units}


def by_template(config, prepared, units, found: dict[str, Findings | None], folder, records_root) -> dict[str, dict]:
    """Lines of reports in fixed words, without any model."""
    failure = f"image '{config.text.mask}' is missing, and without a mask config.text.source = 'template' has nothing to say"

    def one(seen: Seen) -> dict:
        text = "" if seen.findings is None else template.text(seen.findings)
        return line(text, "" if text else failure, {"generator": "template"})

    return {unit.unit: one(Seen(found[unit.unit])) for unit in units}


def by_model(config, prepared, units, found: dict[str, Findings | None], folder, records_root) -> dict[str, dict]:
    """Lines of reports by a language model, the earlier ones of this folder first."""
    told, before = config.text.llm, earlier(folder)
    asked = answers.Asked(told.model, llm.prompt(told.prompt), float(told.temperature))
    seen = {unit.unit: Seen(found[unit.unit], slices_of(config, prepared, unit)) for unit in units}
    keys = {unit: answers.name(one, asked) for unit, one in seen.items()}
    lines = {unit: before[unit] for unit in seen if before.get(unit, {}).get("key") == keys[unit] and before[unit]["text"]}
    todo = {unit: one for unit, one in seen.items() if unit not in lines}
    if todo:
        cache = epath.Path(told.cache or epath.Path(records_root).parent / "report_cache").expanduser()
        with contextlib.closing(terminal.progress("reports", len(todo), "report")) as progress:
            made = llm.written(todo, told, cache, progress.advance)
        lines |= {unit: line(one.text, one.failure, one.provenance) | {"key": keys[unit]} for unit, one in made.items()}
    return {unit.unit: lines[unit.unit] for unit in units}


def without(config, prepared, units, found, folder, records_root) -> dict[str, dict]:
    """Lines of a cohort whose masks alone are asked for."""
    return {unit.unit: line("", "config.text.source = 'none'", {}) for unit in units}


WRITERS = {"none": without, "given": as_given, "template": by_template, "llm": by_model}


def line(text: str, failure: str, provenance: dict) -> dict:
    """What `reports.jsonl` says of a unit, less what is found in its mask."""
    return {"text": text, "failure": failure, "provenance": provenance}


def earlier(folder) -> dict[str, dict]:
    """The lines of a `reports.jsonl`, {} where there is none; what is cut off at its end is as if it were not there."""
    path, found = epath.Path(folder) / FILE, {}
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            one = json.loads(text)
            found[one.pop("unit")] = one
        except (ValueError, KeyError, AttributeError):
            continue
    return found


def slices_of(config, prepared: Prepared, unit) -> tuple[bytes, ...]:
    """Key slices of a unit as PNG files, () where none are sent or it has no such image."""
    name = config.text.llm.image
    if not name or not unit.paths[name]:
        return ()
    array, there, scale, offset, _ = load_arrays(prepared, name, [unit])
    if not there.any():
        return ()
    values = array[0].astype(np.float32) * scale[0] + offset[0]
    mask = None
    if config.text.mask and config.text.mask in prepared.folders:
        marks, marked, *_ = load_arrays(prepared, config.text.mask, [unit])
        mask = marks[0, ..., 0] if marked.any() and marks.shape[1:4] == array.shape[1:4] else None
    mirrored = config.images[name].sampling != "picture"  # a radiologist's view; pictures are as they look
    return key_slices.pngs(values[there[0] > 0], None if mask is None else mask[there[0] > 0], config.text.llm.slices, mirrored)


def read_masks(config, prepared: Prepared, units, workdir, records_root) -> tuple[dict[str, Findings | None], dict[int, str]]:
    """({unit: findings, None without a usable mask}, the atlas's territories), kept beside the records so that they are found once."""
    if not settings.finds(config):
        return {unit.unit: None for unit in units}, {}
    paths = kept_atlas(config, workdir)
    known = atlas.read(*paths) if paths else None
    of_images = {name: prepared.contents[name] for name in (config.text.mask, *config.text.signals)}
    digest = records.digest([FORMAT, of_images, [unit.unit for unit in units], "" if known is None else atlas.digest(known)])
    path = epath.Path(records_root) / f"findings-{digest[:16]}.json"
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
    names = {} if known is None else {number: known.names[number] for number in sorted(known.names)}
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
    except ReadError:
        return None
    images = {name: (image.array, image.affine) for name, image in read.items() if name != mask}
    return findings.to_json(findings.of_mask(read[mask].array, read[mask].affine, known, images))


def kept_atlas(config, workdir) -> tuple[str, str] | None:
    """(atlas, its names) in the workdir, copied where they are not there yet; None without one."""
    if not config.text.atlas:
        return None
    return atlas.copied(config.text.atlas, config.text.territories, epath.Path(workdir))


def kept_vocabulary(config, workdir) -> str:
    """The tokenizer that was given, as json text, kept in the workdir; "" where each fold has its own."""
    if not config.text.vocabulary or not settings.reads(config):
        return ""
    path = epath.Path(workdir) / VOCABULARY
    if not path.exists():
        made = wordpiece.read(config.text.vocabulary)
        if wordpiece.size_of(made) > config.text.vocabulary_size:
            cure = f"set config.text.vocabulary_size={wordpiece.size_of(made)}"
            raise InputError(f"config.text.vocabulary = {config.text.vocabulary} has more entries than the network: {cure}")
        records.write_text(path, made)
    return path.read_text()


