"""Configs: every variant is whole, survives json, and what does not fit together is refused by name."""

import pytest
from ml_collections import ConfigDict

from jaxstroke import check, check_network, config_json, limits, models
from jaxstroke import workdir as work
from jaxstroke.config import ALIGNED, COLUMNS_ALONE
from jaxstroke.errors import InputError
from jaxstroke.models import encoders, standardise
from jaxstroke.models.encoders import vit
from jaxstroke.preprocess import normalise

VARIANTS = ("demo", "smoke", "soop", "soop_all", "ist", "own", "paper")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_locked_valid_and_survives_json(config_file, variant):
    config = config_file.get_config(variant)
    assert config.is_locked
    check.check(config)
    values = config_json.to_json(config)
    again = config_json.from_json(values)
    assert config_json.differences(values, config_json.to_json(again)) == []
    assert again.images == config.images and again.is_locked


def test_a_config_of_another_version_is_refused_by_the_key_it_lacks(config_file):
    values = config_json.to_json(config_file.get_config("demo"))
    del values["model"]["norm"]
    with pytest.raises(InputError, match=r"config\.model\.norm is missing.*another version"):
        check.check(config_json.from_json(values))


def test_bounds_are_of_a_numeric_subgroup(config_file):
    config = config_file.get_config("demo")
    with config.unlocked():
        config.evaluate.subgroups = ("sex",)
    check.check(config)  # bounds of age without the subgroup: no harm
    with config.unlocked():
        config.evaluate.subgroup_bounds = ConfigDict({"agee": (65,)})
    with pytest.raises(InputError, match=r"subgroup_bounds\.agee is of no column in config\.evaluate\.subgroups.*age"):
        check.check(config)
    with config.unlocked():
        config.evaluate.subgroup_bounds = ConfigDict({"sex": (1,)})
    with pytest.raises(InputError, match=r"subgroup_bounds\.sex cuts numbers.*has levels"):
        check.check(config)


@pytest.mark.parametrize("long", [False, True])
def test_init_from_has_two_names_and_one_value(config_file, tmp_path, long):
    """Whichever is set; also after a road through json, as of a workdir's config."""
    for config in (config_file.get_config("demo"), config_json.from_json(config_json.to_json(config_file.get_config("demo")))):
        assert config.init_from == config.model.init_from == ""
        section = config.model if long else config
        section.init_from = "weights.pth"
        assert config.init_from == config.model.init_from == "weights.pth"
        assert config_json.from_json(config_json.to_json(config)).init_from == "weights.pth"
        work.write(tmp_path, config, [], {})
        work.check_same(tmp_path, config)
        section.init_from = "others.pth"
        with pytest.raises(InputError, match="config.init_from: weights.pth there, others.pth now"):
            work.check_same(tmp_path, config)


def test_unknown_variant_names_the_known(config_file):
    with pytest.raises(ValueError, match="smoke"):
        config_file.get_config("smok")


