"""Published names: every variant's tensors are those of our network, and what is missing, unknown or misshapen is named."""

import jax
import numpy as np
import pytest

from jaxstroke import models
from jaxstroke.errors import InputError
from jaxstroke.interop import torch_weights

COLUMNS = 5
TABULAR = {
    "feature_extractor.0.weight": (64, COLUMNS), "feature_extractor.0.bias": (64,), "feature_extractor.3.weight": (32, 64),
    "feature_extractor.3.bias": (32,), "feature_extractor.5.weight": (16, 32), "feature_extractor.5.bias": (16,),
    "feature_extractor.7.weight": (16,), "feature_extractor.7.bias": (16,), "feature_extractor.7.running_mean": (16,),
    "feature_extractor.7.running_var": (16,), "feature_extractor.7.num_batches_tracked": (), "classifier.0.weight": (1, 16),
    "classifier.0.bias": (1,),
}  # fmt: skip


def state(**changes) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in TABULAR.items()} | changes


def test_layers_are_transposed_and_flags_get_zeros():
    published = state()
    params = torch_weights.convert("tabular_dnn", published)["params"]
    np.testing.assert_array_equal(params["dense2"]["kernel"], published["feature_extractor.3.weight"].T)
    np.testing.assert_array_equal(params["dense1"]["kernel"][:COLUMNS], published["feature_extractor.0.weight"].T)
    assert params["dense1"]["kernel"].shape == (2 * COLUMNS, 64) and not params["dense1"]["kernel"][COLUMNS:].any()
    np.testing.assert_array_equal(params["heads"]["prognosis"]["bias"], published["classifier.0.bias"])


def test_other_precisions_become_float32():
    published = {name: value.astype(np.float64) for name, value in state().items()}
    leaves = jax.tree.leaves(torch_weights.convert("tabular_dnn", published))
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")} and all(leaf.flags.owndata for leaf in leaves)


def test_what_is_wrong_is_named():
    published = state(**{"feature_extractor.3.weight": np.zeros((32, 63)), "classifier.0.bias": np.array([np.nan])})
    del published["feature_extractor.7.running_var"]
    published |= {f"more.{number}": np.zeros(1) for number in range(6)}
    with pytest.raises(InputError) as caught:
        torch_weights.convert("tabular_dnn", published)
    for words in (
        "missing: feature_extractor.7.running_var;", "unknown: more.0, more.1, more.2, more.3 and 2 more",
        "of another shape: feature_extractor.3.weight (32 x 63 instead of 32 x 64)", "not finite numbers: classifier.0.bias",
    ):  # fmt: skip
        assert words in str(caught.value)
    with pytest.raises(InputError, match="not finite numbers: feature_extractor.0.weight"):
        torch_weights.convert("tabular_dnn", {name: value.astype(np.int8) for name, value in state().items()})
    with pytest.raises(InputError, match="missing: feature_extractor.features.conv0.weight"):
        torch_weights.convert("ich_multitask", state())
    with pytest.raises(InputError, match="Did you mean 'perez'"):
        torch_weights.convert("peres", state())


def renamed(values: dict, names: dict[str, str | None]) -> dict:
    """Tensors under other names, by the beginning of theirs; None leaves them out."""
    found = {}
    for name, value in values.items():
        old = next((old for old in names if name.startswith(old)), "")
        if names.get(old, "") is not None:
            found[names.get(old, "") + name.removeprefix(old)] = value
    return found


# The config's variant of each published network, logits of its coma scale, what becomes of the proposed network's names, its parameters.
VARIANTS = {
    "ordgcs_age": (2, {}, 11_246_724),
    "gcs_age": (1, {}, 11_245_699),
    "age": (1, {"ordinal_headGCS": None}, 11_244_674),
    "gcs": (1, {"ordinal_headGCS": "ordinal_head", "ordinal_headAge": None}, 11_244_674),
    "ordgcs": (2, {"ordinal_headGCS": "ordinal_head", "ordinal_headAge": None}, 11_245_699),
    "densenet": (1, {"feature_extractor.": "", "ordinal_head": None, "binary_head.3": "class_layers.out"}, 11_243_649),
    "gcs_only": (1, {"ordinal_headAge": None, "binary_head": None}, 11_243_649),
    "age_only": (1, {"ordinal_headGCS": None, "binary_head": None}, 11_243_649),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_published_variant_is_our_network(ich_file, variant):
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    import networks

    cuts, names, count = VARIANTS[variant]
    published = {name: value.numpy() for name, value in networks.MultiTaskDenseNet(cuts=cuts).state_dict().items()}
    found = torch_weights.convert("ich_multitask", renamed(published, names))
    assert jax.tree.map(np.shape, found) == shapes(ich_file.get_config(variant))
    assert sum(leaf.size for leaf in jax.tree.leaves(found["params"])) == count


def test_perez_is_our_network(ich_file):
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    import networks

    published = networks.Perez().state_dict()
    found = torch_weights.convert("perez", {name: value.numpy() for name, value in published.items()})
    assert jax.tree.map(np.shape, found) == shapes(ich_file.get_config("baseline"))
    assert sum(leaf.size for leaf in jax.tree.leaves(found["params"])) == 291_217


def shapes(config) -> dict:
    """Of our network's variables."""
    module = models.build(config)
    batch = {
        "images/ct": jax.ShapeDtypeStruct((1, 40, 64, 64, 1), np.float32), "images_mask/ct": jax.ShapeDtypeStruct((1,), np.float32)
    }  # fmt: skip
    return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(lambda batch: module.init(jax.random.key(0), batch, {}), batch))
