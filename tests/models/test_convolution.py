"""Every form of the convolution against the compiler's own, in value and both gradients."""

import functools
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxstroke.models import convolution, pooling

FORMS = tuple(convolution.FORMS)


@st.composite
def problems(draw):
    """Sizes, taps, strides, padding and channels that give at least one output; prime and even sizes, kernels larger than the image."""
    dims = draw(st.integers(1, 3))
    taps = tuple(draw(st.integers(1, 4)) for _ in range(dims))
    strides = tuple(draw(st.sampled_from((1, 1, 2, 3))) for _ in range(dims))
    size = tuple(draw(st.integers(1, 8)) for _ in range(dims))
    padding = draw(st.sampled_from(("SAME", "VALID", "pairs")))
    if padding == "pairs":
        padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(dims))
        size = tuple(max(s, t - sum(p)) for s, t, p in zip(size, taps, padding, strict=True))
    elif padding == "VALID":
        size = tuple(map(max, size, taps))
    return size, taps, strides, padding, draw(st.integers(1, 8)), draw(st.integers(1, 8))


def value_and_gradients(function, x, kernel, g):
    """y, dx, dkernel for a cotangent g, compiled."""

    def run(x, kernel, g):
        y, pull = jax.vjp(function, x, kernel)
        return (y, *pull(g))

    return jax.jit(run)(x, kernel, g)


def check_forms(problem, forms=FORMS):
    size, taps, strides, padding, i, o = problem
    x = jax.random.normal(jax.random.key(1), (2, *size, i))
    kernel = jax.random.normal(jax.random.key(2), (*taps, i, o))
    letters = "DHW"[-len(size) :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")

    def reference(x, kernel):
        """Padded beforehand where pairs are given: XLA's own gradient of a padding wider than the kernel is wrong on CPU."""
        if isinstance(padding, str):
            return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers)
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        return jax.lax.conv_general_dilated(x, kernel, strides, "VALID", dimension_numbers=numbers)

    g = jax.random.normal(jax.random.key(3), jax.eval_shape(reference, x, kernel).shape)
    expected = value_and_gradients(reference, x, kernel, g)
    for form in forms:
        found = value_and_gradients(lambda x, k, form=form: convolution.conv(x, k, strides, padding, form), x, kernel, g)
        for name, a, b in zip(("value", "dx", "dkernel"), found, expected, strict=True):
            scale = max(1.0, float(jnp.abs(b).max()))
            np.testing.assert_allclose(a / scale, b / scale, atol=1e-5, err_msg=f"{form} {name} of {problem}")


@hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
@hypothesis.given(problems())
def test_forms_equal_the_compilers_convolution(problem):
    check_forms(problem)


@pytest.mark.slow
@hypothesis.settings(max_examples=120, deadline=None, derandomize=True)
@hypothesis.given(problems())
def test_forms_equal_the_compilers_convolution_at_length(problem):
    check_forms(problem)


NETWORKS = [
    ((10, 10, 10), (7, 7, 7), (2, 2, 2), ((3, 3),) * 3, 1, 8),  # stem in 3D
    ((13, 12), (7, 7), (2, 2), ((3, 3),) * 2, 3, 8),  # and in 2D
    ((4, 5, 6), (3, 3, 3), (1, 1, 1), ((1, 1),) * 3, 16, 4),  # dense layer: scattered
    ((4, 6, 6), (3, 3, 3), (2, 2, 2), ((1, 1),) * 3, 4, 4),  # residual block that halves
    ((5, 5), (1, 1), (2, 2), "VALID", 4, 8),  # its shortcut
    ((2, 2, 2), (3, 3, 3), (1, 1, 1), ((1, 1),) * 3, 8, 8),  # its last blocks: more taps than places
    ((3, 3, 3), (3, 3, 3), (2, 2, 2), ((1, 1),) * 3, 4, 8),
    ((2, 2), (3, 3), (1, 1), ((1, 1),) * 2, 8, 8),
    ((2, 7), (2, 2), (1, 1), ((2, 0), (2, 0)), 8, 6),  # padded by more than a window reaches
]


@pytest.mark.parametrize("problem", NETWORKS, ids=str)
def test_forms_at_the_networks_own_shapes(problem):
    check_forms(problem)


