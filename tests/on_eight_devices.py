"""The network on a mesh of 8 devices, forced on a CPU: what they ask of one another, counted in compiled programs.

``test_sharding.py`` runs these tests in a process of their own, because JAX counts its devices once.
"""

import re
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from disturbed import disturb, small
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from test_network import as_pixels, assert_same, make_inputs

from fnn_jax import NetworkConfig
from fnn_jax.demo import random_network
from fnn_jax.model.formulation import formulated

AXES = ("videos", "streams", "units")
VIDEOS = 8
COLLECTIVE = re.compile(r" (all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)(?:-start)?\(")
PAGE = Path(__file__).parents[1] / "docs" / "accelerators.md"


@pytest.fixture(scope="module")
def network():
    return disturb(random_network(small(8)))


def collectives(program) -> dict[str, int]:
    return dict(Counter(COLLECTIVE.findall(program.as_text())))


def on(mesh, network, inputs):
    """Both where the axes of the mesh say."""
    videos = P(None, "videos") if "videos" in mesh.axis_names else P()
    return jax.device_put(network, network.shardings(mesh)), jax.device_put(inputs, NamedSharding(mesh, videos))


def rollout(formulation, precision="float32", **options):
    def run(network, inputs, state):
        with formulated(formulation):
            return network.rollout(state, inputs, precision=precision, **options)

    return jax.jit(run)


@pytest.mark.parametrize(
    ("formulation", "precision"),
    [("cpu", "float32"), ("gpu", "float32"), ("gpu", "tensorfloat32"), ("tpu", "bfloat16")],
)
def test_only_the_mean_over_streams_is_asked_of_others(network, formulation, precision):
    """Videos, streams and units have an axis each, with the draws of training; every feature has its place, too."""
    mesh, inputs = jax.make_mesh((2, 2, 2), AXES), make_inputs(2, VIDEOS)
    state = network.init_state(VIDEOS, jax.random.key(0))
    run = rollout(formulation, precision, features=network.feature_names)
    arguments = (*on(mesh, network, inputs), state)
    program = run.lower(*arguments).compile()
    assert collectives(program) == {"all-reduce": 1}
    new_state, output = program(*arguments)
    by_unit, by_stream = P(None, "videos", "units"), P(None, "videos", "streams")
    places = {"retina": P(None, "videos"), "readout": P(*by_stream, "units")}
    for array, spec in [
        *((array, by_unit) for array in output[:2]),
        *((array, places.get(name, by_stream)) for name, array in output.features.items()),
        *((array, P("videos", "streams")) for array in jax.tree.leaves(new_state[:2])),
    ]:
        assert array.sharding.is_equivalent_to(NamedSharding(mesh, spec), array.ndim)
    # One digit less of an operand, where a sum differs in its last.
    tolerance = 2e-2 if precision == "bfloat16" else 1e-4
    assert_same((new_state, output), run(network, inputs, state), tolerance)


@pytest.mark.parametrize(("axis", "asked"), [("videos", {}), ("streams", {"all-reduce": 1}), ("units", {})])
def test_one_axis(network, axis, asked):
    """A mesh of two devices, and a state that was left where it was made."""
    mesh, inputs = jax.make_mesh((2,), (axis,), devices=jax.devices()[:2]), make_inputs(2, VIDEOS)
    arguments = (*on(mesh, network, inputs), network.init_state(VIDEOS))
    assert collectives(rollout("gpu", "tensorfloat32").lower(*arguments).compile()) == asked


def test_one_stream_and_forward_mode(network):
    mesh, inputs, state = jax.make_mesh((2, 2, 2), AXES), make_inputs(2, VIDEOS), network.init_state(VIDEOS)
    for options in ({"stream": 1}, {"derivatives": "forward"}):
        run = rollout("gpu", **options)
        assert_same(run(*on(mesh, network, inputs), state), run(network, inputs, state), 1e-4)


def test_steps(network):
    """One frame after the other, the state staying on its devices; and a network that the program closes over."""
    mesh, inputs = jax.make_mesh((2, 2, 2), AXES), make_inputs(2, VIDEOS)

    def steps(network, inputs):
        first, rest = jax.tree.map(lambda a: a[0], inputs), jax.tree.map(lambda a: a[1:], inputs)
        state, _ = network.step(network.init_state(VIDEOS), first)
        return jax.lax.scan(network.step, state, rest)

    placed, videos = on(mesh, network, inputs)
    assert_same(jax.jit(lambda inputs: steps(placed, inputs))(videos), jax.jit(steps)(network, inputs), 1e-4)


def test_gradients(network):
    """Of videos on different devices those on pixels are each device's own, and the sum of those on parameters is asked
    for once; and with every axis they are as on one device.
    """
    inputs = make_inputs(2, VIDEOS)

    def loss(network, pixels, inputs):
        with formulated("gpu"):
            _, output = network.rollout(network.init_state(VIDEOS), inputs._replace(stimuli=pixels))
        return network.loss(output.readout, np.ones(output.readout.shape, np.float32)).sum()

    on_both = jax.jit(jax.grad(loss, argnums=(0, 1)))
    expected = on_both(network, as_pixels(inputs.stimuli), inputs)
    for shape, names in (((8,), ("videos",)), ((2, 2, 2), AXES)):
        placed, videos = on(jax.make_mesh(shape, names), network, inputs)
        arguments = placed, as_pixels(videos.stimuli), videos
        program = on_both.lower(*arguments).compile()
        assert_same(program(*arguments), expected, 1e-3)
        if names == ("videos",):
            assert collectives(program) == {"all-reduce": 1}
            assert collectives(jax.jit(jax.grad(loss, argnums=1)).lower(*arguments).compile()) == {}


@pytest.mark.parametrize("axis", ["videos", "units"])
def test_the_partitioner_asks_nothing_in_float32(axis):
    """Of a mesh whose axes are not explicit the program knows nothing, and is spread by the compiler: here one with
    blocks of several layers in groups.
    """
    network = disturb(random_network(NetworkConfig.tiny(8)))
    mesh, inputs = Mesh(np.array(jax.devices()), (axis,)), make_inputs(2, VIDEOS)
    assert mesh.axis_types == (AxisType.Auto,)
    run, state = rollout("gpu"), network.init_state(VIDEOS)
    placed_state = jax.device_put(state, NamedSharding(mesh, P("videos" if axis == "videos" else None)))
    arguments = (*on(mesh, network, inputs), placed_state)
    program = run.lower(*arguments).compile()
    assert collectives(program) == {}
    _, output = program(*arguments)
    spread = P(None, "videos") if axis == "videos" else P(None, None, "units")
    assert output.responses.sharding.is_equivalent_to(NamedSharding(mesh, spread), 3)
    np.testing.assert_allclose(output.responses, run(network, inputs, state)[1].responses, rtol=1e-4)


@pytest.mark.filterwarnings("default")
def test_the_page():
    first, *_, several = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    namespace = {}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(first.split("\n\n\n")[0], str(PAGE), "exec"), namespace)
        exec(compile(several, str(PAGE), "exec"), namespace)
    assert namespace["mesh"].size == 8
