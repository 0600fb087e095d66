"""A whole run on pictures with three diagnoses, as paper 2 has them: trained, judged, asked of new patients, explained, exported."""

import json
import pathlib

import jax.export
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jaxstroke import main

CONFIG = str(pathlib.Path(__file__).resolve().parent.parent / "configs" / "ct_conv_lstm.py")
CLASSES = ("normal", "infarct", "bleeding")
TINY = [
    "--config.images.images.shape=(3,16,16)", "--config.model.widths=(4,)", "--config.model.hidden=4", "--config.model.sequence=mean",
    "--config.train.buckets=()", "--config.train.epochs=2", "--config.train.batch_size=16", "--config.train.imbalance=weights",
    "--config.train.watch=balanced_accuracy", "--config.split.folds=2", "--config.evaluate.bootstrap=50", "--config.device.data=1",
    "--config.device.cache=", "--config.cohort.workers=1", "--config.loss.diagnosis.kind=classes",
    f"--config.cohort.outcomes.diagnosis=('diagnosis','classes',{CLASSES})",
]  # fmt: skip
TEXT = {"patient_id": str, "class": str, "unit_id": str}

pytestmark = pytest.mark.usefixtures("signals_kept")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """30 patients with one to three pictures, brighter in one half with an infarct, in the other with a bleeding."""
    folder, rng, rows = tmp_path_factory.mktemp("cohort"), np.random.default_rng(0), []
    for number in range(30):
        place = number % 3
        paths = []
        for picture in range(1 + number % 3):
            values = rng.integers(0, 60, (16, 16))
            values[:, 8 * (place - 1) : 8 * place] += 150 if place else 0
            Image.fromarray(values.astype(np.uint8)).save(folder / f"{number}_{picture}.png")
            paths.append(f"{number}_{picture}.png")
        rows.append({"patient_id": f"{number:02d}", "images": "|".join(paths), "diagnosis": CLASSES[place]})
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "my.csv", index=False)
    frame.drop(columns="diagnosis").head(5).to_csv(folder / "new.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(cohort):
    workdir = cohort / "run"
    command = ["main", f"--config={CONFIG}:own", f"--workdir={workdir}", f"--config.cohort.table={cohort / 'my.csv'}", *TINY]
    assert main.main(command) == 0
    return workdir


def sums(frame, column="probability"):
    return frame.groupby(["unit_id", "model", "split"])[column].sum()


def test_every_patient_is_judged_by_class(trained):
    frame = pd.read_csv(trained / "predictions.csv", dtype=TEXT, keep_default_na=False)
    assert list(frame["class"].unique()) == list(CLASSES) and frame[frame["split"] == "test"]["patient_id"].nunique() == 30
    np.testing.assert_allclose(sums(frame), 1, atol=1e-8)
    np.testing.assert_allclose(sums(frame, "recalibrated"), 1, atol=1e-8)
    numbers = json.loads((trained / "metrics.json").read_text())["tasks"]["diagnosis"]
    assert list(numbers["auc_classes"]) == list(CLASSES) and np.sum(numbers["confusion"]["counts"]) == 30
    page = (trained / "report.html").read_text()
    assert "Each class of diagnosis against the rest" in page and "True and predicted class" in page


def test_new_patients_and_the_export_agree(trained, cohort):
    output = cohort / "scores.csv"
    assert main.main(["main", f"--workdir={trained}", "--mode=predict", f"--cohort={cohort / 'new.csv'}", f"--output={output}"]) == 0
    frame = pd.read_csv(output, dtype=TEXT, keep_default_na=False)
    names = ("probability", "recalibrated")
    wide = {name: frame.pivot_table(index="patient_id", columns="class", values=name)[list(CLASSES)].to_numpy() for name in names}
    for values in wide.values():
        np.testing.assert_allclose(values.sum(1), 1, atol=1e-8)

    assert main.main(["main", f"--workdir={trained}", "--mode=export"]) == 0
    said = json.loads((trained / "export" / "preprocessing.json").read_text())
    assert said["tasks"]["diagnosis"]["labels"] == [f"diagnosis is {name}" for name in CLASSES] and said["thresholds"] == {}
    assert said["outputs"]["probability/diagnosis"]["shape"] == said["outputs"]["recalibrated/diagnosis"]["shape"] == ["b", 3]
    batch = {"images/images": np.zeros((5, 3, 16, 16, 1), np.float32), "images_mask/images": np.zeros((5, 3), np.float32)}
    for row in range(5):
        for picture in range(1 + row % 3):
            batch["images/images"][row, picture, ..., 0] = np.asarray(Image.open(cohort / f"{row}_{picture}.png")) / 255
            batch["images_mask/images"][row, picture] = 1
    model = jax.export.deserialize(bytearray((trained / "export" / "model.jaxexport").read_bytes()))
    found = jax.jit(model.call)(dict(np.load(trained / "export" / "weights.npz")), {name: batch[name] for name in said["inputs"]})
    for name, values in wide.items():
        np.testing.assert_allclose(np.asarray(found[name]["diagnosis"]), values, atol=1e-5, err_msg=name)
    card = (trained / "export" / "model_card.md").read_text()
    assert "AUC of infarct, against the rest" in card and "| bleeding | 10 |" in card


def test_maps_are_of_every_class_or_of_the_one_that_is_named(trained):
    explain = ["main", f"--workdir={trained}", "--mode=explain", "--config.explain.most=1"]
    assert main.main(explain) == 0
    titles = {f"images_diagnosis-{name}_grad_cam" for name in CLASSES}
    assert set(json.loads((trained / "explain" / "explain.json").read_text())) == titles | {"importance"}
    found = pd.read_csv(trained / "explain" / "importance.csv", dtype=TEXT)
    assert set(found["head"]) == {f"diagnosis-{name}" for name in CLASSES}
    frame = pd.read_csv(trained / "predictions.csv", dtype=TEXT).query("split == 'test' and model == 'network'")
    for name in CLASSES:
        said = found[found["head"] == f"diagnosis-{name}"]["all"].iloc[0]
        rows = frame[(frame["patient_id"] == found["patient_id"].iloc[0]) & (frame["class"] == name)]
        assert 1 / (1 + np.exp(-said)) == pytest.approx(rows["probability"].mean(), abs=1e-4)
    assert main.main([*explain, "--config.explain.head=bleeding", "--config.explain.method=('occlusion',)"]) == 0
    assert set(json.loads((trained / "explain" / "explain.json").read_text())) == {"importance", "images_diagnosis-bleeding_occlusion"}
    (page,) = (trained / "explain").glob("*/patient_*.html")
    assert all(f"diagnosis is {name}" in page.read_text() for name in CLASSES)


def test_patients_of_elsewhere_may_lack_a_class(trained, cohort):
    frame = pd.read_csv(cohort / "my.csv", dtype=str)
    frame = frame[frame["diagnosis"] != "bleeding"].assign(patient_id=lambda one: "x" + one["patient_id"])
    frame.to_csv(cohort / "elsewhere.csv", index=False)
    assert main.main(["main", f"--workdir={trained}", "--mode=evaluate", f"--cohort={cohort / 'elsewhere.csv'}"]) == 0
    path = next(path for path in (trained / "external").glob("*/metrics.json") if (path.parent / "external.json").exists())
    numbers = json.loads(path.read_text())["tasks"]["diagnosis"]
    assert numbers["n"] == 20 and numbers["auc_classes"]["bleeding"] == {"value": None, "ci95": None, "events": 0}
    assert numbers["auc"]["value"] is not None and "diagnosis = bleeding, used" in (path.parent / "report.html").read_text()


def test_a_misspelt_diagnosis_stops_before_anything_is_read(cohort, capsys):
    frame = pd.read_csv(cohort / "my.csv", dtype=str)
    frame.loc[3, "diagnosis"] = "Normal"
    frame.to_csv(cohort / "misspelt.csv", index=False)
    command = ["main", f"--config={CONFIG}:own", f"--workdir={cohort / 'no'}", f"--config.cohort.table={cohort / 'misspelt.csv'}", *TINY]
    assert main.main(command) == 2
    message = capsys.readouterr().err
    assert "patient '03', column 'diagnosis' is none of the classes normal, infarct, bleeding" in message and "Traceback" not in message
