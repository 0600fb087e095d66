"""Networks: pure functions of parameters and a batch."""

import jax
import jax.numpy as jnp

from jaxstroke.errors import InputError, nearest
from jaxstroke.models import clinical_mlp, ct_conv_lstm, ich_multitask, mri_cnn_lstm, retina_simclr, tabular_dnn, trimodal_align

MODELS = {
    "mri_cnn_lstm": mri_cnn_lstm.build,
    "clinical_mlp": clinical_mlp.build,
    "ct_conv_lstm": ct_conv_lstm.build,
    "ich_multitask": ich_multitask.build,
    "retina_simclr": retina_simclr.build,
    "tabular_dnn": tabular_dnn.build,
    "trimodal_align": trimodal_align.build,
}


def build(config):
    """The Flax module that `config.model.name` means.

    `module.apply({"params": ...}, batch, fitted, train=False)` takes one run's batch (`"images/<name>"`: `b s h w c`, a volume `b d h w c`,
    `"clinical"`: `b k`, masks beside them; when training `"key"`: `b`, and `"weight"`: `b`, 1 for a real row) and the numbers fitted on
    its training patients, and gives
    `{"logits": {task: b k}, "features": {name: b ...}, "parts": {part: {"logits": {task: b k}, "present": b}}}`.
    A part is trained and kept on its own (a module of paper 1); its parameters lie under its name. No parts: the network is one.
    In pre-training there are pairs of views in place of logits, see `simclr.Contrast`.
    """
    return named(config)(config, compute_dtype(config))


def named(config):
    """The builder in MODELS that `config.model.name` means; InputError with the nearest name where there is none."""
    name = config.model.name
    if name not in MODELS:
        raise InputError(f"config.model.name = '{name}' is not a network.{nearest(name, MODELS)}")
    return MODELS[name]


def compute_dtype(config):
    """bfloat16 on accelerators, float32 on CPU, unless `train.dtype` says otherwise."""
    if config.train.dtype != "auto":
        return jnp.dtype(config.train.dtype)
    return jnp.dtype("float32") if jax.default_backend() == "cpu" else jnp.dtype("bfloat16")
