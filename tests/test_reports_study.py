"""What surrounds runs of paper 5: killed and resumed, compared, streamed, measured, and exported where they read no reports."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.export
import numpy as np
import pandas as pd
import pytest
from etils import epath

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent / "preprocess"), str(pathlib.Path(__file__).resolve().parent)]

import chat_server as chat  # noqa: E402
import reports_cohort as tiny  # noqa: E402

from jaxstroke import main  # noqa: E402
from jaxstroke import workdir as work  # noqa: E402
from jaxstroke.preprocess.report import asking  # noqa: E402
from jaxstroke.training import engine as engines  # noqa: E402
from jaxstroke.training import predict  # noqa: E402

pytestmark = pytest.mark.usefixtures("signals_kept")
ALONE = ("--config.align.report=0.0", "--config.align.words=0.0")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("cohort"))


def started(table, workdir) -> subprocess.Popen:
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(tiny.ROOT)}
    arguments = [sys.executable, "-m", "jaxstroke.main", *tiny.command(table, workdir, "--config.train.epochs=6")[1:]]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(table, workdir) -> str:
    with started(table, workdir) as process:
        said = process.communicate(timeout=500)[0]
    assert process.returncode == 0, said[-3000:]
    return said


def study_file(folder: pathlib.Path, variants: str) -> pathlib.Path:
    """A config file with its own variants, an expression of `config`."""
    path = folder / "study.py"
    path.write_text(
        f"import sys\n\nsys.path.insert(0, {str(tiny.ROOT / 'configs')!r})\nimport trimodal_align\n"
        "from jaxstroke import config as settings\n\n\ndef get_config(variant):\n    config = trimodal_align.get_config(variant)\n"
        f"    with config.unlocked():\n        config.variants = settings.variants({variants})\n    return config\n"
    )
    return path


@pytest.mark.slow
def test_stopped_and_killed_it_ends_the_same(table, tmp_path):
    """Once while reports are made, then in the first fold, told to stop, and in the second."""
    ended(table, tmp_path / "plain" / "run")
    workdir = tmp_path / "killed" / "run"
    moments = (("reports.jsonl", 1, signal.SIGKILL), ("metrics.jsonl", 2, signal.SIGTERM), ("metrics.jsonl", 8, signal.SIGKILL))
    for name, lines, number in moments:
        with started(table, workdir) as process:
            path, began = workdir / name, time.monotonic()
            while process.poll() is None and time.monotonic() - began < 400:
                if path.exists() and len(path.read_text().splitlines()) >= lines:
                    break
                time.sleep(0.02)
            process.send_signal(number)
            process.communicate(timeout=300)
        assert process.returncode == (0 if number == signal.SIGTERM else -number)
    assert "resumed at step" in ended(table, workdir)
    for name in ("predictions.csv", "reports.jsonl"):
        assert (workdir / name).read_bytes() == (tmp_path / "plain" / "run" / name).read_bytes()
    tiny.equal(tiny.networks(workdir), tiny.networks(tmp_path / "plain" / "run"))


@pytest.mark.slow
def test_variants_read_the_same_reports(tmp_path, table, monkeypatch):
    """Those that the study could not make included: no variant asks again. What reads none has none made."""
    monkeypatch.setattr(asking, "BACK_OFF", 0.01)
    variants = {"all": {}, "empty_reports": {"text.control": "constant"}, "without_text": {"model.modalities": ("image", "clinical")}}
    variants["without_text"] |= {"align.report": 0.0, "align.words": 0.0}
    config = study_file(tmp_path, repr(variants))
    with chat.running() as server:
        server.otherwise = chat.says(lambda sections: sections | {"territories": "Left front."})
        server.script = [chat.says(lambda sections: "sorry, no")] * 3
        given = (
            "--config.text.source=llm", f"--config.text.llm.url={server.url}", "--config.text.llm.model=m",
            "--config.text.llm.attempts=1", "--config.text.llm.at_once=1", "--config.train.epochs=1", "--mode=compare",
        )  # fmt: skip
        command = tiny.command(table, tmp_path / "study", *given)
        command[1] = f"--config={config}:own"
        assert main.main(command) == 0
        requests = len(server.bodies)
    study, read = tiny.lines(tmp_path / "study"), {}
    for name in variants:
        folder = tmp_path / "study" / "variants" / name
        read[name] = {unit: line["text"] for unit, line in tiny.lines(folder).items()} if (folder / "reports.jsonl").exists() else {}
    assert requests == len({json.dumps(line["findings"]) for line in study.values() if line["findings"]})
    assert sum("no JSON object" in line["failure"] for line in study.values()) >= 3
    assert read["all"] == read["empty_reports"] == {unit: line["text"] for unit, line in study.items()}
    assert not any(read["without_text"].values())


@pytest.mark.slow
def test_three_ready_ablations_of_the_smoke_test(tmp_path):
    """By the names that the config file gives them, on its own cohort."""
    names = "{name: trimodal_align.ablations(config)[name] for name in ('all', 'late', 'only_text')}"
    config = study_file(tmp_path, names)
    more = ("--config.train.epochs=1", "--config.device.data=1", "--config.device.cache=", "--config.cohort.workers=1")
    study = tmp_path / "study"
    assert main.main(["main", f"--config={config}:smoke", f"--workdir={study}", "--mode=compare", *more]) == 0
    written = json.loads((study / "variants.json").read_text())["variants"]
    assert {one["name"] for one in written} == {"all", "late", "only_text"}
    parameters = {one["name"]: one["parameters"] for one in written}
    assert parameters["only_text"] < parameters["late"] < parameters["all"]
    frame = pd.read_csv(study / "variants" / "only_text" / "predictions.csv", keep_default_na=False)
    assert set(frame["missing"]) <= {"", "report"} and len(pd.read_csv(study / "comparison.csv")) >= 3


@pytest.mark.slow
def test_streamed_from_disk_it_is_the_same(table, tmp_path):
    """Images by grain, tokens from memory."""
    one, two = tmp_path / "resident", tmp_path / "grain"
    assert tiny.run(table, one, "--config.train.epochs=1") == 0
    assert tiny.run(table, two, "--config.train.epochs=1", "--config.train.feed=grain") == 0
    first, second = (tiny.predictions(each / "predictions.csv").drop(columns="recalibrated") for each in (one, two))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(
    ("kind", "source"),
    [("compile", "synthetic"), *(pytest.param(*one, marks=pytest.mark.slow) for one in
     (("train", "synthetic"), ("predict", "synthetic"), ("train", "records"), ("predict", "records"), ("feed", "records")))],
)  # fmt: skip
def test_measured(tmp_path, kind, source):
    more = (
        f"--config.benchmark.kind={kind}", f"--config.benchmark.source={source}", "--config.benchmark.steps=2",
        "--config.benchmark.warmup=1", "--config.device.data=1", "--config.device.cache=", "--config.cohort.workers=1",
        "--config.text.length=16", "--config.model.images=('flair',)", "--config.model.widths=(4,)", "--config.model.hidden=8",
    )  # fmt: skip
    assert main.main(["main", f"--config={tiny.CONFIG}:smoke", f"--workdir={tmp_path}", "--mode=benchmark", *more]) == 0
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert found["kind"] == kind and (kind == "feed" or found["flops_per_step"] > 0) and (kind == "compile" or found["samples_per_s"] > 0)


@pytest.mark.slow
def test_measured_on_features_that_were_computed(tmp_path):
    """On synthetic arrays no file is asked for."""
    more = (
        "--config.benchmark.steps=2", "--config.benchmark.warmup=1", "--config.device.data=1", "--config.device.cache=",
        "--config.text.precomputed=True", "--config.text.init_from=none.safetensors", "--config.text.vocabulary=none.txt",
        "--config.text.length=16", "--config.model.images=('flair',)", "--config.model.widths=(4,)", "--config.model.hidden=8",
    )  # fmt: skip
    assert main.main(["main", f"--config={tiny.CONFIG}:smoke", f"--workdir={tmp_path}", "--mode=benchmark", *more]) == 0
    assert json.loads((tmp_path / "benchmark.json").read_text())["samples_per_s"] > 0


@pytest.mark.slow
def test_without_reports_it_is_exported_and_says_what_predict_says(table, tmp_path):
    workdir = tmp_path / "run"
    assert tiny.run(table, workdir, "--config.model.modalities=('image','clinical')", *ALONE) == 0
    new_table = tiny.changed(table, tmp_path / "new.csv", lambda frame: frame.drop(columns="mrs").head(9))
    assert tiny.again(workdir, "predict", f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}") == 0
    assert tiny.again(workdir, "export") == 0
    said = json.loads((workdir / "export" / "preprocessing.json").read_text())
    assert set(said["inputs"]) == {"images/flair", "images_mask/flair", "clinical", "clinical_mask"}
    config = work.trained_config(epath.Path(workdir))
    new = predict.read_new(config, epath.Path(workdir), str(new_table))
    engine = engines.build(config, new.loaded.arrays, next(iter(predict.fitted_numbers(new.kept).values())), new.loaded.stored)
    made = next(iter(engine.unaugmented(np.arange(9, dtype=np.int32).reshape(1, 1, 1, 9))))
    batch = {name: np.asarray(made[name][0, 0]) for name in said["inputs"]}
    model = jax.export.deserialize(bytearray((workdir / "export" / "model.jaxexport").read_bytes()))
    found = jax.jit(model.call)(dict(np.load(workdir / "export" / "weights.npz")), batch)
    wanted = tiny.predictions(tmp_path / "out.csv").set_index("unit_id").loc[[unit.unit for unit in new.loaded.units]]
    np.testing.assert_allclose(found["probability"]["poor"][:, 0], wanted["probability"].astype(float), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["recalibrated"]["poor"], wanted["recalibrated"].astype(float), rtol=0, atol=1e-5)
    assert set(wanted["missing"]) == {"", "flair"}
