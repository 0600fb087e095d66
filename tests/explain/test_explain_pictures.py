"""`--mode explain` of pictures through the program: importance.csv, explain.json and the page, and every method's maps."""

import json
import pathlib
import re
import sys

import pandas as pd
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import picture_cohort  # noqa: E402

from jaxstroke import main  # noqa: E402
from jaxstroke.explain import importance, maps  # noqa: E402


def run(*arguments, code: int = 0):
    assert main.main(["main", *map(str, arguments)]) == code


@pytest.fixture(scope="module")
def trained(tmp_path_factory, project_root):
    """A workdir of paper 2 with attention over pictures, trained on the cohort in `cohort` beside it."""
    folder = tmp_path_factory.mktemp("pictures")
    table = picture_cohort.write(folder / "cohort")
    config = f"--config={project_root / 'configs' / 'ct_conv_lstm.py'}:own"
    run("--workdir", folder / "run", config, f"--config.cohort.table={table}", "--config.model.sequence=attention", *picture_cohort.RUN)
    return folder / "run"


def explained(workdir, *arguments) -> pathlib.Path:
    """Where `--mode explain` with these arguments leaves what it finds of the workdir's own patients."""
    run("--workdir", workdir, "--mode=explain", *arguments)
    return workdir / "explain"


def test_every_file_of_a_cell_is_told(copied):
    folder = explained(copied, f"--config.explain.patients=('{picture_cohort.ODD}','P06','P01')")
    found = pd.read_csv(folder / "importance.csv", dtype={"patient_id": str}, keep_default_na=False)
    assert tuple(found.columns) == importance.COLUMNS
    odd = found[found["patient_id"] == picture_cohort.ODD]
    seen, unseen = odd[odd["left_out"] == ""], odd[odd["left_out"] != ""].set_index("file")["left_out"]
    assert seen["file"].tolist() == ["img1.jpg", "img2.jpg", "img3.png", "img4.png", "img10.png"] and seen["number"].tolist() == [*"12345"]
    assert set(unseen.index) == {"img5.png", "img11.jpg", "list.txt"}
    assert unseen["img5.png"] == "left out: it shows the same as img1.jpg" and "not a PNG" in unseen["img11.jpg"]
    assert odd[odd["left_out"] == ""]["attention"].astype(float).sum() == pytest.approx(1, abs=1e-5)
    many = found[found["patient_id"] == "P06"]
    assert (many["left_out"] == "").sum() == 5 and many["left_out"].str.contains("evenly spaced").sum() == 2
    numbers = seen[["low", "leave_one_out", "high"]].astype(float)
    assert (numbers.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None) and (numbers["high"] > numbers["low"]).any()
    summary = json.loads((folder / "explain.json").read_text())
    assert [line["file"] for line in summary["importance"]] == found["file"].tolist()


def test_a_picture_of_a_file_that_holds_several_is_named_by_its_number(copied):
    folder = explained(copied, f"--config.explain.patients=('{picture_cohort.EYES}',)")
    found = pd.read_csv(folder / "importance.csv", dtype={"patient_id": str}, keep_default_na=False)
    seen, unseen = found[found["left_out"] == ""]["file"].tolist(), found[found["left_out"] != ""][["file", "left_out"]].values.tolist()
    assert seen == ["img1.jpg", "img9.vol, B-scan 1", "img9.vol, B-scan 3", "img9.vol, B-scan 4", "img20.dcm, frame 2"]
    assert unseen == [
        ["img2.jpg", "one too many: of all pictures 5 evenly spaced ones are kept"],
        ["img9.vol", "B-scan 2 left out: zero everywhere"],
        ["img20.dcm", "1 of 2 frames kept, evenly spaced"],
    ]
    html = (folder / picture_cohort.EYES / f"patient_{picture_cohort.EYES}.html").read_text()
    assert html.count('src="data:image/png;base64,') == 5 and all(name in html for name in seen)
    (voxels,) = (json.loads(one) for one in re.findall(r'class="voxels">(.*?)</script>', html, re.S))
    assert voxels["labels"] == seen


def test_the_log_odds_are_those_of_the_predictions(copied):
    """Each patient's by the networks of its own fold, at the prevalence of the training patients."""
    found = pd.read_csv(explained(copied, "--config.explain.most=4") / "importance.csv", dtype={"patient_id": str})
    frame = pd.read_csv(copied / "predictions.csv", dtype={"patient_id": str})
    frame = frame[(frame["split"] == "test") & (frame["model"] == "network")]
    for patient, rows in found.dropna(subset=["number"]).groupby("patient_id"):
        assert rows["all"].iloc[0] == pytest.approx(frame[frame["patient_id"] == patient]["logit"].mean(), abs=1e-4)
        if len(rows) == 1:
            assert rows["alone"].iloc[0] == pytest.approx(rows["all"].iloc[0], abs=1e-5)
    assert "Can the maps be trusted?" in (copied / "report.html").read_text()


def test_the_page_shows_each_picture_by_its_name_alone(copied):
    folder = explained(copied, f"--config.explain.patients=('{picture_cohort.ODD}',)")
    html = (folder / picture_cohort.ODD / f"patient_{picture_cohort.ODD}.html").read_text()
    assert html.count('src="data:image/png;base64,') == 5 and "Not seen by the network" in html
    for name in ("img1.jpg", "img10.png", "img5.png: left out: it shows the same as img1.jpg", "list.txt: passed over"):
        assert name in html
    (voxels,) = (json.loads(one) for one in re.findall(r'class="voxels">(.*?)</script>', html, re.S))
    assert voxels["labels"] == ["img1.jpg", "img2.jpg", "img3.png", "img4.png", "img10.png"] and voxels["shape"][0] == 5
    written = [path.read_text(errors="ignore") for path in folder.rglob("*") if path.suffix in (".html", ".csv", ".json")]
    assert len(written) >= 4 and not any("Doe" in text or "/tmp" in text for text in written)


@pytest.mark.parametrize("method", maps.METHODS)
def test_every_method_gives_maps_of_pictures(copied, method):
    arguments = ("--config.explain.patch=(1,8,8)", "--config.explain.stride=(1,8,8)", "--config.explain.steps=4")
    folder = explained(
        copied, f"--config.explain.method=('{method}',)", f"--config.explain.patients=('{picture_cohort.ODD}','P01')", *arguments
    )
    assert set(json.loads((folder / "explain.json").read_text())) == {f"images_diagnosis_{method}", "importance"}
    for patient in (picture_cohort.ODD, "P01"):
        assert (folder / patient / f"images_diagnosis_{method}.png").stat().st_size > 1000
        assert not list((folder / patient).glob("*.nii.gz"))  # a picture has no voxels in mm


def test_a_patient_without_a_picture_that_can_be_read_is_told(copied, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    pd.DataFrame([{"patient_id": "N1", "images": "bad.jpg"}, {"patient_id": "N2", "images": ""}]).to_csv(tmp_path / "new.csv", index=False)
    explained(copied, f"--cohort={tmp_path / 'new.csv'}")
    folder = next((copied / "external").iterdir()) / "explain"
    html = (folder / "N1" / "patient_N1.html").read_text()
    assert "None of the files" in html and "bad.jpg: it is not a PNG" in html
    assert 'class="images"' not in (folder / "N2" / "patient_N2.html").read_text()
    found = pd.read_csv(folder / "importance.csv")
    assert found["file"].tolist() == ["bad.jpg"] and found["leave_one_out"].isna().all()
