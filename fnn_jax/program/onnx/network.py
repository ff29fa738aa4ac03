"""The four stages put together as one graph, with the state as inputs and outputs."""

from typing import Any

import jax
import numpy as np

from fnn_jax.model.layers import fold_weight_norm
from fnn_jax.model.network import Network
from fnn_jax.program.onnx.feedforward import feedforward
from fnn_jax.program.onnx.graph import Graph
from fnn_jax.program.onnx.modulation import modulation
from fnn_jax.program.onnx.perspective import perspective
from fnn_jax.program.onnx.readout import readout
from fnn_jax.program.onnx.recurrent import recurrent

NEW = "new."  # what the names of the state's outputs begin with


def network_graph(network: Network, frames: int | None, periphery: str) -> tuple[Graph, list[dict[str, Any]]]:
    """The graph of a step (``frames`` None) or of a chunk, and what its arguments and results are.

    Each is described by ``name``, ``kind`` (``"input"``, ``"output"`` or ``"state"``), ``dtype``, ``shape``, and
    ``meaning``; a state also by ``new``, the name of its output.
    """
    graph, config, streams = Graph(), network.config, network.config.num_streams
    folded: Any = jax.jit(fold_weight_norm)(network)
    described: list[dict[str, Any]] = []
    time, count = ([] if frames is None else [frames]), frames or 1

    def argument(kind, name, dtype, shape, meaning):
        described.append({"name": name, "kind": kind, "dtype": dtype, "shape": list(shape), "meaning": meaning})
        return graph.input(name, dtype, shape)

    def batch_first(value, shape):
        """Frames of one video after another, as the stages see them, from ``[frames, batch, ...]``."""
        if frames is None:
            return value
        turned = graph.add("Transpose", value, perm=[1, 0, *range(2, 2 + len(shape))])
        return graph.reshape(turned, -1, *shape)

    shape = (config.stimulus_height, config.stimulus_width, config.stimulus_channels)
    eye_shape, behaviour_shape = (config.perspective.eye_features,), (config.modulation.behaviour_features,)
    pixels = "gray levels from 0, black, to 255; the first row is the top"
    stimulus = argument("input", "stimuli", "uint8", [*time, "batch", *shape], pixels)
    position = "position of the pupil (x, y), z-scored: 0 is the mean"
    eye = argument("input", "perspectives", "float32", [*time, "batch", *eye_shape], position)
    running = "radius of the pupil and velocity on the treadmill, z-scored: 0 is the mean"
    behaviour = argument("input", "modulations", "float32", [*time, "batch", *behaviour_shape], running)
    states = {
        stage: {name: argument("state", f"{stage}.{name}", "float32", *rest) for name, *rest in arrays}
        for stage, arrays in _states(network).items()
    }

    retina = perspective(
        graph, folded.perspective, batch_first(stimulus, shape), batch_first(eye, eye_shape), shape, periphery
    )
    traces = batch_first(behaviour, behaviour_shape)
    new, size = {}, (config.perspective.height, config.perspective.width)
    vector, new["modulation"] = modulation(graph, folded.modulation, traces, states["modulation"], streams, count)
    maps, new["core.feedforward"] = feedforward(
        graph, folded.core.feedforward, retina, states["core.feedforward"], size, streams, count
    )
    size = _core_size(network)
    maps, new["core.recurrent"] = recurrent(
        graph, folded.core.recurrent, maps, vector, states["core.recurrent"], size, streams, count
    )
    responses = readout(graph, folded.readout, config.unit, maps, size, streams)
    if frames is not None:
        responses = graph.add("Transpose", graph.reshape(responses, -1, frames, config.num_units), perm=[1, 0, 2])

    result: Any = [*time, "batch", config.num_units]
    meaning = "mean response of each unit in each frame, in the order of unit_ids"
    described.append({"name": "responses", "kind": "output", "dtype": "float32", "shape": result, "meaning": meaning})
    graph.output("responses", responses, result)
    values = {f"{stage}.{name}": value for stage, arrays in new.items() for name, value in arrays.items()}
    for entry in described:
        if entry["kind"] == "state":
            entry["new"] = NEW + entry["name"]
            graph.output(entry["new"], values[entry["name"]], entry["shape"])
    return graph, described


def _core_size(network: Network) -> tuple[int, int]:
    config = network.config
    scale = config.feedforward.input_stride * int(np.prod(config.feedforward.pools))
    return config.perspective.height // scale, config.perspective.width // scale


def _states(network: Network) -> dict[str, list[tuple[str, list[Any], str]]]:
    """Of each stage the name, shape and meaning of what it remembers."""
    config = network.config
    streams, ff = config.num_streams, config.feedforward
    lstm: Any = [
        (name, ["batch", streams, config.modulation.lstm_features], f"{name} state") for name in ("hidden", "cell")
    ]

    height, width = (size // ff.input_stride for size in (config.perspective.height, config.perspective.width))
    past: Any = []
    for block, (channels, temporal, pool) in enumerate(zip(ff.channels, ff.temporal_kernels, ff.pools, strict=True)):
        if temporal > 1:
            shape: list[Any] = ["batch", temporal - 1, streams * channels, height, width]
            meaning = "the last activations of this block and layer, oldest first; channels by stream"
            past += [(f"{block}.{layer}", shape, meaning) for layer in range(ff.layers[block])]
        height, width = height // pool, width // pool

    shape = ["batch", streams * config.recurrent.hidden_channels, height, width]
    names = ["hidden"] if config.recurrent.kind == "rvt" else ["hidden", "cell"]
    maps: Any = [(name, shape, f"{name} state; channels by stream, then by group") for name in names]
    return {"modulation": lstm, "core.feedforward": past, "core.recurrent": maps}
