"""Blur, parameterisations and objectives of synthesis against outputs of the released code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import recipe
from tolerances import assert_close

from fnn_jax import Twin, synthesis
from fnn_jax.model.parameters import network_from_parameters
from fnn_jax.synthesis import penalties
from fnn_jax.synthesis.problem import Problem


@pytest.fixture(scope="module")
def stimuli(golden):
    return golden("stimuli")


def test_blur(stimuli):
    values = jnp.asarray(recipe.array("blur", (2, 10, 14, 18)))
    ours = jax.vmap(lambda each: penalties.blur(each, 1.5, 1.0))(values)
    assert_close("synthesis", ours, stimuli["gaussian3d"])


@pytest.mark.parametrize(
    ("name", "static", "gain", "stds"), [("nlm", False, 0.2, (1.0, 1.0)), ("static_nlm", True, 0.1, (2.0, 0.0))]
)
def test_parameterisations(stimuli, name, static, gain, stds):
    made = synthesis.nlm(6, 18, 32, static=static, learn_gain=True)
    raw = recipe.array(f"{name}.raw", (1, 1 if static else 6, 18, 32))[0]
    parameters = {"raw": jnp.asarray(raw), "gain": jnp.float32(gain), "bias": jnp.float32(0.1)}
    roughness = synthesis.roughness(*stds)
    assert_close("synthesis", made.pixels(parameters)[None], stimuli[f"{name}_pixels"])
    assert_close("synthesis", made.frames(parameters)[:, None], stimuli[f"{name}_frames"])
    assert_close("synthesis", roughness(made.pixels(parameters), None), stimuli[f"{name}_penalty"])
    levels = np.round(np.asarray(made.frames(parameters)) * 255).astype(np.uint8)
    np.testing.assert_array_equal(levels[..., None], stimuli[f"{name}_video"])

    cotangent = jnp.asarray(recipe.array(f"{name}.cotangent", (6, 1, 18, 32))[:, 0])

    def total(parameters):
        pixels, frames = made.pixels(parameters), made.frames(parameters)
        return (frames * cotangent).sum() + 0.01 * roughness(pixels, frames)

    gradient = jax.grad(total)(parameters)
    expected = stimuli[f"{name}_grad_raw"]
    if static:
        # The released code has the image once for each frame; each of them gets the same gradient.
        assert np.ptp(expected, axis=1).max() == 0
        expected = expected[:, :1]
    assert_close("synthesis gradient", gradient["raw"][None], expected)
    for part in ("gain", "bias"):
        assert_close("synthesis gradient", gradient[part], stimuli[f"{name}_grad_{part}"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["excitation", "reconstruction"])
def test_objectives(parameters, config, stimuli, name):
    twin = Twin(network_from_parameters(config, parameters))
    behaviour = (np.zeros((6, 1, 2), np.float32),) * 2
    units, objective = np.array([[3]]), synthesis.excitation(0.5)
    if name == "reconstruction":
        behaviour = recipe.behaviour(6, batch=2, seed=30), recipe.behaviour(6, batch=2, seed=40)
        units = np.array([[1, 5, 7]])
        recorded = np.abs(recipe.array("reconstruction.units", (6, 2, 24)))
        objective = synthesis.reconstruction(recorded[None, :, :, units[0]])
    problem = Problem(
        twin,
        units,
        objective,
        synthesis.nlm(6, 144, 256, learn_gain=True),
        penalty=synthesis.weighted([(1e-4, synthesis.roughness())]),
        transforms=(),
        optimizer=optax.sgd(1.0),
        burn_in=2,
        behaviour=behaviour,
        learn_behaviour=False,
        sample_stream=False,
        num_stimuli=1,
        diversity=0.0,
        periphery="dark",
        precision="float32",
        remat=None,
        device=jax.devices()[0],
        seed=0,
    )
    raw = recipe.array(f"{name}.raw", (1, 6, 144, 256))
    start = {"stimulus": {"raw": jnp.asarray(raw), "gain": jnp.float32([0.5]), "bias": jnp.float32([0.0])}}
    target = jax.tree.map(lambda array: array[0], problem.targets(np.arange(1)))
    run = jax.jit(jax.value_and_grad(problem.loss, argnums=1, has_aux=True))
    (total, penalty), gradient = run(problem.leaves, start, target, jax.random.key(0))
    gradient = gradient["stimulus"]
    assert_close("synthesis", total - penalty, stimuli[f"{name}_loss"])
    assert_close("synthesis", penalty / 1e-4, stimuli[f"{name}_penalty"])
    assert_close("synthesis gradient", gradient["raw"][0, :, ::4, ::4], stimuli[f"{name}_grad_raw"])
    assert_close("synthesis gradient", gradient["gain"][0], stimuli[f"{name}_grad_gain"])
