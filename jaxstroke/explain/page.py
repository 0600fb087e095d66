"""The page of a patient, `patient_<id>.html`: probabilities, the images with the maps over them, and what the columns contributed.

One self-contained file: voxels lie in it compressed, a canvas shows them (`templates/viewer.js`), nothing is fetched. Slices are axial, as
a radiologist sees them: from the feet, the patient's right on the left of the picture, forehead up. Of the patient only the id is in it,
of pictures the names of their files, without folders, and of a network that reads reports the report as it is.
"""

import base64
import gzip
import json
import pathlib
from dataclasses import dataclass

import jinja2
import numpy as np

from jaxstroke.preprocess import volume

TEMPLATES = (pathlib.Path(__file__).parent / "templates", pathlib.Path(volume.__file__).parents[1] / "evaluation" / "templates")
MOST_ROWS = 320  # and columns of a shown slice: a CT of 512 is averaged by two, which screens show as well
MOST_SLICES = 400
PRESETS = {"brain": (0.0, 80.0), "subdural": (-20.0, 180.0), "bone": (-800.0, 2000.0), "stroke": (20.0, 50.0)}  # HU, low and high
CT_LEAST = -500.0  # an image with values below this is a CT


@dataclass(frozen=True)
class Volume:
    """An image as its file has it, and maps on the same voxels.

    name     of the image in the config
    values   (x, y, z), any real dtype; of pictures or time points (s, h, w), shown as they are
    affine   (4, 4) voxel index to mm in RAS, None of pictures and time points
    maps     {title: float, of the shape of `values`}; larger is of more importance, below 0 counts as 0
    labels   (s) names of pictures, () of all else
    """

    name: str
    values: np.ndarray
    affine: np.ndarray | None
    maps: dict[str, np.ndarray]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Head:
    """A prediction. low, high: of the networks that are averaged, None of a single one; words: what is predicted, such as 'mRS > 2'."""

    name: str
    words: str
    probability: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Contribution:
    """What a clinical column adds to the log-odds of a head against the value it is compared with; value None where missing.

    kind: column; or report, of a report or a section of one: log-odds with it less those of the patient without it.
    """

    head: str
    column: str
    value: float | str | None
    compared: float | str | None
    log_odds: float
    kind: str = "column"


def render(
    patient: str, networks: str, heads: list[Head], volumes: list[Volume], contributions: list[Contribution], cut: float, strips=(),
    report=None,
) -> str:  # fmt: skip
    """The page. networks: a sentence that says which networks were asked; cut: share of a map's range below which nothing is shown.

    strips: of pictures, see `strip.make`; report: of a network that reads reports, see `told.shown`.
    """
    loader = jinja2.FileSystemLoader([str(folder) for folder in TEMPLATES])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    shown = [packed(one) for one in volumes]
    largest = max((abs(one.log_odds) for one in contributions), default=0.0) or 1.0
    by_head = {name: [one for one in contributions if one.head == name] for name in dict.fromkeys(one.head for one in contributions)}
    return environment.get_template("patient.html.j2").render(
        patient=patient, networks=networks, heads=heads, volumes=shown, by_head=by_head, largest=largest, cut=cut, strips=strips,
        report=report,
        data={one["name"]: json.dumps(one).replace("<", "\\u003c") for one in shown},
    )  # fmt: skip


def packed(one: Volume) -> dict:
    """What the viewer reads: shape, mm, grey values as int16 with scale and offset, maps as uint8, window presets; all axial."""
    values, spacing = axial(one.values, one.affine)
    steps = [1, *(-(-length // MOST_ROWS) for length in values.shape[1:3])]
    steps[0] = -(-values.shape[0] // MOST_SLICES)
    values = averaged(values.astype(np.float32), steps)
    is_ct = one.affine is not None and float(values.min()) < CT_LEAST
    low, high = (-1024.0, 3071.0) if is_ct else (float(values.min()), float(values.max()))
    high = high if high > low else low + 1.0
    scale = 1.0 if is_ct else (high - low) / 32767
    offset = 0.0 if is_ct else low
    stored = np.rint((np.clip(values, low, high) - offset) / scale).astype("<i2")
    inside = np.percentile(values, (1, 99.5))
    presets = PRESETS if is_ct else {"whole range": (low, high), "contrast": (float(inside[0]), float(max(inside[1], inside[0] + scale)))}
    maps = {title: averaged(axial(array, one.affine)[0].astype(np.float32), steps) for title, array in one.maps.items()}
    largest = {title: float(np.max(array, initial=0.0)) for title, array in maps.items()}
    return {
        "name": one.name, "unit": "HU" if is_ct else "", "shape": list(stored.shape), "scale": scale, "offset": offset,
        "spacing": [float(mm * step) for mm, step in zip(spacing, steps, strict=True)],
        "presets": presets, "oriented": one.affine is not None,
        "labels": list(one.labels) if steps[0] == 1 else [],
        "values": compressed(stored),
        "maps": {title: compressed(bytes_of(array, largest[title])) for title, array in maps.items()},
        "start": start_of(next(iter(maps.values()), np.zeros(stored.shape))),  # the first map is shown first
    }  # fmt: skip


def start_of(heat: np.ndarray) -> int:
    """The slice with most of a map (slices, rows, columns); the middle one where there is nothing."""
    return int(np.argmax(heat.sum((1, 2)))) if heat.any() else len(heat) // 2


def axial(values: np.ndarray, affine: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(slices, rows, columns) from the feet up, forehead first, the patient's right first; and (3,) mm. Without an affine as they are."""
    if affine is None:
        return values, np.ones(3)
    geometry, _ = volume.axial_geometry(affine, values.shape)
    to_source = np.linalg.solve(affine, geometry)[:3, :3]
    axes = np.abs(to_source).argmax(0)
    values = values.transpose(axes)
    flips = [to_source[source, place] < 0 for place, source in enumerate(axes)]
    flips[2] = not flips[2]  # stored images grow to the patient's right; the picture begins there
    values = values[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return values, volume.spacing(geometry)


def averaged(values: np.ndarray, steps: list[int]) -> np.ndarray:
    """Means over boxes of `steps` voxels; the rest behind the last box is dropped."""
    for axis, step in enumerate(steps):
        if step > 1:
            boxes = values.shape[axis] // step
            parted = np.moveaxis(values, axis, 0)[: boxes * step]
            values = np.moveaxis(parted.reshape(boxes, step, *parted.shape[1:]).mean(1), 0, axis)
    return values


def bytes_of(array: np.ndarray, largest: float) -> np.ndarray:
    """0 to the largest value as 0 to 255."""
    return np.rint(np.clip(array / (largest or 1.0), 0, 1) * 255).astype(np.uint8)


def compressed(array: np.ndarray) -> str:
    return base64.b64encode(gzip.compress(np.ascontiguousarray(array).tobytes(), 6, mtime=0)).decode()
