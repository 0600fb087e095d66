"""The synthetic eyes: who has which, what the images show, the stated model and its attainable predictions, determinism."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.special import expit, logit
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from jaxstroke import config as settings
from jaxstroke.cohort import b_scan, fundus, synthetic_retina
from jaxstroke.cohort.readers import read_pictures
from jaxstroke.cohort.table import read_cohort

SIZES = {"labelled": 12, "test": 20, "unlabelled": 8}


def make_config(workers=1, seed=0, size=64):
    config = settings.base()
    config.cohort.recipe = "synthetic_retina"
    config.cohort.study = "eye"
    config.cohort.workers, config.cohort.synthetic.seed = workers, seed
    config.cohort.synthetic_retina.update(SIZES | {"size": size})
    config.cohort.outcomes.stroke = ("stroke", "==", 1)
    for name in synthetic_retina.IMAGES:
        config.images[name] = settings.image(name, sampling="picture", normalise="photograph", brain_mask="none", register=False)
    config.clinical.numeric = ("age", "systolic")
    config.evaluate.attainable = "true_logit"
    return config.lock()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    synthetic_retina.make(make_config(), folder)
    return folder


@pytest.fixture(scope="module")
def frame(workdir):
    return pd.read_csv(workdir / "cohort.csv", keep_default_na=False, na_values={"stroke": [""], "true_logit": [""]})


def test_table_is_a_cohort_with_two_images_a_row(workdir, frame):
    cohort = read_cohort(make_config(), workdir)
    assert len(cohort.units) == frame["stroke"].notna().sum()
    assert set(cohort.units[0].columns) == {name for name in synthetic_retina.KNOWN if name == "true_logit" or "without" in name}
    for unit in cohort.units[:4]:
        for name in synthetic_retina.IMAGES:
            assert read_pictures(unit.paths[name][0])[0].array.shape[:2] == (64, 64)


def test_patients_come_in_the_parts_asked_for(frame):
    patients = frame.groupby("patient_id").agg({"split": "first", "stroke": ["first", "count"], "eye": "count"})
    known, test = patients["stroke"]["first"].notna(), patients["split"]["first"] == "test"
    assert ((known & ~test).sum(), (known & test).sum(), (~known & ~test).sum()) == tuple(SIZES.values())
    assert not frame.duplicated(["patient_id", "eye"]).any() and set(frame["eye"]) == {"OD", "OS"}
    assert frame["true_logit"].notna().equals(frame["stroke"].notna())


def test_eyes_of_a_patient_share_outcome_and_signs(frame):
    both = frame[frame.duplicated("patient_id", keep=False)]
    assert 0.15 < both["patient_id"].nunique() / frame["patient_id"].nunique() < 0.65
    right, left = (both[both["eye"] == side].reset_index(drop=True) for side in ("OD", "OS"))
    for name in ("stroke", "true_logit", "age", "systolic", "diagnoses", "calibre", "split"):
        assert right[name].equals(left[name])
    for name in ("arteriole_venule", "fibre_share"):
        assert np.corrcoef(np.log(right[name]), np.log(left[name]))[0, 1] > 0.8 and (right[name] != left[name]).all()
    assert (right["ir"] != left["ir"]).all()


def test_diagnoses_follow_from_pressure_and_diabetes():
    rng = np.random.default_rng(0)
    codes = [synthetic_retina.diagnoses({"systolic": mmhg, "diabetes": 1}, rng).split("|") for mmhg in [143, 171] * 500]
    high = [np.mean(["I10" in one for one in codes[start::2]]) for start in (0, 1)]
    assert high[0] == pytest.approx(0.5, abs=0.08) and high[1] > 0.95 and all("E11.9" in one for one in codes)
    assert "E11.9" not in synthetic_retina.diagnoses({"systolic": 120, "diabetes": 0}, rng)


@pytest.fixture(scope="module")
def eyes():
    """(200 deviations of calibre and of thickness, 200 infrared images, 200 B-scans), 64 pixels, 0 to 1."""
    rng = np.random.default_rng(5)
    signs = rng.normal(size=(2, 200))
    infrared = [
        fundus.draw(synthetic_retina.RATIO * np.exp(synthetic_retina.RATIO_SPREAD * z), 64, bool(n % 2), rng)
        for n, z in enumerate(signs[0])
    ]
    scans = [b_scan.draw(synthetic_retina.SHARE * np.exp(synthetic_retina.SHARE_SPREAD * z), 64, rng) for z in signs[1]]
    return signs, np.stack(infrared) / 255, np.stack(scans) / 255


def explained(measures: np.ndarray, truth: np.ndarray) -> float:
    """Correlation of the truth in the second half with what a line through the first half's measures (n, k) says."""
    half = len(truth) // 2
    return np.corrcoef(LinearRegression().fit(measures[:half], truth[:half]).predict(measures[half:]), truth[half:])[0, 1]


