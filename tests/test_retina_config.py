"""What of paper 4's config cannot be right is named before a file is read."""

import pytest

from jaxstroke import check, config_json
from jaxstroke.config_json import copied
from jaxstroke.errors import InputError
from jaxstroke.training import pretraining

NO_IMAGES = {
    "model.name": "clinical_mlp", "model.encoder": "", "model.fusion": "none", "model.standardise": "none", "optimizer.encoder_rate": 1.0,
}  # fmt: skip


def changed(retina_file, variant: str, changes: dict):
    config = copied(retina_file.get_config(variant))
    with config.unlocked(), config.ignore_type():
        for key, value in changes.items():
            *sections, leaf = key.split(".")
            place = config_json.at(config, sections[0]) if sections else config
            place[leaf] = value
    return config


def test_every_variant_and_each_of_its_variants_is_right(retina_file):
    from jaxstroke.compare import variants

    for name in retina_file.VARIANTS:
        config = retina_file.get_config(name)
        check.check(config)
        for one in variants.configs(config).values():
            check.check(one)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.stages": "two"}, "trained in stages.*'pretrain', 'finetune'"),
        ({"train.stages": ("finetune", "pretrain")}, "train.stages"),
        ({"train.stages": ()}, "train.stages"),
        ({"model.fusion": "mean"}, "'concat'.*'none'"),
        ({"model.encoder": "resnet18_3d"}, "takes 3"),
        ({"model.encoder": "resnet5_2d"}, "resnet50_2d"),
        ({"pretrain.images": ("octt",)}, "pretrain.images: 'octt' .*oct"),
        ({"pretrain.crop": (0.9, 0.3)}, "smallest, largest"),
        ({"pretrain.images": ("oct",), "pretrain.cross_modal": True}, "needs two images"),
        ({"pretrain.temperature": 0.0}, "pretrain.temperature"),
        ({"pretrain.batch_size": 1}, "pretrain.batch_size"),
        (NO_IMAGES, "leave 'pretrain' out"),
        ({"evaluate.primary": "strok"}, "stroke"),
    ],
)
def test_what_does_not_fit_names_its_key(retina_file, changes, words):
    with pytest.raises(InputError, match=words):
        check.check(changed(retina_file, "own", changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.hidden": 0}, "linear probe of 'retina_simclr'; 'ct_conv_lstm'"),
        ({"train.stages": ("finetune",), "model.fusion": "stacked", "split.inner_folds": 3}, "merges nothing"),
        ({"train.stages": ("pretrain", "finetune")}, "the encoder that config.model.encoder names"),
    ],
)
def test_stages_and_probes_are_of_networks_that_have_them(sequence_file, changes, words):
    with pytest.raises(InputError, match=words):
        check.check(changed(sequence_file, "own", changes))


def test_stages_are_not_of_a_network_of_modules(config_file):
    with pytest.raises(InputError, match="'mri_cnn_lstm' has 'two' and 'joint'"):
        check.check(changed(config_file, "smoke", {"train.stages": ("finetune",)}))


def test_what_a_pre_training_hangs_on_is_in_its_key(retina_file):
    """Variants share one only where all of this is the same; what is done after it may differ."""
    plain = pretraining.key(retina_file.get_config("own"))
    for key, value in {"optimizer.clip": 0.5, "train.dtype": "bfloat16", "model.init_from": "weights.pth", "pretrain.epochs": 3}.items():
        assert pretraining.key(changed(retina_file, "own", {key: value})) != plain, key
    for key, value in {"optimizer.learning_rate": 0.5, "optimizer.encoder_rate": 0.0, "model.hidden": 0, "train.epochs": 3}.items():
        assert pretraining.key(changed(retina_file, "own", {key: value})) == plain, key


def test_encoders_alone_need_no_outcome(retina_file):
    empty = type(retina_file.get_config("own").loss)()
    check.check(changed(retina_file, "pretrain", {"loss": empty, "cohort.outcomes": empty, "evaluate.primary": ""}))
    with pytest.raises(InputError, match="evaluate.primary"):
        check.check(changed(retina_file, "own", {"loss": empty, "cohort.outcomes": empty, "evaluate.primary": ""}))


def test_stages_survive_a_workdir(retina_file):
    config = retina_file.get_config("own")
    again = config_json.from_json(config_json.to_json(config))
    assert again.train.stages == ("pretrain", "finetune") and config_json.differences(*map(config_json.to_json, (config, again))) == []
