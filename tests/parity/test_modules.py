"""The other modules that the released package offers, and the published ones at odd sizes, each by itself.

Every array of ``modules.npz`` is compared. Weights come from the recipe through the converter's table.
"""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe
from compiled import quickly
from test_elements import join_streams, split_streams
from tolerances import assert_close, error

from fnn_jax.convert import keys
from fnn_jax.model.config import (
    FeedforwardConfig,
    ModulationConfig,
    NetworkConfig,
    PerspectiveConfig,
    RecurrentConfig,
    UnitConfig,
)
from fnn_jax.model.decorrelation import decorrelation
from fnn_jax.model.geometry import angular_retina
from fnn_jax.model.parameters import network_from_parameters, parameter_shapes
from fnn_jax.model.readout import UNITS

SHAPES = json.loads((Path(__file__).parent / "golden" / "modules.json").read_text())
STREAMS, BATCH = 2, 2

PERSPECTIVE = PerspectiveConfig(
    eye_features=3,
    height=24,
    width=36,
    max_angle_deg=60.0,
    kind="monitor_retina",
    hidden_features=(5, 4),
    nonlinearity="tanh",
    monitor_pixels="raw",
    retina_pixels="static_power",
    retina_power=1.7,
)
FEEDFORWARD = FeedforwardConfig(
    input_kernel=6,
    channels=(8, 16),
    groups=(1, 2),
    layers=(2, 3),
    temporal_kernels=(3, 2),
    spatial_kernels=(3, 3),
    pools=(2, 1),
    out_channels=12,
    nonlinearity="silu",
)
MODULATION = ModulationConfig(behaviour_features=3, mlp_features=4, lstm_features=5)
RECURRENT = RecurrentConfig(in_channels=8, hidden_channels=12, common_channels=16, out_channels=6, groups=4)
SMALL = NetworkConfig(
    num_units=1,
    num_streams=STREAMS,
    stimulus_height=18,
    stimulus_width=32,
    stimulus_channels=2,
    perspective=PERSPECTIVE,
    modulation=MODULATION,
    feedforward=FEEDFORWARD,
    recurrent=RECURRENT,
)

RECURRENTS = {
    "rvt": {"kind": "rvt"},
    "rvt_ungrouped": {"kind": "rvt", "groups": 1},
    "cvt_lstm": {},
    "cvt_lstm_stream1": {"groups": 2},
    "conv_lstm": {"kind": "conv_lstm"},
    "conv_lstm_ungrouped": {"kind": "conv_lstm", "groups": 1, "kernel": 5},
}
FEEDFORWARDS = {"dense": {"input_weight_norm": True, "input_kernel": 4}, "input_dense": {}, "input_dense_stream0": {}}
FLAT = {"lstm_features": 6, "out_features": 5}
MODULATIONS = {
    "flat_lstm": {"kind": "flat_lstm", **FLAT},
    "sigmoid_lstm": {"kind": "sigmoid_lstm", **FLAT},
    "mlp_lstm": {"mlp_layers": 2, "nonlinearity": "tanh"},
    "mlp_lstm_stream1": {"mlp_layers": 2, "nonlinearity": "tanh"},
}
READOUTS = {"readout_norm": {"features": "norm", "groups": 2}, "readout_vanilla_sigmoid": {"bound": "sigmoid"}}
UNIT_KINDS = {"poisson": {}, "elu_mse": {"kind": "elu_mse", "alpha": 0.7}}


def small(**stages):
    """``SMALL`` with other values in some of its stages."""
    changes = {name: dataclasses.replace(getattr(SMALL, name), **values) for name, values in stages.items()}
    return dataclasses.replace(SMALL, **changes)


def stream_of(name):
    """The stream of a case of one stream, and the streams that its inputs have."""
    return (int(name[-1]), 1) if "_stream" in name else (None, STREAMS)


def recipe_state(name):
    return {key: recipe.weight(key, tuple(shape)) for key, shape in SHAPES[name].items()}


def load(config, part, state, disturbed=None):
    """A network of which one part, such as ``core.recurrent``, has the weights of a state dict with just its keys.

    ``disturbed`` names a parameter of that part to move by one per cent.
    """
    state = {f"{part}.{key}": value for key, value in state.items()}
    entries = [entry for entry in keys.entries(config) if entry.path.startswith(f"{part}.")]
    constants = {key: value for key, value in keys.constants(config).items() if key.startswith(f"{part}.")}
    assert set(state) == {key for entry in entries for key in entry.keys} | set(constants)
    for key, value in constants.items():
        np.testing.assert_array_equal(state[key], value)
    parameters = {path: np.zeros(shape, np.float32) for path, shape in parameter_shapes(config).items()}
    parameters |= {entry.path: entry.read(state) for entry in entries}
    if disturbed is not None:
        path = f"{part}.{disturbed}"
        parameters[path] = parameters[path] * (1 + recipe.array(path, parameters[path].shape, scale=0.01))
    return network_from_parameters(config, parameters)


@functools.cache
def over_streams_and_videos(function):
    function = jax.vmap(jax.vmap(function, in_axes=(None, 0, 0)), in_axes=(0, 0, 0))
    return jax.jit(function, compiler_options=quickly())


def outputs(function, module, stream, *inputs):
    """``[stream, batch, ...]`` of a function of one stream's module and one video's two inputs."""
    if stream is not None:
        module = jax.tree.map(lambda a: a[stream : stream + 1], module)
    with jax.default_matmul_precision("highest"):
        return np.asarray(over_streams_and_videos(function)(module, *inputs))


def maps_of_recurrent(module, maps, vectors):
    return module(module.init_state(*maps.shape[1:3]), maps, vectors)[1]


def maps_of_feedforward(module, maps, _):
    return module(module.init_state(*maps.shape[1:3]), maps)[1]


def vectors_of_modulation(module, traces, _):
    return module(module.init_state(), traces)[1]


def readout_of(module, maps, positions):
    return module(maps, positions)


def drawn(name, suffix, frames, shape):
    return np.stack([recipe.array(f"{name}.{suffix}{i}", shape) for i in range(frames)])


def run_recurrent(name, disturbed=None):
    stream, streams = stream_of(name)
    # Its inputs have 8 channels; what stands before it does not matter.
    config = small(recurrent=RECURRENTS[name], feedforward={"out_channels": 8})
    network = load(config, "core.recurrent", recipe_state(name), disturbed)
    maps = split_streams(drawn(name, "map.", 4, (BATCH, streams * 8, 6, 5)), streams)
    vectors = split_streams(drawn(name, "vector.", 4, (BATCH, streams * 5)), streams)
    return join_streams(outputs(maps_of_recurrent, network.core.recurrent, stream, maps, vectors))


def run_feedforward(name, disturbed=None):
    stream, streams = stream_of(name)
    network = load(small(feedforward=FEEDFORWARDS[name]), "core.feedforward", recipe_state(name), disturbed)
    maps = split_streams(drawn(name, "", 4, (BATCH, streams * 2, 16, 24)), streams)
    return join_streams(outputs(maps_of_feedforward, network.core.feedforward, stream, maps, maps))


def run_modulation(name, disturbed=None):
    stream, streams = stream_of(name)
    network = load(small(modulation=MODULATIONS[name]), "modulation", recipe_state(name), disturbed)
    traces = split_streams(drawn(name, "", 6, (BATCH, streams * 3)), streams)
    return join_streams(outputs(vectors_of_modulation, network.modulation, stream, traces, traces))


def run_perspective(name, disturbed=None):
    buffers = {"power": 1.7, "scale": 1, "offset": 0}
    state = {f"retina_pixel.{key}": np.float32(value) for key, value in buffers.items()}
    state["retina.grid"] = angular_retina(24, 36, 60.0).astype(np.float32)
    state |= {
        key: recipe.weight(key, tuple(shape)) for key, shape in SHAPES["monitor_retina"].items() if key not in state
    }
    perspective = load(SMALL, "perspective", state, disturbed).perspective

    def images(suffix, shape):
        noise = recipe.array(f"monitor_retina.{suffix}", shape)
        return jnp.asarray(np.moveaxis(1 / (1 + np.exp(-noise)), 1, -1))

    eye = jnp.asarray(recipe.array("monitor_retina.eye", (BATCH, 3)))  # the batch goes through as two frames
    if name == "monitor_retina_inverse":
        retinal = images("retinal", (BATCH, 2, 24, 36)) + 0.2
        image = jax.jit(type(perspective).inverse, static_argnames="periphery")(
            perspective, retinal, eye, periphery="extend"
        )
    else:
        periphery = "extend" if name == "monitor_retina_replicate" else "dark"
        stimulus = images("stimulus", (BATCH, 2, 18, 32))
        image = jax.jit(type(perspective).__call__, static_argnames="periphery")(
            perspective, stimulus, eye, periphery=periphery
        )
    return np.moveaxis(image, -1, 1)


def run_readout(name, disturbed=None):
    """Its units have two readouts each: those are two of our units, at one position."""
    kind, _, stream = name.partition("_stream")
    config = dataclasses.replace(small(readout=READOUTS[kind]), num_units=18, num_streams=3)
    state = {}
    for key, value in recipe_state(kind).items():
        is_position = key.startswith("position.")
        state[key] = np.repeat(value, 2, 0) if is_position else value.reshape(18, 1, *value.shape[2:])
    readout = load(config, "readout", state, disturbed).readout
    maps = (
        recipe.array(f"{kind}.core1", (BATCH, 6, 5, 7)) if stream else recipe.array(f"{kind}.core", (BATCH, 18, 5, 7))
    )
    maps = split_streams(maps[None], 1 if stream else 3)
    positions = jnp.broadcast_to(readout.position(), (*maps.shape[:2], 18, 2))
    output = outputs(readout_of, readout.feature, int(stream) if stream else None, maps, positions)
    output = np.moveaxis(output[:, :, 0], 0, 1).reshape(BATCH, -1, 9, 2)
    return output[:, 0] if stream else output