def test_an_infrared_image_shows_the_calibre_of_its_vessels(eyes):
    """Lines brighter than what is around them are the reflexes of arterioles, darker ones are venules; also in a part of the image."""
    signs, infrared, _ = eyes
    for part in (slice(None), slice(8, 56)):
        shown = infrared[:, part, part]
        lines = (ndimage.gaussian_filter(shown, (0, 1, 1)) - ndimage.gaussian_filter(shown, (0, 7, 7))) / shown.std((1, 2), keepdims=True)
        measures = np.stack([np.clip(lines, 0, None).mean((1, 2)), (lines < -0.4).mean((1, 2)), (lines**2).mean((1, 2))], 1)
        assert explained(measures, signs[0]) > 0.6


def test_a_b_scan_shows_the_share_of_the_fibre_layer(eyes):
    signs, _, scans = eyes
    for part in (slice(None), slice(10, 54)):
        assert explained(np.array([[share_of(scan[:, part])] for scan in scans]), signs[1]) > 0.6


def share_of(scan: np.ndarray) -> float:
    """Of a B-scan (d, w): its columns laid beside each other by where they rise first, then the logarithm of how much of the way to the
    brightest layer, the pigment epithelium, is nearly as bright as the beginning."""
    smooth, dark = ndimage.gaussian_filter(scan, (0.7, 2)), scan[:4].mean()
    tops = (smooth - dark > 0.4 * (smooth.max(0) - dark)).argmax(0)
    profile = np.median([column[top : top + 16] for column, top in zip(smooth.T, tops, strict=True)], 0) - dark
    floor = np.median([column[top + 12 :].argmax() + 12 for column, top in zip(smooth.T, tops, strict=True)])
    return float(np.log((profile > 0.82 * profile[:5].max()).sum() / floor))


def test_an_eye_is_the_same_at_any_size_but_for_speckle():
    small, large = (fundus.draw(0.65, size, True, np.random.default_rng(1)) / 255 for size in (64, 128))
    assert small.shape == (64, 64) and np.corrcoef(small.ravel(), large.reshape(64, 2, 64, 2).mean((1, 3)).ravel())[0, 1] > 0.8
    small, large = (b_scan.draw(0.19, size, np.random.default_rng(1)) / 255 for size in (64, 128))
    assert small.shape == (64, 64) and np.corrcoef(small.ravel(), large.reshape(64, 2, 64, 2).mean((1, 3)).ravel())[0, 1] > 0.8


def test_a_left_eye_is_a_right_one_mirrored():
    right, left = (fundus.draw(0.65, 64, side, np.random.default_rng(1)) for side in (True, False))
    np.testing.assert_array_equal(left[:, ::-1], right)


def test_layers_add_up_to_the_retina():
    x = np.linspace(-1, 1, 64)
    for share in (0.08, 0.19, 0.4):
        edges = b_scan.boundaries(share, x, np.random.default_rng(3))
        assert len(edges) == len(b_scan.LAYERS) + 2 and all((below > above).all() for above, below in zip(edges, edges[1:], strict=False))
        shown = (edges[1] - edges[0]) / (edges[6] - edges[0])
        assert max(shown[0], shown[-1]) == pytest.approx(share, abs=0.01)  # away from the pit


def drawn_patients(count, seed=0):
    """Patients drawn from the stated model, one eye each, without pictures."""
    rng = np.random.default_rng(seed)
    made = {"patient_id": [f"{number:06d}" for number in range(count)], "labelled": True, "split": "test"}
    made |= {name: rng.normal(size=count) for name in ("calibre", "thickness")}
    made |= {"systolic": 140 + 18 * rng.normal(size=count), "age": 66 + 10 * rng.normal(size=count)}
    blank = {"eye": "OD", "oct": "", "ir": "", "arteriole_venule": 0.0, "fibre_share": 0.0}
    return pd.DataFrame(made | {"eyes": [[blank]] * count})


@pytest.fixture(scope="module")
def drawn():
    return synthetic_retina.outcomes(drawn_patients(12_000), seed=0)


def test_outcomes_follow_the_stated_model(drawn):
    stated = (
        -0.6 - 1.2 * drawn["calibre"] - 1.2 * drawn["thickness"] + 0.9 * (drawn["systolic"] - 140) / 18 + 0.8 * (drawn["age"] - 66) / 10
    )
    np.testing.assert_allclose(drawn["true_logit"], stated, atol=1e-5)
    assert 0.35 < drawn["stroke"].mean() < 0.47


@pytest.mark.parametrize("column", list(synthetic_retina.KNOWN))
def test_every_log_odds_is_calibrated_and_its_auc_is_what_it_implies(drawn, column):
    """Within a tenth of the patients as predicted; the AUC that the probabilities themselves imply, within its error."""
    predicted, outcome = expit(drawn[column].to_numpy(float)), drawn["stroke"].to_numpy(int)
    for part in np.array_split(np.argsort(predicted, kind="stable"), 10):
        noise = np.sqrt((predicted[part] * (1 - predicted[part])).sum()) / len(part)
        assert outcome[part].mean() == pytest.approx(predicted[part].mean(), abs=4 * noise)
    order = np.sort(predicted)
    ahead = np.cumsum(1 - order) - (1 - order) / 2
    implied = (order * ahead).sum() / (order.sum() * (1 - order).sum())
    error = np.sqrt(len(outcome) / (12 * outcome.sum() * (1 - outcome).sum()))
    assert roc_auc_score(outcome, predicted) == pytest.approx(implied, abs=3.5 * error)


def test_less_known_is_less_attainable(drawn):
    auc = {name: roc_auc_score(drawn["stroke"].astype(int), drawn[name]) for name in synthetic_retina.KNOWN}
    assert 0.84 < auc["true_logit"] < 0.89 and 0.76 < auc["true_logit_images"] < 0.82 and 0.68 < auc["true_logit_records"] < 0.73
    for name, known in synthetic_retina.KNOWN.items():
        for other, more in synthetic_retina.KNOWN.items():
            assert not set(known) < set(more) or auc[name] < auc[other] - 0.01


def test_an_expected_log_odds_is_the_mean_over_what_is_unknown():
    """Against plain simulation."""
    rng, count = np.random.default_rng(1), 400_000
    one = {"calibre": np.array([0.5]), "thickness": np.array([-1.0]), "pressure": np.array([9.0]), "age": np.array([9.0])}
    mean = expit(synthetic_retina.stroke_logit(0.5, -1.0, rng.normal(size=count), rng.normal(size=count))).mean()
    assert synthetic_retina.expected_logit(one, ("calibre", "thickness"))[0] == pytest.approx(logit(mean), abs=0.01)


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(workdir, tmp_path):
    synthetic_retina.make(make_config(workers=2), tmp_path)
    files = sorted(path.relative_to(workdir) for path in workdir.rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")) and len(files) > 80
    assert all((workdir / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


def test_more_patients_without_outcome_leave_the_others_as_they_are(frame, tmp_path):
    config = make_config().copy_and_resolve_references().unlock()
    config.cohort.synthetic_retina.unlabelled = 9
    more = pd.read_csv(synthetic_retina.make(config, tmp_path), keep_default_na=False, na_values={"stroke": [""], "true_logit": [""]})
    assert more["patient_id"].nunique() == frame["patient_id"].nunique() + 1
    pd.testing.assert_frame_equal(more[: len(frame)], frame, check_dtype=False)


def test_another_seed_gives_others(workdir, tmp_path):
    table = pd.read_csv(synthetic_retina.make(make_config(seed=1), tmp_path))
    assert not table["true_logit"].equals(pd.read_csv(workdir / "cohort.csv")["true_logit"])
