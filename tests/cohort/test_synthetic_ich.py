"""The synthetic haemorrhages: the stated model and its attainable predictions, Hounsfield units, what a scan shows, determinism."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from jaxstroke import config as settings
from jaxstroke.cohort import head_ct, synthetic_ich
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError

IMAGES = ("ct", "ct_head", "haematoma")


def make_config(patients=24, workers=1, **options):
    config = settings.base()
    config.cohort.recipe = "synthetic_ich"
    config.cohort.workers = workers
    config.cohort.synthetic.update({"patients": patients, "shape": (32, 40, 40), "spacing": (4.5, 5.0, 5.0)} | options)
    config.cohort.outcomes.prognosis = ("poor_prognosis", "==", 1)
    config.images.update({name: settings.image(name) for name in IMAGES})
    config.clinical.numeric = ("age", "gcs")
    config.evaluate.attainable = "true_logit_image"
    return config.lock()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    synthetic_ich.make(make_config(), folder)
    return folder


@pytest.fixture(scope="module")
def frame(workdir):
    return pd.read_csv(workdir / "cohort.csv")


@pytest.fixture(scope="module")
def scans(workdir, frame):
    """A dictionary of arrays and the affine of each patient."""
    found = []
    for row in frame.itertuples():
        images = {name: nibabel.load(workdir / getattr(row, name)) for name in IMAGES}
        found.append({name: np.asarray(image.dataobj) for name, image in images.items()} | {"affine": images["ct"].affine})
    return found


def test_table_is_a_cohort(workdir):
    cohort = read_cohort(make_config(), workdir)
    assert len(cohort.units) == 24
    assert set(cohort.units[0].columns) == {name for name in synthetic_ich.KNOWN if name.startswith("true_logit_image")}
    assert all(unit.paths[name] for unit in cohort.units for name in IMAGES)


def test_scans_are_in_hounsfield_units(scans):
    for scan in scans:
        head, brain, mask = scan["ct_head"], scan["ct"], scan["haematoma"] > 0
        assert (head[[0, -1]] < -900).all() and (head[:, [0, -1]] < -900).all() and (head[:3, :3] == head_ct.AIR).all()
        assert head.max() > 700 and (head > 300).mean() > 0.01
        assert (brain[[0, -1]] == 0).all() and brain.max() < 100 and brain.min() > -60
        within = ndimage.binary_erosion(brain != 0, iterations=3)  # partial volumes of the skull reach in from outside
        np.testing.assert_allclose(brain[within], head[within], atol=2)
        assert 25 < np.median(brain[within & ~mask]) < 38
        assert 55 < np.median(brain[mask]) < 72
        np.testing.assert_array_equal(scan["affine"][:3, :3], np.diag([-5.0, 5.0, 4.5]))
        assert min(brain.shape) >= synthetic_ich.FEWEST_VOXELS


def test_the_mask_has_the_stated_volume(scans, frame):
    for scan, ml in zip(scans, frame["haematoma_ml"], strict=True):
        assert scan["haematoma"].sum() * abs(np.linalg.det(scan["affine"][:3, :3])) / 1000 == pytest.approx(ml, abs=1e-4)
    assert frame["haematoma_ml"].between(0.6, 155).all() and frame["haematoma_ml"].nunique() > 15


def test_the_scan_shows_what_the_best_prediction_knows(scans, frame):
    fluid, blood, volume = [], [], []
    for scan in scans:
        around = ndimage.binary_dilation(scan["haematoma"] > 0, iterations=3)
        smooth = ndimage.gaussian_filter(scan["ct"].astype(float), 0.5)
        seen = (scan["ct"] != 0) & ~around
        middle = np.zeros_like(seen)
        middle[14:26, 13:27, 12:22] = True
        fluid.append((smooth[seen] < 22).mean())
        blood.append((smooth[seen & middle] > 46).sum())
        volume.append(np.log((scan["ct"] > 50).sum()))
    assert np.corrcoef(fluid, frame["atrophy"])[0, 1] > 0.85
    assert np.corrcoef(volume, np.log(frame["haematoma_ml"]))[0, 1] > 0.95
    assert roc_auc_score(frame["ventricular_extension"], blood) > 0.95


def population(count, seed=0):
    """Patients drawn from the stated model, without scans."""
    rng = np.random.default_rng(seed)
    volume, deep = rng.normal(size=count), rng.random(count) < synthetic_ich.DEEP_SHARE
    age = np.clip(np.round(rng.normal(70, 12, count)), 30, 98)
    ventricular = (rng.random(count) < synthetic_ich.ventricular_share(volume, deep)).astype(int)
    gcs = synthetic_ich.coma_mean(volume, ventricular, deep) + synthetic_ich.COMA_SPREAD * rng.normal(size=count)
    made = {"patient_id": [f"{number:06d}" for number in range(count)], "age": age, "gcs": np.clip(np.round(gcs), 3, 15)}
    made |= {"haematoma_ml": np.exp(synthetic_ich.LOG_ML + volume), "location": np.where(deep, "deep", "lobar")}
    return pd.DataFrame(made | {"ventricular_extension": ventricular, "atrophy": 0.8 * (age - 70) / 12 + 0.6 * rng.normal(size=count)})


@pytest.fixture(scope="module")
def drawn():
    return synthetic_ich.outcomes(population(12_000), seed=0)


def test_outcomes_follow_the_stated_model(drawn):
    assert 0.55 < drawn["poor_prognosis"].mean() < 0.65  # 62 % in the paper
    assert 0.1 < (drawn["gcs"] <= 8).mean() < 0.3 and 0.3 < (drawn["gcs"] >= 13).mean() < 0.6
    stated = synthetic_ich.poor_logit(
        np.log(drawn["haematoma_ml"]) - synthetic_ich.LOG_ML, drawn["ventricular_extension"], drawn["gcs"], (drawn["age"] - 70) / 12
    )
    np.testing.assert_allclose(drawn["true_logit"], stated, atol=1e-5)


@pytest.mark.parametrize("column", list(synthetic_ich.KNOWN))
def test_every_log_odds_is_calibrated(drawn, column):
    predicted = expit(drawn[column])
    for low in (0.1, 0.3, 0.5, 0.7):
        near = (predicted > low) & (predicted < low + 0.2)
        if near.sum() > 100:
            noise = 0.5 / np.sqrt(near.sum())
            assert drawn["poor_prognosis"][near].mean() == pytest.approx(predicted[near].mean(), abs=3.5 * noise)


def test_less_known_is_less_attainable(drawn):
    auc = {name: roc_auc_score(drawn["poor_prognosis"], drawn[name]) for name in synthetic_ich.KNOWN}
    assert 0.85 < auc["true_logit"] < 0.90 and 0.81 < auc["true_logit_image"] < 0.86
    for best in ("true_logit", "true_logit_image"):
        for name in auc:
            assert not name.startswith(f"{best}_without") or auc[name] < auc[best]
    assert auc["true_logit_image"] < auc["true_logit_without_gcs"] < auc["true_logit"]  # the scan shows age by atrophy alone


def test_an_expected_log_odds_is_the_mean_over_what_is_unknown():
    """Against plain simulation: many patients with the same scan."""
    factors = {"volume": 0.7, "deep": 1.0, "ventricular": 0.0, "atrophy": -0.5}
    rng, count = np.random.default_rng(1), 400_000
    age = 0.8 * factors["atrophy"] + 0.6 * rng.normal(size=count)
    gcs = synthetic_ich.coma_mean(0.7, 0.0, 1.0) + synthetic_ich.COMA_SPREAD * rng.normal(size=count)
    poor = expit(synthetic_ich.poor_logit(0.7, 0.0, np.clip(np.round(gcs), 3, 15), age)).mean()
    one = {name: np.array([value]) for name, value in factors.items()} | {"gcs": np.array([15.0]), "age": np.array([3.0])}
    found = synthetic_ich.expected_logit(one, synthetic_ich.KNOWN["true_logit_image"])
    assert found[0] == pytest.approx(logit(poor), abs=0.01)


def test_number_of_processes_does_not_matter_and_nothing_is_made_twice(workdir, tmp_path):
    path = synthetic_ich.make(make_config(workers=2), tmp_path)
    with open(path) as one, open(workdir / "cohort.csv") as other:
        assert one.read() == other.read()
    for file in (workdir / "synthetic").rglob("*.nii.gz"):
        assert file.read_bytes() == (tmp_path / file.relative_to(workdir)).read_bytes()
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")}
    synthetic_ich.make(make_config(workers=2), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")} == times


def test_fewer_voxels_are_refused(tmp_path):
    with pytest.raises(InputError, match="32 voxels"):
        synthetic_ich.make(make_config(shape=(12, 64, 64)), tmp_path)
