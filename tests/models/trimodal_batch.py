"""A batch of image, columns and report for the network of paper 5, in which each is missing for some row."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke.benchmark import synthetic
from jaxstroke.config_json import copied

ROWS = 16
LACKING = {"image": (1, 5), "text": (2, 5), "clinical": (3,)}  # rows; 5 has its columns alone


def small(trimodal_file, **changes):
    """The smoke config with `section__key` set to other values."""
    config = copied(trimodal_file.get_config("smoke"))
    with config.unlocked(), config.ignore_type():
        for key, value in changes.items():
            section, name = key.split("__")
            config[section][name] = value
        config.optimizer.clip = config.optimizer.weight_decay = 0.0
    return config


def batch_of(config, rows: int = ROWS) -> tuple[dict, dict]:
    """(batch `b ...`, fitted numbers); rows 8 and 9 are of one patient, reports are of several lengths."""
    drawn = synthetic.draw_batch(config, (1, 1, rows), jax.random.key(1))
    batch = {name: x[0, 0] for name, x in drawn.items()}
    lengths = 4 + np.arange(rows) % (config.text.length - 4)
    batch["tokens_mask"] = jnp.asarray(np.arange(config.text.length) < lengths[:, None], jnp.float32)
    batch["patient"] = batch["patient"].at[9].set(8)
    for modality, lacking in LACKING.items():
        for name in masks_of(batch, modality):
            batch[name] = batch[name].at[np.array(lacking)].set(0)
    k = batch["clinical"].shape[-1]
    fitted = {"clinical_median": jnp.zeros(k), "clinical_mean": jnp.full(k, 25.0), "clinical_scale": jnp.full(k, 20.0)}
    fitted |= {"class_weight/poor": jnp.ones(2), "logit_shift/poor": jnp.zeros(1), "prior/poor": jnp.full(1, 0.5)}
    return batch, fitted | {"total_steps": jnp.int32(10)}


def masks_of(batch: dict, modality: str) -> list[str]:
    """The masks of a modality."""
    names = {"image": "images_mask/", "text": "tokens_mask", "clinical": "clinical_mask"}
    return [name for name in batch if name.startswith(names[modality])]


def with_noise(batch: dict) -> dict:
    """The same with noise wherever a mask is 0."""
    random, noisy = np.random.default_rng(3), dict(batch)
    for name, x in batch.items():
        if name.startswith("images/"):
            mask = batch[name.replace("images", "images_mask")]
            mask = np.asarray(mask if mask.ndim == 1 else mask.max(-1)).reshape(-1, *(1,) * (x.ndim - 1))
        elif name in ("tokens", "clinical"):
            mask = np.asarray(batch[f"{name}_mask"])
        else:
            continue
        other = random.integers(0, 100, x.shape) if name == "tokens" else 5 * random.normal(size=x.shape)
        noisy[name] = jnp.where(mask > 0, x, jnp.asarray(other, x.dtype))
    return noisy
