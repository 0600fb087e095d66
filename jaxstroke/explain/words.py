"""Where in an image each word of a report looks: the attention of paper 5's network, as maps and as a table.

A map's value is how many times as much a word looks at a place as at an average one, over all images that the patient has: 1 where it looks
everywhere alike, mean over the patient's networks. What is written are the words that look most at one place of the image. Attention says
where the network looked, not that its answer hangs on it.
"""

import csv
import io
import math
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import jax
import nibabel
import numpy as np

from jaxstroke import config as settings
from jaxstroke.explain import files, page, report
from jaxstroke.preprocess import inverse, records
from jaxstroke.training import step

COLUMNS = ("index", "word", "section", "networks", "share", "peak", "x_mm", "y_mm", "z_mm", "picture", "row", "column", "volume")
MOST_LETTERS = 24  # of a word in a title


@dataclass(frozen=True)
class Looks:
    """Of the w words of a report, at one image.

    values    (w, *grid) times as much as at an average place of all images, mean over the networks that read the word; 0 where none did
    share     (w) of all that a word looks at; the images' sum to 1
    networks  (w) int, how many read the word
    chosen    places of the words that are shown, in the order of the report
    spots     (w, 3) where it looks most: mm in RAS, or of pictures (picture, row, column) of the stored image, from 1
    in_mm     whether it is the first
    """

    words: tuple[report.Word, ...]
    values: np.ndarray
    share: np.ndarray
    networks: np.ndarray
    chosen: tuple[int, ...]
    spots: np.ndarray
    in_mm: bool

    @property
    def peak(self) -> np.ndarray:
        """(w) the largest value of each."""
        return self.values.reshape(len(self.words), -1).max(1, initial=0.0)


def wanted(config) -> bool:
    """Whether words are shown where they look: those of the patient's own report, by a network whose words look anywhere."""
    looks = config.model.joined == "cross_attention" and bool(settings.image_names(config))
    return settings.reads(config) and looks and config.text.control == "none" and config.explain.words > 0


def attention(config, network, image: str) -> Callable:
    """Jitted `attention(variables, fitted, batch) -> {"where": t *grid, "places": ()}` of one patient.

    where: sums to 1 over all images; places: how many of all images are there.
    """

    def one(variables, fitted, batch):
        features = step.evaluated(network, variables, fitted, batch)["features"]
        places = 0.0
        for name in settings.image_names(config):
            grid, mask = features[f"attention/{name}"].shape[2:], batch[f"images_mask/{name}"]
            whole = config.images[name].kind == "volume"
            places += (mask.max() > 0) * math.prod(grid) if whole else mask.sum() * math.prod(grid[1:])
        return {"where": features[f"attention/{image}"][0], "places": places}

    return jax.jit(one)


def looks(config, function: Callable, said: report.Said, batch: dict, networks, stored: tuple, grid: np.ndarray | None) -> Looks:
    """What the networks of a patient look at in an image that is there.

    function: `attention` of it; networks: (variables, fitted numbers); stored: its shape (s, h, w); grid: of `patient.grid_of`.
    """
    total, share, count = 0.0, 0.0, np.zeros(len(said.words), int)
    for tokenizer, network in zip(said.tokenizers, networks, strict=True):
        found = jax.device_get(function(*network, batch))
        mean = report.joined(tokenizer, said.text, said.words, len(found["where"]))
        own = np.tensordot(mean, found["where"], 1)  # w *grid
        share = share + own.reshape(len(own), -1).sum(1)
        total, count = total + own * found["places"], count + mean.any(1)
    values = total / np.maximum(count, 1).reshape(-1, *[1] * (total.ndim - 1))
    return of_values(said.words, values, share / np.maximum(count, 1), count, config.explain.words, stored, grid)


def of_values(words, values: np.ndarray, share: np.ndarray, networks: np.ndarray, most: int, stored: tuple, grid) -> Looks:
    """`Looks` of means over networks; most: words that are chosen."""
    flat = values.reshape(len(values), -1)
    order = np.argsort(-np.where(networks > 0, flat.max(1, initial=0.0), -1), kind="stable")
    chosen = tuple(sorted(int(place) for place in order[:most] if networks[place]))
    cells = np.stack(np.unravel_index(flat.argmax(1), values.shape[1:]), -1)  # w 3
    ratio = np.asarray(stored) / np.asarray(values.shape[1:])
    middle = (cells + 0.5) * ratio - 0.5  # of the place, among stored voxels: as `enlarged` puts it
    spots = middle + 1 if grid is None else middle @ grid[:3, :3].T + grid[:3, 3]
    return Looks(tuple(words), values, share, networks, chosen, spots, grid is not None)


