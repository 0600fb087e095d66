"""The campaign is a folder of scripts: its files import each other by their own names, here as when `reading.py` runs."""

import os
import pathlib
import sys
import types

import nibabel
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import attempts  # noqa: E402
import damaged_networks  # noqa: E402
import volumes  # noqa: E402
import workdirs  # noqa: E402

from jaxstroke import main  # noqa: E402
from jaxstroke import workdir as work  # noqa: E402
from jaxstroke.training import modes  # noqa: E402

SMALL = [
    "--config.cohort.synthetic.patients=40", "--config.evaluate.bootstrap=50", "--config.train.save_seconds=0", "--config.train.epochs=1",
    "--config.device.data=1", "--config.device.cache=", "--config.cohort.workers=1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def keep_signals(monkeypatch):
    """The program's SIGTERM handler and arguments must not outlive a test."""
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", sys.argv)


@pytest.fixture(scope="session")
def public_data() -> str:
    """The folder of public data sets, "" where it is absent: the generated seeds are there in any case."""
    folder = pathlib.Path(os.environ.get("JAXSTROKE_DATA", attempts.ROOT.parent / "shared" / "data"))
    return str(folder) if folder.is_dir() else ""


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> pathlib.Path:
    """A folder with a table `my.csv` of 12 patients and two small scans each."""
    folder = tmp_path_factory.mktemp("scans")
    lines = ["patient_id,dwi,adc,age,nihss,sex,mrs"]
    for number in range(12):
        for name, scale in (("dwi", 1.0), ("adc", 1e-5)):
            array = (volumes.head(np.float32) * scale)[::2, ::2, ::2]
            nibabel.save(nibabel.Nifti1Image(array, volumes.AFFINE @ np.diag([2, 2, 2, 1])), folder / f"{number}_{name}.nii.gz")
        lines.append(f"{number:03d},{number}_dwi.nii.gz,{number}_adc.nii.gz,{50 + number},{number},{'FM'[number % 2]},{number % 7}")
    (folder / "my.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> types.SimpleNamespace:
    """A trained workdir and what a test needs to damage it and to put it back."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main.signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", sys.argv)
        assert main.main(["main", f"--config={attempts.ROOT / 'configs' / 'mri_cnn_lstm.py'}:smoke", f"--workdir={workdir}", *SMALL]) == 0
        ready = modes.make_ready(work.trained_config(workdir), work.absolute(str(workdir)))
    return types.SimpleNamespace(
        workdir=workdir,
        files={name: (workdir / name).read_bytes() for name in workdirs.READERS},
        more={"report": [], "evaluate": [], "train": [], "predict": [f"--cohort={workdir / 'cohort.csv'}"]},
        network=sorted((workdir / "networks").iterdir())[0],
        engine=ready.engine,
        runs={run.id: run for run in ready.todo},
        states=damaged_networks.states(ready, workdir / "checkpoints"),
    )
