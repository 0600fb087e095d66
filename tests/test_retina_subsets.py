"""What pre-training is worth where outcomes are few: ten draws of 100 patients, SimCLR's encoders against random ones, on 1,200 others."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_pre_training_helps_where_outcomes_are_few(tmp_path, project_root):
    """The command of the config's docstring, with its interval; a gain of a third of what was measured is asked for (0.036)."""
    arguments = ["--mode=compare", f"--config={project_root / 'configs' / 'retina_simclr.py'}:subsets", f"--workdir={tmp_path / 'study'}"]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PYTHONPATH": str(project_root)}
    command = [sys.executable, "-m", "jaxstroke.main", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    auc = {
        name: json.loads((tmp_path / "study" / "variants" / name / "metrics.json").read_text())["tasks"]["stroke"]["auc"]["value"]
        for name in ("simclr", "random")
    }
    assert auc["simclr"] - auc["random"] > 0.012
