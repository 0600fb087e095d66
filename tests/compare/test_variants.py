"""Variants become whole configs, the reference first; what would make other patients or folds is refused by name."""

import pytest

from jaxstroke import config as settings
from jaxstroke import config_json
from jaxstroke.compare import variants
from jaxstroke.errors import InputError


def with_variants(config, changes):
    copy = config_json.copied(config)
    with copy.unlocked():
        copy.variants = settings.variants(changes)
    return copy


def test_the_reference_comes_first_and_is_the_config_itself(config_file):
    config = config_file.get_config("demo")
    found = variants.configs(config)
    assert next(iter(found)) == "all"
    without = config_json.copied(config)
    with without.unlocked():
        without.variants = settings.ConfigDict()
    assert config_json.differences(config_json.to_json(found["all"]), config_json.to_json(without)) == []
    assert found["only_dwi"].model.images == ("dwi",) and found["only_dwi"].is_locked


def test_a_config_without_variants_has_the_ablations_of_what_it_sees(config_file):
    """Also after `--config.model.images=...`, which no list made beforehand could know."""
    config = config_json.copied(config_file.get_config("own"))
    with config.unlocked():
        config.model.images, config.model.clinical = ("dwi", "adc"), ("nihss",)
    found = variants.configs(config)
    alone = {"only_dwi", "only_adc", "without_dwi", "without_adc", "only_clinical"}
    rules = {"rule_mean", "rule_stacked", "rule_scalar_nihss", "rule_learned_nihss"}  # the product of experts by NIHSS is its own
    assert set(found) == {"all"} | alone | rules
    assert found["without_dwi"].model.images == ("adc",) and found["without_dwi"].model.fusion == "poe"


def test_the_variant_of_columns_alone_has_no_rate_of_an_encoder(config_file):
    config = config_json.copied(config_file.get_config("own"))
    with config.unlocked():
        config.optimizer.encoder_rate = 0.1
    found = variants.configs(config)
    assert found["only_clinical"].optimizer.encoder_rate == 1 and found["only_dwi"].optimizer.encoder_rate == 0.1


def test_of_one_module_nothing_is_left_out(config_file):
    config = config_json.copied(config_file.get_config("own"))
    with config.unlocked():
        config.model.images = ("dwi",)
    assert not [name for name in variants.configs(config) if "dwi" in name]


def test_a_network_without_modules_needs_variants(config_file):
    with pytest.raises(InputError, match=r"config\.variants is empty.*clinical_mlp"):
        variants.configs(config_file.get_config("ist"))


def test_without_a_plain_variant_the_config_is_the_row_base(config_file):
    found = variants.configs(with_variants(config_file.get_config("demo"), {"a": {"model.fusion": "mean"}}))
    assert list(found) == ["base", "a"] and found["base"].model.fusion == "stacked" and found["a"].model.fusion == "mean"


def test_a_section_of_the_users_own_names_is_replaced_as_a_whole(ich_file):
    found = variants.configs(ich_file.get_config("ordgcs_age"))
    assert set(found["ordgcs_age"].loss) == {"prognosis", "gcs", "age"}
    assert set(found["age"].loss) == {"prognosis", "age"} and found["age"].loss.prognosis.weight == 0.5
    assert len(found) == 9


def test_a_published_network_is_the_same_as_variant_and_as_config(ich_file):
    """`:baseline` and the row `baseline` of the study differ in nothing."""
    for name, config in variants.configs(ich_file.get_config("paper")).items():
        alone = config_json.to_json(ich_file.get_config(name))
        changed = [key for key, *_ in config_json.differences(alone, config_json.to_json(config)) if not key.startswith("variants")]
        assert changed == [], name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"a": {}, "b": {}}, "a and b both change nothing"),
        ({"base": {"model.fusion": "mean"}}, "variants.base has changes"),
        ({"a": {"model.fusio": "mean"}}, r"variants\.a: config\.model\.fusio is unknown\. Did you mean 'fusion'"),
        ({"a": {"split.folds": 3}}, "share patients, records and folds"),
        ({"a": {"images": {"dwi": {"shape": (1, 2, 3)}}}}, "share patients, records and folds"),
        ({"a": {"evaluate.censoring": "weights"}}, "share patients, records and folds"),
        ({"a": {"model.fusion": "poee"}}, r"config\.variants\.a: config\.model\.fusion = 'poee' is unknown"),
        ({"a": {"model.hidden": "wide"}}, r"config\.variants\.a: .*hidden"),
        ({"a/b": {"model.fusion": "mean"}}, "no name for a variant"),
        ({"network": {"model.fusion": "mean"}}, "no name for a variant"),
        ({"a": {"model": "mri_cnn_lstm"}}, r"variants\.a\.model must be a section"),
        ({"a": {"loss": {"death": {"kind": "binary", "weight": 1.0}}}}, r"config\.variants\.a: .*death"),
    ],
)
def test_what_cannot_be_is_refused_by_name(config_file, changes, words):
    with pytest.raises(InputError, match=words):
        variants.configs(with_variants(config_file.get_config("demo"), changes))


def test_a_variant_that_is_no_section_is_refused(config_file):
    config = config_json.copied(config_file.get_config("demo"))
    with config.unlocked():
        config.variants = settings.ConfigDict({"a": 3})
    with pytest.raises(InputError, match=r"config\.variants\.a must be a section"):
        variants.configs(config)


def test_variants_survive_json(config_file):
    config = config_file.get_config("soop")
    again = config_json.from_json(config_json.to_json(config))
    assert list(variants.configs(again)) == list(variants.configs(config))
