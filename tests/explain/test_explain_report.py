"""`--mode explain` of a network that reads reports, through the program: files, their grid, shares of attention, and the page."""

import csv
import html
import json
import re

import nibabel
import numpy as np
import pandas as pd
import pytest

from jaxstroke import main

pytestmark = pytest.mark.slow
SMALL = [
    "--config.cohort.synthetic.shape=(6,36,36)", "--config.cohort.synthetic.spacing=(20.0,5.7,5.7)", "--config.train.epochs=1",
    "--config.train.batch_size=8", "--config.text.length=64", "--config.evaluate.bootstrap=20", "--config.cohort.workers=1",
    "--config.device.data=1",
]  # fmt: skip
EVIL = 'Side: left.\nSize: <script>alert("1")</script> 12.4 ml, $x$.'


def run(*arguments, code: int = 0):
    assert main.main(["main", *map(str, arguments)]) == code


def train(folder, project_root, *arguments):
    config = f"--config={project_root / 'configs' / 'trimodal_align.py'}:smoke"
    run("--workdir", folder, config, *SMALL, *arguments)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, project_root):
    """A workdir of paper 5, two networks a patient, with reports of the synthetic cohort."""
    return train(
        tmp_path_factory.mktemp("explain") / "run", project_root, "--config.train.seeds=(0,1)", "--config.cohort.synthetic.patients=20"
    )


@pytest.fixture(scope="module")
def patients(trained) -> dict[str, str]:
    """One who has everything, one without a report, one without images."""
    table = pd.read_csv(trained / "cohort.csv", keep_default_na=False)
    has_image, has_report = table["flair"] != "", table["report"] != ""
    groups = {"whole": has_image & has_report, "mute": has_image & ~has_report, "blind": ~has_image & has_report}
    return {name: table[rows]["patient_id"].iloc[0] for name, rows in groups.items() if rows.any()}


@pytest.fixture(scope="module")
def explained(trained, patients):
    """Where they are explained."""
    run("--workdir", trained, "--mode=explain", f"--config.explain.patients={tuple(patients.values())}", "--config.explain.words=5")
    return trained / "explain"


def lines(path) -> list[dict]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_words_lie_on_the_patients_own_file(trained, explained, patients):
    table = pd.read_csv(trained / "cohort.csv").set_index("patient_id")
    folder = explained / patients["whole"]
    report = table.loc[patients["whole"], "report"]
    shares = 0.0
    for image in ("flair", "lesion"):
        source, found = nibabel.load(trained / table.loc[patients["whole"], image]), nibabel.load(folder / f"{image}_words.nii.gz")
        assert found.shape == (*source.shape, 5) and (folder / f"words_{image}.png").stat().st_size > 5000
        np.testing.assert_allclose(found.affine, source.affine, atol=1e-4)
        rows = lines(folder / f"{image}_words.csv")
        assert [row["word"] for row in rows] == re.findall(r"[\w<>]+(?:[-.]\w+)*", report) and rows[0]["section"] == "side"
        read = [row for row in rows if row["networks"] != "0"]
        assert {row["networks"] for row in read} <= {"1", "2"} and rows[0]["networks"] == "2"
        shares = shares + np.array([float(row["share"]) for row in read])
        written = [row for row in rows if row["volume"]]
        assert [row["volume"] for row in written] == [*"01234"]
        least = min(float(row["peak"]) for row in written)
        assert all(float(row["peak"]) <= least for row in read if not row["volume"])
        values = found.get_fdata()
        assert (values.max((0, 1, 2)) <= [1.01 * float(row["peak"]) for row in written]).all() and values.min() >= 0
    np.testing.assert_allclose(shares, 1, atol=2e-6)
    assert not list(explained.rglob("*.partial*"))


def test_the_page_and_the_table_tell_of_the_report(trained, explained, patients):
    rows = [row for row in lines(explained / "explain.csv") if row["patient_id"] == patients["whole"]]
    assert {row["kind"] for row in rows} == {"column", "report"}
    taken = [row for row in rows if row["kind"] == "report"]
    assert [row["name"] for row in taken][:2] == ["report (taken away)", "section side (taken away)"] and float(taken[0]["contribution"])
    page = (explained / patients["whole"] / f"patient_{patients['whole']}.html").read_text()
    text = json.loads((trained / "reports.jsonl").read_text().splitlines()[int(patients["whole"][-4:]) - 1])["text"]
    shown = html.unescape(re.sub(r"<[^>]*>", "", re.search(r'<div class="text">(.*?)</div>', page, re.S)[1]))
    assert "".join(shown.split()) == "".join(text.split()) and "From the table" in page
    for voxels in re.findall(r'class="voxels">(.*?)</script>', page, re.S):
        assert sum(title.startswith("word: ") for title in json.loads(voxels)["maps"]) == 5
    assert set(re.findall(r'data-map="([^"]*)"', page)) <= set(re.findall(r"<option>([^<]*)</option>", page))


def test_a_patient_without_a_report_is_told_so_and_one_without_images_has_no_maps(explained, patients):
    if "mute" in patients:
        page = (explained / patients["mute"] / f"patient_{patients['mute']}.html").read_text()
        assert "There is none: column &#39;report&#39; is empty" in page and "taken away" not in page
        assert not list((explained / patients["mute"]).glob("*words*"))
    if "blind" in patients:
        page = (explained / patients["blind"] / f"patient_{patients['blind']}.html").read_text()
        assert "report (taken away)" in page and "data-map=" not in page and '<div class="text">' in page
        assert not list((explained / patients["blind"]).glob("*.nii.gz"))
    assert {"mute", "blind"} & set(patients)


def test_a_new_patients_report_is_text_and_no_markup(trained, patients, tmp_path):
    table = pd.read_csv(trained / "cohort.csv").set_index("patient_id")
    row = table.loc[patients["whole"], ["flair", "lesion", "age", "nihss", "sex"]]
    row[["flair", "lesion"]] = [str(trained / row[name]) for name in ("flair", "lesion")]
    pd.DataFrame([{"patient_id": "new1", "report": EVIL, **row}]).to_csv(tmp_path / "new.csv", index=False)
    run("--workdir", trained, "--mode=explain", "--cohort", tmp_path / "new.csv", "--config.explain.patients=()")
    folder = next((trained / "external").iterdir()) / "explain" / "new1"
    page = (folder / "patient_new1.html").read_text()
    assert (
        "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in re.sub(r"</?(?:button|span)[^>]*>", "", page) and page.count("<script>") == 1
    )
    rows = lines(folder / "flair_words.csv")
    assert [row["word"] for row in rows] == ["Side", "left", "Size", 'script>alert("1")</script', "12.4", "ml", "x"]
    assert {row["networks"] for row in rows} == {"4"}


def test_the_one_module_of_a_merge_is_explained(tmp_path, project_root):
    stacked = ["--config.model.fusion=stacked", "--config.split.inner_folds=2", "--config.cohort.synthetic.patients=48"]
    train(tmp_path / "run", project_root, *stacked)
    run("--workdir", tmp_path / "run", "--mode=explain", "--config.explain.most=1", "--config.explain.image=flair")
    (folder,) = [path for path in (tmp_path / "run" / "explain").iterdir() if path.is_dir()]
    assert {"flair_poor_grad_cam.nii.gz", "flair_words.nii.gz", "columns_poor.png"} <= {path.name for path in folder.iterdir()}
