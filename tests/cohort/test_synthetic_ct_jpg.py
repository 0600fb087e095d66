"""The synthetic JPG slices: how many, what they show, the stated model and its attainable predictions, determinism."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from jaxstroke import config as settings
from jaxstroke.cohort import synthetic_ct_jpg
from jaxstroke.cohort.readers import read_pictures
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError


def make_config(patients=40, workers=1, **options):
    config = settings.base()
    config.cohort.recipe = "synthetic_ct_jpg"
    config.cohort.workers = workers
    config.cohort.synthetic.update({"patients": patients} | options)
    config.cohort.outcomes.poor = ("poor_outcome", "==", 1)
    config.images.ct = settings.image("ct", sampling="picture", normalise="photograph", brain_mask="none", register=False)
    config.clinical.numeric = ("age",)
    config.evaluate.attainable = "true_logit_image"
    return config.lock()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    synthetic_ct_jpg.make(make_config(), folder)
    return folder


@pytest.fixture(scope="module")
def frame(workdir):
    return pd.read_csv(workdir / "cohort.csv")


@pytest.fixture(scope="module")
def pictures(workdir):
    """Of each patient the pictures (n, h, w) in HU of the window, as the table's cells name them."""
    units = read_cohort(make_config(), workdir).units
    return [np.stack([read_pictures(path)[0].array[..., 0] for path in unit.paths["ct"]]) * (80 / 255) for unit in units]


def test_table_is_a_cohort_of_files_in_natural_order(workdir, frame):
    cohort = read_cohort(make_config(), workdir)
    assert len(cohort.units) == 40 and set(cohort.units[0].columns) == {"true_logit_image", "true_logit_image_without_size"}
    for unit, count in zip(cohort.units, frame["images"], strict=True):
        assert [path.rpartition("/img")[2] for path in unit.paths["ct"]] == [f"{number + 1}.jpg" for number in range(count)]


def test_pictures_show_a_head_and_the_lesion_where_it_is(pictures, frame):
    """Blood is brighter than any brain: its largest area is that of the table, on as many images as the table says."""
    found, counted = [], []
    for shown in pictures:
        assert shown.shape[1:] == (64, 64) and shown[:, :3, :3].max() < 3 and shown.max() > 75
        inner = np.pad(np.ones((24, 18), bool), ((20, 20), (23, 23)))  # away from bone
        assert 20 < np.median(shown[:, inner]) < 45
    for shown, row in zip(pictures, frame.itertuples(), strict=True):
        blood = blood_of(shown)
        found.append(blood.max())
        counted.append(((blood > 0.25 * blood.max()) & (blood >= 3)).sum())
        assert not row.lesion or blood.max() > 0
    lesion = frame["lesion"].to_numpy() == 1
    assert roc_auc_score(lesion, found) > 0.95
    assert np.corrcoef(np.sqrt(np.array(found)[lesion]), np.sqrt(frame["lesion_mm2"][lesion]))[0, 1] > 0.9
    assert np.abs(np.array(counted)[lesion] - frame["lesion_images"][lesion]).mean() < 1


def blood_of(shown: np.ndarray) -> np.ndarray:
    """(n,) pixels of blood on each picture: between brain and bone, smoothed, with no bone near."""
    smooth = ndimage.gaussian_filter(shown, (0, 0.7, 0.7))
    bone = ndimage.binary_dilation(shown > 78, np.ones((1, 3, 3)), iterations=2)
    return ((smooth > 49) & ~bone).sum((1, 2))


def test_the_images_that_show_the_lesion_are_named(pictures, frame):
    """The one with the most blood is among them; of a patient without a lesion none is named."""
    named = [str(cell).split("|") for cell in frame["lesion_on"].fillna("")]
    assert [len(names) * (names != [""]) for names in named] == frame["lesion_images"].tolist()
    lesion = frame["lesion"].to_numpy() == 1
    most = [f"img{blood_of(shown).argmax() + 1}.jpg" in names for shown, names in zip(pictures, named, strict=True)]
    assert np.mean(np.array(most)[lesion]) > 0.9


def test_counts_are_log_normal_and_a_lesion_is_on_few_images(frame):
    rng = np.random.default_rng(0)
    counts = np.array([len(synthetic_ct_jpg.draw_levels(rng)) for _ in range(4000)])
    assert np.median(counts) == 8 and counts.min() == 2 and counts.max() == 64
    for most in (4, 7, 18, 40):
        assert (counts <= most).mean() == pytest.approx(norm.cdf(np.log((most + 0.5) / 8) / 0.8), abs=0.025)
    assert frame["images"].between(2, 64).all() and np.abs(np.corrcoef(frame["images"], frame["lesion"])[0, 1]) < 0.35
    lesion = frame[frame["lesion"] == 1]
    assert (lesion["lesion_images"] >= 1).all()
    assert frame.loc[frame["lesion"] == 0, ["lesion_images", "lesion_mm2"]].to_numpy().max() == 0
    share = lesion["lesion_images"] / lesion["images"]
    assert share.median() < 0.2 and (share[lesion["images"] > 4] < 0.5).all()


def test_heights_cover_the_head():
    levels = synthetic_ct_jpg.draw_levels(np.random.default_rng(3))
    assert (np.diff(levels) > 0).all() and np.ptp(np.diff(levels)) < 1e-9 and np.abs(levels).max() < synthetic_ct_jpg.COVERED


