"""The published architecture in float32 against outputs of the released code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe
from tolerances import assert_close, error

from fnn_jax import Inputs, Twin, poisson_loss
from fnn_jax.model import geometry
from fnn_jax.model.parameters import network_from_parameters

VIDEO, EYE, BEHAVIOUR = recipe.video(12), recipe.behaviour(12, seed=10), recipe.behaviour(12, seed=20)
TARGETS = np.abs(recipe.array("units", (12, 24)))
FRAMES = (0, 1, 5, 11)
BATCH = recipe.video(6, batch=2, seed=1)
BATCH_EYE, BATCH_BEHAVIOUR = (recipe.behaviour(6, batch=2, seed=seed) for seed in (30, 40))


@pytest.fixture(scope="module")
def twin(parameters, config):
    return Twin(network_from_parameters(config, parameters))


@pytest.fixture(scope="module")
def behaving(twin):
    """Responses and all features of the behaving case."""
    inputs = Inputs(VIDEO[:, None], EYE[:, None], BEHAVIOUR[:, None])
    run = jax.jit(lambda network: network.rollout(network.init_state(1), inputs, features=network.feature_names)[1])
    return run(twin.network)


@pytest.mark.parametrize(
    ("name", "stimuli", "traces"),
    [
        ("behaving", VIDEO, (EYE, BEHAVIOUR)),
        ("default", VIDEO, (None, None)),
        ("gray2d", VIDEO[..., 0], (None, None)),
        pytest.param("batch", BATCH, (BATCH_EYE, BATCH_BEHAVIOUR), marks=pytest.mark.slow),
        pytest.param("batch_default", BATCH, (None, None), marks=pytest.mark.slow),
        pytest.param("perspective_batch", VIDEO[:6], (BATCH_EYE, None), marks=pytest.mark.slow),
    ],
)
def test_predict_in_each_input_form(twin, golden, name, stimuli, traces):
    assert_close("response", twin.predict(stimuli, *traces), golden("network")[name])


@pytest.mark.slow
def test_predict_floats_in_unit_range(twin, golden):
    assert_close("response", twin.predict(VIDEO / 255, EYE, BEHAVIOUR), golden("network")["behaving"])


@pytest.mark.slow
def test_periphery_extends(twin, golden):
    assert_close("response", twin.predict(VIDEO, EYE, BEHAVIOUR, periphery="extend"), golden("network")["extend"])


@pytest.mark.slow
@pytest.mark.parametrize("stream", range(4))
def test_one_stream(twin, golden, stream):
    assert_close("response", twin.predict(VIDEO, EYE, BEHAVIOUR, stream=stream), golden("network")[f"stream{stream}"])


@pytest.mark.slow
def test_poisson_loss(twin, behaving, golden):
    assert_close("loss", poisson_loss(behaving.readout[:, 0], jnp.asarray(TARGETS)), golden("network")["loss"])
    stream = behaving.features["readout"][:, 0, 2]
    assert_close("loss", poisson_loss(stream, jnp.asarray(TARGETS)), golden("network")["loss_stream2"])


@pytest.mark.slow
def test_stages(behaving, golden):
    stages, features = golden("stages"), {name: np.asarray(a)[:, 0] for name, a in behaving.features.items()}
    for frame in FRAMES:
        assert_close("retinal image", features["retina"][frame, ::4, ::4, 0], stages[f"perspective{frame}"])
        assert_close("modulation", features["modulation"][frame], stages[f"modulation{frame}"])
        for name, ours, key in (("feedforward", "feedforward", "feedforward"), ("core", "core", "recurrent")):
            maps = np.moveaxis(features[ours][frame], -1, 1)[:, ::8, ::3, ::3]
            assert_close(name, maps, stages[f"{key}{frame}"])
        assert_close("readout", features["readout"][frame], stages[f"readout{frame}"])


def test_eye_and_monitor(twin, golden):
    perspective, stages = twin.network.perspective, golden("stages")
    with jax.default_matmul_precision("highest"):
        rotations = perspective.gaze(jnp.asarray(EYE))
        assert_close("eye rotation", rotations, stages["rmat"])
        center, axes = perspective.monitor.placement(None)
        rays = (perspective.retina[...] @ rotation.T for rotation in rotations[:2])
        points = np.stack([geometry.project_on_monitor(r, center, axes) for r in rays])
    assert_close("monitor projection", points[:, ::8, ::8], stages["projection"])


def test_inverse_perspective(twin, golden):
    noise = recipe.array("retinal", (2, 1, 128, 192))
    retinal = jnp.asarray(np.moveaxis(1 / (1 + np.exp(-noise)) + np.float32(0.1), 1, -1))
    image = jax.jit(lambda p: p.inverse(retinal, jnp.asarray(EYE[:2])))(twin.network.perspective)
    assert_close("inverse perspective", np.moveaxis(image, -1, 1)[..., ::4, ::4], golden("stages")["inverse"])


@pytest.fixture(scope="module")
def gradients(twin):
    """Loss, and its gradients on the pixels and on the parameters by checkpoint key."""
    pixels = jnp.asarray(VIDEO[:6, None] / 255, jnp.float32)
    rest = jnp.asarray(EYE[:6, None]), jnp.asarray(BEHAVIOUR[:6, None])

    def loss(network, pixels):
        _, output = network.rollout(network.init_state(1), Inputs(pixels, *rest))
        return poisson_loss(output.readout[:, 0], jnp.asarray(TARGETS[:6])).mean(1).sum()

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(twin.network, pixels)


@pytest.mark.slow
def test_gradients(gradients, golden, config):
    from fnn_jax.convert import to_state_dict
    from fnn_jax.model.parameters import parameter_arrays

    loss, (network, pixels) = gradients
    expected = golden("gradients")
    assert_close("loss", loss, expected["loss"])
    assert_close("gradient on pixels", pixels[:, 0, ::4, ::4, 0], expected["pixels"])
    by_key = to_state_dict(config, parameter_arrays(network))
    names = [name for name in expected.files if name.startswith("grad:")]
    assert len(names) == 14
    for name in names:
        key = name.removeprefix("grad:")
        geometric = key.startswith("perspective") and "pixel" not in key
        entry = "gradient on eye and monitor" if geometric else "gradient on other parameters"
        assert_close(entry, by_key[key], expected[name])


@pytest.mark.parametrize(
    "name",
    [
        "core.feedforward.blocks.1.convs.0.weight",
        "core.recurrent.hidden_map.weight",
        "core.recurrent.value.weight",
        "modulation.lstm.candidate.weight",
        "perspective.eye.layers.1.weight",
        "readout.position.mean",
    ],
)
def test_a_weight_disturbed_by_one_percent_is_seen(twin, parameters, config, golden, name):
    """Negative control: the comparison above would notice."""
    noise = recipe.array(name, parameters[name].shape, scale=0.01)
    network = network_from_parameters(config, parameters | {name: parameters[name] * (1 + noise)})
    responses = Twin(network).predict(VIDEO, EYE, BEHAVIOUR)
    with pytest.raises(AssertionError, match="response: relative error"):
        assert_close("response", responses, golden("network")["behaving"])
    assert error("relative", responses, golden("network")["behaving"]) < 0.2  # a slight disturbance it was
