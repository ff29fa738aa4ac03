"""Precision by name: what is computed in less than float32, what is not, and what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_network import as_pixels, every_connection, make_inputs
from traced import equations

from fnn_jax.model import convolution, numerics
from fnn_jax.model.formulation import formulated

FASTER = ("tensorfloat32", "bfloat16")
INPUTS = make_inputs(4, 1)


def respond(network, pixels, **options):
    inputs = INPUTS._replace(stimuli=pixels)
    return network.rollout(network.init_state(1), inputs, features=("retina", "modulation"), **options)[1]


@pytest.fixture(scope="module")
def network():
    return every_connection()


@pytest.fixture(scope="module")
def by_name(network):
    """Outputs, one precision after the other in one process."""
    run = jax.jit(respond, static_argnames="precision")
    return {name: run(network, INPUTS.stimuli, precision=name) for name in numerics.PRECISIONS}


@pytest.fixture(scope="module")
def one_core(network):
    """The core of one stream, as a function of its parameters and inputs, and those."""
    state, core = network.init_state(1).core, network.core
    state, core = jax.tree.map(lambda a: a[0, 0], state), jax.tree.map(lambda a: a[0], core)
    random = np.random.default_rng(0)
    inputs = (random.standard_normal(shape) for shape in ((2, 16, 24, 1), (2, 3)))

    def total(core, retina, modulation, name):
        with jax.default_matmul_precision(name):
            return jnp.sin(3 * core(state, retina, modulation)[1]).sum()

    return total, core, *(jnp.asarray(a, jnp.float32) for a in inputs)


def products(function, *arguments):
    """Types of the operands, type of the result, and precision of every product of a program."""
    found = []
    for equation in equations(jax.make_jaxpr(function)(*arguments).jaxpr):
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
# The results of convolutions are bfloat16, too.
ROUNDED = {"bfloat16": {("bfloat16", "bfloat16", "bfloat16", jax.lax.Precision.DEFAULT)}}


def asked(name):
    """What the products of the core are handed where this precision is asked for."""
    with jax.default_matmul_precision(name):
        return numerics.asked_precision()


@pytest.mark.parametrize("name", FASTER)
def test_every_product_of_the_core(one_core, name):
    """Forward and gradient."""
    total, *arguments = one_core
    found = products(jax.grad(functools.partial(total, name=name), argnums=(0, 1, 2)), *arguments)
    assert set(found) == {FAST[name]} | ROUNDED.get(name, set()) and len(found) > 60


@pytest.mark.parametrize("name", numerics.PRECISIONS)
def test_no_other_product(network, by_name, name):
    """Also where the gradient is taken of a program that was traced before; the other names leave nothing behind."""
    run = jax.jit(respond, static_argnames="precision")
    gradient = jax.grad(lambda *args: run(*args, precision=name).responses.sum(), argnums=(0, 1))
    found = products(gradient, network, as_pixels(INPUTS.stimuli))
    assert set(found) == {FULL, FAST.get(name, FULL)} | ROUNDED.get(name, set())
    assert found.count(FULL) > 20


def test_perspective_and_modulation_stay_as_they_are(by_name):
    """Positions in pixels need the digits."""
    for name in FASTER:
        for stage in ("retina", "modulation"):
            np.testing.assert_array_equal(by_name[name].features[stage], by_name["float32"].features[stage])


def test_float32_is_the_default(network, by_name):
    """The same program, also after those of the other names; and another one than theirs."""
    run = jax.jit(respond, static_argnames="precision")
    default, *others = (
        run.lower(network, INPUTS.stimuli, **options).as_text()
        for options in ({}, *({"precision": name} for name in numerics.PRECISIONS))
    )
    assert [other == default for other in others] == [True, False, False]


def test_error_of_responses(by_name):
    """Relative to each, beside what was measured."""
    for name, measured in (("tensorfloat32", 1.6e-4), ("bfloat16", 6.8e-4)):
        error = np.abs(by_name[name].responses / by_name["float32"].responses - 1).max()
        assert measured / 3 < error < 3 * measured, name


@pytest.mark.slow
def test_error_of_gradients(one_core):
    """On the retinal image, relative to the largest; they went through every product of the core."""
    total, *arguments = one_core
    run = jax.jit(jax.grad(total, argnums=1), static_argnames="name")
    exact = run(*arguments, name="float32")
    for name, measured in (("tensorfloat32", 8.8e-4), ("bfloat16", 7.4e-3)):
        error = np.abs(run(*arguments, name=name) - exact).max() / np.abs(exact).max()
        assert measured / 3 < error < 3 * measured, name


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
    """Whole numbers come out exactly; others are rounded in every one of the three products."""
    random = np.random.default_rng(0)
    multiply = functools.partial(numerics.product, spec, precision=asked(name))
    arrays = [whole_numbers(random, *shape) for shape in (a, b, out)]
    for shift, same in ((0, True), (1e-3, False)):
        shifted = [array + shift for array in arrays]
        exact = value_and_gradients(functools.partial(jnp.einsum, spec), *shifted)
        for ours, theirs in zip(value_and_gradients(multiply, *shifted), exact, strict=True):
            assert np.array_equal(ours, theirs) is same
            np.testing.assert_allclose(ours, theirs, atol=0.2)


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

    ours = value_and_gradients(functools.partial(convolution._convolve_2d, asked(name), stride, pad), x, kernel, weight)
    digits = 2**-8 if name == "bfloat16" else 0  # results of more digits than bfloat16 has
    for one, exact in zip(ours, value_and_gradients(formula, x, kernel, weight), strict=True):
        np.testing.assert_allclose(one, exact, rtol=digits)


def test_only_a_cpu_rounds_by_hand():
    """An accelerator's products take float32 and round by themselves."""
    x = jnp.ones((2, 3))

    def traced(name):
        def multiply(x):
            with formulated(name), jax.default_matmul_precision("tensorfloat32"):
                return numerics.product("ij,kj->ik", x, x)

        return str(jax.make_jaxpr(multiply)(x))

    assert "reduce_precision" in traced("cpu") and "reduce_precision" in traced("plain")
    assert "reduce_precision" not in traced("gpu") + traced("tpu")


def test_unknown_names_and_float64(network):
    expected = r"precision is 'float16'; expected one of 'float32', 'tensorfloat32', 'bfloat16'"
    with pytest.raises(ValueError, match=expected):
        network.rollout(network.init_state(1), INPUTS, precision="float16")
    with jax.enable_x64(True):
        doubles = jax.tree.map(lambda a: a.astype(np.float64), network)
        for name in FASTER:
            with pytest.raises(ValueError, match=f"precision is '{name}', but parameters are float64"):
                doubles.rollout(doubles.init_state(1), INPUTS, precision=name)
