"""Axioms of the maps, on networks of the package with random weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke import models
from jaxstroke.benchmark import synthetic
from jaxstroke.errors import InputError
from jaxstroke.explain import choice, faithfulness, maps
from jaxstroke.models import activation, heads


@pytest.fixture(scope="module", params=["volume", "modules"])
def asked(request, ich_file, config_file):
    """(model, variables, fitted, batch of one patient, head, image) of paper 3's kind with a small encoder, and of paper 1's."""
    if request.param == "volume":
        config = ich_file.get_config("smoke").unlock()
        config.model.encoder, config.model.widths, config.model.dropout = "resnet_small_3d", (4, 8), (0.0, 0.0)
        config.images.ct.shape = (8, 16, 16)
    else:
        config = config_file.get_config("smoke")
    model = models.build(config)
    drawn = synthetic.draw_batch(config, (1, 1, 1), jax.random.key(1))
    batch = {name: np.array(x[0, 0]) for name, x in drawn.items() if name != "key"}
    k = batch["clinical"].shape[-1]
    fitted = {"clinical_median": np.full(k, 50.0), "clinical_mean": np.full(k, 50.0), "clinical_scale": np.full(k, 15.0)}
    fitted |= {f"prior/{task}": np.full(size, 0.3) for task, size in heads.sizes(config).items()}
    fitted |= {f"logit_shift/{task}": np.full(size, 0.2) for task, size in heads.sizes(config).items()}
    fitted = jax.tree.map(lambda x: np.asarray(x, np.float32), fitted)
    made = jax.jit(lambda batch: model.init(jax.random.key(0), batch, fitted, train=False))(batch)
    variables = {"params": made["params"], "stats": made.get("batch_stats", {})}
    return config, model, variables, fitted, batch, config.evaluate.primary, next(iter(config.images))


def test_integrated_gradients_of_all_inputs_sum_to_the_change(asked):
    _, model, variables, fitted, batch, head, image = asked
    found = jax.jit(maps.attributions(model, head, image, 256))(variables, fitted, batch)
    total = sum(float(part.sum()) for name, part in found.items() if name != "change")
    assert total == pytest.approx(float(found["change"]), rel=0.02, abs=2e-3)
    assert abs(float(found["change"])) > 1e-3


def test_grad_cam_is_that_of_the_layers_own_gradient(asked):
    """Against finite differences: the logit's change where one channel of the layer is raised everywhere is its weight."""
    config, model, variables, fitted, batch, head, image = asked
    layers = maps.layers_of(model, variables, fitted, batch)
    layer = choice.layer(config, layers, image)
    shape = layers[layer]
    heat = jax.jit(maps.grad_cam(model, head, image, layer))(variables, fitted, batch)
    step, places = 2e-3, int(np.prod(shape[1:-1]))
    seen = {}

    @jax.jit
    def raised(delta):
        def intercept(next_function, arguments, named, context):
            y = next_function(*arguments, **named)
            if context.method_name == "__call__" and "/".join(context.module.path) == layer:
                return y + delta
            return y

        with nn.intercept_methods(intercept):
            return maps.logit(model, variables, fitted, batch, head, image)

    def features():
        def intercept(next_function, arguments, named, context):
            y = next_function(*arguments, **named)
            if context.method_name == "__call__" and "/".join(context.module.path) == layer:
                seen["y"] = np.asarray(y)
            return y

        with nn.intercept_methods(intercept):
            maps.logit(model, variables, fitted, batch, head, image)
        return seen["y"]

    y, weights = features(), np.zeros((shape[0], shape[-1]))
    for row in range(shape[0]):
        for channel in range(shape[-1]):
            delta = np.zeros(shape, np.float32)
            delta[row, ..., channel] = step
            weights[row, channel] = (float(raised(delta)) - float(raised(-delta))) / (2 * step) / places
    expected = np.maximum((weights.reshape(shape[0], *[1] * (len(shape) - 2), -1) * y).sum(-1), 0)
    expected = expected[0] if expected.ndim == 4 else expected
    expected = jax.image.resize(expected, batch[f"images/{image}"].shape[1:4], "linear")
    np.testing.assert_allclose(heat, expected, atol=0.05 * float(expected.max()) + 1e-6)
    assert heat.max() > 0


