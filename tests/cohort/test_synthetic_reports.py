"""The synthetic cohort with reports: the stated model, what images show of it, what reports say of the images, determinism."""

import re

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.special import expit
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from jaxstroke import config as settings
from jaxstroke.cohort import phantom, phantom_atlas, report_phrases, synthetic_reports
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError

SECTIONS = ["Side", "Territories", "Size", "Lesions", "Signal", "Impression"]
GRADE_OF = {phrase: grade for grade, phrases in report_phrases.GRADES.items() for phrase in phrases}


def make_config(patients=40, workers=1, **options):
    config = settings.base()
    config.cohort.recipe = "synthetic_reports"
    config.cohort.text, config.text.source = "report", "given"
    config.cohort.workers = workers
    config.cohort.synthetic.update({"patients": patients, "shape": (12, 40, 40), "spacing": (10.0, 5.0, 5.0)} | options)
    config.cohort.outcomes.poor = ("mrs", ">", 2)
    config.images.update({name: settings.image(name) for name in ("dwi", "flair", "lesion")})
    config.clinical.numeric = ("age", "nihss")
    config.evaluate.attainable = "true_logit"
    return config.lock()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    synthetic_reports.make(make_config(), folder)
    return folder


@pytest.fixture(scope="module")
def frame(workdir):
    return pd.read_csv(workdir / "cohort.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def drawn():
    """Patients without files: the numbers are drawn apart from the images."""
    chosen = synthetic_reports.check(make_config(shape=(8, 32, 32), spacing=(15.0, 6.0, 6.0), missing_share=0.0))
    rows = [synthetic_reports.draw_patient(number, chosen).row for number in range(2400)]
    return synthetic_reports.outcomes(pd.DataFrame(rows), seed=0)


def load(workdir, cell):
    image = nibabel.load(workdir / cell)
    return np.asarray(image.dataobj), image.affine


def grade_said(report):
    """The grade of the phrase that a report uses, None where it says nothing of the white matter."""
    said = {grade for phrase, grade in GRADE_OF.items() if phrase in report}
    return said.pop() if len(said) == 1 else None


def test_table_is_a_cohort_whose_reports_have_their_lines(workdir, frame):
    cohort = read_cohort(make_config(), workdir)
    assert [unit.text for unit in cohort.units] == frame["report"].tolist()
    assert set(cohort.units[0].columns) == set(synthetic_reports.KNOWN)
    for unit in cohort.units:
        lines = unit.text.split("\n") if unit.text else []
        assert [line.split(": ")[0] for line in lines] in (SECTIONS, [])
        assert all(line.endswith(".") and not line.endswith("..") for line in lines)


def test_half_of_those_that_lack_something_have_no_report_the_others_no_image(workdir, frame):
    seen = frame["flair"] != ""
    for name in ("dwi", "lesion"):
        assert ((frame[name] != "") == seen).all()
    assert (seen | (frame["report"] != "")).all()
    for name in ("dwi", "flair", "lesion"):
        assert {file.name for file in (workdir / "synthetic" / name).iterdir()} == {f"{one}.nii.gz" for one in frame["patient_id"][seen]}
    chosen = synthetic_reports.check(make_config(shape=(4, 8, 8), spacing=(30.0, 6.0, 6.0), missing_share=0.4))
    absent = [synthetic_reports.draw_patient(number, chosen).absent for number in range(600)]
    assert absent.count("report") / 600 == pytest.approx(0.2, abs=0.06) == absent.count("image") / 600


def test_what_reports_say_of_a_lesion_is_in_its_mask(workdir, frame):
    atlas, affine = load(workdir, "synthetic/atlas.nii.gz")
    lines = (workdir / "synthetic" / "atlas.txt").read_text().splitlines()
    names = {int(number): name for number, _, name in (line.split("|") for line in lines)}
    assert sorted(names) == sorted(set(np.unique(atlas)) - {0}) == list(range(1, 9))
    checked = 0
    for row in frame[frame["flair"] != ""].itertuples():
        mask, own = load(workdir, row.lesion)
        np.testing.assert_array_equal(own, affine)
        inside = np.argwhere(mask > 0) @ own[:3, :3].T + own[:3, 3]
        found = np.bincount(atlas[mask > 0], minlength=9)
        assert found[0] == 0
        assert mask.sum() * abs(np.linalg.det(own[:3, :3])) / 1000 == pytest.approx(row.lesion_ml, abs=1e-3)
        assert row.eloquent == (found.argmax() in synthetic_reports.ELOQUENT_TERRITORIES)
        if not row.report:
            continue
        said = dict(line.rstrip(".").split(": ", 1) for line in row.report.split("\n"))
        left, right = (inside[:, 0] < 0).any(), (inside[:, 0] > 0).any()
        side = "both" if left and right else "left" if left else "right"
        assert said["Side"] in report_phrases.SIDES[side]
        _, full, short = phantom_atlas.TERRITORIES[int(found.argmax())]
        assert names[int(found.argmax())] == full
        assert any(name in said["Territories"] for name in (full, short)) and short in said["Impression"]
        told = re.search(r"about (\d+) ml|approximately (\d+) ml", said["Size"])
        if told:
            assert float(next(filter(None, told.groups()))) == pytest.approx(row.lesion_ml, rel=0.35, abs=0.7)
        checked += 1
    assert checked > 25


def mottling(workdir, cell):
    """Energy of the texture's wavelengths in the white matter, away from the lesion, relative to that of the finest ones, the noise's."""
    array, affine = load(workdir, cell)
    array = array / np.median(array[array > 0.4 * array.max()])
    voxel = np.abs(np.diag(affine)[:2])
    x, y, z = (
        (affine[axis, axis] * np.arange(count) + affine[axis, 3]).reshape([-1 if axis == other else 1 for other in range(3)])
        for axis, count in enumerate(array.shape)
    )
    inside = ((x / 45) ** 2 + (y / 58) ** 2 + (z / 35) ** 2 < 1) & ((x / 24) ** 2 + (y / 38) ** 2 + (z / 25) ** 2 > 1) & (array < 1.25)
    smooth, wide = (ndimage.gaussian_filter(array, [*(width / voxel), 0]) for width in (2.5, 7.0))
    return np.log((smooth - wide)[inside].std())


def test_the_texture_rises_with_the_grade_and_words_tell_it(workdir, frame):
    seen = frame[frame["flair"] != ""]
    measured = np.array([mottling(workdir, cell) for cell in seen["flair"]])
    assert np.corrcoef(measured, seen["white_matter"])[0, 1] > 0.85
    means = [measured[seen["white_matter"] == grade].mean() for grade in range(4)]
    assert means == sorted(means)


def test_brightness_does_not_tell_the_grade():
    """The texture has no mean, 1 as its deviation within the white matter, and ends before the surface and in the ventricles."""
    axes = np.array(phantom.BRAIN)
    place = [axis * line for axis, line in zip(axes, np.meshgrid(*3 * [np.linspace(-1, 1, 49)], indexing="ij", sparse=True), strict=True)]
    found = np.array([synthetic_reports.texture(place, axes, np.random.default_rng(seed)) for seed in range(12)])
    radius, fluid = phantom.radius_of(place, axes), phantom.ventricles(place, axes)
    white = (radius < 0.7) & (fluid < 0.01)
    assert abs(found[:, white].mean()) < 0.02 and found[:, white].std() == pytest.approx(1, abs=0.1)
    assert np.abs(found[:, radius > 0.9]).max() < 0.01 and np.abs(found[:, fluid > 0.99]).max() < 0.1


def test_words_match_the_grade(drawn):
    said = drawn["report"].map(grade_said)
    assert said.isna().mean() == pytest.approx(report_phrases.OMITTED, abs=0.025)
    assert (said.dropna() == drawn["white_matter"][said.notna()]).all()
    for grade, phrases in report_phrases.GRADES.items():
        shares = [drawn["report"][drawn["white_matter"] == grade].str.contains(phrase).mean() for phrase in phrases]
        assert min(shares) > 0.6 / len(phrases)
    assert drawn["report"].str.split("\n").map(lambda lines: lines[4]).nunique() > 100


def test_reports_say_nothing_of_the_patient(drawn):
    """No word follows the outcome, age or severity but through what the image shows."""
    words = CountVectorizer(binary=True, min_df=30).fit_transform(drawn["report"]).toarray()
    unseen = drawn["age"] > 70
    rates = words[unseen].mean(0), words[~unseen].mean(0)
    assert np.abs(rates[0] - rates[1]).max() < 0.08


def test_outcomes_follow_the_stated_model(drawn):
    poor = drawn["mrs"] > 2
    assert 0.3 < poor.mean() < 0.5
    assert drawn["eloquent"].mean() == pytest.approx(synthetic_reports.ELOQUENT_SHARE, abs=0.03)
    assert drawn["white_matter"].mean() == pytest.approx(synthetic_reports.MEAN_GRADE, abs=0.07)
    assert sorted(drawn["mrs"].unique()) == list(range(7))
    auc = {name: roc_auc_score(poor, drawn[name]) for name in synthetic_reports.KNOWN}
    assert 0.88 < auc["true_logit"] < 0.92
    assert 0.09 < auc["true_logit"] - auc["true_logit_without_report"] < 0.14
    assert all(auc[name] < auc["true_logit"] - 0.01 for name in auc if name != "true_logit")
    stated = (
        synthetic_reports.INTERCEPT + synthetic_reports.AGE * (drawn["age"] - 70) / 12 + synthetic_reports.NIHSS * (drawn["nihss"] - 9) / 6
        + synthetic_reports.LESION * (np.log(drawn["lesion_ml"]) - np.log(12)) / 1.1
        + synthetic_reports.ELOQUENT * (drawn["eloquent"] - synthetic_reports.ELOQUENT_SHARE)
        + synthetic_reports.WHITE_MATTER * (drawn["white_matter"] - synthetic_reports.MEAN_GRADE)
    )  # fmt: skip
    np.testing.assert_allclose(drawn["true_logit"], stated, atol=1e-5)


@pytest.mark.parametrize("column", list(synthetic_reports.KNOWN))
def test_every_log_odds_is_calibrated(drawn, column):
    predicted, poor = expit(drawn[column]), drawn["mrs"] > 2
    for low in (0.1, 0.3, 0.5, 0.7):
        near = (predicted > low) & (predicted < low + 0.2)
        assert near.sum() > 100
        assert poor[near].mean() == pytest.approx(predicted[near].mean(), abs=3.5 * 0.5 / np.sqrt(near.sum()))


def test_an_expected_log_odds_is_the_mean_over_what_is_unknown():
    """Against plain simulation: many patients with the same columns."""
    rng, count = np.random.default_rng(1), 400_000
    volume = synthetic_reports.CORRELATION * 0.8 + np.sqrt(1 - synthetic_reports.CORRELATION**2) * rng.normal(size=count)
    drawn = {
        "age": rng.normal(size=count), "nihss": np.full(count, 0.8), "volume": volume,
        "eloquent": (rng.random(count) < synthetic_reports.ELOQUENT_SHARE).astype(float), "white_matter": np.full(count, 2.0),
    }  # fmt: skip
    simulated = expit(synthetic_reports.expected_logit(drawn, synthetic_reports.KNOWN["true_logit"])).mean()
    one = {
        name: np.array([value]) for name, value in {"age": 9.0, "nihss": 0.8, "volume": 9.0, "eloquent": 9.0, "white_matter": 2.0}.items()
    }
    assert expit(synthetic_reports.expected_logit(one, ("nihss", "white_matter")))[0] == pytest.approx(simulated, abs=0.003)


def test_words_bring_back_what_the_report_is_worth(drawn):
    poor, train, test = (drawn["mrs"] > 2).to_numpy(), slice(0, 1600), slice(1600, 2400)
    shown = np.stack([drawn["age"] / 12, drawn["nihss"] / 6, np.log(drawn["lesion_ml"]), drawn["eloquent"]], 1)
    grade = drawn["report"].map(grade_said)
    parsed = np.stack([grade.fillna(synthetic_reports.MEAN_GRADE)], 1)
    words = CountVectorizer(binary=True, min_df=5).fit(drawn["report"][train]).transform(drawn["report"]).toarray()
    auc = {}
    for name, features in (
        ("without", shown[:, :2]),
        ("shown", shown),
        ("words", np.hstack([shown[:, :2], words])),
        ("all", np.hstack([shown, parsed])),
    ):
        fitted = LogisticRegression(C=0.3, max_iter=2000).fit(features[train], poor[train])
        auc[name] = roc_auc_score(poor[test], fitted.decision_function(features[test]))
    best = {name: roc_auc_score(poor[test], drawn[name][test]) for name in ("true_logit", "true_logit_without_report")}
    assert auc["shown"] == pytest.approx(best["true_logit_without_report"], abs=0.015)
    assert best["true_logit"] - 0.025 < auc["all"] < best["true_logit"] + 0.01
    assert auc["words"] > auc["without"] + 0.08
    assert auc["words"] > best["true_logit"] - 0.05


def test_number_of_processes_does_not_matter_and_nothing_is_made_twice(workdir, tmp_path):
    path = synthetic_reports.make(make_config(workers=2), tmp_path)
    with open(path) as one, open(workdir / "cohort.csv") as other:
        assert one.read() == other.read()
    for file in (workdir / "synthetic").rglob("*.nii.gz"):
        assert file.read_bytes() == (tmp_path / file.relative_to(workdir)).read_bytes()
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")}
    synthetic_reports.make(make_config(workers=2), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")} == times


def test_the_atlas_follows_the_settings(tmp_path):
    synthetic_reports.make(make_config(patients=2), tmp_path)
    synthetic_reports.make(make_config(patients=2, shape=(8, 32, 32)), tmp_path)
    atlas, affine = load(tmp_path, "synthetic/atlas.nii.gz")
    assert atlas.shape == (32, 32, 8)
    x = affine[0, 0] * np.arange(32) + affine[0, 3]
    assert (atlas[x < 0] % 2 == (atlas[x < 0] > 0)).all() and (atlas[x > 0] % 2 == 0).all()


def test_voxels_that_lose_the_texture_are_refused(tmp_path):
    with pytest.raises(InputError, match="at most 6 mm"):
        synthetic_reports.make(make_config(spacing=(10.0, 6.4, 6.4)), tmp_path)
