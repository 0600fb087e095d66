"""Reports of a cohort by a language model: findings and key slices of each unit, asked for where they are not there."""

import contextlib

import numpy as np
from etils import epath

from jaxstroke import terminal
from jaxstroke.errors import InputError
from jaxstroke.preprocess import records
from jaxstroke.preprocess.load import Prepared, load_arrays
from jaxstroke.preprocess.report import answers, key_slices, lines, llm
from jaxstroke.preprocess.report.findings import Findings, Seen

PROMPT = "prompt.txt"


def written(config, prepared, units, found: dict[str, Findings | None], places: lines.Places) -> dict[str, dict]:
    """Lines of reports by a language model, the earlier ones of this folder first.

    In a workdir that was begun each line stays, that there is no report too: networks have been trained so. Elsewhere what could not be
    made is asked for again. InputError where the server was of no more use, as networks trained on half of the reports are none; of new
    patients those reports are missing.
    """
    before = lines.read(places.folder)
    made = {unit.unit: before[unit.unit] for unit in units if unit.unit in before} if places.own and places.begun else {}
    rest = [unit for unit in units if unit.unit not in made]
    if rest:
        made |= of_rest(config, prepared, rest, found, places, before)
    return {unit.unit: made[unit.unit] for unit in units}


def of_rest(config, prepared, units, found, places: lines.Places, before: dict[str, dict]) -> dict[str, dict]:
    """Lines of units of which nothing is settled. before: the earlier ones, taken where they were made from the same."""
    told = config.text.llm.copy_and_resolve_references()
    told.prompt = kept_prompt(config, places)
    asked = answers.Asked(told.model, llm.prompt(told.prompt), float(told.temperature))
    seen = {unit.unit: Seen(found[unit.unit], slices_of(config, prepared, unit)) for unit in units}
    keys = {unit: answers.name(one, asked) for unit, one in seen.items()}
    same = {unit: before[unit] for unit, key in keys.items() if before.get(unit, {}).get("key") == key}
    made = {unit: one for unit, one in same.items() if one["text"] or one.get("settled")}
    todo = {unit: one for unit, one in seen.items() if unit not in made}
    if not todo:
        return made
    cache = epath.Path(told.cache or epath.Path(places.records).parent / "report_cache").expanduser()
    with contextlib.closing(terminal.progress("reports", len(todo), "report")) as progress:
        new = llm.written(todo, told, cache, progress.advance)
    ended = [one.failure for one in new.values() if one.ended]
    made |= {unit: lines.line(one.text, one.failure, one.provenance) | {"key": keys[unit]} for unit, one in new.items()}
    if ended and places.own:
        lines.write(places.folder, made)  # each is made or listed, whatever comes next
        # The first may tell its own reason, the last that of all.
        raise InputError(f"{len(ended)} of {len(units)} reports are {ended[-1]} (all are listed in {places.folder / lines.FILE})")
    return made


def kept_prompt(config, places: lines.Places) -> str:
    """The file of instructions in the workdir, so that new patients are asked for by the same; "" where they are ours."""
    if not config.text.llm.prompt:
        return ""
    path = places.workdir / PROMPT
    if not (places.begun and path.exists()):
        records.write_text(path, llm.prompt(config.text.llm.prompt))
    return str(path)


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
