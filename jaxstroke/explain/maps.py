"""What a network's number depends on, as maps on the stored grid: pure functions of variables and one patient's batch.

A map explains the logit of a head (of an ordinal one the sum of its logits, of a class its log-odds) for one image, by name in `METHODS`:

    grad_cam                 Selvaraju et al. 2017 (arXiv 1610.02391): channels of a layer weighted by their mean gradient, ReLU, enlarged
    guided_backpropagation   Springenberg et al. 2015 (arXiv 1412.6806): gradient of the image, its size summed over channels
    guided_grad_cam          the product of both
    integrated_gradients     Sundararajan et al. 2017 (arXiv 1703.01365): from an image of zeros; all inputs sum to the logit's change
    occlusion                Zeiler and Fergus 2014 (arXiv 1311.2901): by how much the logit falls when a box is set to 0

A network of several modules is asked for the module's own logit, unless it is `Merged`; one of a single module that sees all images
(`trimodal_align`) for the network's, before columns are merged with it. A batch holds one patient: `images/<name>` `1 s h w c`. A report is
held as it is by every method; what it does is asked for by taking it away, see `report`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke import outcomes
from jaxstroke.models import activation
from jaxstroke.training import step


@dataclass(frozen=True)
class Merged:
    """A network of several modules that was trained as one: its number is that of the merge, not of a module."""

    model: nn.Module

    def apply(self, *arguments, **named) -> dict:
        return self.model.apply(*arguments, **named) | {"parts": {}}


@dataclass(frozen=True)
class Explained:
    """A network as it is explained: its log-odds are at the prevalence of the training patients, as in `predictions.csv`; every class has a
    head, of its log-odds against the rest. heads: of `choice.class_heads`."""

    model: nn.Module | Merged
    heads: dict[str, tuple[str, int]]

    def apply(self, variables, batch: dict, fitted: dict, train: bool) -> dict:
        outputs = step.shifted(self.model.apply(variables, batch, fitted, train=train), fitted)
        parts = {name: part | {"logits": self.with_classes(part["logits"])} for name, part in outputs["parts"].items()}
        return outputs | {"logits": self.with_classes(outputs["logits"]), "parts": parts}

    def with_classes(self, logits: dict) -> dict:
        return logits | {head: outcomes.against_rest(logits[task])[..., place] for head, (task, place) in self.heads.items()}


def logit(model, variables: dict, fitted: dict, batch: dict, head: str, image: str) -> jax.Array:
    """The number that is explained. variables: {"params", "stats"} as a workdir keeps them."""
    outputs = step.evaluated(model, variables, fitted, batch)
    logits = outputs["parts"].get(image, outputs)["logits"]
    return logits[head].sum().astype(jnp.float32)


def layers_of(model, variables, fitted, batch: dict) -> dict[str, tuple[int, ...]]:
    """Every layer that gives a map: path in the network -> shape `n *space c`, in the order of computation."""
    found = {}

    def intercept(next_function, arguments, named, context):
        y = next_function(*arguments, **named)
        if context.method_name == "__call__" and isinstance(y, jax.Array) and y.ndim >= 4:
            found["/".join(context.module.path)] = y.shape
        return y

    with nn.intercept_methods(intercept):
        jax.eval_shape(lambda batch: step.evaluated(model, variables, fitted, batch), batch)
    return found


def grad_cam(model, head: str, image: str, layer: str) -> Callable:
    """`map(variables, fitted, batch) -> s h w`, at a path of `layers_of`."""

    def one(variables, fitted, batch):
        shape = layers_of(model, variables, fitted, batch)[layer]

        def moved(delta):
            seen = []

            def intercept(next_function, arguments, named, context):
                y = next_function(*arguments, **named)
                if context.method_name != "__call__" or "/".join(context.module.path) != layer:
                    return y
                seen.append(y)
                return y + delta.astype(y.dtype)

            with nn.intercept_methods(intercept):
                value = logit(model, variables, fitted, batch, head, image)
            return value, seen[0]

        gradient, features = jax.grad(moved, has_aux=True)(jnp.zeros(shape, jnp.float32))
        weights = gradient.mean(tuple(range(1, len(shape) - 1)), keepdims=True)  # n 1 1 (1) c
        heat = nn.relu((weights * features.astype(jnp.float32)).sum(-1))  # n *space
        heat = heat[0] if heat.ndim == 4 else heat
        shown = batch[f"images/{image}"].shape[1:4]
        return jax.image.resize(heat, shown, "linear") * slices_shown(batch, image)

    return one


def guided_backpropagation(model, head: str, image: str) -> Callable:
    """`map(variables, fitted, batch) -> s h w`."""

    def one(variables, fitted, batch):
        def value(x):
            with activation.guided():
                return logit(model, variables, fitted, batch | {f"images/{image}": x}, head, image)

        gradient = jax.grad(value)(batch[f"images/{image}"])
        return jnp.abs(gradient[0]).sum(-1) * slices_shown(batch, image)

    return one


def guided_grad_cam(model, head: str, image: str, layer: str) -> Callable:
    coarse, fine = grad_cam(model, head, image, layer), guided_backpropagation(model, head, image)
    return lambda variables, fitted, batch: coarse(variables, fitted, batch) * fine(variables, fitted, batch)


def attributions(model, head: str, image: str, steps: int) -> Callable:
    """`attribute(variables, fitted, batch) -> {"images/<name>": s h w, "clinical": k, "change": logit's}`.

    Integrated gradients of all that the number depends on, along the straight line from zeros and the training medians, at the middles of
    `steps` parts. Absent columns stay absent, and a report is the same at both ends, as there is nothing between words. The sum of all is
    `change` up to the error of the sum over steps.
    """

    def one(variables, fitted, batch):
        inputs = {name: x for name, x in batch.items() if name == "clinical" or name.startswith("images/")}
        start = {name: jnp.zeros_like(x) for name, x in inputs.items()}
        start["clinical"] = jnp.where(batch["clinical_mask"] > 0, fitted["clinical_median"], batch["clinical"])

        def value(share):
            return logit(model, variables, fitted, batch | share, head, image)

        def add(total, place):
            between = jax.tree.map(lambda a, b: a + place * (b - a), start, inputs)
            return jax.tree.map(jnp.add, total, jax.grad(value)(between)), None

        total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, inputs), (jnp.arange(steps) + 0.5) / steps)
        parts = jax.tree.map(lambda gradient, a, b: (gradient * (b - a))[0] / steps, total, start, inputs)
        shown = {name: part.sum(-1) if name != "clinical" else part for name, part in parts.items()}
        return shown | {"change": value(inputs) - value(start)}

    return one


def integrated_gradients(model, head: str, image: str, steps: int) -> Callable:
    whole = attributions(model, head, image, steps)
    return lambda variables, fitted, batch: whole(variables, fitted, batch)[f"images/{image}"]


def occlusion(model, head: str, image: str, patch: tuple[int, ...], stride: tuple[int, ...]) -> Callable:
    """`map(variables, fitted, batch) -> s h w`: the mean fall of the logit over all boxes that cover a voxel."""

    def one(variables, fitted, batch):
        x = batch[f"images/{image}"]
        shape = x.shape[1:4]
        starts = [np.unique(np.minimum(np.arange(0, n, move), max(n - p, 0))) for n, p, move in zip(shape, patch, stride, strict=True)]
        places = jnp.asarray(np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 3))
        whole = logit(model, variables, fitted, batch, head, image)
        index = [jnp.arange(n) for n in shape]

        def add(total, place):
            inside = [(i >= p) & (i < p + size) for i, p, size in zip(index, place, patch, strict=True)]
            box = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]
            hidden = jnp.where(box[None, ..., None], 0, x)
            fall = whole - logit(model, variables, fitted, batch | {f"images/{image}": hidden}, head, image)
            return (total[0] + fall * box, total[1] + box), None

        (falls, count), _ = jax.lax.scan(add, (jnp.zeros(shape), jnp.zeros(shape)), places)
        return falls / jnp.maximum(count, 1) * slices_shown(batch, image)

    return one


def slices_shown(batch: dict, image: str) -> jax.Array:
    """`s 1 1` or a number: 0 where a sequence is padded."""
    mask = batch[f"images_mask/{image}"][0]
    return mask.reshape(-1, 1, 1) if mask.ndim else mask


# Name in `config.explain.method` -> how it is made of (model, head, image, layer of Grad-CAM, `config.explain`).
METHODS = {
    "grad_cam": lambda model, head, image, layer, settings: grad_cam(model, head, image, layer),
    "guided_backpropagation": lambda model, head, image, layer, settings: guided_backpropagation(model, head, image),
    "guided_grad_cam": lambda model, head, image, layer, settings: guided_grad_cam(model, head, image, layer),
    "integrated_gradients": lambda model, head, image, layer, settings: integrated_gradients(model, head, image, settings.steps),
    "occlusion": lambda model, head, image, layer, settings: occlusion(model, head, image, tuple(settings.patch), tuple(settings.stride)),
}


def make(name: str, model, settings, head: str, image: str, layer: str) -> Callable:
    """The jitted method of a name in `METHODS`; settings: `config.explain`."""
    return jax.jit(METHODS[name](model, head, image, layer, settings))
