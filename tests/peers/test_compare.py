"""The driver of the comparison: its verdict, what it says of a side that fails, and one command from end to end."""

import dataclasses
import json
import subprocess
import sys

import compare
import pytest
import rows


def test_the_verdict_is_of_the_fastest_variant():
    sides = {
        "jaxstroke": {"rounds": [[1.0, 3.0], [2.0, 2.0]]},
        "eager": {"rounds": [[9.0, 9.0], [9.0, 9.0]]},
        "compile": {"rounds": [[4.0, 6.0], [3.0, 3.0]]},
        "channels_last": {"rounds": [], "failed": "out of memory"},
    }
    for values in sides.values():
        values |= compare.summary(values["rounds"])
    found = compare.verdict(sides)
    assert found == {"best": "compile", "ratio": 3.5 / 2, "ratio_of_least": 3.0, "ratio_by_round": [1.5, 2.5]}
    assert compare.verdict({"jaxstroke": sides["jaxstroke"], "channels_last": sides["channels_last"]})["ratio"] is None


def test_a_side_that_fails_says_why():
    row = dataclasses.replace(rows.ROWS["simclr_gpu"], batch=3, shape=(32, 32), device="cpu", dtype="float32")
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    contestant = compare.Contestant(row, "eager", "plain", "", {})
    with pytest.raises(compare.Lost, match="--batch 3: simclr takes two views"):
        contestant.answer()
    contestant.end()


@pytest.mark.slow
def test_one_command_compares(project_root, tmp_path):
    """Both sides as processes, in turns, at a tiny size."""
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    command = [sys.executable, "tests/peers/compare.py", "--row", "resnet50", "--batch", "2", "--shape", "32", "32", "--variants", "eager"]
    command += ["--rounds", "2", "--steps", "3", "--warmup", "1", "--output", str(tmp_path / "peers.json")]
    ended = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (result,) = json.loads((tmp_path / "peers.json").read_text())
    for side in ("jaxstroke", "eager"):
        values = result["sides"][side]
        assert [len(turn) for turn in values["rounds"]] == [3, 3] and values["first_step_s"] > 0
    ratio = result["sides"]["eager"]["step_s"]["median"] / result["sides"]["jaxstroke"]["step_s"]["median"]
    assert result["ratio"] == ratio and f"ratio {ratio:.2f} against eager" in ended.stdout
