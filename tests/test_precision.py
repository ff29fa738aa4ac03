"""Precision by name: what is computed in less than float32, what is not, and what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_network import as_pixels, make_inputs, operations

from fnn_jax.model import layers

FASTER = ("tensorfloat32", "bfloat16")
INPUTS = make_inputs(4, 1)
PIXELS = as_pixels(INPUTS.stimulus)


def loss(network, pixels, **options):
    inputs = INPUTS._replace(stimulus=pixels)
    output = network.rollout(network.init_state(1), inputs, features=("retina", "modulation"), **options)[1]
    return jnp.sin(3 * output.readout).sum(), output


gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
compiled_gradient = jax.jit(gradient, static_argnames="precision")


@pytest.fixture(scope="module")
def by_name(network):
    """Gradients and output; one precision after the other in one process."""
    return {name: compiled_gradient(network, PIXELS, precision=name) for name in layers.PRECISIONS}


def products(function, *arguments):
    """Types of the operands, type of the result, and precision of every product of a program."""
    found = []
    for equation in operations(jax.make_jaxpr(function)(*arguments).jaxpr):
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            precision = equation.params["precision"]
            (precision,) = set(precision) if isinstance(precision, tuple) else {precision}
            types = [str(variable.aval.dtype) for variable in (*equation.invars, *equation.outvars)]
            found.append((*types, precision))
    return found


FAST = {
    "tensorfloat32": ("float32", "float32", "float32", jax.lax.Precision.HIGH),
    "bfloat16": ("bfloat16", "bfloat16", "float32", jax.lax.Precision.DEFAULT),
}
FULL = ("float32", "float32", "float32", jax.lax.Precision.HIGHEST)


@pytest.mark.parametrize("name", FASTER)
def test_every_product_of_the_core(network, name):
    """Forward and gradient."""
    state, core = network.init_state(1).core, network.core
    state, core = (jax.tree.map(lambda a, axes=axes: a[axes], tree) for tree, axes in ((state, (0, 0)), (core, 0)))
    retina, modulation = jnp.ones((4, 16, 24, 1)), jnp.ones((4, 3))

    def total(core, retina, modulation):
        with jax.default_matmul_precision(name):
            return core(state, retina, modulation)[1].sum()

    found = products(jax.grad(total, argnums=(0, 1, 2)), core, retina, modulation)
    assert set(found) == {FAST[name]} and len(found) > 60


@pytest.mark.parametrize("name", FASTER)
def test_no_other_product(network, by_name, name):
    """Also where the gradient is taken of a program that was traced before; the other names leave nothing behind."""

    def traced(name):
        return lambda network, pixels: jax.jit(loss, static_argnames="precision")(network, pixels, precision=name)[0]

    for precision, expected in ((name, {FULL, FAST[name]}), ("float32", {FULL})):
        found = products(jax.grad(traced(precision), argnums=(0, 1)), network, PIXELS)
        assert set(found) == expected
        assert len(found) - found.count(FAST[name]) > 20


def test_perspective_and_modulation_stay_as_they_are(by_name):
    """Positions in pixels need the digits."""
    for name in FASTER:
        for stage in ("retina", "modulation"):
            np.testing.assert_array_equal(by_name[name][1].features[stage], by_name["float32"][1].features[stage])


def test_float32_is_the_default(network, by_name):
    """The same program, also after those of the other names."""
    default = compiled_gradient.lower(network, PIXELS).as_text()
    assert compiled_gradient.lower(network, PIXELS, precision="float32").as_text() == default
    for name in FASTER:
        assert compiled_gradient.lower(network, PIXELS, precision=name).as_text() != default


@pytest.mark.parametrize(("name", "response", "on_pixels", "on_parameters"), [("tensorfloat32", 1, 1, 1), ("bfloat16", 1, 1, 1)])
def test_errors(by_name, name, response, on_pixels, on_parameters):
    """Relative to each response, and to the largest number of a gradient: at most twice what was measured."""
    (parameters, pixels), output = by_name[name]
    (exact_parameters, exact_pixels), exact = by_name["float32"]
    errors = {"response": np.abs(output.responses / exact.responses - 1).max()}
    errors["pixels"] = np.abs(pixels - exact_pixels).max() / np.abs(exact_pixels).max()
    by_parameter = {}
    for (path, ours), theirs in zip(
        jax.tree_util.tree_flatten_with_path(parameters)[0], jax.tree.leaves(exact_parameters), strict=True
    ):
        assert ours.dtype == np.float32
        by_parameter[jax.tree_util.keystr(path)] = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(name, errors, sorted((e, n) for n, e in by_parameter.items())[-8:])


def whole_numbers(random, *shape):
    """So few digits that every precision holds them, their products and sums."""
    return jnp.asarray(random.integers(-4, 5, shape), jnp.float32)


def value_and_gradients(function, a, b, weight):
    value, pull = jax.vjp(function, a, b)
    return [value, *pull(weight)]


@pytest.mark.parametrize("name", FASTER)
@pytest.mark.parametrize(
    ("spec", "a", "b", "out"),
    [
        ("thwi,io->thwo", (2, 3, 4, 5), (5, 6), (2, 3, 4, 6)),
        ("ihwc,oidc->ohwd", (2, 3, 4, 5), (3, 2, 6, 5), (3, 3, 4, 6)),
        ("gpc,gqc->gpq", (2, 3, 4), (2, 5, 4), (2, 3, 5)),
        ("gpc,gpq->gcq", (2, 3, 4), (2, 3, 5), (2, 4, 5)),
    ],
)
def test_gradients_of_products(name, spec, a, b, out):
    random = np.random.default_rng(0)
    arrays = [whole_numbers(random, *shape) for shape in (a, b, out)]
    ours = value_and_gradients(functools.partial(layers.product, spec, precision=name), *arrays)
    exact = value_and_gradients(functools.partial(jnp.einsum, spec), *arrays)
    jax.tree.map(np.testing.assert_array_equal, ours, exact)
    arrays = [a + 0.001 for a in arrays]
    for ours, exact in zip(
        value_and_gradients(functools.partial(layers.product, spec, precision=name), *arrays),
        value_and_gradients(functools.partial(jnp.einsum, spec), *arrays),
        strict=True,
    ):
        assert np.abs(ours - exact).max() > 0


@pytest.mark.parametrize("name", FASTER)
@pytest.mark.parametrize(("size", "stride", "pad"), [(3, 1, 1), (5, 1, 2), (4, 2, 0), (6, 2, 0), (5, 3, 0)])
def test_gradients_of_convolutions(name, size, stride, pad):
    random = np.random.default_rng(0)
    height, width = (stride * n + size - stride - 2 * pad for n in (4, 6))
    x, kernel, weight = (
        whole_numbers(random, *shape) for shape in ((2, height, width, 3), (size, size, 3, 5), (2, 4, 6, 5))
    )

    def formula(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    ours = value_and_gradients(functools.partial(layers._convolve_2d, name, stride, pad), x, kernel, weight)
    jax.tree.map(np.testing.assert_array_equal, ours, value_and_gradients(formula, x, kernel, weight))


def test_only_a_cpu_rounds_by_hand(monkeypatch):
    """An accelerator's products take float32 and round by themselves."""
    x = jnp.ones((2, 3))
    multiply = functools.partial(layers.product, "ij,kj->ik", precision="tensorfloat32")
    assert "reduce_precision" in str(jax.make_jaxpr(lambda x: multiply(x, x))(x))
    monkeypatch.setattr(layers, "on_cpu", lambda: False)
    assert "reduce_precision" not in str(jax.make_jaxpr(lambda x: multiply(x, x))(x))


def test_unknown_names_and_float64(network):
    expected = r"precision is 'float16'; expected one of \('float32', 'tensorfloat32', 'bfloat16'\)"
    with pytest.raises(ValueError, match=expected):
        network.rollout(network.init_state(1), INPUTS, precision="float16")
    with jax.enable_x64(True):
        doubles = jax.tree.map(lambda a: a.astype(np.float64), network)
        for name in FASTER:
            with pytest.raises(ValueError, match=f"precision is '{name}', but parameters are float64"):
                doubles.rollout(doubles.init_state(1), INPUTS, precision=name)
