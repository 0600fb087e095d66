"""`--config.init_from`: every run begins from the file, and the workdir knows which file it was."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from jaxstroke import main
from jaxstroke.errors import InputError
from jaxstroke.interop import init_from, torch_weights
from jaxstroke.training import checkpoint

COLUMNS = 2  # age and the stroke scale of the synthetic patients
# Paper 3's tabular network on the smoke config's patients, with its one task; the rate leaves a network where it began.
CONFIG = """
import importlib.util
spec = importlib.util.spec_from_file_location("ich", {ich!r})
ich = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ich)

def get_config():
    config = ich.get_config("smoke").unlock()
    config.model.name, config.model.encoder, config.model.scaling = "tabular_dnn", "", "minmax"
    config.model.dropout = (0.3, 0.0)
    config.loss = {{"prognosis": config.loss.prognosis}}
    config.images.ct.shape = (4, 8, 8)
    config.cohort.synthetic.shape, config.cohort.workers = (4, 8, 8), 1
    config.optimizer.learning_rate, config.optimizer.schedule = 1e-12, "constant"
    config.train.batch_size, config.evaluate.bootstrap = 8, 50
    config.device.data, config.device.cache = 1, ""
    return config.lock()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, project_root):
    folder = tmp_path_factory.mktemp("begin")
    (folder / "config.py").write_text(CONFIG.format(ich=str(project_root / "configs" / "ich_multitask.py")))
    write(folder / "weights.safetensors", 0)
    return folder


def write(path, seed: int, columns: int = COLUMNS) -> dict:
    """A file with the published network of columns; its weights."""
    rng = np.random.default_rng(seed)
    shapes = {
        "feature_extractor.0": (64, columns), "feature_extractor.3": (32, 64), "feature_extractor.5": (16, 32), "classifier.0": (1, 16)
    }  # fmt: skip
    state = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    state |= {f"{name}.bias": rng.normal(size=shape[:1]) for name, shape in shapes.items()}
    state |= {f"feature_extractor.7.{name}": rng.uniform(0.5, 1.5, 16) for name in ("weight", "bias", "running_mean", "running_var")}
    state = {name: value.astype(np.float32) for name, value in state.items()}
    safetensors.numpy.save_file(state, path)
    return state


@pytest.fixture(autouse=True)
def keep_signals(monkeypatch):
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", sys.argv)


def run(folder, workdir, weights: str, *more: str, key: str = "init_from") -> int:
    return main.main(["main", f"--config={folder / 'config.py'}", f"--workdir={workdir}", f"--config.{key}={weights}", *more])


@pytest.fixture(scope="module")
def trained(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main.signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", sys.argv)
        assert run(folder, folder / "runs" / "one", folder / "weights.safetensors") == 0
    return folder / "runs" / "one"


def copied(trained, tmp_path):
    """The workdir again, beside records of its own."""
    shutil.copytree(trained.parent, tmp_path / "runs")
    return tmp_path / "runs" / "one"


def test_every_run_begins_from_the_file(trained, tmp_path):
    """At a rate of next to nothing the networks that were kept, of every fold, are the file's."""
    wanted = torch_weights.convert("tabular_dnn", write(tmp_path / "same.safetensors", 0))
    names = sorted(path.name for path in (trained / "networks").iterdir())
    assert len(names) == 2
    like = {"params": wanted["params"], "stats": wanted["batch_stats"]}
    finished = checkpoint.Finished(epath.Path(trained / "networks"))
    for name in names:
        found = finished.load(name, like)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-9), found["params"], wanted["params"])
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype("float32")}
    finished.close()
    written = json.loads((trained / "run.json").read_text())
    assert len(written["records"]["init_from"]) == 64
    assert written["config"]["init_from"] == written["config"]["model"]["init_from"] != ""


def test_a_begun_workdir_goes_on_without_the_file_unless_a_run_has_not_begun(trained, folder, tmp_path, capsys):
    workdir = copied(trained, tmp_path)
    weights = folder / "weights.safetensors"
    weights.rename(folder / "elsewhere")
    try:
        assert run(folder, workdir, weights) == 0
        assert main.main(["main", f"--workdir={workdir}", "--mode=evaluate"]) == 0
        for name in ("networks", "checkpoints"):
            shutil.rmtree(workdir / name)
        assert run(folder, workdir, weights) == 2
        assert "weights.safetensors is gone, and a run has not begun: put the file back" in capsys.readouterr().err
    finally:
        (folder / "elsewhere").rename(weights)
    assert run(folder, workdir, weights) == 0
    assert (workdir / "predictions.csv").read_bytes() == (trained / "predictions.csv").read_bytes()


def test_another_file_of_the_same_name_is_refused(trained, folder, tmp_path, capsys):
    workdir, weights = copied(trained, tmp_path), folder / "weights.safetensors"
    write(weights, 1)
    try:
        assert run(folder, workdir, weights) == 2
    finally:
        write(weights, 0)
    assert "config.model.init_from holds other data" in capsys.readouterr().err
    assert run(folder, workdir, tmp_path / "other.pth") == 2
    assert "there is no such file" not in (message := capsys.readouterr().err) and "model.init_from" in message


def test_files_that_do_not_fit_are_refused_by_tensor(folder, tmp_path, capsys):
    write(tmp_path / "wide.safetensors", 0, columns=5)
    assert run(folder, tmp_path / "run", tmp_path / "wide.safetensors", key="model.init_from") == 2
    message = capsys.readouterr().err
    assert "wide.safetensors does not fit the network: dense1/kernel is (10, 64), in the network (4, 64)" in message
    assert not (tmp_path / "run" / "run.json").exists()
    assert run(folder, tmp_path / "run", tmp_path / "absent.pth") == 2
    assert "absent.pth: there is no such file" in capsys.readouterr().err
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    assert run(folder, tmp_path / "run", tmp_path / "page.pth") == 2
    assert "page.pth: is neither a file of torch.save nor a .safetensors" in capsys.readouterr().err


def test_a_network_without_published_weights(config_file, tmp_path):
    config = config_file.get_config("demo")
    assert init_from.begin(config, epath.Path(tmp_path)) is None
    config.init_from = "weights.pth"
    with pytest.raises(InputError, match="'mri_cnn_lstm' has no published weights. Known: ich_multitask on densenet121_3d"):
        init_from.begin(config, epath.Path(tmp_path))
