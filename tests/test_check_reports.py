"""Reports, and the network that reads them: whatever does not fit together is refused by its key, with what would."""

import pytest
from ml_collections import ConfigDict

from jaxstroke import check, check_reports, config_json
from jaxstroke import config as settings
from jaxstroke.errors import InputError
from jaxstroke.models import trimodal_align
from jaxstroke.preprocess import normalise

VARIANTS = ("paper", "own", "llm", "demo", "soop", "smoke")
ALONE = {"align.report": 0.0, "align.words": 0.0}
LLM = {"text.source": "llm", "text.llm.url": "http://127.0.0.1:8000/v1", "text.llm.model": "local"}
WEIGHTS = {"text.init_from": "bert.safetensors", "text.vocabulary": "vocab.txt"}
NO_COLUMNS = {"clinical.numeric": (), "clinical.categorical": ConfigDict(), "evaluate.subgroups": ()}
NO_COLUMNS |= {"evaluate.subgroup_bounds": ConfigDict()}

REFUSED = {
    "a mask that is no image": ({"text.mask": "lesions"}, "config.text.mask: 'lesions' is not in config.images. Did you mean 'lesion'"),
    "a signal that is no image": ({"text.signals": ("adc",)}, "config.text.signals: 'adc' is not in config.images."),
    "slices of no image": (LLM | {"text.llm.image": "flare"}, "config.text.llm.image: 'flare' is not in config.images."),
    "a mask that is a scan": ({"text.mask": "flair"}, "config.text.mask = 'flair' is no mask: its image needs normalise = mask or"),
    "given without a column": ({"text.source": "given"}, "config.text.source = 'given' needs config.cohort.text"),
    "template without a mask": ({"text.mask": ""}, "config.text.source = 'template' needs config.text.mask"),
    "a model without a server": (LLM | {"text.llm.url": ""}, "config.text.llm.url is empty: config.text.source = 'llm' needs"),
    "a server without a model": (LLM | {"text.llm.model": ""}, "config.text.llm.model is empty: config.text.source = 'llm' needs"),
    "a model with nothing to see": (LLM | {"text.mask": ""}, "config.text.source = 'llm' has nothing to describe: set config.text.mask"),
    "another source": ({"text.source": "templates"}, "config.text.source = 'templates' is unknown. Did you mean 'template'"),
    "another control": ({"text.control": "shuffle"}, "config.text.control = 'shuffle' is unknown. Did you mean 'shuffled'"),
    "territories without an atlas": (
        {"evaluate.comparators.territories": True}, "config.evaluate.comparators.territories needs config.text.mask and config.text.atlas"
    ),
    "another modality": ({"model.modalities": ("image", "texts")}, "'texts' is unknown. Did you mean 'text'"),
    "a modality twice": ({"model.modalities": ("image", "image")}, "config.model.modalities = ('image', 'image'): one is named twice"),
    "text without a source": ({"text.source": "none"}, "config.model.modalities has 'text', but config.text.source = 'none'"),
    "columns without any": (NO_COLUMNS, "config.model.modalities has 'clinical', but config.clinical names no column"),
    "another encoder": ({"model.encoder": "resnet_smal_3d"},
                        "config.model.encoder = 'resnet_smal_3d' is unknown. Did you mean 'resnet_small_3d'"),
    "an image that is too small": ({"images.flair.shape": (2, 4, 4)}, "config.images.flair.shape = (2, 4, 4): "),
    "another rule of merging": ({"model.fusion": "poe", "model.fusion_column": "age", "model.fusion_upper": ConfigDict({"age": 100.0})},
                                "config.model.fusion = 'poe' is of other networks: 'trimodal_align' has 'stacked'"),
    "stacked in one stage": ({"model.fusion": "stacked", "train.stages": "joint", "split.inner_folds": 2}, "set config.train.stages = two"),
    "a width of no heads": ({"model.hidden": 60}, "config.model.hidden = 60 must be a multiple of the 8 heads of attention"),
    "words without attention": ({"model.joined": "concat"}, "config.align.words aligns words with what they attend to"),
    "mirrored images": ({"train.augment.flip": 0.5}, "config.train.augment.flip mirrors images, and reports name sides: set it to 0"),
    "a text width of no heads": ({"text.width": 62}, "config.text.width = 62 must be a multiple of config.text.heads = 4"),
    "longer than positions": ({"text.length": 192, "text.positions": 128},
                              "config.text.length = 192 is more than the 128 of config.text.positions"),
    "weights without their words": (WEIGHTS | {"text.vocabulary": ""}, "name its file in config.text.vocabulary"),
    "another pool": ({"text.pool": "max"}, "config.text.pool = 'max' is unknown."),
    "another local loss": ({"align.local": "cosines"}, "config.align.local = 'cosines' is unknown. Did you mean 'cosine'"),
    "features of nothing": ({"text.precomputed": True}, "set config.text.init_from and .vocabulary"),
    "two files to begin from": (WEIGHTS | {"model.init_from": "a.pth"}, "config.text.init_from and config.model.init_from are both set"),
}  # fmt: skip