def drawn_patients(count, seed=0):
    """Patients drawn from the stated model, without pictures."""
    rng = np.random.default_rng(seed)
    lesion = rng.random(count) < synthetic_ct_jpg.LESION_SHARE
    radius = np.exp(synthetic_ct_jpg.LOG_MM + synthetic_ct_jpg.LOG_SPREAD * rng.normal(size=count))
    made = {
        "patient_id": [f"{number:06d}" for number in range(count)],
        "age": 70 + 12 * rng.normal(size=count),
        "lesion": lesion.astype(int),
    }
    made |= {"lesion_mm2": np.where(lesion, np.pi * radius**2, 0), "images": [len(synthetic_ct_jpg.draw_levels(rng)) for _ in range(count)]}
    return pd.DataFrame(made)


@pytest.fixture(scope="module")
def drawn():
    return synthetic_ct_jpg.outcomes(drawn_patients(12_000), seed=0)


def test_outcomes_follow_the_stated_model(drawn):
    assert 0.35 < drawn["poor_outcome"].mean() < 0.5
    size = (np.log(np.sqrt(drawn["lesion_mm2"].clip(lower=1) / np.pi)) - np.log(14)) / 0.35
    stated = -1.6 + drawn["lesion"] * (2.2 + 1.4 * size) + 0.4 * (drawn["age"] - 70) / 12
    np.testing.assert_allclose(drawn["true_logit"], stated, atol=1e-5)


@pytest.mark.parametrize("column", list(synthetic_ct_jpg.KNOWN))
def test_every_log_odds_is_calibrated_and_its_auc_is_that_of_the_formula(drawn, column):
    """Within a tenth of the patients as predicted; the AUC that the probabilities themselves imply, within its error."""
    predicted, outcome = expit(drawn[column].to_numpy()), drawn["poor_outcome"].to_numpy()
    for part in np.array_split(np.argsort(predicted, kind="stable"), 10):
        noise = np.sqrt((predicted[part] * (1 - predicted[part])).sum()) / len(part)
        assert outcome[part].mean() == pytest.approx(predicted[part].mean(), abs=4 * noise)
    error = np.sqrt(len(outcome) / (12 * outcome.sum() * (1 - outcome).sum()))
    assert roc_auc_score(outcome, predicted) == pytest.approx(implied_auc(predicted), abs=3.5 * error)


def implied_auc(probability: np.ndarray) -> float:
    """AUC expected where each patient has the outcome with this probability; ties count half."""
    group = np.unique(probability, return_inverse=True)[1]
    ill, well = np.bincount(group, probability), np.bincount(group, 1 - probability)
    return float((ill * (np.cumsum(well) - well / 2)).sum() / (ill.sum() * well.sum()))


def test_less_known_is_less_attainable(drawn):
    auc = {name: roc_auc_score(drawn["poor_outcome"], drawn[name]) for name in synthetic_ct_jpg.KNOWN}
    assert 0.81 < auc["true_logit"] < 0.85 and 0.79 < auc["true_logit_image"] < 0.84
    assert auc["true_logit_without_lesion"] < 0.6 < auc["true_logit_without_size"] < auc["true_logit"]
    assert auc["true_logit_image_without_size"] < auc["true_logit_image"] - 0.05 < auc["true_logit"]


def test_a_mean_over_images_loses_even_if_each_is_judged_ideally(drawn):
    """The image with the lesion is judged as the patient is, the others as those of a patient without one."""
    ideal, without = expit(drawn["true_logit_image"]), expit(drawn.loc[drawn["lesion"] == 0, "true_logit_image"].iloc[0])
    mean = without + (ideal - without) / drawn["images"]
    lost = roc_auc_score(drawn["poor_outcome"], ideal) - roc_auc_score(drawn["poor_outcome"], mean)
    assert 0.02 < lost < 0.1


def test_an_expected_log_odds_is_the_mean_over_what_is_unknown():
    """Against plain simulation."""
    rng, count = np.random.default_rng(1), 400_000
    one = {"lesion": np.array([1.0]), "size": np.array([0.7]), "age": np.array([3.0])}
    poor = expit(synthetic_ct_jpg.poor_logit(1.0, 0.7, rng.normal(size=count))).mean()
    assert synthetic_ct_jpg.expected_logit(one, ("lesion", "size"))[0] == pytest.approx(logit(poor), abs=0.01)
    any_lesion = rng.random(count) < synthetic_ct_jpg.LESION_SHARE
    poor = expit(synthetic_ct_jpg.poor_logit(any_lesion, rng.normal(size=count), 3.0)).mean()
    assert synthetic_ct_jpg.expected_logit(one, ("age",))[0] == pytest.approx(logit(poor), abs=0.01)


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(workdir, tmp_path):
    stale = tmp_path / "synthetic" / "ct" / "synthetic-0001" / "img99.jpg"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of other settings")
    synthetic_ct_jpg.make(make_config(workers=2), tmp_path)
    files = sorted(path.relative_to(workdir) for path in workdir.rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert all((workdir / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)
    assert len(files) > 300


def test_another_seed_gives_others(workdir, tmp_path):
    synthetic_ct_jpg.make(make_config(patients=2, seed=1), tmp_path)
    name = "synthetic/ct/synthetic-0001/img1.jpg"
    assert (workdir / name).read_bytes() != (tmp_path / name).read_bytes()


def test_fewer_pixels_are_refused(tmp_path):
    with pytest.raises(InputError, match="32 rows and columns"):
        synthetic_ct_jpg.make(make_config(shape=(12, 24, 64)), tmp_path)
