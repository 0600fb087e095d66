import hashlib
import json
import re
import xml.etree.ElementTree as tree

import pytest

from jaxstroke.errors import InputError
from jaxstroke.evaluation import predictions, report

SECTIONS = (
    "summary", "patients", "missing", "failures", "models", "paired", "curves", "roc", "calibration", "decision", "distributions",
    "thresholds", "subgroups", "learning", "methods", "reproducibility", "config", "tripod", "risk",
)  # fmt: skip


def workdir(folder, frame, attainable=""):
    folder.mkdir(parents=True, exist_ok=True)
    predictions.write(folder / "predictions.csv", frame)
    config = {"model": {"name": "mri_cnn_lstm"}, "evaluate": {"bootstrap": 60, "attainable": attainable, "primary": "poor"}}
    config["cohort"] = {"outcomes": {"poor": ["mrs", ">", 2], "mrs": ["mrs", "ordinal", [1, 2, 3]]}}
    (folder / "run.json").write_text(json.dumps({"config": config, "versions": {"jax": "0.10.2"}, "command": "python -m jaxstroke.main"}))
    return folder


def add_optional(folder):
    line = {"run": "r0-f0-s0", "step": 3, "train_loss": {"dwi": 0.7}, "val_loss": {"dwi": 0.8}}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line | {"epoch": epoch}) + "\n" for epoch in range(4)))
    numbers = {"all": [60, 61.0, 70.0, 80.0], "without": [35, 60.0, 69.0, 78.0], "with": [25, 65.0, 72.0, 81.0]}
    cohort = {"flow": [["rows in the table", 80], ["incomplete: age", -20], ["used", 60]], "missing": {"bmi": 6, "age": 0}, "n": 60}
    cohort["characteristics"] = [{"name": "age", "numbers": numbers}]
    (folder / "cohort.json").write_text(json.dumps(cohort))
    names = {"sex": "FM", "age": "<≥"}
    groups = [f"{number:03d},{column},{group}" for column, pair in names.items() for number, group in enumerate(pair * 30)]
    (folder / "subgroups.csv").write_text("\n".join(["unit_id,column,group", *groups]) + "\n")
    lines = ("patient_id,image,path,reason,used", "007,dwi,scans/<b>.nii,truncated,no", "008,dwi,scans/ct,tilt corrected,yes")
    (folder / "prepare_report.csv").write_text("\n".join(lines) + "\n")


def test_one_file_without_outside_resources(tmp_path, simulated):
    folder = workdir(tmp_path / "run", simulated(ordinal=True, models=("network", "clinical_logistic", "column:<i>x</i>")))
    add_optional(folder)
    page = report.write_report(folder).read_text()
    for section in SECTIONS:
        assert f'id="{section}"' in page
    assert not re.search(r"<script|<img|@import|url\(|src=|https?://", page)
    assert re.findall(r"<link[^>]*>", page) == ['<link rel="icon" href="data:,">']
    assert "not a medical device" in page and "mrs &gt; 2" in page and "rows in the table" in page
    assert "1 remark on files that were used" in page and "tilt corrected" not in page
    assert "scans/&lt;b&gt;.nii" in page and "<i>x</i>" not in page and ">007<" in page
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['tasks']['poor']['auc']['value']:.3f}" in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        tree.fromstring(svg)
    targets = re.findall(r'href="#([^"]+)"', page)
    assert targets and all(f'id="{target}"' in page for target in targets)
    assert hashlib.sha256((folder / "predictions.csv").read_bytes()).hexdigest() in page
    assert {line["group"] for line in metrics["subgroups"] if line["column"] == "age"} == {"<", "≥"} and ">&lt;<" in page


def test_tables_and_figures_can_be_read_aloud(tmp_path, simulated):
    folder = workdir(tmp_path / "run", simulated(ordinal=True))
    add_optional(folder)
    page = report.write_report(folder).read_text()
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", page))
    rows = re.findall(r"<tbody>.*?</tbody>", page, re.DOTALL)
    assert all("<th" in row for body in rows for row in re.findall(r"<tr\b.*?</tr>", body, re.DOTALL))
    for head in re.findall(r"<svg[^>]*>", page):
        assert ('role="img"' in head and "aria-label=" in head) or 'aria-hidden="true"' in head


