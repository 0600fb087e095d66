"""A small cohort of real NIfTI files for the preprocessing tests, and the settings of an image."""

import pathlib
import sys
import types

import nibabel
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxstroke.cohort.table import Cohort, Unit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))  # what tests of lesions share is imported by its own name

AFFINE = np.array([[-3.0, 0, 0, 45], [0, 3, 0, -45], [0, 0, 6, -30], [0, 0, 0, 1.0]])


def head(seed: int, shape=(30, 30, 10)) -> np.ndarray:
    """An ellipsoid of tissue (values 80 to 120) in empty background, float32 x y z."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    inside = ((place / np.array([0.7, 0.85, 0.8])[:, None, None, None]) ** 2).sum(0) < 1
    return np.where(inside, rng.uniform(80, 120, shape), 0).astype(np.float32)


def save(path, array, affine=AFFINE):
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return str(path)


def image_settings(**changes) -> dict:
    settings = {
        "column": "dwi", "kind": "sequence", "axis": "slice", "spacing": (12.0, 6.0, 6.0), "shape": (5, 16, 16), "channels": 1,
        "sampling": "grid", "normalise": "zscore", "window": (0.0, 1.0), "register": True, "brain_mask": "foreground", "dtype": "int16",
        "part": "scans", "pick": "even",
    }  # fmt: skip
    assert set(changes) <= set(settings)
    return settings | changes


def make_config(images: dict, reference: str = "", **cohort) -> ConfigDict:
    values = {"reference": reference, "min_overlap": 0.3, "max_failed_share": 0.1, "workers": 1} | cohort
    values = {"dicom": {"series": "choose", "tilt": "correct", "gap": 15.0}} | values
    return ConfigDict({"cohort": values, "images": images, "clinical": {"numeric": ("age",), "categorical": {"sex": ()}, "codes": {}}})


def make_unit(name: str, paths: dict, age=60.0, sex="F", poor=1.0):
    clinical, labels = {"age": age, "sex": sex}, {"poor": poor}
    return Unit(unit=name, patient=name, study="", group="", paths=paths, clinical=clinical, labels=labels, columns={}, text="")


@pytest.fixture
def kit():
    """The helpers above: tests take them as one fixture, as test folders are no packages."""
    return types.SimpleNamespace(
        affine=AFFINE, head=head, save=save, settings=image_settings, config=make_config, unit=make_unit,
        cohort=lambda units, digest="d" * 64: Cohort(units=tuple(units), flow=(), source="table.csv", digest=digest),
    )  # fmt: skip


@pytest.fixture
def small_cohort(tmp_path, kit):
    """20 units (three shards) with a DWI and an ADC each; two lack the ADC."""
    units = []
    for i in range(20):
        dwi = kit.save(tmp_path / f"{i}_dwi.nii.gz", kit.head(i))
        adc = kit.save(tmp_path / f"{i}_adc.nii.gz", kit.head(100 + i) * 1e-5)
        units.append(kit.unit(f"{i:03d}", {"dwi": (dwi,), "adc": (adc,) if i % 10 else ()}, age=None if i == 3 else 50.0 + i))
    images = {"dwi": kit.settings(), "adc": kit.settings(column="adc", normalise="window", window=(0.0, 3e-3))}
    return kit.cohort(units), kit.config(images, reference="dwi")
