"""The published architecture in float64: proves the formulas, where float32 only shows that they are close."""

import jax
import numpy as np
import pytest
import recipe
from compiled import quickly
from tolerances import assert_close

from fnn_jax import Inputs, poisson_loss
from fnn_jax.convert import to_state_dict
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays


def in_float64(config, parameters):
    return network_from_parameters(config, {name: np.float64(value) for name, value in parameters.items()})


def traces(frames):
    """Eye and behaviour of the behaving case."""
    return [recipe.behaviour(12, seed=seed)[:frames, None].astype(np.float64) for seed in (10, 20)]


@pytest.fixture(scope="module")
def exact(parameters, config):
    with jax.enable_x64(True):
        network = in_float64(config, parameters)
        inputs = Inputs(recipe.video(12)[:, None], *traces(12))
        run = jax.jit(
            lambda network: network.rollout(network.init_state(1), inputs, features=network.feature_names)[1],
            compiler_options=quickly(),
        )
        return jax.tree.map(np.asarray, run(network))


def test_everything_is_float64(exact):
    assert {array.dtype for array in jax.tree.leaves(exact)} == {np.dtype(np.float64)}


def test_response(exact, golden):
    assert_close("exact response", exact.responses[:, 0], golden("exact")["response"])


@pytest.mark.parametrize("frame", [0, 11])
def test_stages(exact, golden, frame):
    expected, features = golden("exact"), {name: array[frame, 0] for name, array in exact.features.items()}
    assert_close("exact stages", features["retina"][::4, ::4, 0], expected[f"perspective{frame}"])
    assert_close("exact stages", features["modulation"], expected[f"modulation{frame}"])
    for ours, theirs in (("feedforward", "feedforward"), ("core", "recurrent")):
        assert_close(
            "exact stages", np.moveaxis(features[ours], -1, 1)[:, ::16, ::3, ::3], expected[f"{theirs}{frame}"]
        )
    assert_close("exact stages", features["readout"], expected[f"readout{frame}"])


@pytest.mark.slow
def test_gradients(golden, config, parameters):
    """Those on eye and monitor are differences of large terms: only in float64 is ours beyond doubt."""
    targets = np.abs(recipe.array("units", (12, 24)))[:6].astype(np.float64)
    with jax.enable_x64(True):
        pixels = recipe.video(12)[:6, None] / 255

        def loss(network, pixels):
            _, output = network.rollout(network.init_state(1), Inputs(pixels, *traces(6)))
            return poisson_loss(output.readout[:, 0], targets).mean(1).sum()

        gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))(in_float64(config, parameters), pixels)
        on_network, on_pixels = jax.tree.map(np.asarray, gradient)
    expected = golden("gradients")
    assert_close("exact gradient", on_pixels[:, 0, ::4, ::4, 0], expected["pixels"])
    by_key = to_state_dict(config, parameter_arrays(on_network))
    for name in expected.files:
        if name.startswith("grad:"):
            assert_close("exact gradient", by_key[name.removeprefix("grad:")], expected[name])