def test_no_patient_is_named(tmp_path, simulated):
    """Ids stand in `predictions.csv`; of the page only the list of files that failed may name a patient."""
    frame = simulated(ordinal=True)
    named = frame.assign(patient_id="patient" + frame["patient_id"], unit_id="patient" + frame["unit_id"])
    folder = workdir(tmp_path / "run", named)
    add_optional(folder)
    groups = (folder / "subgroups.csv").read_text().splitlines()
    (folder / "subgroups.csv").write_text("\n".join([groups[0], *(f"patient{line}" for line in groups[1:])]))
    page = report.write_report(folder).read_text()
    assert not re.search(r"patient\d", page) and not re.search(r"patient\d", (folder / "metrics.json").read_text())


def test_only_the_two_files_are_needed(tmp_path, simulated):
    folder = workdir(tmp_path / "run", simulated())
    page = report.write_report(folder).read_text()
    assert "No metrics.jsonl" in page and "No cohort.json" in page and "No subgroup" in page
    (folder / "prepare_report.csv").write_text("")
    content = report.write_metrics(folder)
    assert report.write_report(folder, content).read_text() == page
    (folder / "prepare_report.csv").write_text("patient_id,image,path,reason\n007,dwi,scans/old.nii,truncated\n")  # as it was
    assert "scans/old.nii" in report.write_report(folder, content).read_text()
    assert json.loads((folder / "metrics.json").read_text())["tasks"]["poor"]["recalibrated"]  # fitted here where the file has none


@pytest.mark.parametrize("case", ["no network", "one class", "nobody", "scores", "ordinal only", "no validation"])
def test_hard_cases_give_a_page(tmp_path, simulated, case):
    frame = simulated(ordinal=True)
    if case == "no network":
        frame = frame[frame["model"] != "network"]
    elif case == "one class":
        frame = frame.assign(label=frame["label"].where(frame["task"] == "mrs", 1.0))
    elif case == "nobody":
        frame = frame.assign(label=0.0)
    elif case == "scores":
        frame = frame.assign(logit=frame["logit"].where(frame["model"] != "network"))
    elif case == "ordinal only":
        frame = frame[frame["task"] == "mrs"]
    else:
        frame = frame[frame["split"] == "test"]
    page = report.write_report(workdir(tmp_path / "run", frame)).read_text()
    assert not re.search(r"\b(nan|None|inf)\b", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))


def test_attainable_is_printed_beside_the_auc(tmp_path, simulated):
    folder = workdir(tmp_path / "run", simulated(models=("network", "column:true", "column:true_without_age")), "true")
    metrics = report.write_metrics(folder)
    page = report.write_report(folder).read_text()
    assert f"attainable {metrics['tasks']['poor']['attainable_auc']:.3f}" in page and "without age" in page


def test_an_external_folder_uses_the_trained_run(tmp_path, simulated):
    trained = workdir(tmp_path / "run", simulated())
    outside = workdir(trained / "external" / "abc", simulated(seed=4))
    (outside / "run.json").unlink()
    frame = predictions.read(outside / "predictions.csv")
    predictions.write(outside / "predictions.csv", frame.assign(split=frame["split"].replace("test", "external")))
    assert "external validation" in report.write_report(outside).read_text()


@pytest.mark.parametrize(
    ("kind", "words"), [("kfold", "predictions of cross-validation"), ("official", "that the table names"), ("temporal", "last")]
)
def test_what_is_no_cross_validation_is_not_called_one(tmp_path, simulated, kind, words):
    folder = workdir(tmp_path / "run", simulated())
    run = json.loads((folder / "run.json").read_text())
    run["config"]["split"] = {"kind": kind, "folds": 3, "repeats": 1, "inner_share": 0.2, "seed": 0, "column": "part"}
    (folder / "run.json").write_text(json.dumps(run))
    page = report.write_report(folder).read_text()
    assert words in page and ("predictions of cross-validation" in page) == (kind == "kfold")


