"""What the images of one patient share: their files, read once, and the geometry of the image that the others are placed on."""

import dataclasses

import numpy as np

from jaxstroke.cohort.dicom import RULES, Rules
from jaxstroke.cohort.readers import ReadError, read_image
from jaxstroke.preprocess import brain, ct

FOUND = {"foreground": brain.find, "ct_brain": ct.find}  # values of images.<name>.brain_mask that look at the image itself


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker needs of a unit: ids and files by image name (and by column, for mask columns)."""

    unit: str
    patient: str
    study: str
    paths: dict[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings of a preparation, plain values that pickle.

    images: name -> settings as in `config.images`; references: images whose geometry registered ones may take, best first;
    dicom: what may be done to DICOM series.
    """

    images: dict[str, dict]
    references: tuple[str, ...]
    min_overlap: float
    dicom: Rules = RULES


def behind(plan: Plan, name: str) -> list[str]:
    """The images, and columns with masks, whose files decide an image's records."""
    names = [name, plan.images[name]["brain_mask"]]
    for reference in plan.references if plan.images[name]["register"] else ():
        names += [reference, plan.images[reference]["brain_mask"]]
    return names


def read(plan: Plan, job: Job, name: str, place: int, cache: dict):
    """A file of an image, read once a patient; what it fails with is remembered too, and says which file of the cell it was."""
    path = job.paths[name][place]
    if path not in cache:
        try:
            cache[path] = read_image(path, plan.dicom)
        except ReadError as error:
            cache[path] = error
    if isinstance(cache[path], ReadError):
        cache[path].place = place
        raise cache[path]
    return cache[path]


def geometry(plan: Plan, job: Job, name: str, cache: dict) -> brain.Geometry:
    """Axial geometry and head of an image's first frame, found once a patient."""
    key = ("geometry", name)
    if key not in cache:
        image = read(plan, job, name, 0, cache)
        if image.affine is None:
            raise ReadError("it is a picture without a position in space: set its sampling to 'picture'")
        array = image.array if image.array.ndim == 3 else image.array.mean(axis=3)
        cache[key] = brain.geometry(image.affine, array.shape, foreground(plan, job, name, array, image.affine, cache))
    return cache[key]


def foreground(plan: Plan, job: Job, name: str, array, affine, cache: dict) -> brain.Foreground | None:
    """The head or brain as `images.<name>.brain_mask` says: none, found in the image, or the file in a column."""
    column = plan.images[name]["brain_mask"]
    if column in ("", "none"):
        return None
    if column in FOUND:
        return FOUND[column](array, affine)
    if not job.paths.get(column):
        raise ReadError(f"its brain mask (column '{column}') is missing")
    try:
        mask = read(plan, job, column, 0, cache)
    except ReadError as error:
        raise ReadError(f"its brain mask (column '{column}'): {error}") from None
    if not mask.array.any():
        raise ReadError(f"its brain mask (column '{column}') is zero everywhere")
    return brain.from_mask(mask.array, mask.affine)


def reference_for(plan: Plan, job: Job, name: str, cache: dict) -> tuple[str, brain.Geometry]:
    """Whose grid an image goes onto: its own, or where it is registered the first reference of the patient that can be used."""
    for candidate in plan.references if plan.images[name]["register"] else ():
        if candidate != name and job.paths.get(candidate):
            try:
                return candidate, geometry(plan, job, candidate, cache)
            except ReadError:
                continue  # reported where that image itself is prepared
        elif candidate == name:
            break
    return name, geometry(plan, job, name, cache)


def check_overlap(head: np.ndarray | None, reference_head: np.ndarray | None, reference_name: str, least: float):
    """Refuse a module that does not lie over its reference; heads (s, h, w) bool on the same grid, None where there is no mask.

    Overlap is a fraction of the smaller head, so that a thin slab passes.
    """
    if head is None or reference_head is None:
        return
    smaller = min(head.sum(), reference_head.sum())
    overlap = (head & reference_head).sum() / smaller if smaller else 0.0
    if overlap < least:
        raise ReadError(f"its head overlaps that of '{reference_name}' by {overlap:.0%} (least {least:.0%}): register the two first")