def titles(found: Looks) -> dict[int, str]:
    """Of the words that are chosen; where two would be called alike, by their number too."""
    names = [word.text[:MOST_LETTERS] for word in found.words]
    lower = [name.lower() for name in names]
    return {place: f"word: {names[place]}" + (f" (number {place + 1})" if lower.count(lower[place]) > 1 else "") for place in found.chosen}


def enlarged(found: Looks, stored: tuple) -> np.ndarray:
    """(chosen, s, h, w) linear, on the stored voxels."""
    values = found.values[list(found.chosen)]
    return np.asarray(jax.image.resize(values, (len(values), *stored), "linear"), np.float32)


def placed(record: dict, heats: np.ndarray) -> tuple[np.ndarray, float]:
    """Maps (n, s, h, w) on the voxels of the patient's file: (x, y, z, n) in 255 parts, uint8, of the largest value, which is the second.

    Float numbers of many words on a large scan would take gigabytes.
    """
    largest = float(heats.max(initial=0.0)) or 1.0
    result = np.empty((*record["shape"][:3], len(heats)), np.uint8)
    for z, stored in enumerate(inverse.planes(record)):
        for number, heat in enumerate(heats):
            result[:, :, z, number] = page.bytes_of(inverse.sampled(heat, stored), largest)
    return result, largest


def write_nifti(path: pathlib.Path, values: np.ndarray, largest: float, affine: np.ndarray):
    """`placed` as (x, y, z, word): readers get its values back by the header's slope."""
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(largest / 255, 0)
    partial = path.with_name(f".{path.name}.partial.nii.gz")
    nibabel.save(image, partial)
    partial.replace(path)


def write_table(path: pathlib.Path, found: Looks):
    """All words in order, as COLUMNS; volume: from 0, of those in the NIfTI or the panel."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for place, word in enumerate(found.words):
        cells = [""] * 8
        if found.networks[place]:
            spot, none = [round(float(value), 2) for value in found.spots[place]], [""] * 3
            cells = [f"{found.share[place]:.6f}", f"{found.peak[place]:.4f}", *(spot + none if found.in_mm else none + spot)]
        volume = found.chosen.index(place) if place in found.chosen else ""
        lines.writerow([place + 1, word.text, word.section, found.networks[place], *cells, volume])
    records.write_text(path, text.getvalue())


def of_patient(one, image: str, record: dict, grid: np.ndarray | None, title: str) -> tuple[Looks, tuple[dict, dict]]:
    """Where the words of a report look in an image, and what `write` leaves of it. one: `patient.Asking`."""
    pixels = np.asarray(one.batch[f"images/{image}"])[0].mean(-1)
    found = looks(one.config, one.tools.words[image], one.said, one.batch, one.networks, pixels.shape, grid)
    return found, write(one.folder, image, title, found, record, pixels, grid, one.config.explain.cut)


def write(folder: pathlib.Path, image: str, title: str, found: Looks, record: dict, pixels: np.ndarray, grid, cut: float):
    """({title: map on the stored voxels}, {title: map on the file's voxels}) of the chosen words; leaves table, panel and NIfTI.

    pixels: (s, h, w) stored; the second is {} of pictures and time points, which have no grid.
    """
    write_table(folder / f"{image}_words.csv", found)
    heats, names = enlarged(found, pixels.shape), list(titles(found).values())
    if not names:
        return {}, {}
    shown = [page.axial(heat, grid)[0] for heat in heats]
    words = [found.words[place].text[:MOST_LETTERS] for place in found.chosen]
    each = "image" if grid is None else "slice"
    files.words(folder / f"words_{image}.png", page.axial(pixels, grid)[0], shown, words, title, each, cut)
    on_file = {}
    if grid is not None:
        values, largest = placed(record, heats)
        write_nifti(folder / f"{image}_words.nii.gz", values, largest, record["affine"])
        on_file = {name: values[..., number] for number, name in enumerate(names)}
    return dict(zip(names, heats, strict=True)), on_file
