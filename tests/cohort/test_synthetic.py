"""The synthetic cohort: the stated model holds, lesions drive the images, modules are registered, nothing is made twice."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from jaxstroke import config as settings
from jaxstroke.cohort import phantom, synthetic
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError


def make_config(patients=20, workers=1, **options):
    config = settings.base()
    config.cohort.recipe = "synthetic"
    config.cohort.outcomes.poor = ("mrs", ">", 2)
    config.cohort.workers = workers
    config.cohort.synthetic.update({"patients": patients, "shape": (8, 32, 32), "spacing": (15.0, 6.4, 6.4)} | options)
    config.images.update({name: settings.image(name) for name in ("lesion", *phantom.MODULES)})
    config.clinical.numeric = ("age", "nihss")
    config.evaluate.attainable = "true_logit"
    return config.lock()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    synthetic.make(make_config(), folder)
    return folder


def load(workdir, cell):
    image = nibabel.load(workdir / cell)
    return image.get_fdata(dtype=np.float32), image.affine


def sample(array, affine, points):
    """Nearest voxels of points (n, 3) in mm."""
    index = np.rint((points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    return array[tuple(np.clip(index, 0, np.array(array.shape) - 1).T)]


def test_table_is_a_cohort(workdir):
    cohort = read_cohort(make_config(), workdir)
    assert cohort.flow == (("rows in the table", 20), ("used", 20))
    assert set(cohort.units[0].columns) == {"true_logit", *(f"true_logit_without_{name}" for name in ("age", "nihss", "lesion"))}
    assert all(unit.paths["lesion"] for unit in cohort.units)
    assert all(sum(not files for files in unit.paths.values()) <= 1 for unit in cohort.units)


def test_lesions_show_in_every_module_at_the_same_place(workdir):
    frame = pd.read_csv(workdir / "cohort.csv", keep_default_na=False)
    contrast = {name: [] for name in phantom.MODULES}
    for row in frame.itertuples():
        mask, affine = load(workdir, row.lesion)
        inside = np.argwhere(mask > 0) @ affine[:3, :3].T + affine[:3, 3]
        assert mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000 == pytest.approx(row.lesion_ml, abs=1e-3)
        for name in phantom.MODULES:
            if getattr(row, name):
                array, own = load(workdir, getattr(row, name))
                brain = array[array > 0.3 * np.percentile(array, 98)] if name in ("dwi", "flair") else array[array > 0]
                contrast[name].append(np.median(sample(array, own, inside)) / np.median(brain))
    assert np.mean(np.array(contrast["dwi"]) > 1.4) > 0.9
    assert np.mean(np.array(contrast["adc"]) < 0.8) > 0.9
    assert np.mean(np.array(contrast["tmax"]) > 2) > 0.9
    assert np.median(contrast["flair"]) > 1.1


def test_physical_units_and_different_grids(workdir):
    frame = pd.read_csv(workdir / "cohort.csv", keep_default_na=False)
    row = next(row for row in frame.itertuples() if all(getattr(row, name) for name in phantom.MODULES))
    arrays = {name: load(workdir, getattr(row, name)) for name in phantom.MODULES}
    assert 300e-6 < np.median(arrays["adc"][0][arrays["adc"][0] > 0]) < 1200e-6
    assert arrays["adc"][0].max() < 4000e-6
    assert 0.5 < np.median(arrays["tmax"][0][arrays["tmax"][0] > 0]) < 5
    assert arrays["tmax"][0].max() < 25
    assert len({array.shape for array, _ in arrays.values()}) == 3
    assert np.linalg.det(arrays["tmax"][1][:3, :3]) < 0 < np.linalg.det(arrays["flair"][1][:3, :3])


def test_outcomes_follow_the_stated_model():
    rng = np.random.default_rng(0)
    count = 40_000
    z = rng.normal(size=count)
    severity = synthetic.CORRELATION * z + np.sqrt(1 - synthetic.CORRELATION**2) * rng.normal(size=count)
    frame = pd.DataFrame(
        {
            "patient_id": [f"{number:06d}" for number in range(count)],
            "age": np.clip(np.round(rng.normal(70, 12, count)), 30, 98),
            "nihss": np.clip(np.round(9 + 6 * severity), 0, 42),
            "lesion_ml": np.clip(np.exp(synthetic.LOG_ML + synthetic.LOG_ML_SPREAD * z), synthetic.SMALLEST_ML, synthetic.LARGEST_ML),
        }
    )
    made = synthetic.outcomes(frame, seed=0)
    poor = made["mrs"] > 2
    assert 0.42 < poor.mean() < 0.48
    auc = {name: roc_auc_score(poor, made[name]) for name in made if name.startswith("true_logit")}
    assert 0.85 < auc["true_logit"] < 0.88
    for name in ("lesion", "nihss"):
        assert auc[f"true_logit_without_{name}"] < auc["true_logit"] - 0.03
    assert auc["true_logit_without_age"] < auc["true_logit"] - 0.01
    assert 0.25 < np.corrcoef(np.log(made["lesion_ml"]), made["nihss"])[0, 1] < 0.45
    predicted = 1 / (1 + np.exp(-made["true_logit"]))
    for low in (0.1, 0.3, 0.5, 0.7):  # the log-odds are calibrated
        near = (predicted > low) & (predicted < low + 0.2)
        assert poor[near].mean() == pytest.approx(predicted[near].mean(), abs=0.02)
    # taking a term's expectation beats merely dropping it: nothing else is thrown away
    assert auc["true_logit_without_lesion"] > roc_auc_score(poor, made["true_logit"] - synthetic.LESION * scaled(made))
    assert sorted(made["mrs"].unique()) == list(range(7))


def scaled(frame):
    return (np.log(frame["lesion_ml"]) - synthetic.LOG_ML) / synthetic.LOG_ML_SPREAD


def test_number_of_processes_does_not_matter_and_nothing_is_made_twice(workdir, tmp_path):
    path = synthetic.make(make_config(workers=2), tmp_path)
    with open(path) as one, open(workdir / "cohort.csv") as other:
        assert one.read() == other.read()
    for file in (workdir / "synthetic").rglob("*.nii.gz"):
        assert file.read_bytes() == (tmp_path / file.relative_to(workdir)).read_bytes()
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")}
    synthetic.make(make_config(workers=2), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")} == times


def test_other_settings_and_interrupted_work_are_made_anew(tmp_path):
    synthetic.make(make_config(patients=3), tmp_path)
    first = (tmp_path / "cohort.csv").read_text()
    synthetic.make(make_config(patients=3, seed=1), tmp_path)
    assert (tmp_path / "cohort.csv").read_text() != first
    (tmp_path / "synthetic" / "settings.json").unlink()
    (tmp_path / "synthetic" / "lesion" / "synthetic-0001.nii.gz").write_bytes(b"half")
    synthetic.make(make_config(patients=3), tmp_path)
    assert (tmp_path / "cohort.csv").read_text() == first
    assert load(tmp_path, "synthetic/lesion/synthetic-0001.nii.gz")[0].any()


def test_missing_share(tmp_path):
    synthetic.make(make_config(patients=12, missing_share=1.0, shape=(4, 8, 8), spacing=(30.0, 25.0, 25.0)), tmp_path)
    frame = pd.read_csv(tmp_path / "cohort.csv", keep_default_na=False)
    assert ((frame[list(phantom.MODULES)] == "").sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("options", "word"), [({"patients": 0}, "patients"), ({"missing_share": 2.0}, "missing_share"), ({"shape": (1, 8, 8)}, "shape")]
)
def test_impossible_settings(tmp_path, options, word):
    with pytest.raises(InputError, match=word):
        synthetic.make(make_config(**options), tmp_path)
