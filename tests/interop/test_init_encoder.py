"""`--config.init_from` of a ResNet: every encoder begins from the file and, frozen, stays it; the rest is each run's own."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath
from published_resnet import published

from jaxstroke import main
from jaxstroke.interop import torch_resnet
from jaxstroke.training import checkpoint

FLAGS = (
    "--config.model.encoder=resnet18_2d", "--config.optimizer.encoder_rate=0", "--config.images.images.shape=(2,8,8)",
    "--config.cohort.synthetic.shape=(4,16,16)", "--config.cohort.synthetic.patients=40", "--config.cohort.workers=1",
    "--config.train.epochs=2", "--config.evaluate.bootstrap=50", "--config.device.data=1", "--config.device.cache=",
)  # fmt: skip


@pytest.fixture(autouse=True)
def keep_signals(monkeypatch):
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", sys.argv)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    safetensors.numpy.save_file(published("resnet18_2d"), path)
    return path


def run(project_root, workdir, weights, *more: str) -> int:
    config = project_root / "configs" / "ct_conv_lstm.py"
    return main.main(["main", f"--config={config}:smoke", f"--workdir={workdir}", f"--config.init_from={weights}", *FLAGS, *more])


@pytest.fixture(scope="module")
def trained(weights, project_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main.signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", sys.argv)
        assert run(project_root, weights.parent / "runs" / "one", weights) == 0
    return weights.parent / "runs" / "one"


def test_frozen_encoders_are_the_files_and_heads_are_each_runs_own(trained, weights):
    """To the bit, running statistics too, after training; images have one channel, so the file's colours are summed."""
    wanted, _ = torch_resnet.convert("resnet18_2d", published("resnet18_2d"))
    kernel = wanted["params"]["stem_conv"]["kernel"]
    wanted["params"]["stem_conv"]["kernel"] = kernel.sum(2, keepdims=True)
    finished = checkpoint.Finished(epath.Path(trained / "networks"))
    names = sorted(path.name for path in (trained / "networks").iterdir())
    found = [finished.load(name, finished.shapes(name)) for name in names]
    finished.close()
    for one in found:
        jax.tree.map(np.testing.assert_array_equal, one["params"]["encoder"], wanted["params"])
        jax.tree.map(np.testing.assert_array_equal, one["stats"]["encoder"], wanted["batch_stats"])
    first, second = (one["params"]["project"]["kernel"] for one in found)
    assert np.abs(first - second).mean() > 0.01
    written = json.loads((trained / "run.json").read_text())
    said = written["init_from"]
    assert said["sha256"] == written["records"]["init_from"] and len(said["sha256"]) == 64
    assert (said["part"], said["tensors"], set(said["left_out"])) == ("encoder", 100, {"fc.bias", "fc.weight"})
    assert any("standardise = imagenet" in remark for remark in said["remarks"])


def test_a_workdir_needs_the_file_only_for_runs_that_have_not_begun(trained, weights, project_root, tmp_path, capsys):
    shutil.copytree(trained.parent, tmp_path / "runs")
    workdir, before = tmp_path / "runs" / "one", json.loads((trained / "run.json").read_text())["init_from"]
    weights.rename(weights.with_suffix(".gone"))
    try:
        assert run(project_root, workdir, weights) == 0
        assert json.loads((workdir / "run.json").read_text())["init_from"] == before
        shutil.rmtree(workdir / "networks")
        shutil.rmtree(workdir / "checkpoints")
        assert run(project_root, workdir, weights) == 2
        assert "is gone, and a run has not begun" in capsys.readouterr().err
    finally:
        weights.with_suffix(".gone").rename(weights)


def test_weights_of_another_network_and_norm_are_refused(weights, project_root, tmp_path, capsys):
    assert run(project_root, tmp_path / "run", weights, "--config.model.encoder=resnet50_2d") == 2
    assert "these are not the weights of 'resnet50_2d': missing: layer1.0.conv3.weight" in capsys.readouterr().err
    assert run(project_root, tmp_path / "run", weights, "--config.model.norm=group") == 2
    assert "config.model.norm = batch" in capsys.readouterr().err
    assert run(project_root, tmp_path / "run", weights, "--config.model.encoder=") == 2
    assert "by torchvision's names those of config.model.encoder = resnet18_2d, resnet50_2d" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()
