"""What a network sees bright lies, on the way back, where the scanner put it: oblique and anisotropic volumes, and a tilted series."""

import pathlib
import sys

import flax.linen as nn
import jax
import nibabel
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import slices_on_disk as made  # noqa: E402

from jaxstroke import config as settings  # noqa: E402
from jaxstroke.cohort.readers import read_image  # noqa: E402
from jaxstroke.explain import files, maps  # noqa: E402
from jaxstroke.models import activation, layers  # noqa: E402
from jaxstroke.preprocess import inverse, patient, reference  # noqa: E402

CENTRE = np.array([3.0, -2.0, 31.0])  # mm, RAS
HALF = 6.0  # mm of the cube's edge


class Bright(nn.Module):
    """A network whose logit is, by construction, how much of the image is brighter than a half."""

    @nn.compact
    def __call__(self, batch, fitted, train=False):
        x = layers.Conv(1, (1, 1, 1), name="conv")(batch["images/ct"]) - 0.5
        return {"logits": {"poor": activation.relu(x).mean((1, 2, 3, 4))[:, None]}, "features": {}, "parts": {}}


def turned(degrees: float, spacing) -> np.ndarray:
    """An affine turned about two axes."""
    a, b = np.radians([degrees, degrees / 2])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(spacing)
    return affine


@pytest.fixture(params=["oblique", "tilted series"])
def scan(request, tmp_path):
    """Path of a scan with the cube."""
    if request.param == "tilted series":
        orientation = made.tilted(18.5, turn=10.0)
        made.write_series(tmp_path / "series", made.stack(np.arange(0, 60, 3.0), made.cube(CENTRE, HALF), orientation))
        return tmp_path / "series"
    affine = turned(20.0, (1.1, 1.4, 3.2))
    shape = np.array([72, 60, 28])
    affine[:3, 3] = CENTRE - (9.0, 5.0, -7.0) - affine[:3, :3] @ (shape - 1) / 2
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    values = np.where((np.abs(world - CENTRE) <= HALF).all(-1), 1000, 40).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("sampling", ["grid", "resize"])
@pytest.mark.parametrize("method", [pytest.param(name, marks=[pytest.mark.slow] * (name == "occlusion")) for name in maps.METHODS])
def test_the_maximum_lies_in_the_cube(scan, tmp_path, method, sampling):
    grid = {"spacing": (3.0, 2.0, 2.0), "shape": (28, 40, 40)} if sampling == "grid" else {"sampling": "resize", "shape": (24, 40, 40)}
    chosen = settings.image("ct", kind="volume", normalise="scale", window=(0.0, 1000.0), register=False, brain_mask="none", **grid)
    plan = reference.Plan({"ct": chosen.to_dict()}, (), 0.3)
    record = patient.prepare_image(plan, reference.Job("1", "1", "", {"ct": (str(scan),)}), "ct", {})
    assert not record["missing"], record["reason"]
    stored = (record["array"] * record["scale"] + record["offset"]).astype(np.float32)[None]
    batch = {"images/ct": stored, "images_mask/ct": np.ones((1, stored.shape[1]), np.float32), "clinical": np.zeros((1, 0))}
    batch["clinical_mask"] = batch["clinical"]
    model, fitted = Bright(), {"clinical_median": np.zeros(0), "logit_shift/poor": np.zeros(1)}
    variables = {"params": model.init(jax.random.key(0), batch, fitted)["params"], "stats": {}}
    variables["params"]["conv"]["kernel"] = np.ones((1, 1, 1, 1, 1), np.float32)
    explain = type("S", (), {"steps": 16, "patch": (1, 2, 2), "stride": (1, 1, 1)})
    heat = np.asarray(maps.make(method, model, explain, "poor", "ct", "conv")(variables, fitted, batch))
    files.write_nifti(tmp_path / "map.nii.gz", inverse.to_source_grid(record, heat), record["affine"])

    source, written = read_image(scan), nibabel.load(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-4)
    assert written.shape == source.array.shape
    found = written.get_fdata()
    places = np.argwhere(found >= 0.98 * found.max()) @ written.affine[:3, :3].T + written.affine[:3, 3]
    voxel = np.linalg.norm(source.affine[:3, :3], axis=0).max()
    assert (np.abs(places - CENTRE).max(1) <= HALF + voxel).all()
    np.testing.assert_allclose(places.mean(0), CENTRE, atol=voxel)