@pytest.mark.parametrize("form", FORMS)
def test_no_gradient_dilates(form):
    """A dilated convolution is what strided gradients are slow by; none may be in the program of value and gradients."""
    x, kernel = jnp.ones((1, 9, 9, 9, 2)), jnp.ones((3, 3, 3, 2, 2))

    def loss(x, kernel):
        return convolution.conv(x, kernel, 2, ((1, 1),) * 3, form).sum()

    text = jax.jit(jax.grad(loss, (0, 1))).lower(x, kernel).as_text("hlo")
    assert "lhs_dilate" not in text


@pytest.mark.parametrize("form", FORMS)
def test_gradients_inside_shard_map_equal_one_device(form):
    """Kernels are replicated, rows spread: own gradients must be summed over devices like any other."""
    x = jax.random.normal(jax.random.key(0), (8, 4, 4, 4, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 3, 2))

    def loss(x, kernel):
        return (convolution.conv(x, kernel, 2, ((1, 1),) * 3, form) ** 2).sum()

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def spread(x, kernel):
        return jax.grad(lambda kernel: jax.lax.psum(loss(x, kernel), "data"))(kernel)

    many = jax.jit(jax.shard_map(spread, mesh=mesh, in_specs=(P("data"), P()), out_specs=P()))(x, kernel)
    one = jax.jit(jax.grad(loss, 1))(x, kernel)
    np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-4)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        convolution.conv(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 2, 2)))
    with pytest.raises(ValueError, match="smaller than 5 taps"):
        convolution.conv(jnp.ones((1, 4, 4, 3)), jnp.ones((5, 5, 3, 2)), padding="VALID")


@pytest.mark.parametrize(("dims", "window", "stride", "padding"), [(3, 3, 2, 1), (2, 3, 2, 1), (2, 2, 2, 0), (3, 2, 2, 0), (1, 3, 1, 1)])
def test_max_pool_equals_the_compilers(dims, window, stride, padding):
    """Values without ties: gradients are the compiler's select-and-scatter too. Sizes odd and even."""
    shape = (2, *(7, 6, 5)[:dims], 3)
    x = jax.random.permutation(jax.random.key(0), jnp.arange(float(np.prod(shape)))).reshape(shape)
    wide = (1, *(window,) * dims, 1), (1, *(stride,) * dims, 1), ((0, 0), *((padding, padding),) * dims, (0, 0))

    def reference(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *wide)

    y, pull = jax.vjp(lambda x: pooling.max_pool(x, window, stride, padding), x)
    expected, expected_pull = jax.vjp(reference, x)
    np.testing.assert_array_equal(y, expected)
    g = jax.random.normal(jax.random.key(1), y.shape)
    np.testing.assert_allclose(pull(g)[0], expected_pull(g)[0], rtol=1e-6)


def test_of_equal_values_the_first_takes_the_gradient():
    """As in PyTorch; a background of zeros is full of them."""
    x = jnp.ones((2, 3, 2, 3))
    first = np.zeros(x.shape)
    first[:, 0, 0] = 1
    for pool in (functools.partial(pooling.max_pool, window=2), pooling.global_max):
        np.testing.assert_array_equal(jax.grad(lambda x, pool=pool: pool(x).sum())(x), first)


def test_global_max_is_the_maximum_even_where_it_is_computed_again():
    """Its gradient goes to one place a channel. JAX's own asks for equality, and after a norm that is computed twice finds none: 0 / 0."""
    x = jax.random.normal(jax.random.key(0), (3, 4, 5, 6, 7))
    np.testing.assert_array_equal(pooling.global_max(x), x.max((1, 2, 3)))
    gradient = np.asarray(jax.grad(lambda x: pooling.global_max(x).sum())(x))
    np.testing.assert_array_equal(gradient, x == x.max((1, 2, 3), keepdims=True))
    assert pooling.global_max(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_mean_pool_drops_the_rest():
    x = jnp.arange(2 * 5 * 4 * 3.0).reshape(2, 5, 4, 3)
    y = pooling.mean_pool(x, 2)
    for row, column in itertools.product(range(2), range(2)):
        block = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(y[:, row, column], block.mean((1, 2)), rtol=1e-6)
