"""Features of reports that are computed once, by an encoder that does not learn: `text.precomputed`.

The encoder's weights are kept in the workdir, so that new patients are read by the same.
"""

import io

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import traverse_util

from jaxstroke import config as settings
from jaxstroke import hosts
from jaxstroke.cohort.npz import DAMAGED
from jaxstroke.errors import InputError
from jaxstroke.feed import load, plan
from jaxstroke.models import compute_dtype, modalities
from jaxstroke.preprocess import records
from jaxstroke.training import vocabulary

FILE = "text_encoder.npz"
ROWS = 16  # reports a forward pass


def with_words(config, loaded: load.Loaded, workdir: epath.Path, begin=None) -> load.Loaded:
    """The cohort with `words` (`n t f` float16) and `words_mask` among its arrays, where the network reads these; else as it is.

    begin: of `interop.init_from`, whose weights are kept; without it those of the workdir are taken.
    """
    if not settings.precomputes(config):
        return loaded
    if begin is not None and hosts.first() and not (workdir / FILE).exists():
        write(workdir / FILE, begin.ready()["params"])
    hosts.in_turn(lambda: None)
    variables = {"params": read(workdir / FILE)}
    tokens = vocabulary.encoded(config, loaded.reports.vocabulary, vocabulary.controlled(config, [unit.text for unit in loaded.units]))
    encoder = modalities.make_bert(config, compute_dtype(config))(name=None)
    features = jax.jit(lambda variables, tokens, mask: encoder.apply(variables, tokens, mask).astype(jnp.float16))
    found = []
    for rows in plan.padded(np.arange(len(loaded.units)), ROWS):
        found.append(np.asarray(features(variables, *(array[np.maximum(rows, 0)] for array in tokens.values()))))
    name = modalities.PRECOMPUTED
    loaded.arrays[name] = np.concatenate(found)[: len(loaded.units)]
    loaded.arrays[f"{name}_mask"] = tokens["tokens_mask"]
    return loaded


def write(path: epath.Path, params: dict):
    """Weights as npz, whole or not at all."""
    content = io.BytesIO()
    np.savez(content, **traverse_util.flatten_dict(params, sep="/"))
    records.write_bytes(path, content.getvalue())


def read(path: epath.Path) -> dict:
    cure = "begin a new --workdir with config.text.init_from"
    if not path.exists():
        raise InputError(f"{path} is gone, the encoder that has read the training patients' reports: {cure}")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            return traverse_util.unflatten_dict({name: found[name] for name in found.files}, sep="/")
    except (OSError, *DAMAGED):
        raise InputError(f"{path} is damaged: {cure}") from None