def test_differences_name_the_leaf():
    old, new = {"a": {"b": 1, "c": [1, 2]}, "d": 3}, {"a": {"b": 2, "c": [1, 2]}}
    assert config_json.differences(old, new) == [("a.b", 1, 2), ("d", 3, "absent")]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("train.imbalance", "weight", "weights"),
        ("split.kind", "kfolds", "kfold"),
        ("train.epochs", 0, "1 to 100000"),
        ("train.seeds", (), "seeds"),
        ("train.seeds", (1, 1), "twice"),
        ("train.epochs", 10**400, "1 to 100000"),
        ("train.epochs", True, "whole number"),
        ("train.epochs", None, "whole number"),
        ("optimizer.learning_rate", float("nan"), "1e-12 to"),
        ("optimizer.learning_rate", "fast", "a number"),
        ("images.dwi.shape", (10**6,) * 3, r"dwi\.shape.*1 to 32768"),
        ("images.dwi.shape", (4096, 512, 512), r"dwi\.shape.*1,073,741,824 values an image: at most 67,108,864"),
        ("images.dwi.shape", (8.0, 24, 24), r"dwi\.shape.*whole number"),
        ("images.dwi.spacing", (float("inf"), 1, 1), r"dwi\.spacing"),
        ("images.dwi.colour", 3, r"dwi\.colour is unknown"),
        ("model.widths", (), "1 to 16 entries"),
        ("model.widths", (4, 10**9), "1 to 4096"),
        ("cohort.outcomes.poor", ("mrs", ">"), "column, rule, value"),
        ("cohort.ranges.mrs", ("low", "high"), "a number"),
        ("cohort.records", "foo://bucket/records", "no kind of bucket"),
        ("cohort.table", "x" * 5000, "too long for a path"),
        ("model.images", ("dwi", "t1"), "'t1'"),
        ("model.clinical", ("nihs",), "nihss"),
        ("model.fusion_column", "sex", "numeric"),
        ("evaluate.primary", "por", "poor"),
        ("evaluate.comparators.volume", "lesions", "lesion"),
        ("loss.mrs.kind", "binary", "ordinal"),
        ("device.convolution", "nativ", "native"),
        ("model.remat", True, "encoders by name"),
        ("evaluate.subgroups", ("sex", 65), "must be text"),
        ("evaluate.subgroup_bounds.age", (80, 65), "rising"),
        ("evaluate.subgroup_bounds.age", (), "1 to 100 entries"),
        ("model.norm", "group", "encoders by name"),
        ("model.scaling", "min", "minmax"),
        ("model.standardise", "imagnet", "imagenet"),
        ("model.standardise", "imagenet", "'ct_conv_lstm' and 'retina_simclr', which read pictures; 'mri_cnn_lstm'"),
        ("model.pool", "tokenmean", "token_mean"),
        ("model.pool", "token", r"pool and \.drop_path are of a transformer, and 'mri_cnn_lstm' has none"),
        ("model.drop_path", 0.1, "leave them at mean and 0"),
        ("model.drop_path", 1.0, "drop_path = 1.0"),
        ("optimizer.encoder_rate", -0.1, "0 to 1000"),
        ("optimizer.layer_decay", 0.0, "0.01 to 1"),
    ],
)
def test_what_does_not_fit_is_named(config_file, key, value, words):
    config = config_file.get_config("demo")
    *path, last = key.split(".")
    with config.unlocked(), config.ignore_type():
        section = config
        for part in path:
            section = section[part]
        section[last] = value
    with pytest.raises(InputError, match=f"{key.split('.')[0]}.*{words}"):
        check.check(config)


def test_a_config_that_is_none_is_refused():
    with pytest.raises(InputError, match="get_config gave NoneType"):
        check.check(None)


def test_harmless_alone_too_much_together(config_file):
    config = config_file.get_config("demo")
    with config.unlocked():
        config.train.batch_size, config.train.accumulation = 2**12, 2**12
    with pytest.raises(InputError, match="train.batch_size = 4096 and .accumulation = 4096 makes 16,777,216 patients an update"):
        check.check(config)


@pytest.mark.parametrize("network", COLUMNS_ALONE)
@pytest.mark.parametrize("key", ["encoder_rate", "layer_decay"])
def test_a_network_without_an_encoder_has_no_rate_of_one(config_file, network, key):
    config = config_file.get_config("ist")
    with config.unlocked():
        config.model.name = network
    check.check(config)
    with config.unlocked():
        config.optimizer[key] = 0.5
    with pytest.raises(InputError, match=rf"encoder_rate and \.layer_decay are of an encoder, and '{network}' has none"):
        check.check(config)


def test_tokens_are_pooled_and_layers_dropped_in_a_transformer_alone(sequence_file):
    config = sequence_file.get_config("own")
    with config.unlocked():
        config.model.encoder = "vit_s_2d"
        config.model.pool, config.model.drop_path = "token_mean", 0.2
    check.check(config)
    with config.unlocked():
        config.model.encoder = "resnet18_2d"
    with pytest.raises(InputError, match=r"config\.model\.encoder = 'resnet18_2d' is none: .* one of vit_s_2d, vit_b_2d, vit_l_2d"):
        check.check(config)


def test_standardised_images_are_shares(sequence_file):
    """Of what a network standardises, 0 is black and 1 white."""
    config = sequence_file.get_config("own")
    with config.unlocked():
        config.model.standardise = "imagenet"
    check.check(config)
    with config.unlocked():
        config.images.images.update({"sampling": "grid", "normalise": "zscore"})
    with pytest.raises(InputError, match="images from 0 to 1, and config.images.images.normalise = 'zscore'"):
        check.check(config)


def test_the_names_that_are_checked_are_those_that_are_built():
    assert set(check.CHOICES["model.standardise"]) == set(standardise.STANDARDS)
    assert set(limits.SHARES) == {name for name, (_, limits) in normalise.NORMALISE.items() if limits == (0.0, 1.0)}
    assert set(limits.IMAGE_CHOICES["normalise"]) == set(normalise.NORMALISE)
    assert set(check.CHOICES["model.pool"]) == set(vit.POOLS)
    assert {encoders.ENCODERS[name].build for name in check_network.TRANSFORMERS} == {encoders.vit_s, encoders.vit_b, encoders.vit_l}
    assert {*check_network.OWN_ENCODER, *check_network.ENCODED, ALIGNED} == set(models.MODELS)
