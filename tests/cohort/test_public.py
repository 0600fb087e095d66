"""Public cohorts: small copies of their layout, and the real folders where they are."""

import gzip
import importlib.util

import nibabel
import numpy as np
import PIL.Image
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxstroke import config as settings
from jaxstroke.cohort.public import ist, soop
from jaxstroke.cohort.table import read_cohort
from jaxstroke.errors import InputError

HEADER = "participant_id\tsex\tage\trace\tacuteischaemicstroke\tpriorstroke\tbmi\tnihss\tgs_rankin_6isdeath"


def soop_folder(root, rows=("sub-2\tM\t89+\tw\t1.0\t0.0\t22.84\t17.0\t3.0", "sub-10\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a")):
    (root / "lesions").mkdir(parents=True)
    (root / "views").mkdir()
    (root / "participants.tsv").write_text("\n".join((HEADER, *rows)) + "\n")
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), root / "lesions" / "bwsrsub-2_lesion.nii.gz")
    picture = np.full((16, 16, 3), 120, np.uint8)
    for number, view in enumerate(soop.VIEWS):
        picture[:8, : 8 * (number > 0)] = (250, 20, 20)
        PIL.Image.fromarray(picture).save(root / "views" / f"sub-2_{view}.jpg", quality=95)
    PIL.Image.fromarray(picture).save(root / "views" / "sub-10_axial.jpg")
    return root


def test_soop_columns(tmp_path):
    frame = soop.table(soop_folder(tmp_path / "soop"))
    first, second = frame.to_dict("records")
    assert {name: first[name] for name in ("patient_id", "age", "age_capped", "sex", "prior_stroke", "mrs", "nihss")} == {
        "patient_id": "sub-2", "age": "89", "age_capped": "1", "sex": "M", "prior_stroke": "0", "mrs": "3", "nihss": "17.0",
    }  # fmt: skip
    assert first["lesion"].endswith("bwsrsub-2_lesion.nii.gz")
    assert [path.rsplit("_")[-1] for path in first["views"].split("|")] == ["axial.jpg", "coronal.jpg", "sagittal.jpg"]
    assert int(first["red_pixels"]) == pytest.approx(128, abs=24)
    assert {second[name] for name in ("age", "age_capped", "lesion", "views", "red_pixels", "mrs")} == {""}


def test_soop_without_outcomes_or_files(tmp_path):
    root = soop_folder(tmp_path / "soop")
    lines = [line.rsplit("\t", 1)[0] for line in (root / "participants.tsv").read_text().splitlines()]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "participants.tsv").write_text("\n".join(lines))
    frame = soop.table(tmp_path / "bare")
    assert "mrs" not in frame
    assert set(frame["lesion"]) == {""}


@pytest.mark.parametrize("recipe", ["soop", "ist", "csic_ich", "medmnist3d"])
def test_a_folder_that_is_not_there_says_how_to_point_at_it(tmp_path, recipe):
    config = settings.base()
    config.cohort.recipe = recipe
    for root in ("", str(tmp_path)):
        config.cohort.root = root
        with pytest.raises(InputError, match="--config.cohort.root"):
            read_cohort(config, tmp_path / "run")


def test_soop_digest_does_not_depend_on_the_folder(tmp_path):
    config = settings.base()
    config.cohort.recipe = "soop"
    config.images.lesion = settings.image("lesion")
    config.cohort.outcomes.poor = ("mrs", ">", 2)
    digests = []
    for place in ("here", "there"):
        config.cohort.root = str(soop_folder(tmp_path / place))
        digests.append(read_cohort(config, tmp_path / f"run-{place}").digest)
    assert digests[0] == digests[1]


def test_ist_outcome_and_ids(tmp_path):
    names = [*ist.NUMERIC, *ist.CATEGORICAL, "HOSPNUM", "EXPDD", "OCCODE"]
    rows = [["1"] * (len(names) - 1) + [code] for code in ("0", "1", "2", "3", "4", "9")]
    text = "\n".join(",".join(row) for row in (names, *rows))
    (tmp_path / "ist.csv.gz").write_bytes(gzip.compress(text.encode()))
    frame = ist.table(tmp_path)
    assert list(frame["dead_or_dependent"]) == ["", "1", "1", "0", "0", ""]
    assert frame["patient_id"].is_unique
    (tmp_path / "ist.csv.gz").write_bytes(gzip.compress(text.encode())[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        ist.table(tmp_path)


def config_of(project_root, variant):
    spec = importlib.util.spec_from_file_location("mri_cnn_lstm", project_root / "configs" / "mri_cnn_lstm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def test_soop_as_published(data_root, project_root, tmp_path):
    config = config_of(project_root, "soop")
    with config.unlocked():
        config.cohort.root = str(data_root / "soop")
    cohort = read_cohort(config, tmp_path)
    assert len(cohort.units) == 418
    assert dict(cohort.flow)["without outcome"] == 538 - 1305
    red, poor = zip(*((unit.columns["red_pixels"], unit.labels["poor"]) for unit in cohort.units), strict=True)
    assert roc_auc_score(poor, red) == pytest.approx(0.742, abs=0.005)
    assert sum(count == 0 for count in red) == pytest.approx(68, abs=5)
    with config.unlocked():
        config.cohort.complete = ()
    everyone = read_cohort(config, tmp_path)
    assert len(everyone.units) == 538
    assert sum(not unit.paths["lesion"] and not unit.paths["views"] for unit in everyone.units) == 120


def test_ist_as_published(data_root, tmp_path):
    config = settings.base()
    config.cohort.recipe = "ist"
    config.cohort.root = str(data_root / "ist")
    config.cohort.outcomes.poor = ("dead_or_dependent", "==", 1)
    config.clinical.numeric = tuple(name.lower() for name in ist.NUMERIC)
    config.clinical.categorical.update({name.lower(): () for name in ist.CATEGORICAL})
    units = read_cohort(config, tmp_path).units
    assert len(units) == 15_322
    columns = []
    for name in units[0].clinical:
        values = [unit.clinical[name] for unit in units]
        levels = sorted({value for value in values if isinstance(value, str)})
        columns += [[value == level for value in values] for level in levels] or [values]
    x, y = np.array(columns, float).T, np.array([unit.labels["poor"] for unit in units])
    train = np.arange(len(y)) % 5 > 0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3)).fit(x[train], y[train])
    assert 0.785 < roc_auc_score(y[~train], model.predict_proba(x[~train])[:, 1]) < 0.815
