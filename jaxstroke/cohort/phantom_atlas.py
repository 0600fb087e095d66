"""Territories of the phantom's brain, four a side, as an atlas that lies beside its images: `atlas.nii.gz` and `atlas.txt`.

Planes in the brain's half axes cut it, so that a patient's voxels, whatever their grid, have a territory by where they are. Real vessels
are not like that; nothing is to be learned of them here.
"""

import numpy as np
from etils import epath

from jaxstroke.cohort import phantom
from jaxstroke.cohort.synthetic import image_bytes

# Number: abbreviation, name, another name that reports use. Odd ones are of the patient's left side.
TERRITORIES = {
    1: ("LACA", "left anterior cerebral artery", "left ACA"),
    2: ("RACA", "right anterior cerebral artery", "right ACA"),
    3: ("LMCAS", "left middle cerebral artery, superior division", "left superior MCA"),
    4: ("RMCAS", "right middle cerebral artery, superior division", "right superior MCA"),
    5: ("LMCAI", "left middle cerebral artery, inferior division", "left inferior MCA"),
    6: ("RMCAI", "right middle cerebral artery, inferior division", "right inferior MCA"),
    7: ("LPCA", "left posterior cerebral artery", "left PCA"),
    8: ("RPCA", "right posterior cerebral artery", "right PCA"),
}
FRONT, BACK, DIVISION = 0.22, -0.22, 0.05  # of the half axes y, y and z


def territory_of(place, axes) -> np.ndarray:
    """(x, y, z) uint8: the territory's number, 0 outside the brain. place: coordinates as from `phantom.points`."""
    x, y, z = place
    row = np.where(z > DIVISION * axes[2], 1, 2)  # of the middle artery
    row = np.where(y > FRONT * axes[1], 0, np.where(y < BACK * axes[1], 3, row))
    return np.where(phantom.radius_of(place, axes) < 1, 2 * row + np.where(x < 0, 1, 2), 0).astype(np.uint8)


def write(folder, shape, spacing) -> str:
    """Write both files into a folder, on the grid of the phantom's masks; returns the atlas's path. Files of the same content stay.

    shape, spacing: configured, (z, y, x), mm.
    """
    folder = epath.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lengths, affine = phantom.grid("dwi", shape, spacing)
    atlas = territory_of(phantom.points(lengths, affine), phantom.half_axes(shape, spacing))
    lines = "".join(f"{number}|{short}|{name}\n" for number, (short, name, _) in TERRITORIES.items())
    for file, content in (("atlas.nii.gz", image_bytes(atlas, affine)), ("atlas.txt", lines.encode())):
        if not (folder / file).exists() or (folder / file).read_bytes() != content:
            (folder / file).write_bytes(content)
    return str(folder / "atlas.nii.gz")
