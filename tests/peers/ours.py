"""One training step of every row in jaxstroke: `make(row) -> step`, a function that runs one step and waits for its end.

densenet and mri are the project's real step at their configs' sizes; resnet50 and simclr, which no config trains alone yet, are its
encoder, its optimiser and as little beside them as on the other side.
"""

import importlib.util
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import rows

from jaxstroke import config as settings
from jaxstroke import main, models
from jaxstroke.models import encoders, heads
from jaxstroke.training import mesh, optimizer, step

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPERATURE = 0.5  # of NT-Xent


def make(row: rows.Row, cache: str) -> Callable[[], None]:
    """The step of a row. cache: folder of compiled programs, "" = none."""
    config = STEPS[row.network][0](row)
    with config.unlocked():
        config.train.dtype, config.device.data, config.device.cache = row.dtype, 1, cache
    main.set_up_jax(config)
    return STEPS[row.network][1](row, config)


def from_file(name: str, variant: str):
    """The config of a paper."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def ich(row: rows.Row):
    """Paper 3 as published, at the row's size; one micro-batch an update."""
    config = from_file("ich_multitask", "paper")
    with config.unlocked():
        config.train.batch_size, config.train.accumulation = row.batch, 1
        config.images.ct.shape = row.shape
    return config


def soop(row: rows.Row):
    config = from_file("mri_cnn_lstm", "soop")
    with config.unlocked():
        config.train.batch_size = row.batch
    return config


def plain(row: rows.Row):
    """No paper's config: AdamW as on the other side."""
    config = settings.base()
    with config.unlocked():
        config.optimizer.learning_rate, config.optimizer.clip = 1e-3, 0.0
    return config


def batch_of(row: rows.Row, config) -> dict[str, np.ndarray]:
    """The row's arrays as the feed hands them to the step, without the leading axes: every row real, every image and label there."""
    arrays = rows.arrays(row)
    ones = np.ones(row.batch, np.float32)
    columns = np.zeros((row.batch, max(1, len(settings.clinical_names(config)))), np.float32)
    batch = {"weight": ones, "clinical": columns, "clinical_mask": columns + 1}
    for name in settings.image_names(config):
        sequence = config.images[name].kind == "sequence"
        batch |= {f"images/{name}": arrays[name], f"images_mask/{name}": np.ones(arrays[name].shape[: 1 + sequence], np.float32)}
    for task in config.loss:
        batch |= {f"label/{task}": arrays[task], f"label_mask/{task}": ones}
    return batch


def fitted_of(config, columns: int) -> dict[str, np.ndarray]:
    """Numbers that fit any training patients; they change no time."""
    zeros = np.zeros(columns, np.float32)
    fitted = {"clinical_median": zeros, "clinical_mean": zeros, "clinical_scale": zeros + 1, "total_steps": np.int32(1000)}
    for task, size in heads.sizes(config).items():
        fitted |= {f"prior/{task}": np.full(size, 0.5, np.float32), f"logit_shift/{task}": np.float32(0)}
        fitted |= {f"class_weight/{task}": np.ones(2, np.float32)}
    return fitted


def real_step(row: rows.Row, config) -> Callable[[], None]:
    """`training/step.py`: what every epoch of the program runs, with a batch that lies on the device."""
    devices = mesh.make(config.device)
    model, transform = models.build(config), optimizer.make(config.optimizer)
    example = batch_of(row, config)
    fitted = fitted_of(config, example["clinical"].shape[1])
    one = jax.tree.map(lambda x: x[:1], example)
    state = step.make_initial(model, transform, one, fitted)(0)
    state, fitted = (step.put(jax.tree.map(lambda x: np.asarray(x)[None], tree), devices) for tree in (state, fitted))
    batch = jax.tree.map(lambda x: x[None, None], example) | {"key": jax.random.split(jax.random.key(0), (1, 1, row.batch))}
    batch = jax.device_put(batch, jax.NamedSharding(devices, step.ROWS))
    train_step = step.make_train_step(model, transform, devices, config)

    def run():
        nonlocal state
        state, terms = train_step(state, fitted, batch)
        jax.block_until_ready((state, terms))

    return run


def gradient_step(row: rows.Row, config) -> Callable[[], None]:
    """Gradients and running statistics of the mean square of the pooled features."""
    encoder = encoders.make("resnet50_2d", models.compute_dtype(config), axis=None)
    images = jnp.asarray(rows.arrays(row)["image"])
    variables = jax.jit(encoder.init)(jax.random.key(0), images[:1])

    def loss(params, stats, x):
        features, new = encoder.apply({"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"])
        return jnp.square(features["pooled"]).mean(), new["batch_stats"]

    gradient = jax.jit(jax.grad(loss, has_aux=True), donate_argnums=1)
    stats = variables["batch_stats"]

    def run():
        nonlocal stats
        gradients, stats = gradient(variables["params"], stats, images)
        jax.block_until_ready((gradients, stats))

    return run


class SimCLR(nn.Module):
    """`n h w 3 -> n 128`: an encoder and the projection head of Chen et al. 2020."""

    encoder: nn.Module
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = self.encoder(x, train=train)["pooled"]
        return nn.Dense(128, dtype=self.dtype)(nn.relu(nn.Dense(2048, dtype=self.dtype)(x)))


def nt_xent(projected: jax.Array) -> jax.Array:
    """`n f -> ()`: cross-entropy of finding the other view, i + n / 2, among all others (Chen et al. 2020), float32."""
    n = len(projected)
    projected = projected.astype(jnp.float32)
    z = projected / jnp.maximum(jnp.linalg.norm(projected, axis=-1, keepdims=True), 1e-12)
    near = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, z @ z.T / TEMPERATURE)
    return optax.softmax_cross_entropy_with_integer_labels(near, (jnp.arange(n) + n // 2) % n).mean()


def contrastive_step(row: rows.Row, config) -> Callable[[], None]:
    """Gradients and the update of the config's optimiser."""
    dtype = models.compute_dtype(config)
    model = SimCLR(encoders.make("resnet50_2d", dtype, axis=None), dtype)
    transform = optimizer.make(config.optimizer)
    images = jnp.asarray(rows.arrays(row)["image"])
    variables = jax.jit(model.init)(jax.random.key(0), images[:2])

    def loss(params, stats, x):
        projected, new = model.apply({"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"])
        return nt_xent(projected), new["batch_stats"]

    def one(state, x):
        gradients, stats = jax.grad(loss, has_aux=True)(state["params"], state["stats"], x)
        directions, opt = transform.update(gradients, state["opt"], state["params"])
        params = jax.tree.map(lambda p, d: p - config.optimizer.learning_rate * d, state["params"], directions)
        return {"params": params, "stats": stats, "opt": opt}

    state = {"params": variables["params"], "stats": variables["batch_stats"], "opt": transform.init(variables["params"])}
    update = jax.jit(one, donate_argnums=0)

    def run():
        nonlocal state
        state = jax.block_until_ready(update(state, images))

    return run


STEPS = {
    "densenet": (ich, real_step),
    "mri": (soop, real_step),
    "resnet50": (plain, gradient_step),
    "simclr": (plain, contrastive_step),
}