def test_an_external_report_is_not_told_as_a_cross_validation(tmp_path, simulated):
    """One probability a patient, no folds and nothing fitted: neither methods, captions nor thresholds say otherwise."""
    trained = workdir(tmp_path / "run", simulated())
    frame = simulated(folds=1, seed=4)
    outside = workdir(trained / "external" / "abc", frame[frame["split"] == "test"].assign(split="external", fold=-1, seed=-1))
    said = {"networks": 3, "known": 0, "thresholds": {"network": {"poor": 0.4}}, "training": None, "here": {"looked_at": 60}}
    (outside / "external.json").write_text(json.dumps(said))
    add_optional(outside)
    outer, inner = (re.sub(r"\s+", " ", report.write_report(folder).read_text()) for folder in (outside, trained))
    for words in ("mean over folds", "Internal validation says", "each fold's", "thresholds of the folds", "same folds", "within fold"):
        assert words not in outer, words
    for words in ("mean over folds", "Internal validation says", "each fold's", "thresholds of the folds", "within fold"):
        assert words in inner, words
    (outside / "external.json").write_text(json.dumps(said | {"known": 3}))
    assert "In patients of whom some were in the training cohort, the network" in report.write_report(outside).read_text()
    assert "In new patients, the network" in outer
    assert "nothing is fitted here" in outer and "applied to the mean probability" in outer and "Youden, median 0.40" in outer


def test_a_folder_that_is_no_workdir_is_named(tmp_path, simulated):
    folder = workdir(tmp_path / "a" / "b" / "run", simulated())
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is not readable"):
        report.write_report(folder)
    (folder / "run.json").unlink()
    with pytest.raises(InputError, match=r"no run\.json"):
        report.write_report(folder)


def test_the_same_files_give_the_same_bytes(tmp_path, simulated):
    folder = workdir(tmp_path / "run", simulated())
    first = report.write_report(folder).read_bytes()
    assert report.write_report(folder).read_bytes() == first


def test_readers_have_a_section_and_dots_only_where_there_are_calls(tmp_path, simulated):
    frame = simulated(models=("network", "column:reader_a", "column:reader_b", "column:score"))
    calls = frame["model"].str.startswith("column:reader")
    folder = workdir(
        tmp_path / "run", frame.assign(probability=frame["probability"].mask(calls, (frame["probability"] > 0.5).astype(float)))
    )
    page = report.write_report(folder).read_text()
    figure = re.search(r'<figure id="roc">.*?</figure>', page, re.DOTALL)[0]
    assert '<section id="readers">' in page and 'href="#readers"' in page and figure.count('class="dot s5"') == 2
    assert "<b>1</b>reader a" in figure and "<title>reader a: sensitivity" in figure and "Column: score" in figure
    assert "reader a, reader b" in page and ">Cohen<" in page
    plain = report.write_report(workdir(tmp_path / "plain", frame)).read_text()
    assert 'id="readers"' not in plain and 'class="dot s5"' not in plain


def test_paired_tests_show_holms_p(tmp_path, simulated):
    folder = workdir(tmp_path / "run", simulated(models=("network", "clinical_logistic", "module:a", "module:b")))
    content = report.write_metrics(folder)
    given, adjusted = ([line[name] for line in content["paired"]] for name in ("p_delong", "p_holm"))
    assert min(adjusted) == pytest.approx(min(1, 3 * min(given))) and all(p <= q for p, q in zip(given, adjusted, strict=True))
    assert f'<td class="number wide">{min(adjusted):.3f}</td>' in report.write_report(folder, content).read_text()


def test_console_table_lists_every_model(tmp_path, simulated):
    text = report.console_table(report.write_metrics(workdir(tmp_path / "run", simulated(ordinal=True))))
    assert "Network" in text and "Clinical logistic regression" in text and text.count("95 % interval") == 2
