"""Optimisers and schedules from the config. The learning rate is applied by the step, since each run counts its own updates."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxstroke.training import rates


def make(settings) -> optax.GradientTransformation:
    """Gradients to directions of unit learning rate. settings: `config.optimizer`. A frozen encoder has neither; see `rates.by_place`."""
    return rates.by_place(optax.chain(clip_by_part(settings.clip), DIRECTIONS[settings.name](settings)), settings)


def adamw(settings) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    return optax.chain(optax.scale_by_adam(*settings.betas, settings.epsilon), optax.add_decayed_weights(settings.weight_decay))


def adamw_amsgrad(settings) -> optax.GradientTransformation:
    """`torch.optim.AdamW(amsgrad=True)`."""
    return optax.chain(scale_by_amsgrad(*settings.betas, settings.epsilon), optax.add_decayed_weights(settings.weight_decay))


def sgd(settings) -> optax.GradientTransformation:
    """Gradient descent with momentum, as PyTorch's: weight decay joins the gradient before the momentum."""
    return optax.chain(optax.add_decayed_weights(settings.weight_decay), optax.trace(settings.momentum, settings.nesterov))


def lars(settings) -> optax.GradientTransformation:
    """Layer-wise adaptive rates (You et al. 2017), as SimCLR uses them: decay, then every layer's trust ratio, then momentum.

    Biases and the scales of a normalisation (whatever has one axis) are neither decayed nor adapted. The learning rate follows the
    momentum, as in PyTorch's SGD; in the paper it comes before it, which is the same while the rate does not change.
    """
    decay = optax.add_decayed_weights(settings.weight_decay, mask=adapted)
    return optax.chain(decay, optax.masked(scale_by_trust(settings.trust), adapted), optax.trace(settings.momentum, settings.nesterov))


DIRECTIONS = {"adamw": adamw, "adamw_amsgrad": adamw_amsgrad, "sgd": sgd, "lars": lars}


def adapted(params):
    """Which parameters LARS decays and adapts: True for those with two axes or more."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


class AmsgradState(NamedTuple):
    """count: updates so far, int32. mean, square, largest: like the parameters, float32; `largest` is the highest `square` so far."""

    count: jax.Array
    mean: optax.Updates
    square: optax.Updates
    largest: optax.Updates


def scale_by_amsgrad(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    """Adam that divides by the largest second moment so far (Reddi et al. 2018), in the order of PyTorch's `_single_tensor_adam`.

    The maximum is of the raw moment, and its bias is corrected afterwards by the current step; optax's `scale_by_amsgrad` takes the
    maximum of corrected moments, which the first few gradients then hold for ever. epsilon is added after the root.
    """

    def init(params):
        zeros = optax.tree.zeros_like(params, dtype=jnp.float32)
        return AmsgradState(jnp.zeros((), jnp.int32), zeros, zeros, zeros)

    def update(gradients, state, params=None):
        count = state.count + 1
        mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mean, gradients)
        square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g * g, state.square, gradients)
        largest = jax.tree.map(jnp.maximum, state.largest, square)
        first, second = bias(beta1, count), bias(beta2, count)
        directions = jax.tree.map(lambda m, s: m / first / (jnp.sqrt(s / second) + epsilon), mean, largest)
        return directions, AmsgradState(count, mean, square, largest)

    return optax.GradientTransformation(init, update)


def bias(beta: float, count: jax.Array) -> jax.Array:
    """1 - beta^count, without the cancellation that costs float32 four digits while beta^count is near 1."""
    return -jnp.expm1(count * math.log(beta)) if beta > 0 else jnp.ones(())


def scale_by_trust(trust: float) -> optax.GradientTransformation:
    """Every array by trust x its parameter's norm / its own norm; by 1 where either norm is 0."""

    def update(gradients, state, params):
        def scaled(g, p):
            own, weight = jnp.linalg.norm(g.ravel()), jnp.linalg.norm(p.ravel())
            return g * jnp.where((own > 0) & (weight > 0), trust * weight / jnp.where(own > 0, own, 1.0), 1.0)

        return jax.tree.map(scaled, gradients, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def clip_by_part(norm: float) -> optax.GradientTransformation:
    """Clip the norm of every top-level entry on its own: modules trained in one step must not scale each other's gradients."""
    if norm <= 0:
        return optax.identity()

    def update(gradients, state, params=None):
        def clipped(part):
            scale = jnp.minimum(1.0, norm / jnp.maximum(optax.tree.norm(part), 1e-12))
            return jax.tree.map(lambda g: g * scale, part)

        return {name: clipped(part) for name, part in gradients.items()}, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def schedule(settings, step: jax.Array, total: jax.Array) -> jax.Array:
    """Learning rate at an update. step, total: int32 scalars of this run."""
    progress = step / jnp.maximum(total, 1)
    rate = settings.learning_rate * SHAPES[settings.schedule](progress)
    if settings.warmup > 0:
        rate = rate * jnp.minimum(1.0, (step + 1) / jnp.maximum(settings.warmup * total, 1.0))
    return rate


SHAPES = {
    "constant": lambda progress: jnp.ones_like(progress),
    "cosine": lambda progress: 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(progress, 1.0))),
    "plateau": lambda progress: jnp.ones_like(progress),  # times `plateau`'s scale, which hangs on the losses met
}
BETTER = 1e-4  # share by which a loss must be below the best to count as better: PyTorch's default


def plateau_start() -> dict[str, jax.Array]:
    """scale: factor of the learning rate; best: lowest loss so far; bad: losses since."""
    return {"scale": jnp.ones(()), "best": jnp.full((), jnp.inf), "bad": jnp.zeros((), jnp.int32)}


def plateau(settings, state: dict[str, jax.Array], loss: jax.Array) -> dict[str, jax.Array]:
    """PyTorch's `ReduceLROnPlateau(mode="min")`: a lower rate after more than `plateau_patience` losses without a better one."""
    better = loss < state["best"] * (1 - BETTER)
    bad = jnp.where(better, 0, state["bad"] + 1)
    worn = bad > settings.plateau_patience
    scale = jnp.where(worn, state["scale"] * settings.plateau_factor, state["scale"])
    return {"scale": scale, "best": jnp.where(better, loss, state["best"]), "bad": jnp.where(worn, 0, bad)}
