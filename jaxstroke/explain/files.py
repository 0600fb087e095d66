"""What an explanation leaves on disk: NIfTI volumes, panels, the table of contributions; each whole or not at all."""

import hashlib
import pathlib
import re
import warnings

import nibabel
import numpy as np
from matplotlib.figure import Figure

SHOWN = 9  # slices of a panel
COLUMNS = 6  # of a panel of words
ALPHA = 0.5  # of the map over the image (paper 3)
COLOURS = "inferno"


def name_of(unit: str) -> str:
    """A unit's id as a name of files: itself where it is harmless, else with the rest replaced and a hash behind, so that none collide."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", unit).strip(".")[:80]
    return plain if plain == unit and plain else f"{plain}-{hashlib.sha256(unit.encode()).hexdigest()[:8]}"


def write_nifti(path: pathlib.Path, values: np.ndarray, affine: np.ndarray):
    """float32 on the voxels of the patient's file."""
    image = nibabel.Nifti1Image(values.astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    partial = path.with_name(f".{path.name}.partial.nii.gz")
    nibabel.save(image, partial)
    partial.replace(path)


def spread(heat: np.ndarray) -> np.ndarray:
    """Numbers of the slices that are shown: evenly over those where something of the map is drawn."""
    used = np.flatnonzero(heat.any((1, 2)))
    first, last = (used[0], used[-1]) if len(used) else (0, len(heat) - 1)
    return np.unique(np.rint(np.linspace(first, last, SHOWN)).astype(int))


def panel(path: pathlib.Path, image: np.ndarray, heat: np.ndarray, title: str, cut: float):
    """Axial slices with the map over them: 0 to its largest value, nothing drawn below the share `cut` of it. Both as from `page.axial`."""
    share = np.clip(heat, 0, None) / (heat.max(initial=0.0) or 1.0)
    slices = spread(share >= cut)
    low, high = np.percentile(image, (1, 99.5))
    figure = Figure((1.6 * len(slices) + 0.5, 2.0))
    axes = figure.subplots(1, len(slices) + 1, width_ratios=[1] * len(slices) + [0.08], squeeze=False)[0]
    for axis, number in zip(axes, slices, strict=False):
        axis.imshow(image[number], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        drawn = np.ma.masked_less(share[number], max(cut, 1e-9))
        shown = axis.imshow(drawn, cmap=COLOURS, alpha=ALPHA, vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(str(number + 1), fontsize=7)  # as on the page
        axis.axis("off")
    figure.colorbar(shown, cax=axes[-1])
    figure.suptitle(title, fontsize=8)
    save(figure, path)


def words(path: pathlib.Path, image: np.ndarray, heats: list[np.ndarray], names: list[str], title: str, each: str, cut: float):
    """A picture a word: the slice where its map is largest, with the map over it as in `panel`; image and heats as from `page.axial`.

    each: what a slice is called.
    """
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    low, high = np.percentile(image, (1, 99.5))
    figure = Figure((1.7 * columns, 2.1 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, heat, name in zip(axes, heats, names, strict=False):
        number, largest = int(heat.max((1, 2)).argmax()), heat.max(initial=0.0) or 1.0
        axis.imshow(image[number], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        drawn = np.ma.masked_less(heat[number] / largest, max(cut, 1e-9))
        axis.imshow(drawn, cmap=COLOURS, alpha=ALPHA, vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(f"{name}\n{each} {number + 1}, up to {largest:.1f} x", fontsize=7, parse_math=False)  # a report may hold a $
    figure.suptitle(title, fontsize=8, parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # letters that the font has not are boxes
        save(figure, path)


def bars(path: pathlib.Path, names: list[str], values: list[float], title: str):
    """Contributions of clinical columns in log-odds, the largest on top."""
    order = np.argsort(np.abs(values))
    figure = Figure((5, 0.8 + 0.28 * len(names)), layout="constrained")
    axis = figure.subplots()
    axis.barh([names[n] for n in order], [values[n] for n in order], color=["#d55e00" if values[n] > 0 else "#0072b2" for n in order])
    axis.axvline(0, color="#55626d", linewidth=0.8)
    axis.set_xlabel("added log-odds")
    axis.set_title(title, fontsize=9)
    save(figure, path)


def curves(path: pathlib.Path, found: dict[str, dict[str, dict[str, list[float]]]]):
    """Deletion and insertion of every map, {title: {"map" | "random": {"deletion" | "insertion": probabilities}}}."""
    figure = Figure((7, 2.4 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), 2, squeeze=False)
    for row, (title, one) in zip(axes, found.items(), strict=True):
        for axis, kind in zip(row, ("deletion", "insertion"), strict=True):
            for order, colour in (("map", "#d55e00"), ("random", "#6b7780")):
                curve = one[order][kind]
                axis.plot(np.linspace(0, 100, len(curve)), curve, color=colour, label=f"in the order of the {order}")
            axis.set_title(f"{kind}: {title}", fontsize=8)
            axis.set_xlabel("% of voxels")
            axis.set_ylabel("probability")
    axes[0, 0].legend(fontsize=7)
    save(figure, path)


def save(figure, path: pathlib.Path):
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    partial.replace(path)
