"""How fast each parameter learns: its factor of the learning rate, by where it lies in the network.

A frozen encoder (`optimizer.encoder_rate` of 0) is kept out of gradients and optimiser altogether: nothing is computed backwards through
it, it has no moments, and weight decay does not touch it. That its norms' statistics stay as well is `models.norm`'s part.
"""

import re

import jax
import optax

from jaxstroke.errors import InputError
from jaxstroke.training import subtrees

ENCODER, TEXT = "encoder", "bert"  # names of the subtrees, wherever in the network
FIRST = ("stem", "norm0", "embedding", "token", "positions")  # how the names of what comes before an encoder's layers begin
LAYER = re.compile(r"(?:layer|block|stage|transition)(\d+)|ConvPool_(\d+)")  # the second counts from 0


def check(params: dict, settings):
    """Raise InputError where an encoder is to learn at a rate of its own and the network has none."""
    if (settings.encoder_rate, settings.layer_decay) != (1, 1) and not subtrees.places(params, ENCODER):
        raise InputError("config.optimizer.encoder_rate and .layer_decay are of an encoder, and this network has none: leave them at 1")
    if settings.text_rate != 1 and not subtrees.places(params, TEXT):
        raise InputError("config.optimizer.text_rate is of an encoder of reports, and this network has none: leave it at 1")


def factors(params: dict, settings) -> dict:
    """A tree like the parameters, of plain numbers: 1, in an encoder as of `in_encoder`, `text_rate` in that of reports.

    settings: `config.optimizer`.
    """

    def one(name: str, value):
        if name == ENCODER:
            return in_encoder(value, settings)
        if name == TEXT:
            return jax.tree.map(lambda _: settings.text_rate, value)
        return factors(value, settings) if isinstance(value, dict) else 1.0

    return {name: one(name, value) for name, value in params.items()}


def in_encoder(params: dict, settings) -> dict:
    """encoder_rate x layer_decay^(L + 1 - l) for layer l of L, l = 0 of what comes before them and L + 1 of what comes after.

    As for BEiT (Bao et al. 2021) and MAE (He et al. 2021): a head, outside, has 1. A layer is a transformer's, or a convolutional network's
    stage; a norm of l = L + 1 is that after the last layer.
    """
    layers = {name: layer_of(name) for name in params}
    last = max((number for number in layers.values() if number is not None), default=0) + 1
    found = {}
    for name, value in params.items():
        number = last if layers[name] is None else layers[name]
        factor = settings.encoder_rate * settings.layer_decay ** (last - number)
        found[name] = jax.tree.map(lambda _, factor=factor: factor, value)
    return found


def layer_of(name: str) -> int | None:
    """The layer that an entry of an encoder belongs to, 0 of what comes before them; None of what comes after."""
    if name.startswith(FIRST):
        return 0
    found = LAYER.match(name)
    if found is None:
        return None
    return int(found[1]) if found[1] else int(found[2]) + 1


def learning(params: dict, settings) -> dict:
    """The parameters that are learned: without frozen encoders."""
    for name, rate in ((ENCODER, settings.encoder_rate), (TEXT, settings.text_rate)):
        params = params if rate > 0 else subtrees.without(params, name)
    return params


def by_place(inner: optax.GradientTransformation, settings) -> optax.GradientTransformation:
    """An optimiser of unit learning rate, its directions times their factors; gradients and directions are of what learns alone.

    The factor comes last, so it slows a step's weight decay and the momentum's part in it as much as its gradient's.
    """

    def init(params):
        return inner.init(learning(params, settings))

    def update(gradients, state, params):
        directions, state = inner.update(learning(gradients, settings), state, learning(params, settings))
        return jax.tree.map(lambda d, factor: d if factor == 1 else factor * d, directions, factors(directions, settings)), state

    return optax.GradientTransformation(init, update)
