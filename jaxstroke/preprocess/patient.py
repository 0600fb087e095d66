"""One patient's files to records: read, place on the patient's grid, resample, normalise, choose slices, store. Runs in worker processes.

Whatever is wrong with a file becomes a record that says `missing` and why: one bad file never stops a cohort.
"""

import dataclasses
import hashlib
import os

import numpy as np

from jaxstroke.cohort import npz
from jaxstroke.cohort.files import ReadError, check_size, listed
from jaxstroke.config_images import are_pictures
from jaxstroke.errors import InputError
from jaxstroke.preprocess import inverse, normalise, pictures, records, resize, slices, volume
from jaxstroke.preprocess.reference import Job, Plan, behind, check_overlap, geometry, read, reference_for


@dataclasses.dataclass(frozen=True)
class Task:
    """One shard: its jobs, and the folder of each image that still lacks it."""

    plan: Plan
    jobs: tuple[Job, ...]
    folders: dict[str, str]
    shard: str


def prepare_shard(task: Task) -> tuple[int, int]:
    """Make a shard of every image in the task. Returns (units done, images made)."""
    payloads = {name: [] for name in task.folders}
    lists = ("units", "failures", "unread", "notes", "sources", "contents", "timed")
    entries = {name: {key: [] for key in lists} | {"present": 0} for name in task.folders}
    for job in task.jobs:
        cache: dict = {}
        for name, entry in entries.items():
            record = prepare_image(task.plan, job, name, cache)
            payloads[name].append(records.encode(record))
            entry["units"].append(job.unit)
            timed = bool(record["reason"] or record["unread"]) or fell_back(task.plan, job, name, record)
            entry["timed"] += [job.unit] * timed
            entry["sources"].append(fingerprint(task.plan, job, name, timed, {}))
            entry["contents"].append(content(record))
            entry["present"] += not record["missing"]
            if record["reason"]:
                entry["failures"].append({"unit": job.unit, "file": record["file"], "reason": record["reason"]})
            entry["unread"] += [{"unit": job.unit, "file": place, "reason": reason} for place, reason in record["unread"]]
            entry["notes"] += [{"unit": job.unit, "file": place, "note": note} for place, note in record["notes"]]
    for name, folder in task.folders.items():
        records.write_shard(folder, task.shard, payloads[name], entries[name])
    return len(task.jobs), sum(entry["present"] for entry in entries.values())


def prepare_image(plan: Plan, job: Job, name: str, cache: dict) -> dict:
    """The record of one image of a unit.

    Always: unit, patient, study, missing, reason ("" unless a file failed), file (which of the cell's), path_hash, notes (of files that
    were used: which of the cell's, and what was done to it, see `Image`), unread (of pictures that others stand in for: which of the
    cell's, and why). Where not missing: array
    (s h w c) with scale and offset, mask (s,), affine (4 x 4) and shape of the source, transforms (named steps, see `inverse`), reference
    (whose grid it is on), volume_ml (masks: marked voxels x their volume, on the file's own grid; else None).
    """
    paths = job.paths.get(name, ())
    record = {"unit": job.unit, "patient": job.patient, "study": job.study, "missing": not paths, "reason": "", "file": 0, "notes": []}
    record |= {"unread": [], "path_hash": inverse.path_hash(paths)}
    if not paths:
        return record
    try:
        if are_pictures(plan.images[name]):
            return record | pictures.sequence(plan.images[name], paths)
        images = read_all(plan, job, name, cache)
        if plan.images[name]["normalise"] not in normalise.MASKS and not any(image.array.any() for image in images):
            raise ReadError("it is zero everywhere")  # a lesion mask may be: no lesion, 0 ml
        if any(image.affine is None for image in images):
            raise ReadError(f"it is a picture: set config.images.{name}.sampling to 'picture' if each file of the cell is one")
        notes = [[place, note] for place, image in enumerate(images) for note in image.notes]
        return record | volumes(plan, job, name, images, cache) | {"notes": notes}
    except ReadError as error:
        reason, place = str(error), getattr(error, "place", 0)
    except InputError:
        raise
    except Exception as error:  # a file odd in a way nobody thought of must not stop the other patients
        reason, place = f"could not be used ({type(error).__name__}: {str(error)[:120]})", 0
    return record | {"missing": True, "reason": reason, "file": place}


def read_all(plan: Plan, job: Job, name: str, cache: dict) -> list:
    """All files of a cell, as long as they fit together."""
    images, size = [], 0
    for place in range(len(job.paths[name])):
        images.append(read(plan, job, name, place, cache))
        size += images[-1].array.nbytes
        check_size(size, "what this cell names")
    return images


