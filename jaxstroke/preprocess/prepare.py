"""`prepare`: a cohort's files to records, once, on all cores; resumed where it was killed; shared by every run with the same settings.

Each image has its own folder, named by a hash of what decides its content, so that runs, variants and papers share it. A shard exists only
when it is whole: after a kill the same command makes the shards that are not there. Workers never import JAX.
"""

import csv
import dataclasses
import hashlib
import io
import time

from etils import epath

from jaxstroke import ranges
from jaxstroke.cohort.dicom import Rules
from jaxstroke.cohort.files import may_be_dicom, shortened
from jaxstroke.config_images import are_pictures
from jaxstroke.config_json import hashed
from jaxstroke.errors import InputError, nearest
from jaxstroke.preprocess import clinical, normalise, pictures, records
from jaxstroke.preprocess.load import Prepared, Table, load_arrays, load_table, places
from jaxstroke.preprocess.reference import Job, Plan, behind
from jaxstroke.preprocess.shards import make_images

__all__ = ["Prepared", "Table", "load_arrays", "load_table", "places", "prepare"]

FORMAT = 1  # part of every hash: raise it when the same settings would give other records


def prepare(config, cohort, workdir, records_root, images=(), schema=None) -> Prepared:
    """Make or find the records of a cohort; write `prepare_report.csv` into the workdir.

    images: names to prepare, default all of `config.images`. schema: that of a trained workdir, default made from this cohort.
    Raises InputError where more than `cohort.max_failed_share` of the units have a file that cannot be used (the report is written first),
    where existing records are not those expected, and where settings are unknown.
    """
    started = time.perf_counter()
    names = tuple(images) or tuple(config.images)
    schema = schema or clinical.schema(config, cohort.units)
    plan = make_plan(config, names)
    jobs = tuple(Job(unit.unit, unit.patient, unit.study, dict(unit.paths)) for unit in cohort.units)
    digests = {name: image_digest(plan, name, cohort.digest, jobs) for name in names}
    folders = {name: str(epath.Path(records_root) / f"{name}-{digests[name][:16]}") for name in names}
    volumes = make_images(plan, jobs, folders, digests, config.cohort.workers)
    seconds = time.perf_counter() - started
    manifests = {name: records.read_manifest(folders[name]) for name in names}
    table, digests["table"] = write_table(cohort, schema, records_root)
    failures, notes = list_failures(manifests, jobs), list_notes(manifests, jobs)
    unread = said_of_files(manifests, jobs, "unread", "reason")
    report = write_report(workdir, jobs, (*failures, *unread), notes)
    check_failures(failures, len(jobs), config.cohort.max_failed_share, report)
    contents = {name: records.digest([entry["contents"] for entry in manifests[name]["shards"]]) for name in names}
    left_out = units_without_image(manifests, jobs)
    speed = volumes / seconds if volumes else 0.0
    return Prepared(folders, table, schema, digests, contents, (*failures, *unread), left_out, seconds, speed, notes)


def make_plan(config, names) -> Plan:
    """The settings workers need, checked by name; references: the configured one first, masks last."""
    unknown = [name for name in (*names, config.cohort.reference) if name and name not in config.images]
    if unknown:
        raise InputError(f"image '{unknown[0]}' is not in config.images.{nearest(unknown[0], config.images)}")
    settings = {name: config.images[name].to_dict() for name in config.images}
    for name in names:
        ranges.check_image(f"config.images.{name}", settings[name])  # before a thousand files are read
    first = config.cohort.reference
    registered = [name for name in settings if settings[name]["register"] or name == first]
    order = sorted(registered, key=lambda name: (name != first, settings[name]["normalise"] in normalise.MASKS, name))
    return Plan(settings, tuple(order) if first else (), float(config.cohort.min_overlap), Rules(**config.cohort.dicom))


def image_digest(plan: Plan, name: str, cohort_digest: str, jobs) -> str:
    """Hash of all that decides an image's records: its settings, those of whatever gives the grid, the cohort, and this code's FORMAT.

    The rules for DICOM series are in it where a file may be one.
    """
    settings = plan.images[name]
    parts = {"format": FORMAT, "image": hashed(settings), "cohort": cohort_digest}
    if are_pictures(settings):
        parts |= {"pictures": pictures.FORMAT}
    if settings["register"] and plan.references:
        grid = [[reference, plan.images[reference]["column"], plan.images[reference]["brain_mask"]] for reference in plan.references]
        parts |= {"references": grid, "min_overlap": plan.min_overlap}
    if any(may_be_dicom(path) for job in jobs for each in behind(plan, name) for path in job.paths.get(each, ())):
        parts |= {"dicom": dataclasses.asdict(plan.dicom)}
    return records.digest(parts)


