"""The documents do what they say: their code and commands, taken from the text, on their own made-up cohort."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SIZES = {"shape": "(4,16,16)", "spacing": "(30,12,12)"}
TINY = [
    *(f"--config.images.{name}.{key}={value}" for name in ("dwi", "adc", "flair") for key, value in SIZES.items()),
    "--config.model.widths=(4,)", "--config.model.hidden=4", "--config.train.epochs=1", "--config.split.folds=2",
    "--config.split.inner_folds=2", "--config.evaluate.bootstrap=50",
]  # fmt: skip


def blocks(name: str, language: str) -> list[str]:
    """The blocks of code of a document, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.DOTALL | re.MULTILINE)


def run(folder: pathlib.Path, command: list[str]) -> str:
    """Run in a folder where `configs/` lies; what it said."""
    environment = os.environ | {"PYTHONPATH": str(folder if (folder / "jaxstroke").exists() else ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def as_written(line: str) -> list[str]:
    """A command of a document, with this Python for that of the environment."""
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True).stdout.splitlines()
    assert words[0] == ".venv/bin/python"
    return [sys.executable, *words[1:]]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_is_there(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    linked = {target.partition("#")[0] for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text)}
    assert [target for target in linked if not (path.parent / target).exists()] == []
    named = set(re.findall(r"`((?:jaxstroke|tests|launch|docs)/[\w/]+\.(?:py|sh|sbatch|md))`", text))
    made = {"jaxstroke/models/slice_mean.py"}  # by the reader
    assert [name for name in named - made if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_config_key_that_a_document_names_is_there(path, config_file, ich_file, sequence_file):
    configs = [file.get_config("own") for file in (config_file, ich_file, sequence_file)]
    for key in set(re.findall(r"--config\.([\w.]+)[= `\"]", path.read_text())):
        assert any(has(config, key) for config in configs), f"{path.name} names --config.{key}"


def has(config, key: str) -> bool:
    """Whether a dotted key is in a config."""
    for name in key.split("."):
        if not hasattr(config, "keys") or name not in config:
            return False
        config = config[name]
    return True


def test_every_section_of_the_report_is_explained():
    text = (ROOT / "docs" / "read_the_report.md").read_text()
    templates = sorted((ROOT / "jaxstroke" / "evaluation" / "templates").glob("*.j2"))
    sections = [name for path in templates for name in re.findall(r"<h2>([^<{]+)</h2>", path.read_text())]
    assert "Models" in sections and [name for name in sections if name not in text] == []


@pytest.mark.slow
def test_own_cohort(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    hospital, table, new = blocks("own_cohort.md", "python")
    prepare, train, predict = (as_written(block.strip()) for block in blocks("own_cohort.md", "sh"))
    run(tmp_path, [sys.executable, "-c", hospital])
    counts = run(tmp_path, [sys.executable, "-c", table])
    assert dict(line.split() for line in counts.splitlines()) == {"dwi": "40", "adc": "40", "flair": "37"}
    run(tmp_path, prepare + TINY)
    failed = pd.read_csv(tmp_path / "runs/mine/prepare_report.csv")
    assert failed[["patient_id", "image"]].to_numpy().tolist() == [["P007", "adc"]]
    assert "report: " in run(tmp_path, train + TINY)
    page = (tmp_path / "runs/mine/report.html").read_text()
    assert "P007" in page and "without outcome" in page
    tested = pd.read_csv(tmp_path / "runs/mine/predictions.csv", keep_default_na=False).query("split == 'test' and model == 'network'")
    assert tested["patient_id"].nunique() == 39  # all but the one without an outcome
    run(tmp_path, [sys.executable, "-c", new])
    said = run(tmp_path, predict)
    scores = pd.read_csv(tmp_path / "runs/scores.csv")
    assert set(scores["patient_id"]) == {"P000", "P001", "P002"} and scores["recalibrated"].dropna().between(0, 1).all()
    assert "3 of these patients were in the training cohort" in said


@pytest.mark.slow
def test_add_a_model(tmp_path):
    """Two files and a line, in a copy of the package; and they keep the package's own rules."""
    for name in ("jaxstroke", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    network, name, config = blocks("add_a_model.md", "python")
    (tmp_path / "jaxstroke/models/slice_mean.py").write_text(network)
    (tmp_path / "configs/slice_mean.py").write_text(config)
    models = tmp_path / "jaxstroke/models/__init__.py"
    changed = re.sub(r"^(from jaxstroke\.models import .*)$", r"\1, slice_mean", models.read_text(), count=1, flags=re.MULTILINE)
    models.write_text(re.sub(r"^MODELS = \{", lambda found: found.group() + name.strip(), changed, count=1, flags=re.MULTILINE))
    said = run(tmp_path, as_written(blocks("add_a_model.md", "sh")[0].strip()))
    assert "report: " in said
    frame = pd.read_csv(tmp_path / "runs/slice_mean/predictions.csv", keep_default_na=False)
    assert {"network", "clinical_logistic"} <= set(frame["model"])
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "jaxstroke/models/slice_mean.py", "configs"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout
