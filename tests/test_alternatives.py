"""Networks of other modules than the published ones; that each module is right, ``parity/test_modules`` shows."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from alternatives import ALTERNATIVES, tiny, with_dropout
from disturbed import disturb
from test_network import as_pixels, assert_same, frames_of, make_inputs

from fnn_jax import NetworkConfig, Twin, poisson_loss
from fnn_jax.demo import random_network
from fnn_jax.model.config import UnitConfig
from fnn_jax.model.decorrelation import decorrelation
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays

# One of them in every run of the tests; all of them compile for a minute.
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name != "conv_lstm" else []) for name in ALTERNATIVES]


@functools.cache
def new_network(name):
    return random_network(ALTERNATIVES[name])


@pytest.fixture(scope="module", params=NAMES)
def alternative(request):
    return disturb(new_network(request.param))


@pytest.fixture(scope="module")
def training(alternative):
    """The same network with dropout, which has no parameters."""
    config = with_dropout(alternative.config, 0.3)
    return network_from_parameters(config, parameter_arrays(alternative))


@pytest.mark.slow
def test_split_rollout_equals_the_whole(training):
    """With the draws of training."""
    inputs, start = make_inputs(4, 1), training.init_state(1, jax.random.key(1))
    names = training.feature_names
    run = jax.jit(lambda state, inputs: training.rollout(state, inputs, features=names))
    final, whole = run(start, inputs)
    middle, first = run(start, frames_of(inputs, 0, 2))
    state, second = run(middle, frames_of(inputs, 2, 4))
    assert_same(state, final)
    assert_same(jax.tree.map(lambda *a: np.concatenate(a), first, second), whole)
    assert tuple(sorted(whole.features)) == tuple(sorted(training.feature_names))
    assert whole.features["core"].shape == (4, 1, 2, 4, 6, training.config.recurrent.out_channels)
    assert whole.features["modulation"].shape == (4, 1, 2, training.config.modulation.features)


def test_dropout_masks_every_stage_that_has_it(training):
    noise = training.init_state(1, jax.random.key(1)).noise
    masks = jax.tree.leaves((noise.perspective.eye, noise.modulation, noise.core))
    assert len(masks) == (training.config.perspective.kind == "monitor_retina") + 2 + 2 + 2
    assert {round(float(v), 5) for mask in masks for v in np.unique(mask)} == {0.0, round(1 / 0.7, 5)}


@pytest.mark.slow
def test_gradients_reach_pixels_and_every_parameter(training):
    """Those of the units' own loss and of the penalty on the core."""
    inputs = make_inputs(3, 1)
    inputs = inputs._replace(stimuli=as_pixels(inputs.stimuli))

    def loss(network, inputs):
        state = network.init_state(1, jax.random.key(2))
        output = network.rollout(state, inputs, features=("core",), remat=False)[1]
        return network.loss(output.readout, output.readout + 1).sum() + decorrelation(output.features["core"], length=2)

    run = jax.jit(jax.grad(loss, argnums=(0, 1)))
    gradient, on_inputs = run(training, inputs)
    for name, values in (parameter_arrays(gradient) | on_inputs._asdict()).items():
        assert np.isfinite(values).all(), name
        if name != "perspective.retina":
            assert np.abs(values).max() > 0, name


def test_a_twin_is_saved_loaded_and_predicts(alternative, tmp_path):
    """Its own units' responses, from weights that are normalised once."""
    twin = Twin(alternative)
    twin.save(tmp_path / "twin")
    loaded = Twin.load(tmp_path / "twin")
    assert loaded.config == alternative.config and loaded.fingerprint() == twin.fingerprint()
    inputs = make_inputs(2, 1)
    run = jax.jit(alternative.rollout)
    _, output = run(alternative.init_state(1), inputs)
    responses = loaded.predict(*(np.asarray(array[:, 0]) for array in inputs))
    np.testing.assert_allclose(responses, output.responses[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(output.responses, alternative.responses(output.readout))
    some = twin.select([3, 0])
    np.testing.assert_allclose(some.readout_weights(), twin.readout_weights()[[3, 0]], rtol=1e-6)
    np.testing.assert_array_equal(some.readout_locations(), twin.readout_locations().iloc[[3, 0]])


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_float64_with_float64_parameters(name):
    with jax.enable_x64(True):
        network = jax.tree.map(lambda a: a.astype(np.float64), new_network(name))
        state = network.init_state(1)
        run = lambda network, state: network.rollout(state, make_inputs(2, 1), features=network.feature_names)  # noqa: E731
        assert {array.dtype for array in jax.tree.leaves(jax.eval_shape(run, network, state))} == {np.dtype(np.float64)}


def test_units_and_their_losses(network):
    readout, target = jnp.asarray([[-2.0, 0.5]]), jnp.asarray([[1.0, 2.0]])
    np.testing.assert_array_equal(network.responses(readout), jnp.exp(readout))
    np.testing.assert_array_equal(network.loss(readout, target), poisson_loss(readout, target))
    other, expected = new_network("conv_lstm"), np.array([[0.7 * np.exp(-2.0), 1.2]])
    np.testing.assert_allclose(other.responses(readout), expected, rtol=1e-6)
    np.testing.assert_allclose(other.loss(readout, target), (expected - target) ** 2, rtol=1e-6)


def test_a_new_network_starts_as_the_released_one():
    """The eye looks straight ahead, behaviour is without effect, readouts are zero."""
    network = new_network("conv_lstm")
    assert not network.perspective.eye.layers[-1].gain[...].any() and not network.modulation.out.gain[...].any()
    assert network.perspective.eye.layers[0].weight[...].any() and network.perspective.response.power == np.float32(1.7)
    assert np.all(network.readout.feature.gain[...] == np.float32(2**-0.5))
    np.testing.assert_allclose(network.core.recurrent.feedforward_map.gain[...], 3**-0.5)
    one = new_network("one group").core.recurrent
    assert one.hidden_map is None
    np.testing.assert_allclose(one.feedforward_map.gain[...], 2**-0.5)
    assert np.all(new_network("rvt").core.recurrent.update_gate.bias[...] == 1)


def test_decorrelation_of_frames_and_streams():
    """Beside a plain loop over streams and pairs; only the last frames count, or a part of their samples."""
    maps = np.random.default_rng(0).standard_normal((5, 2, 3, 4, 6, 5)).astype(np.float32)
    expected = 0
    for stream in range(3):
        r = maps[-2:, :, stream].reshape(-1, 5).astype(np.float64)
        for i in range(5):
            for j in range(i + 1, 5):
                power = (r[:, i] ** 2).mean() * (r[:, j] ** 2).mean()
                expected += abs((r[:, i] * r[:, j]).mean()) / np.sqrt(power + 1e-5)
    maps = jnp.asarray(maps)
    np.testing.assert_allclose(decorrelation(maps, length=2, weight=0.3), 0.3 * expected, rtol=1e-5)
    np.testing.assert_array_equal(decorrelation(maps, length=9), decorrelation(maps, length=5))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def part(key, scale):  # a factor at a position moves the penalty where the position is one of the samples
        return decorrelation(maps.at[-1, 0, :, 0, 0].multiply(scale), length=2, rate=0.5, key=key)

    keys = jax.random.split(jax.random.key(0), 40)
    seen = part(keys, 1.0) != part(keys, 1.5)
    assert 8 < int(seen.sum()) < 32
    for arguments, message in (
        ({"length": 0}, "length is 0; expected a positive integer"),
        ({"length": 1, "rate": 1.0}, r"rate is 1.0; expected a part of the samples in \[0, 1\)"),
        ({"length": 1, "rate": 0.5}, "key is None, and rate is 0.5; expected a key"),
    ):
        with pytest.raises(ValueError, match=message):
            decorrelation(maps, **arguments)


# --- the configuration


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            {"recurrent": {"kind": "conv-lstm"}},
            r"RecurrentConfig.kind is 'conv-lstm'; .* \(did you mean 'conv_lstm'\?\)",
        ),
        ({"recurrent": {"kind": 3}}, r"RecurrentConfig.kind is 3; expected one of \('cvt_lstm', 'conv_lstm', 'rvt'\)."),
        ({"recurrent": {"kind": "rvt", "common_channels": 11}}, "common_channels is 11; expected a multiple of its 2"),
        ({"feedforward": {"input_weight_norm": 1}}, "input_weight_norm is 1; expected True or False"),
        ({"modulation": {"kind": "flat"}}, r"ModulationConfig.kind is 'flat'; .*'flat_lstm'"),
        ({"modulation": {"kind": "flat_lstm"}}, "ModulationConfig.out_features is None; expected a positive integer"),
        ({"modulation": {"out_features": 3}}, "out_features is 3; expected None: .* the hidden state"),
        ({"modulation": {"mlp_layers": 0}}, "ModulationConfig.mlp_layers is 0; expected a positive integer"),
        (
            {"perspective": {"kind": "monitor_retina"}},
            r"hidden_features is \(\); expected the size of each hidden layer",
        ),
        ({"perspective": {"hidden_features": (4,)}}, r"hidden_features is \(4,\); .* of kind 'monitor_retina'"),
        ({"perspective": {"dropout": 0.5}}, "PerspectiveConfig.dropout is 0.5; expected 0: .* 'monitor_retina'"),
        ({"perspective": {"retina_pixels": "power"}}, "PerspectiveConfig.retina_pixels is 'power'; expected one of"),
        ({"perspective": {"monitor_power": -1}}, "PerspectiveConfig.monitor_power is -1; expected a positive number"),
        ({"readout": {"bound": "tan"}}, r"ReadoutConfig.bound is 'tan'; .* \(did you mean 'tanh'\?\)"),
        (
            {"readout": {"groups": 2}},
            "ReadoutConfig.groups is 2; expected 1: groups of channels are of features 'norm'",
        ),
        (
            {"readout": {"features": "norm", "groups": 2}},
            "ReadoutConfig.groups is 2; expected a divisor of the core's 5",
        ),
        ({"unit": {"kind": "poison"}}, r"UnitConfig.kind is 'poison'; .* \(did you mean 'poisson'\?\)"),
        ({"unit": {"alpha": float("nan")}}, "UnitConfig.alpha is nan; expected a positive number"),
        ({"unit": {"beta": 1}}, r"UnitConfig holds the entries \['beta'\]; .* not known are \['beta'\]"),
    ],
)
def test_what_the_configuration_refuses(stages, message):
    with pytest.raises(ValueError, match=message):
        tiny(5, **stages)


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_dictionaries_hold_the_choices_that_were_made(name):
    config = ALTERNATIVES[name]
    values = config.to_dict()
    assert NetworkConfig.from_dict(values) == config
    made = {
        stage: set(values[stage]) - set(NetworkConfig.tiny(5).to_dict()[stage]) for stage in ("recurrent", "modulation")
    }
    assert (
        made
        == {
            "conv_lstm": {"recurrent": {"kind"}, "modulation": {"kind", "out_features"}},
            "rvt": {"recurrent": {"kind"}, "modulation": {"kind", "out_features"}},
            "one group": {"recurrent": set(), "modulation": {"mlp_layers", "nonlinearity"}},
        }[name]
    )
    assert ("unit" in values) == (name == "conv_lstm")


def test_dictionaries_of_published_twins_stay_what_they_were():
    """So do their fingerprints, which screens compare."""
    values = NetworkConfig.microns(3).to_dict()
    assert set(values["recurrent"]) == {
        *("in_channels", "hidden_channels", "common_channels", "out_channels", "groups", "kernel", "dropout")
    }
    assert set(values) == {
        *("num_units", "num_streams", "stimulus_height", "stimulus_width", "stimulus_channels"),
        *("perspective", "modulation", "feedforward", "recurrent"),
    }
    whole = dataclasses.asdict(NetworkConfig.microns(3))
    assert NetworkConfig.from_dict(whole) == NetworkConfig.from_dict(values) == NetworkConfig.microns(3)
    assert whole["unit"] == dataclasses.asdict(UnitConfig())
    del values["recurrent"]["groups"]
    with pytest.raises(ValueError, match=r"missing are \['groups'\]"):
        NetworkConfig.from_dict(values)