def list_failures(manifests: dict[str, dict], jobs) -> tuple[tuple[str, str, str, str], ...]:
    """(unit, image, path, reason) of every file for which an image could not be used, cached or not."""
    return said_of_files(manifests, jobs, "failures", "reason")


def list_notes(manifests: dict[str, dict], jobs) -> tuple[tuple[str, str, str, str], ...]:
    """(unit, image, path, what was done to it) of files that were used with a remark; records made before there were any have none."""
    return said_of_files(manifests, jobs, "notes", "note")


def said_of_files(manifests: dict[str, dict], jobs, list_name: str, field: str) -> tuple[tuple[str, str, str, str], ...]:
    """(unit, image, path, words) of a list in the entries of all shards."""
    paths = {job.unit: job.paths for job in jobs}
    return tuple(
        (one["unit"], image, paths[one["unit"]][image][one["file"]], one[field])
        for image, manifest in manifests.items()
        for entry in manifest["shards"]
        for one in entry.get(list_name, ())
    )


def units_without_image(manifests: dict[str, dict], jobs) -> tuple[str, ...]:
    """Units that list files for some image of this run, none of which can be used."""
    failed = {(unit, image) for unit, image, _, _ in list_failures(manifests, jobs)}
    listed = {job.unit: [image for image in manifests if job.paths.get(image)] for job in jobs}
    return tuple(unit for unit, names in listed.items() if names and all((unit, image) in failed for image in names))


def write_report(workdir, jobs, failures, notes) -> epath.Path:
    """`prepare_report.csv`: a line a file that could not be used, and a line a remark on one that was; `used` tells them apart."""
    patients = {job.unit: job.patient for job in jobs}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("patient_id", "image", "path", "reason", "used"))
    for lines, used in ((failures, "no"), (notes, "yes")):
        writer.writerows((patients[unit], image, shortened(path), reason, used) for unit, image, path, reason in lines)
    path = epath.Path(workdir) / "prepare_report.csv"
    records.write_text(path, text.getvalue())
    return path


def check_failures(failures, units: int, most: float, report):
    """Stop where so many files fail that something general is wrong: a wrong column, unit or folder."""
    failed = {unit for unit, _, _, _ in failures}
    if len(failed) <= most * units:
        return
    unit, image, _, reason = failures[0]
    raise InputError(
        f"{len(failed)} of {units} patients have a file that cannot be used, more than cohort.max_failed_share = {most:g} allows."
        f" The first: patient {unit}, image '{image}': {reason}. All are listed in {report}: mend them, or raise cohort.max_failed_share."
    )


def write_table(cohort, schema: clinical.Schema, records_root) -> tuple[str, str]:
    """One record a unit with clinical raw values, labels, columns and text. Returns folder and digest (of the content itself)."""
    payloads = []
    for unit in cohort.units:
        values, mask = clinical.encode(schema, unit)
        row = {"unit": unit.unit, "patient": unit.patient, "study": unit.study, "group": unit.group, "text": unit.text}
        row |= {"labels": dict(unit.labels), "columns": dict(unit.columns), "values": values, "mask": mask}
        payloads.append(records.encode(row))
    digest = records.digest([FORMAT, clinical.to_json(schema), [hashlib.sha256(payload).hexdigest() for payload in payloads]])
    folder = epath.Path(records_root) / f"table-{digest[:16]}"
    manifest = records.read_manifest(folder)
    if manifest is not None and manifest["digest"] != digest:
        raise InputError(f"{folder} holds a table of other data: delete that folder, or set cohort.records.")
    if manifest is None:
        name = records.shard_name(0, 1)
        entry = {"units": [unit.unit for unit in cohort.units], "failures": []}
        records.write_shard(folder, name, payloads, entry)
        shard = records.read_entry(folder, name)
        records.write_manifest(folder, {"digest": digest, "format": FORMAT, "schema": clinical.to_json(schema), "shards": [shard]})
    return str(folder), digest