def changed(trimodal_file, changes: dict, variant: str = "own"):
    config = trimodal_file.get_config(variant)
    with config.unlocked():
        for key, value in changes.items():
            *path, last = key.split(".")
            section = config
            for name in path:
                section = section[name]
            section[last] = value
    return config


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_locked_valid_and_survives_json(trimodal_file, variant):
    config = trimodal_file.get_config(variant)
    assert config.is_locked
    check.check(config)
    again = config_json.from_json(config_json.to_json(config))
    assert config_json.differences(config_json.to_json(config), config_json.to_json(again)) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_ablation_of_every_variant_fits_together(trimodal_file, variant):
    ablations = trimodal_file.ablations(trimodal_file.get_config(variant))
    assert len(ablations) > 10
    for changes in ablations.values():
        check.check(changed(trimodal_file, changes, variant))


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(trimodal_file, what):
    changes, words = REFUSED[what]
    with pytest.raises(InputError) as caught:
        check.check(changed(trimodal_file, changes))
    assert words in str(caught.value)


def test_image_is_wanted_where_there_is_one(trimodal_file):
    changes = ALONE | {"text.source": "given", "text.mask": "", "cohort.text": "report", "cohort.reference": "", "images": ConfigDict()}
    with pytest.raises(InputError, match="config.model.modalities has 'image', but config.images has none"):
        check.check(changed(trimodal_file, changes))
    check.check(changed(trimodal_file, changes | {"model.modalities": ("clinical", "text")}))


@pytest.mark.parametrize(
    "changes",
    [
        LLM, LLM | {"text.mask": "", "text.llm.image": "flair"}, WEIGHTS, WEIGHTS | {"text.precomputed": True},
        {"text.source": "given", "cohort.text": "report", "text.mask": ""}, {"model.joined": "concat", "align.words": 0.0},
        {"text.atlas": "atlas.nii", "evaluate.comparators.territories": True}, {"model.modalities": ("image", "clinical")} | ALONE,
        {"model.modalities": ("image", "clinical"), "text.source": "none", "text.mask": "", "train.augment.flip": 0.5} | ALONE,
    ],
)  # fmt: skip
def test_what_fits_is_taken(trimodal_file, changes):
    check.check(changed(trimodal_file, changes))


def test_territories_are_checked_for_networks_that_read_nothing(config_file):
    config = config_file.get_config("own")
    with config.unlocked():
        config.evaluate.comparators.territories = True
    with pytest.raises(InputError, match="territories needs config.text.mask"):
        check.check(config)


def test_the_names_that_are_checked_are_those_that_are_built(trimodal_file):
    assert check_reports.HEADS == trimodal_align.HEADS
    assert set(check_reports.MASKS) == set(normalise.MASKS)
    base = settings.base()
    assert set(check_reports.MODALITIES) == set(base.model.modalities)
