"""`--mode explain` through the program: which networks are asked, what is left on disk, and what is refused."""

import csv
import gzip
import json
import pathlib
import shutil
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import marked_headers as privacy  # noqa: E402

from jaxstroke import main  # noqa: E402
from jaxstroke.explain import files  # noqa: E402
from jaxstroke.training import engine, modes  # noqa: E402

ICH = [
    "--config.model.encoder=resnet_small_3d",
    "--config.model.widths=(4,8)",
    "--config.model.dropout=(0.0,0.0)",
    "--config.train.seeds=(0,1)",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, project_root):
    """A workdir of paper 3's kind, its synthetic patients and its clinical columns as the network's outcomes."""
    folder = tmp_path_factory.mktemp("explain")
    config = f"--config={project_root / 'configs' / 'ich_multitask.py'}:smoke"
    run("--workdir", folder / "run", config, "--config.device.data=1", "--config.cohort.workers=1", *ICH)
    return folder / "run"


def run(*arguments, code: int = 0):
    assert main.main(["main", *map(str, arguments)]) == code


def table(workdir) -> pd.DataFrame:
    return pd.read_csv(workdir / "cohort.csv", dtype={"patient_id": str}).dropna(subset=["dwi"])


def test_a_patient_is_explained_by_the_networks_that_had_not_seen_it(copied, monkeypatch):
    asked = []
    load = engine.checkpoint.Finished.load
    monkeypatch.setattr(engine.checkpoint.Finished, "load", lambda self, run, like: (asked.append(run), load(self, run, like))[1])
    frame = pd.read_csv(copied / "predictions.csv", dtype={"patient_id": str})
    for fold in (0, 1):
        test = frame[(frame["split"] == "test") & (frame["fold"] == fold)]
        one = test["patient_id"].iloc[0]
        asked.clear()
        run("--workdir", copied, "--mode=explain", f"--config.explain.patients=('{one}',)")
        assert set(asked) == {f"r0-f{fold}-s0", f"r0-f{fold}-s1"}
        html = (copied / "explain" / one / f"patient_{one}.html").read_text()
        network = test[(test["patient_id"] == one) & (test["model"] == "network") & (test["task"] == "prognosis")]["probability"]
        assert f"<b>{100 * network.mean():.0f} %</b>" in html
        assert f"{100 * network.min():.0f} to {100 * network.max():.0f} % by network" in html


@pytest.mark.slow
def test_maps_lie_on_the_patients_own_file(copied):
    run("--workdir", copied, "--mode=explain", "--config.explain.most=2", "--config.explain.method=('grad_cam','integrated_gradients')")
    rows = table(copied)
    for patient in rows["patient_id"][:2]:
        source = nibabel.load(copied / rows.set_index("patient_id").loc[patient, "dwi"])
        for method in ("grad_cam", "integrated_gradients"):
            found = nibabel.load(copied / "explain" / patient / f"ct_prognosis_{method}.nii.gz")
            np.testing.assert_allclose(found.affine, source.affine, atol=1e-5)
            assert found.shape == source.shape and np.abs(found.get_fdata()).max() > 0
            assert (copied / "explain" / patient / f"ct_prognosis_{method}.png").stat().st_size > 5000
    summary = json.loads((copied / "explain" / "explain.json").read_text())
    assert set(summary) == {"ct_prognosis_grad_cam", "ct_prognosis_integrated_gradients"}
    for one in summary.values():
        assert one["patients"] == 2 and -1 <= one["randomised_spearman"] <= 1 and one["words"]
        assert one["curves"]["map"]["deletion"][0] == pytest.approx(one["curves"]["random"]["deletion"][0])
    assert not list((copied / "explain").rglob("*.partial*"))
    html = (copied / "report.html").read_text()
    assert "Can the maps be trusted?" in html and "ct prognosis integrated gradients" in html
    before = (copied / "explain" / patient / "ct_prognosis_grad_cam.nii.gz").read_bytes()
    run("--workdir", copied, "--mode=explain", "--config.explain.most=2")
    again = (copied / "explain" / patient / "ct_prognosis_grad_cam.nii.gz").read_bytes()
    np.testing.assert_array_equal(*(nibabel.Nifti1Image.from_bytes(gzip.decompress(one)).get_fdata() for one in (before, again)))


