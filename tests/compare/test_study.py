"""A study: same patients and folds, networks trained once, differences that are those of the variants' own files."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from jaxstroke import config as settings
from jaxstroke import config_json, main
from jaxstroke import workdir as work
from jaxstroke.compare import mode, reuse, variants
from jaxstroke.errors import InputError, Stopped
from jaxstroke.evaluation import comparison, predictions
from jaxstroke.training import loop, modes


def predicted(workdir, variant: str, model: str) -> pd.DataFrame:
    """A variant's rows of one model, in the order of the file, without the model's name."""
    frame = predictions.read(workdir / "variants" / variant / "predictions.csv")
    return frame[frame["model"] == model].drop(columns=["model", "missing"]).reset_index(drop=True)


def cost(workdir, variant: str) -> dict:
    return json.loads((workdir / "variants" / variant / "cost.json").read_text())


def test_variants_that_differ_in_the_merge_train_nothing(study):
    assert cost(study, "only_dwi")["networks_of"] == cost(study, "rule_mean")["networks_of"] == ["all"]
    assert cost(study, "all")["networks_of"] == cost(study, "clinical")["networks_of"] == cost(study, "wider")["networks_of"] == []
    assert not (study / "variants" / "only_dwi" / "checkpoints").exists()
    assert cost(study, "only_dwi")["training_seconds"] == 0 < cost(study, "all")["training_seconds"]
    assert cost(study, "only_dwi")["parameters"] * 2 == cost(study, "all")["parameters"]


def test_a_reused_module_predicts_what_it_predicted_in_its_donor(study):
    pd.testing.assert_frame_equal(predicted(study, "only_dwi", "module:dwi"), predicted(study, "all", "module:dwi"), rtol=1e-6)
    pd.testing.assert_frame_equal(predicted(study, "rule_mean", "network"), predicted(study, "all", "rule:mean"), rtol=1e-6)


def test_a_reused_module_is_the_one_that_training_alone_gives(study, study_config, tmp_path, never_stops):
    """The modules of one step do not see each other: alone, the same weights come out but for rounding."""
    config = variants.configs(study_config)["only_dwi"]
    workdir = mode.epath.Path(tmp_path / "alone")
    workdir.mkdir()
    shutil.copy(study / "splits.json", workdir / "splits.json")
    modes.train(config, workdir, never_stops)
    alone = predictions.read(workdir / "predictions.csv")
    alone = alone[alone["model"] == "network"].reset_index(drop=True)
    reused = predicted(study, "only_dwi", "network")
    np.testing.assert_allclose(alone["probability"], reused["probability"], atol=2e-4)


def test_the_learning_curves_of_a_reused_module_are_those_of_its_donor(study):
    lines = [json.loads(line) for line in (study / "variants" / "only_dwi" / "metrics.jsonl").read_text().splitlines()]
    donor = [json.loads(line) for line in (study / "variants" / "all" / "metrics.jsonl").read_text().splitlines()]
    assert [line["val_loss"] for line in lines] == [{"dwi": line["val_loss"]["dwi"]} for line in donor] and lines


def test_differences_are_those_of_the_variants_aucs(study):
    table = pd.read_csv(study / "comparison.csv")
    poor = table[table["task"] == "poor"].set_index("variant")
    assert list(poor.index) == ["all", "clinical", "only_dwi", "rule_mean", "wider", "clinical_logistic", "clinical_volume_logistic"]
    for name in ("only_dwi", "clinical", "clinical_logistic"):
        own = json.loads((study / "variants" / (name if name != "clinical_logistic" else "all") / "metrics.json").read_text())
        numbers = own["models"]["clinical_logistic" if name == "clinical_logistic" else "network"]["poor"]
        assert poor.loc[name, "auc"] == pytest.approx(numbers["auc"]["value"], abs=1e-8)
        assert [poor.loc[name, "auc_low"], poor.loc[name, "auc_high"]] == pytest.approx(numbers["auc"]["ci95"], abs=1e-8)
        assert poor.loc[name, "difference"] == pytest.approx(poor.loc[name, "auc"] - poor.loc["all", "auc"], abs=1e-8)
        assert poor.loc[name, "difference_low"] <= poor.loc[name, "difference"] <= poor.loc[name, "difference_high"]
    assert (poor["p_holm"].dropna() >= poor["p_delong"].dropna()).all()
    assert np.isnan(poor.loc["all", "difference"])


def test_a_comparator_of_the_first_variant_has_the_difference_of_its_own_report(study):
    """Seen from both sides: `paired` of the report is network minus comparator, the comparison comparator minus network."""
    own = json.loads((study / "variants" / "all" / "metrics.json").read_text())
    line = next(one for one in own["paired"] if (one["task"], one["b"]) == ("poor", "clinical_logistic"))
    table = pd.read_csv(study / "comparison.csv").set_index(["task", "variant"])
    row = table.loc[("poor", "clinical_logistic")]
    assert row["difference"] == pytest.approx(-line["auc_difference"], abs=1e-8)
    assert [row["difference_low"], row["difference_high"]] == pytest.approx([-line["ci95"][1], -line["ci95"][0]], abs=1e-8)
    assert row["p_delong"] == pytest.approx(line["p_delong"], abs=1e-8)


def test_the_same_command_again_trains_nothing_and_a_new_variant_alone(study, study_config, tmp_path, monkeypatch, never_stops):
    workdir = mode.epath.Path(tmp_path / "run")
    shutil.copytree(study.parent, tmp_path, dirs_exist_ok=True)
    config = config_json.copied(study_config)
    before = os.stat(workdir / "variants" / "all" / "predictions.csv").st_mtime_ns
    with config.unlocked():
        config.cohort.records = str(study.parent / "records")
        config.variants["only_tmax"] = settings.variants({"x": {"model.images": ("tmax",), "model.fusion": "mean"}}).x
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("a network was trained"))
    mode.compare(config, workdir, never_stops)
    assert cost(workdir, "only_tmax")["networks_of"] == ["all"]
    assert os.stat(workdir / "variants" / "all" / "predictions.csv").st_mtime_ns == before
    assert "only_tmax" in pd.read_csv(workdir / "comparison.csv")["variant"].tolist()


@pytest.mark.slow
def test_a_study_that_was_stopped_ends_as_one_that_was_not(study, study_config, tmp_path, never_stops):
    class StopsOnce:
        training, asked = False, 0

        def __call__(self):
            self.asked += 1
            return self.asked >= 5

    workdir = mode.epath.Path(tmp_path / "run")
    with pytest.raises(Stopped):
        mode.compare(study_config, workdir, StopsOnce())
    assert not (workdir / "comparison.csv").exists()
    mode.compare(study_config, workdir, never_stops)
    for name in variants.configs(study_config):
        path = f"variants/{name}/predictions.csv"
        assert (workdir / path).read_bytes() == (study / path).read_bytes()
    ours, theirs = (pd.read_csv(folder / "comparison.csv").drop(columns="training_seconds") for folder in (workdir, study))
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.slow
def test_the_networks_of_a_trained_workdir_serve_its_study(study, study_config, tmp_path, never_stops):
    """--mode train, then --mode compare in the same workdir."""
    workdir = mode.epath.Path(tmp_path / "run")
    workdir.mkdir()
    shutil.copy(study / "splits.json", workdir / "splits.json")
    shutil.copytree(study / "variants" / "all" / "networks", workdir / "networks")
    shutil.copy(study / "variants" / "all" / "metrics.jsonl", workdir / "metrics.jsonl")
    config = config_json.copied(study_config)
    with config.unlocked():
        del config.variants["clinical"], config.variants["wider"]
    mode.compare(config, workdir, never_stops)
    assert cost(workdir, "all")["networks_of"] == [mode.ITSELF]
    pd.testing.assert_frame_equal(predicted(workdir, "all", "network"), predicted(study, "all", "network"))


def test_a_key_of_reuse_hangs_on_what_trains_a_module_alone(study_config):
    configs = variants.configs(study_config)
    assert reuse.key(configs["all"], "dwi") == reuse.key(configs["only_dwi"], "dwi") == reuse.key(configs["rule_mean"], "dwi")
    assert reuse.key(configs["all"], "tmax") != reuse.key(configs["wider"], "tmax")
    assert reuse.key(configs["all"], "dwi") != reuse.key(configs["all"], "tmax")
    faster = config_json.copied(configs["all"])
    with faster.unlocked():
        faster.optimizer.learning_rate *= 2
    assert reuse.key(faster, "dwi") != reuse.key(configs["all"], "dwi")


def test_a_learning_rate_that_all_modules_share_is_in_the_key(study_config):
    """On a plateau of the sum of their losses: a module beside others is then another one than alone."""
    config = config_json.copied(study_config)
    with config.unlocked():
        config.optimizer.schedule = "plateau"
    configs = variants.configs(config)
    assert reuse.key(configs["all"], "dwi") == reuse.key(configs["rule_mean"], "dwi") != reuse.key(configs["only_dwi"], "dwi")


def test_a_variant_of_the_same_name_that_changed_is_refused_before_anything_is_done(
    study, study_config, tmp_path, monkeypatch, never_stops
):
    workdir = mode.epath.Path(tmp_path / "run")
    shutil.copytree(study.parent, tmp_path, dirs_exist_ok=True)
    config = config_json.copied(study_config)
    with config.unlocked():
        config.variants["wider"]["model"].widths = (4, 8)
        config.variants["another"] = settings.variants({"x": {"optimizer.learning_rate": 0.1}}).x
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("a network was trained"))
    with pytest.raises(InputError, match=r"config\.variants\.wider is not what .*variants/wider was begun with(.|\n)*model\.widths"):
        mode.compare(config, workdir, never_stops)
    assert cost(workdir, "wider") == cost(study, "wider")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.name": "clinical_mpl", "model.fusion": "none"}, r"variants\.late: config\.model\.name = 'clinical_mpl' is not a network"),
        ({"model.init_from": "weights.pth"}, r"variants\.late: config\.model\.init_from = weights\.pth: 'mri_cnn_lstm' has no published"),
    ],
)
def test_what_a_late_variant_would_stop_at_is_refused_before_the_first_is_trained(changes, words, study_config, tmp_path, never_stops):
    config = config_json.copied(study_config)
    with config.unlocked():
        config.variants = settings.variants({"all": {}, "late": changes})
    with pytest.raises(InputError, match=words):
        mode.compare(config, mode.epath.Path(tmp_path / "run"), never_stops)
    assert not (tmp_path / "run").exists()


def test_a_study_that_was_moved_or_runs_on_another_device_is_not_judged_again(study, study_config, tmp_path, monkeypatch, never_stops):
    workdir = mode.epath.Path(tmp_path / "run")
    shutil.copytree(study.parent, tmp_path, dirs_exist_ok=True)
    config = config_json.copied(study_config)
    with config.unlocked():
        config.explain.most = 1
        config.device.cache = ""
    monkeypatch.setattr(modes, "judged", lambda *_: pytest.fail("a variant was judged"))
    mode.compare(config, workdir, never_stops)
    with config.unlocked():
        config.evaluate.bootstrap = 40
    with pytest.raises(pytest.fail.Exception, match="was judged"):
        mode.compare(config, workdir, never_stops)


def test_a_variant_without_its_predictions_is_judged_again(study, study_config, tmp_path, monkeypatch, never_stops):
    """The networks are there still; damaged lines of a learning curve do no harm."""
    workdir = mode.epath.Path(tmp_path / "run")
    shutil.copytree(study.parent, tmp_path, dirs_exist_ok=True)
    (workdir / "variants" / "only_dwi" / "predictions.csv").unlink()
    curve = workdir / "variants" / "all" / "metrics.jsonl"
    curve.write_text(curve.read_text() + '{"run": "r0-f')
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("a network was trained"))
    mode.compare(study_config, workdir, never_stops)
    path = "variants/only_dwi/predictions.csv"
    assert (workdir / path).read_bytes() == (study / path).read_bytes()


def test_a_variants_workdir_trained_or_evaluated_by_itself_stays_as_it_is(study, study_config, tmp_path, monkeypatch, never_stops):
    """Its networks are copies, without checkpoints; its images are those of the study, of which its own network sees some."""
    shutil.copytree(study.parent, tmp_path, dirs_exist_ok=True)
    folder = mode.epath.Path(tmp_path / "run" / "variants" / "only_dwi")
    begun = work.read(folder)["records"]
    assert "tmax" in begun
    config = work.trained_config(folder)
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("a network was trained"))
    prepared = []
    monkeypatch.setattr(modes, "read_and_prepare", lambda *given, real=modes.read_and_prepare: prepared.append(given[2]) or real(*given))
    for again in (lambda: modes.train(config, folder, never_stops), lambda: modes.evaluate(config, folder)):
        again()
        assert (folder / "predictions.csv").read_bytes() == (study / "variants" / "only_dwi" / "predictions.csv").read_bytes()
    assert all("tmax" in names for names in prepared) and len(prepared) == 2


def test_report_makes_the_comparison_again_from_files_alone(study, tmp_path, capsys):
    shutil.copytree(study, tmp_path / "run")
    for name in ("comparison.csv", "comparison.html"):
        (tmp_path / "run" / name).unlink()
    assert main.main(["main", "--workdir", str(tmp_path / "run"), "--mode", "report"]) == 0
    assert (tmp_path / "run" / "comparison.csv").read_bytes() == (study / "comparison.csv").read_bytes()
    assert (tmp_path / "run" / "comparison.html").read_text() == (study / "comparison.html").read_text()
    assert "only_dwi" in capsys.readouterr().out


@pytest.mark.parametrize("change", [lambda line: line.pop("changes"), lambda line: line.update(parameters="many")])
def test_a_study_file_that_is_damaged_is_named(change, study, tmp_path):
    shutil.copytree(study, tmp_path / "run")
    path = tmp_path / "run" / "variants.json"
    content = json.loads(path.read_text())
    change(content["variants"][1])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="variants.json"):
        comparison.write(mode.epath.Path(tmp_path / "run"))


@pytest.mark.parametrize("text", ["", "[]", '{"parameters": 3}'])
def test_a_variant_with_a_damaged_cost_is_judged_again(text, study, tmp_path):
    folder = mode.epath.Path(shutil.copytree(study / "variants" / "only_dwi", tmp_path / "only_dwi"))
    config = work.trained_config(folder)
    assert mode.is_done(config, folder)
    (folder / "cost.json").write_text(text)
    assert not mode.is_done(config, folder)


def test_other_folds_in_a_variant_are_refused(study, study_config, tmp_path, never_stops):
    workdir = mode.epath.Path(tmp_path / "run")
    shutil.copytree(study.parent, tmp_path, dirs_exist_ok=True)
    folds = workdir / "variants" / "wider" / "splits.json"
    folds.write_text(folds.read_text().replace('"fold": 1', '"fold": 2'))
    (workdir / "variants" / "wider" / "cost.json").unlink()
    with pytest.raises(InputError, match="holds other folds"):
        mode.compare(study_config, workdir, never_stops)


def test_the_page_says_which_intervals_hold_zero(study):
    page = (study / "comparison.html").read_text()
    for name in ("all", "clinical", "only_dwi", "rule_mean", "wider"):
        assert name in page
    assert "those of all" in page and "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("asked", [["--check"], ["--mode", "export"], ["--mode", "predict", "--cohort", "new.csv"]])
def test_what_needs_one_run_names_a_variants_workdir(asked, study_config, tmp_path, capsys):
    work.write(mode.epath.Path(tmp_path), study_config, [], {})
    folder = tmp_path / "variants" / "all"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    assert main.main(["main", "--workdir", str(tmp_path), *asked]) == 2
    assert f"is a study of --mode compare: name one of its variants, as --workdir {folder}" in capsys.readouterr().err


def test_holm_is_that_of_the_paper():
    """Three p of one family: the least times three, the next times two, never falling."""
    from jaxstroke.evaluation.delong import holm

    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([None]) == [None]


def test_run_json_of_a_study_names_the_variants(study):
    assert set(work.read(study)["config"]["variants"]) == {"all", "clinical", "only_dwi", "rule_mean", "wider"}
