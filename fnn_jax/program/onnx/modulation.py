"""Stage 2 as nodes: see ``fnn_jax.model.modulation``."""

from typing import Any

import numpy as np

from fnn_jax.model.alternatives.flat_lstm import FlatLstm, SigmoidLstm
from fnn_jax.model.lstm import Lstm
from fnn_jax.model.modulation import MlpLstm
from fnn_jax.program.onnx.graph import Graph
from fnn_jax.program.onnx.layers import linear, lstm_update, nonlinearity


def modulation(
    graph: Graph, stage: MlpLstm | FlatLstm, behaviour: str, state: dict[str, str], streams: int, frames: int
) -> tuple[str, dict[str, str]]:
    """Modulation vectors ``[batch and frame, streams, 1, features]``, and the new state.

    ``behaviour`` is ``[batch and frame, features]``, ``state`` hidden and cell, ``[batch, streams, features]``.
    """
    x = graph.reshape(behaviour, -1, 1, 1, stage.linear.weight.shape[-2])
    if isinstance(stage, MlpLstm):
        for index, layer in enumerate((stage.linear, *stage.more)):
            name = f"modulation.more.{index - 1}" if index else "modulation.linear"
            x = nonlinearity(graph, stage.nonlinearity, linear(graph, name, layer, x))
        return _lstm(graph, stage.lstm, x, state, streams, frames)
    if isinstance(stage, SigmoidLstm):
        gain, bias = (
            graph.constant(np.asarray(each[...])[:, None], f"modulation.{name}")
            for name, each in (("input_gain", stage.input_gain), ("input_bias", stage.input_bias))
        )
        x = graph.add("Sigmoid", graph.add("Add", graph.add("Mul", x, gain), bias))
    x = graph.add("Tanh", linear(graph, "modulation.linear", stage.linear, x))
    hidden, state = _lstm(graph, stage.lstm, x, state, streams, frames)
    return linear(graph, "modulation.out", stage.out, hidden), state


def _lstm(
    graph: Graph, stage: Lstm, x: str, state: dict[str, str], streams: int, frames: int
) -> tuple[str, dict[str, str]]:
    """Hidden states ``[batch and frame, streams, 1, features]``, and the new state."""
    into, features = stage.features
    gates: Any = (stage.input_gate, stage.forget_gate, stage.candidate, stage.output_gate)
    kernel = np.concatenate([np.asarray(gate.kernel()) for gate in gates], axis=-1)
    bias = np.concatenate([np.asarray(gate.bias[...]).reshape(streams, 1, -1) for gate in gates], axis=-1)
    weight, bias = graph.constant(kernel, "modulation.lstm.weight"), graph.constant(bias, "modulation.lstm.bias")

    by_frame = graph.frames(graph.reshape(x, -1, frames, streams, into), frames)
    hidden, cell = (graph.reshape(state[name], 0, streams, 1, features) for name in ("hidden", "cell"))
    outputs = []
    for one in by_frame:
        joined = graph.concatenate([graph.reshape(one, -1, streams, 1, into), hidden], axis=3)
        read = graph.add("Add", graph.add("MatMul", joined, weight), bias)
        hidden, cell = lstm_update(graph, read, cell, [features] * 4, axis=3)
        outputs.append(graph.reshape(hidden, -1, 1, streams, features))
    new = {name: graph.reshape(value, 0, streams, features) for name, value in (("hidden", hidden), ("cell", cell))}
    return graph.reshape(graph.concatenate(outputs, axis=1), -1, streams, 1, features), new
