"""Optimisers and schedules from the config. The learning rate is applied by the step, since each run counts its own updates."""

import jax
import jax.numpy as jnp
import optax


def make(settings) -> optax.GradientTransformation:
    """Gradients to directions of unit learning rate. settings: `config.optimizer`."""
    return optax.chain(clip_by_part(settings.clip), DIRECTIONS[settings.name](settings))


def adam(settings) -> optax.GradientTransformation:
    """Adam with decoupled weight decay."""
    return optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(settings.weight_decay))


def sgd(settings) -> optax.GradientTransformation:
    """Gradient descent with momentum 0.9."""
    return optax.chain(optax.add_decayed_weights(settings.weight_decay), optax.trace(0.9))


DIRECTIONS = {"adam": adam, "sgd": sgd}


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
}