@pytest.mark.slow
def test_new_patients_are_explained_by_all_folds(copied, tmp_path, capsys):
    rows = table(copied).head(2).drop(columns=["mrs"])
    rows["patient_id"] = ["new/1", "new 2"]
    for name in ("dwi",):
        rows[name] = [str(copied / path) for path in rows[name]]
    rows.to_csv(tmp_path / "new.csv", index=False)
    run("--workdir", copied, "--mode=explain", "--cohort", tmp_path / "new.csv")
    folder = next((copied / "external").iterdir()) / "explain"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {files.name_of("new/1"), files.name_of("new 2")}
    html = next(folder.rglob("*.html")).read_text()
    assert "4 networks of all folds" in html and "2 patients explained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.explain.method=('grad_cm',)", ("explain.method", "grad_cam")),
        ("--config.explain.head=prognose", ("explain.head", "prognosis")),
        ("--config.explain.image=dwi", ("explain.image", "ct")),
        ("--config.explain.layer=nowhere", ("explain.layer",)),
        ("--config.explain.patients=('nobody',)", ("explain.patients", "nobody")),
        ("--config.explain.steps=0", ("explain.steps",)),
        ("--config.explain.words=-1", ("explain.words",)),
        ("--cohort=absent.csv", ("absent.csv",)),
    ],
)
def test_what_cannot_be_explained_is_named(copied, capsys, argument, words):
    run("--workdir", copied, "--mode=explain", argument, code=2)
    message = capsys.readouterr().err
    assert "error:" in message and all(word in message for word in words) and "Traceback" not in message


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": {}}', '{"a": 3}', '{"a": {"randomised_spearman": "x", "areas": {}}}'])
def test_a_damaged_summary_is_named_by_the_report(trained, tmp_path, content, capsys):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "explain").mkdir()
    (tmp_path / "run" / "explain" / "explain.json").write_text(content)
    run("--workdir", tmp_path / "run", "--mode=report", code=2)
    assert "explain.json is not as it was written" in capsys.readouterr().err


def test_no_text_of_a_dicom_header_is_in_an_explanation(copied, tmp_path, capfd):
    """A new patient whose series holds a marker in every identifying element: it is in nothing that is written or said."""
    stack = privacy.made.stack([0, 4, 8, 12, 16, 20], privacy.made.linear)
    (tmp_path / "hospital" / "series").mkdir(parents=True)
    for place, one in enumerate(stack):
        (tmp_path / "hospital" / "series" / f"{place}.dcm").write_bytes(privacy.planted(one))
    row = {"patient_id": "001", "dwi": "series", "age": 60, "nihss": 5}
    pd.DataFrame([row | {name: "" for name in table(copied).columns if name not in row}]).to_csv(
        tmp_path / "hospital" / "new.csv", index=False
    )
    run("--workdir", copied, "--mode=explain", "--cohort", tmp_path / "hospital" / "new.csv")
    folder = next((copied / "external").iterdir())
    assert (folder / "explain" / "001" / "ct_prognosis_grad_cam.nii.gz").exists()
    written = privacy.everything_in(copied) + gzip.decompress((folder / "explain" / "001" / "ct_prognosis_grad_cam.nii.gz").read_bytes())
    said = capfd.readouterr()
    for marker in (privacy.MARKER, privacy.NUMBER):
        assert marker.encode() not in written and marker not in said.out + said.err


def test_an_untrained_workdir_is_refused(tmp_path, capsys, project_root):
    run("--workdir", tmp_path / "run", "--mode=explain", f"--config={project_root / 'configs' / 'ich_multitask.py'}:smoke", code=2)
    assert "train first" in capsys.readouterr().err


@pytest.mark.slow
def test_modules_and_clinical_columns_of_paper_one(tmp_path, project_root):
    """Trained jointly, the merge reads the columns: what they add is listed, and sums with the images' part to the change of the logit."""
    config = f"--config={project_root / 'configs' / 'mri_cnn_lstm.py'}:smoke"
    joint = ["--config.train.stages=joint", "--config.model.fusion=stacked", "--config.model.images=('dwi','adc')"]
    run("--workdir", tmp_path / "run", config, "--config.device.data=1", "--config.cohort.workers=1", *joint)
    run("--workdir", tmp_path / "run", "--mode=explain", "--config.explain.most=3")
    rows = list(csv.DictReader((tmp_path / "run" / "explain" / "explain.csv").read_text().splitlines()))
    assert {row["name"] for row in rows} >= {"age", "nihss"} and {row["kind"] for row in rows} == {"column"}
    folders = [path for path in (tmp_path / "run" / "explain").iterdir() if path.is_dir()]
    assert len(folders) == 3 and all(list(folder.glob("columns_*.png")) for folder in folders)


def test_names_of_files_are_harmless_and_do_not_collide():
    names = [files.name_of(unit) for unit in ("a/b", "a_b", "../etc", "a b", "", ".", "ü", "x" * 300)]
    assert len(set(names)) == len(names) and all("/" not in name and not name.startswith(".") and len(name) < 100 for name in names)


@pytest.mark.slow
def test_make_ready_and_prediction_are_untouched_by_an_explanation(copied):
    before = (copied / "predictions.csv").read_bytes()
    run("--workdir", copied, "--mode=explain", "--config.explain.most=1")
    assert (copied / "predictions.csv").read_bytes() == before
    assert modes.work.read(copied)["config"]["explain"]["most"] == 1  # what was last asked for
