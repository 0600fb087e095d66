"""`--config.init_from` of an encoder: each begins from the file and, frozen, stays it; the rest is each run's own."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath
from published_resnet import published
from published_vit import pretrained, shrunk

from jaxstroke import main
from jaxstroke.interop import torch_resnet, torch_vit
from jaxstroke.training import adapt, checkpoint

FLAGS = (
    "--config.model.encoder=resnet18_2d", "--config.optimizer.encoder_rate=0", "--config.cohort.synthetic.shape=(4,16,16)",
    "--config.cohort.synthetic.patients=40", "--config.cohort.workers=1",
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


def run(project_root, workdir, weights, *more: str, shape: str = "(2,8,8)") -> int:
    more = (f"--config.images.images.shape={shape}", *more)
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


@pytest.mark.slow
def test_a_transformer_begins_from_a_pre_training_of_mae_and_stays_it_where_it_is_frozen(project_root, tmp_path, monkeypatch):
    """On grey pictures of another size; with dropped rows, which a frozen encoder has none of. The file's grid is 3 x 3 patches."""
    encoder = shrunk(monkeypatch)
    path, workdir = tmp_path / "mae.safetensors", tmp_path / "run"
    weights = pretrained(encoder, 3)
    safetensors.numpy.save_file(weights, path)
    flags = [
        f"--config.model.encoder={encoder}", "--config.model.pool=token_mean", "--config.model.drop_path=0.2",
    ]  # fmt: skip
    assert run(project_root, workdir, path, *flags, shape="(2,32,16)") == 0
    wanted = torch_vit.convert(encoder, weights, "token_mean")[0]["params"]
    kernel = wanted["embedding"]["kernel"]
    wanted["embedding"]["kernel"] = kernel.reshape(-1, 3, kernel.shape[-1]).sum(1)
    wanted["positions"] = adapt.resized(wanted["positions"], (2, 1))
    finished = checkpoint.Finished(epath.Path(workdir / "networks"))
    for name in sorted(one.name for one in (workdir / "networks").iterdir()):
        found = finished.load(name, finished.shapes(name))["params"]["encoder"]
        jax.tree.map(np.testing.assert_array_equal, found, wanted)
    finished.close()
    said = json.loads((workdir / "run.json").read_text())["init_from"]
    assert said["part"] == "encoder" and {"mask_token", "norm.weight"} < set(said["left_out"])
    told = " ".join(said["remarks"])
    assert "no fc_norm" in told and "3 x 3 patches are interpolated bicubically to 2 x 1" in told


def test_weights_of_another_network_and_norm_are_refused(weights, project_root, tmp_path, capsys):
    assert run(project_root, tmp_path / "run", weights, "--config.model.encoder=resnet50_2d") == 2
    assert "these are not the weights of 'resnet50_2d': missing: layer1.0.conv3.weight" in capsys.readouterr().err
    assert run(project_root, tmp_path / "run", weights, "--config.model.norm=group") == 2
    assert "config.model.norm = batch" in capsys.readouterr().err
    assert run(project_root, tmp_path / "run", weights, "--config.model.encoder=") == 2
    said = capsys.readouterr().err
    assert "by torchvision's names those of config.model.encoder = resnet18_2d, resnet50_2d; and by timm's those of vit_s_2d" in said
    transformer = "--config.model.encoder=vit_s_2d"
    assert run(project_root, tmp_path / "run", weights, transformer, shape="(2,16,16)") == 2
    assert "set config.model.pool = token_mean (RETFound's and MAE's) or token" in capsys.readouterr().err
    assert run(project_root, tmp_path / "run", weights, transformer, "--config.model.pool=token", shape="(2,16,16)") == 2
    assert "no vision transformer by timm's names" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()
