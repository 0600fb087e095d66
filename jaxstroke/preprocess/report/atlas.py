"""An atlas of territories: numbered voxels in the masks' space, and what each number is called.

Everything is keyed by number. Abbreviations are not read: in the arterial atlas MCAPL is two territories, left and right.
"""

import dataclasses
import functools
import hashlib
import json
import re

import numpy as np
from etils import epath

from jaxstroke import workdir as work
from jaxstroke.cohort.files import VOLUMES, ReadError, content_of
from jaxstroke.cohort.readers import read_image
from jaxstroke.errors import InputError
from jaxstroke.preprocess import records, volume

LARGEST_NUMBER = 2**31 - 1
NUMBER = re.compile(r"[0-9]{1,9}")
CURE = "name a NIfTI of numbered territories in the masks' space, or '' to tell of none"
FORM = "lines of number|abbreviation|name are expected"


@dataclasses.dataclass(frozen=True, eq=False)
class Atlas:
    """Territories on a grid.

    labels (x, y, z) int, 0 = no territory;  affine (4, 4): voxel index to mm in RAS;  names: number -> name, see `name_of`
    """

    labels: np.ndarray
    affine: np.ndarray
    names: dict[int, str]

    @functools.cached_property
    def sizes(self) -> dict[int, float]:
        """Number -> ml of the territory, in the order of numbers."""
        numbers, counts = np.unique(self.labels, return_counts=True)
        each = volume.voxel_ml(self.affine)
        return {int(number): int(count) * each for number, count in zip(numbers, counts, strict=True) if number != 0}

    def name_of(self, number: int) -> str:
        """The name of a territory, `territory 17` where it has none."""
        return self.names.get(number, f"territory {number}")


def read(path, names_path="") -> Atlas:
    """The atlas of `config.text.atlas` and `config.text.territories`; names_path "": the atlas's own name with .txt, where that is there.

    Raises InputError, with the key and the cure, where a file is absent or damaged, where the image is no volume of whole numbers from 0
    on or is 0 everywhere, where a line of the names is none, and where the names are those of another atlas.
    """
    where = f"config.text.atlas = {path}"
    try:
        image = read_image(_volume(path))
    except ReadError as error:
        raise InputError(f"{where}: {error}; {CURE}") from None
    labels = image.array
    if labels.ndim != 3:
        raise InputError(f"{where}: it has {labels.ndim} axes, not three; {CURE}")
    if labels.dtype.kind == "f" and (labels != np.rint(labels)).any():
        raise InputError(f"{where}: it holds fractions, not whole numbers (resample atlases by nearest neighbour); {CURE}")
    if labels.min() < 0 or labels.max() > LARGEST_NUMBER:
        raise InputError(f"{where}: it holds numbers below 0 or above {LARGEST_NUMBER}; {CURE}")
    if not labels.any():
        raise InputError(f"{where}: it is 0 everywhere, so it has no territory; {CURE}")
    file = _names_file(path, names_path)
    atlas = Atlas(labels.astype(np.int32), image.affine, _names(file) if file else {})
    if file and atlas.sizes.keys().isdisjoint(atlas.names):
        raise InputError(f"config.text.territories = {file} names no number of {path}: name the list that belongs to config.text.atlas")
    return atlas


def copied(path, names_path, folder) -> tuple[str, str]:
    """Copy an atlas and its names into a folder of the workdir, each whole or not at all; their paths there, as `read` takes them.

    `atlas.nii` or `atlas.nii.gz`, and `atlas.txt` ("" where there are no names); what another atlas left there under these names goes.
    Raises InputError where a file cannot be read.
    """
    folder = epath.Path(folder)
    source, names = _volume(path), _names_file(path, names_path)
    image = folder / f"atlas{next(ending for ending in VOLUMES if source.name.lower().endswith(ending))}"
    try:
        contents = {image: content_of(source)} | ({folder / "atlas.txt": content_of(names)} if names else {})
    except ReadError as error:
        raise InputError(f"config.text.atlas = {path} and its names: {error}; {CURE}") from None
    for target in (folder / f"atlas{ending}" for ending in (*VOLUMES, ".txt")):
        if target in contents:
            records.write_bytes(target, contents[target])
        else:
            target.unlink(missing_ok=True)
    return str(image), str(folder / "atlas.txt") if names else ""


def kept(folder) -> tuple[str, str] | None:
    """The paths that `copied` gave, None where there is no atlas in the folder."""
    names = epath.Path(folder) / "atlas.txt"
    for image in (epath.Path(folder) / f"atlas{ending}" for ending in VOLUMES):
        if image.exists():
            return str(image), str(names) if names.exists() else ""
    return None


def digest(atlas: Atlas) -> str:
    """sha256 of what an atlas says, wherever it lies: numbers, affine, and the names of the numbers that occur."""
    found = hashlib.sha256(json.dumps([atlas.labels.shape, [[n, atlas.name_of(n)] for n in atlas.sizes]]).encode())
    found.update(np.ascontiguousarray(atlas.labels, "<i4").tobytes())
    found.update((np.ascontiguousarray(atlas.affine, "<f8") + 0.0).tobytes())  # -0 is 0
    return found.hexdigest()


def nearest(affine: np.ndarray, shape, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of a grid that hold points. world (n, 3) mm. Returns (n, 3) int index, and (n,) bool where it is one of the grid."""
    index = np.floor((world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T + 0.5).astype(np.int64)
    return index, ((index >= 0) & (index < shape)).all(axis=1)


def numbers_at(atlas: Atlas, world: np.ndarray) -> np.ndarray:
    """(n,) int: the territory at each point of (n, 3) mm, 0 outside."""
    index, inside = nearest(atlas.affine, atlas.labels.shape, world)
    numbers = np.zeros(len(world), atlas.labels.dtype)
    numbers[inside] = atlas.labels[tuple(index[inside].T)]
    return numbers


def _volume(path) -> epath.Path:
    """The atlas's file."""
    if not str(path).lower().endswith(VOLUMES):
        raise InputError(f"config.text.atlas = {path}: it ends neither in .nii nor in .nii.gz; {CURE}")
    return work.absolute(str(path))


def _names_file(path, names_path) -> epath.Path | None:
    """The file of names: the one that is named, or the one beside the atlas; None where there is none beside it."""
    if names_path:
        file = work.absolute(str(names_path))
        if not file.exists():
            raise InputError(f"config.text.territories = {names_path}: there is no such file; {FORM}, or set it to ''")
        return file
    file = work.absolute(re.sub(r"\.nii(\.gz)?$", "", str(path), flags=re.IGNORECASE) + ".txt")
    return file if file.exists() else None


def _names(file: epath.Path) -> dict[int, str]:
    """Number -> name. 0 may have a line and is no territory; further fields are not looked at."""
    where, names = f"config.text.territories = {file}", {}
    try:
        lines = content_of(file).decode("utf-8-sig").splitlines()
    except ReadError as error:
        raise InputError(f"{where}: {error}; {FORM}") from None
    except UnicodeDecodeError:
        raise InputError(f"{where}: it is not UTF-8 text; save it as such") from None
    for count, line in enumerate(lines, 1):
        if not line.strip():
            continue
        first, *rest = (" ".join(field.split()) for field in line.split("|"))
        called = next((field for field in reversed(rest[:2]) if field), "")
        if not NUMBER.fullmatch(first) or not called:
            raise InputError(f"{where}, line {count} is {line.strip()[:60]!r}: {FORM}")
        if int(first) in names:
            raise InputError(f"{where}, line {count}: number {int(first)} has a name already; give each number one line")
        names[int(first)] = called
    names.pop(0, None)
    return names