def volumes(plan: Plan, job: Job, name: str, images: list, cache: dict) -> dict:
    """Fields of the record of a volume, or of a sequence of time points."""
    settings = plan.images[name]
    timed = settings["axis"] == "time"
    if not timed and len(images) > 1:
        raise ReadError(f"{len(images)} volumes in one cell, but images.{name}.axis is 'slice': one volume is expected")
    if not timed and images[0].array.ndim > 3:
        raise ReadError(f"it is 4D ({images[0].array.shape[-1]} time points), but images.{name}.axis is 'slice'")
    own = geometry(plan, job, name, cache)
    if settings["sampling"] in resize.OF_THE_FILE:
        return resize.resized(settings, images[0].array, images[0].affine, own.foreground)
    reference_name, reference = reference_for(plan, job, name, cache)
    size = settings["shape"]
    shape = (1, *size[1:]) if timed else tuple(size)
    grid = volume.make_grid(reference.affine, reference.shape, reference.centre, settings["spacing"], shape)
    head = None if own.foreground is None else own.foreground.on(grid)
    reference_head = head if reference is own else None if reference.foreground is None else reference.foreground.on(grid)
    if reference is not own:
        check_overlap(head, reference_head, reference_name, plan.min_overlap)
    frames = [(frame, image.affine) for image in images for frame in _frames(image.array)]
    make = slices.time_points if timed else slices.axial_slices
    values, inside, place, index, mask = make(settings, frames, grid, head, reference_head)
    is_mask = settings["normalise"] in normalise.MASKS
    ml = float(np.count_nonzero(volume.marked(frames[0][0])) * volume.voxel_ml(frames[0][1])) if is_mask else None
    steps = [
        {"name": "resample", "matrix": grid.to_source(frames[0][1]).tolist(), "shape": list(grid.shape), "affine": grid.affine.tolist()},
        {"name": "time" if timed else "slices", "index": index.tolist()},
    ]
    stored = slices.store(settings, values, inside, place, mask, strip=head is not None)
    return stored | {
        "affine": np.asarray(frames[0][1], np.float64), "shape": list(frames[0][0].shape), "transforms": steps, "volume_ml": ml,
        "reference": reference_name,
    }  # fmt: skip


def _frames(array: np.ndarray) -> list[np.ndarray]:
    return [array] if array.ndim == 3 else [array[..., t] for t in range(array.shape[3])]


def content(record: dict) -> str:
    """Short hash of what a model will see of a record, the same wherever the files lie."""
    seen = hashlib.sha256(repr((record["unit"], record["missing"], record.get("scale"), record.get("offset"))).encode())
    for field in ("array", "mask"):
        seen.update(np.ascontiguousarray(record[field]).tobytes() if field in record else b"")
    return seen.hexdigest()[:16]


def fell_back(plan: Plan, job: Job, name: str, record: dict) -> bool:
    """Whether a registered image lies on another grid than that of the patient's first reference, whose file could not be used."""
    first = next((reference for reference in plan.references if job.paths.get(reference)), name)
    return plan.images[name]["register"] and record.get("reference", first) not in (first, "")


def fingerprint(plan: Plan, job: Job, name: str, timed: bool, sizes: dict) -> str:
    """Sizes of the files behind a record, its references' among them: a replaced file is prepared again.

    timed: with times of change, for records that a failed file had a part in: a mended file may have its old size.
    sizes: path -> what was found, without and with times, so that no file is asked for twice.
    """
    found = []
    for path in dict.fromkeys(npz.file_of(path) for each in behind(plan, name) for path in job.paths.get(each, ())):
        if path not in sizes:
            sizes[path] = size_of(path)
        found.append(sizes[path][timed])
    return " ".join(found)


def size_of(path: str) -> tuple[str, str]:
    """Size of a file without and with its time of change; of a series of slices, a hash of the files' names and sizes."""
    try:
        files = listed(path)
        stats = [os.stat(file) for file in files]
    except (OSError, ReadError):
        return "absent", "absent"
    plain = [str(status.st_size) for status in stats]
    timed = [f"{status.st_size}@{status.st_mtime_ns}" for status in stats]
    if files == (path,):
        return plain[0], timed[0]
    names = [os.path.basename(file) for file in files]
    return tuple(hashlib.sha256(repr((names, sizes)).encode()).hexdigest()[:16] for sizes in (plain, timed))
