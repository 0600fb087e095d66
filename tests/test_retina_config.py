"""What of paper 4's config cannot be right is named before a file is read."""

import pytest

from jaxstroke import check, config_json
from jaxstroke.config_json import copied
from jaxstroke.errors import InputError

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


def test_encoders_alone_need_no_outcome(retina_file):
    empty = type(retina_file.get_config("own").loss)()
    check.check(changed(retina_file, "pretrain", {"loss": empty, "cohort.outcomes": empty, "evaluate.primary": ""}))
    with pytest.raises(InputError, match="evaluate.primary"):
        check.check(changed(retina_file, "own", {"loss": empty, "cohort.outcomes": empty, "evaluate.primary": ""}))


def test_stages_survive_a_workdir(retina_file):
    config = retina_file.get_config("own")
    again = config_json.from_json(config_json.to_json(config))
    assert again.train.stages == ("pretrain", "finetune") and config_json.differences(*map(config_json.to_json, (config, again))) == []