def run_unit(name):
    kind = name.removesuffix("_loss")
    unit = UNITS[UnitConfig(**UNIT_KINDS[kind]).kind](UnitConfig(**UNIT_KINDS[kind]))
    readout, target = recipe.array("unit.readout", (3, 5, 1))[..., 0], np.abs(recipe.array("unit.target", (3, 5)))
    readout, target = jnp.asarray(readout), jnp.asarray(target)
    return unit.loss(readout, target) if name.endswith("_loss") else unit.response(readout)


def run_decorrelation(disturbed=None):
    """Maps of the last frame, and the penalty on the last three."""
    network = load(small(recurrent={"kind": "conv_lstm"}), "core", recipe_state("decorr"), disturbed)
    maps = split_streams(drawn("decorr", "map.", 5, (BATCH, STREAMS * 2, 16, 24)), STREAMS)
    vectors = split_streams(drawn("decorr", "vector.", 5, (BATCH, STREAMS * 5)), STREAMS)
    output = outputs(maps_of_recurrent, network.core, None, maps, vectors)
    penalty = decorrelation(jnp.asarray(output.transpose(2, 1, 0, 3, 4, 5)), length=3, weight=0.3)
    return {"decorr_output": join_streams(output)[-1], "decorr_penalty": penalty}


READOUT_CASES = [name + stream for name in READOUTS for stream in ("", "_stream2")]
PERSPECTIVE_CASES = ["monitor_retina", "monitor_retina_replicate", "monitor_retina_inverse"]
UNIT_CASES = [name + loss for name in UNIT_KINDS for loss in ("", "_loss")]
CASES = [
    *((name, "recurrent modules", run_recurrent) for name in RECURRENTS),
    *((name, "feedforward modules", run_feedforward) for name in FEEDFORWARDS),
    *((name, "modulation modules", run_modulation) for name in MODULATIONS),
    *((name, "perspective modules", run_perspective) for name in PERSPECTIVE_CASES),
    *((name, "readout modules", run_readout) for name in READOUT_CASES),
    *((name, "unit modules", run_unit) for name in UNIT_CASES),
]


def test_nothing_is_left_out(golden):
    assert {name for name, *_ in CASES} | {"decorr_output", "decorr_penalty"} == set(golden("modules").files)


@pytest.mark.parametrize(("name", "tolerance", "run"), CASES, ids=[name for name, *_ in CASES])
def test_module(name, tolerance, run, golden):
    assert_close(tolerance, run(name), golden("modules")[name])


def test_decorrelation(golden):
    found = run_decorrelation()
    assert_close("recurrent modules", found["decorr_output"], golden("modules")["decorr_output"])
    assert_close("decorrelation", found["decorr_penalty"], golden("modules")["decorr_penalty"])


@pytest.mark.parametrize(
    ("run", "name", "parameter"),
    [
        (run_recurrent, "rvt", "update_gate.weight"),
        (run_recurrent, "rvt_ungrouped", "scale"),
        (run_recurrent, "conv_lstm", "hidden_map.weight"),
        (run_recurrent, "conv_lstm_ungrouped", "forget_gate.bias"),
        (run_feedforward, "dense", "inputs.0.gain"),
        (run_modulation, "flat_lstm", "out.weight"),
        (run_modulation, "sigmoid_lstm", "input_gain"),
        (run_modulation, "mlp_lstm", "more.0.weight"),
        (run_perspective, "monitor_retina", "eye.layers.0.weight"),
        (run_readout, "readout_norm", "feature.gain"),
        (run_readout, "readout_vanilla_sigmoid", "position.mean"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_weight_disturbed_by_one_percent_is_seen(run, name, parameter, golden):
    """Negative control: the comparison above would notice."""
    tolerance = next(tolerance for case, tolerance, _ in CASES if case == name)
    disturbed = run(name, parameter)
    with pytest.raises(AssertionError, match=f"{tolerance}: absolute error"):
        assert_close(tolerance, disturbed, golden("modules")[name])
    assert error("absolute", disturbed, golden("modules")[name]) < 0.2  # a slight disturbance it was


def test_a_disturbed_weight_is_seen_by_the_penalty(golden):
    disturbed = run_decorrelation("recurrent.out.weight")["decorr_penalty"]
    with pytest.raises(AssertionError, match="decorrelation: relative error"):
        assert_close("decorrelation", disturbed, golden("modules")["decorr_penalty"])