def test_occlusion_by_whole_slices_is_the_fall_of_the_logit(asked):
    _, model, variables, fitted, batch, head, image = asked
    key = f"images/{image}"
    shape = batch[key].shape[1:4]
    heat = jax.jit(maps.occlusion(model, head, image, (1, *shape[1:]), (1, *shape[1:])))(variables, fitted, batch)
    logit = jax.jit(lambda x: maps.logit(model, variables, fitted, batch | {key: x}, head, image))
    for number in range(shape[0]):
        hidden = batch[key].copy()
        hidden[:, number] = 0
        parts = (logit(x) for x in (batch[key], hidden))
        whole, without = map(float, parts)
        np.testing.assert_allclose(heat[number], whole - without, atol=1e-5)


def test_a_box_that_does_not_divide_the_image_covers_it_all(asked):
    _, model, variables, fitted, batch, head, image = asked
    heat = jax.jit(maps.occlusion(model, head, image, (3, 5, 7), (2, 4, 5)))(variables, fitted, batch)
    assert heat.shape == batch[f"images/{image}"].shape[1:4] and (np.abs(heat) > 0).mean() > 0.5


def test_padded_slices_take_no_part(asked):
    config, model, variables, fitted, batch, head, image = asked
    mask = batch[f"images_mask/{image}"].copy()
    if mask.ndim < 2:
        pytest.skip("a volume has no padded slices")
    mask[:, -1] = 0
    layer = choice.layer(config, maps.layers_of(model, variables, fitted, batch), image)
    for method in maps.METHODS:
        settings = type("S", (), {"steps": 8, "patch": (1, 8, 8), "stride": (1, 8, 8)})
        heat = maps.make(method, model, settings, head, image, layer)(variables, fitted, batch | {f"images_mask/{image}": mask})
        assert not np.asarray(heat)[-1].any() and np.isfinite(heat).all()


def test_guided_relu_passes_what_is_positive_on_both_sides():
    x = jnp.array([-1.0, 2.0, 3.0, -4.0])
    weights = jnp.array([1.0, 1.0, -1.0, -1.0])

    def value(x):
        return (activation.relu(x) * weights).sum()

    np.testing.assert_array_equal(jax.grad(value)(x), [0, 1, -1, 0])
    with activation.guided():
        np.testing.assert_array_equal(jax.grad(value)(x), [0, 1, 0, 0])
        assert value(x) == -1
    np.testing.assert_array_equal(jax.grad(value)(x), [0, 1, -1, 0])


def test_guided_backpropagation_differs_from_the_gradient(asked):
    _, model, variables, fitted, batch, head, image = asked
    key = f"images/{image}"
    guided = jax.jit(maps.guided_backpropagation(model, head, image))(variables, fitted, batch)
    plain = jax.jit(jax.grad(lambda x: maps.logit(model, variables, fitted, batch | {key: x}, head, image)))(batch[key])
    assert not np.allclose(guided, np.abs(plain[0]).sum(-1), rtol=1e-3)


def test_layers_by_name_and_by_default(asked):
    config, model, variables, fitted, batch, _, image = asked
    found = maps.layers_of(model, variables, fitted, batch)
    chosen = choice.layer(config, found, image)
    assert sum(n >= choice.LEAST_PLACES for n in found[chosen][1:-1]) >= 2
    first = next((path for path in found if path.startswith(f"{image}/")), next(iter(found)))
    with config.unlocked():
        config.explain.layer = first
    assert choice.layer(config, found, image) == first
    with config.unlocked():
        config.explain.layer = "no_layer"
    with pytest.raises(InputError, match="no_layer"):
        choice.layer(config, found, image)
    with config.unlocked():
        config.explain.layer = ""


def test_curves_of_a_sum_fall_by_the_order():
    """The probability is the sum of the voxels: in their own order deletion falls fastest, and both curves mirror each other."""
    image = np.random.default_rng(0).random((2, 5, 5, 1))
    image /= image.sum()
    found = faithfulness.curves(np.sum, image, image[..., 0])
    other = faithfulness.curves(np.sum, image, -image[..., 0])
    assert faithfulness.area(found["deletion"]) < 0.5 < faithfulness.area(other["deletion"])
    np.testing.assert_allclose(np.add(found["deletion"], found["insertion"]), 1)
    assert found["deletion"][0] == pytest.approx(1) and found["deletion"][-1] == 0


def test_rank_correlation_of_maps():
    one = np.random.default_rng(0).random((3, 4, 5))
    assert faithfulness.correlation(one, one**3) == pytest.approx(1)
    assert faithfulness.correlation(one, -one) == pytest.approx(-1)
    assert faithfulness.correlation(one, np.zeros_like(one)) is None
