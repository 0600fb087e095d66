"""Paper 3's tabular network: published size, who counts in its norm, dropout after the first layer alone, missing values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke import check, models
from jaxstroke.errors import InputError
from jaxstroke.models import tabular_dnn

ROWS, COLUMNS = 6, 4


@pytest.fixture
def batch():
    keys = jax.random.split(jax.random.key(1), ROWS)
    return {
        "clinical": jax.random.normal(jax.random.key(0), (ROWS, COLUMNS)), "clinical_mask": jnp.ones((ROWS, COLUMNS)), "key": keys,
        "weight": jnp.ones(ROWS).at[2].set(0),
    }  # fmt: skip


FITTED = {"clinical_median": jnp.full(COLUMNS, 0.5), "clinical_mean": jnp.zeros(COLUMNS), "clinical_scale": jnp.ones(COLUMNS)}


def test_published_size(ich_file):
    """5,409 parameters for the 42 columns, and 64 more for the missing flag of each."""
    config = ich_file.get_config("tabular")
    wide = jax.ShapeDtypeStruct((2, 42), jnp.float32)
    fitted = {name: jax.ShapeDtypeStruct((42,), jnp.float32) for name in FITTED}
    module = models.build(config)
    batch = {"clinical": wide, "clinical_mask": wide}
    params = jax.eval_shape(lambda batch, fitted: module.init(jax.random.key(0), batch, fitted), batch, fitted)["params"]
    assert len(config.clinical.numeric) == 42 and module.dropout == 0.3 and module.tasks == {"prognosis": 1}
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 5_409 + 42 * 64


def test_padding_moves_no_statistics_and_missing_values_are_the_median_with_a_flag(batch):
    module = tabular_dnn.TabularDNN({"poor": 1}, axis=None)
    variables = module.init(jax.random.key(2), batch, FITTED)

    @jax.jit
    def statistics(batch):
        return module.apply(variables, batch, FITTED, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    found = statistics(batch)
    jax.tree.map(np.testing.assert_array_equal, found, statistics(batch | {"clinical": batch["clinical"].at[2].set(9)}))
    other = statistics(batch | {"clinical": batch["clinical"].at[0].set(9)})
    assert float(jnp.abs(other["norm"]["mean"] - found["norm"]["mean"]).max()) > 0
    logits = jax.jit(lambda batch: module.apply(variables, batch, FITTED)["logits"]["poor"])
    absent = batch | {"clinical_mask": batch["clinical_mask"].at[0, 1].set(0)}
    other = absent | {"clinical": batch["clinical"].at[0, 1].set(77)}
    np.testing.assert_array_equal(logits(absent), logits(other))  # what lies under a mask is not read
    median = batch | {"clinical": batch["clinical"].at[0, 1].set(0.5)}
    assert float(jnp.abs(logits(absent) - logits(median))[0, 0]) > 0  # the flag is
    np.testing.assert_array_equal(logits(absent)[1:], logits(batch)[1:])


def test_dropout_is_of_its_own_in_every_row(batch):
    """Of the first layer alone: with every unit dropped there, what follows is a constant."""
    same = batch | {"clinical": jnp.ones((ROWS, COLUMNS))}
    module = tabular_dnn.TabularDNN({"poor": 1}, dropout=0.3, axis=None)
    variables = module.init(jax.random.key(2), same, FITTED)
    apply = jax.jit(lambda batch: module.apply(variables, batch, FITTED, train=True, mutable=["batch_stats"])[0]["features"]["clinical"])
    assert len(np.unique(np.asarray(apply(same)).round(5), axis=0)) == ROWS
    np.testing.assert_array_equal(apply(same), apply(same))
    nothing = tabular_dnn.TabularDNN({"poor": 1}, dropout=0.999999, axis=None)
    dropped = jax.jit(lambda batch: nothing.apply(variables, batch, FITTED, train=True, mutable=["batch_stats"])[0]["features"]["clinical"])
    assert len(np.unique(np.asarray(dropped(batch)).round(5), axis=0)) == 1


@pytest.mark.parametrize(
    ("key", "value", "words"), [("fusion", "mean", "'tabular_dnn' has no modules"), ("encoder", "perez_3d", "encoder of its own")]
)
def test_what_it_has_not_is_refused(ich_file, key, value, words):
    config = ich_file.get_config("tabular")
    with config.unlocked():
        config.model[key] = value
    with pytest.raises(InputError, match=words):
        check.check(config)
