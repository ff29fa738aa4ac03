"""Stage 3b as nodes: see ``fnn_jax.model.recurrent`` and the alternatives to it.

All streams go through together: what is mapped within groups is so within each group of each stream.
"""

from typing import Any

import jax
import numpy as np

from fnn_jax.model.alternatives.conv_lstm import ConvLstm
from fnn_jax.model.alternatives.rvt import Rvt
from fnn_jax.model.grouped import MAX_LOGIT
from fnn_jax.model.layers import Conv
from fnn_jax.model.recurrent import Attention, Recurrent
from fnn_jax.program.onnx.graph import Graph
from fnn_jax.program.onnx.layers import convolution, group_bias, group_matrix, lstm_update


def recurrent(
    graph: Graph,
    stage: Recurrent,
    feedforward: str,
    modulation: str,
    state: dict[str, str],
    size: tuple[int, int],
    streams: int,
    frames: int,
) -> tuple[str, dict[str, str]]:
    """Maps of the core ``[batch and frame, channels of all streams, height, width]``, and the new state.

    ``feedforward`` is such maps, ``modulation`` ``[batch and frame, streams, 1, features]``, ``state`` hidden state
    and, but for the RVT, cell: ``[batch, channels of all streams, height, width]``.
    """
    name, height, width = "core.recurrent", *size
    inner, hidden_channels = stage.feedforward_map.weight.shape[-1], stage.out.weight.shape[-2]
    groups = streams * stage.groups

    inputs = convolution(graph, f"{name}.feedforward_map", stage.feedforward_map, feedforward, streams)
    weight = np.asarray(stage.modulation_map.kernel())[:, 0, 0, 0]
    vector = graph.add("MatMul", modulation, graph.constant(weight, f"{name}.modulation_map.weight"))
    inputs = graph.add("Add", inputs, graph.reshape(vector, -1, streams * inner, 1, 1))
    maps = graph.reshape(inputs, -1, frames, streams * inner, height, width)
    between = None if stage.hidden_map is None else graph.constant(_between(stage), f"{name}.hidden_map.weight")
    advance = _advance(graph, stage, name, size, streams)

    outputs = []
    for one in graph.frames(maps, frames):
        x = graph.reshape(one, -1, streams * inner, height, width)
        if between is not None:
            x = graph.add("Add", graph.add("Conv", state["hidden"], between, group=streams, kernel_shape=[1, 1]), x)
        x = graph.add("Tanh", x)
        parts = [graph.reshape(each, 0, groups, -1, height * width) for each in (x, state["hidden"])]
        state = advance(graph.concatenate(parts, axis=2), state)
        outputs.append(graph.reshape(state["hidden"], -1, 1, streams * hidden_channels, height, width))
    hidden = graph.reshape(graph.concatenate(outputs, axis=1), -1, streams * hidden_channels, height, width)
    return convolution(graph, f"{name}.out", stage.out, hidden, streams), state


def _between(stage: Recurrent) -> np.ndarray:
    """The map between groups as a 1 x 1 convolution: ``[streams and out channels, in channels, 1, 1]``."""
    blocks = np.asarray(jax.vmap(lambda layer: layer.blocks())(stage.hidden_map))  # [streams, out, in, o, i]
    streams, groups, _, out, into = blocks.shape
    return blocks.transpose(0, 1, 3, 2, 4).reshape(streams * groups * out, groups * into, 1, 1)


def _advance(graph: Graph, stage: Any, name: str, size: tuple[int, int], streams: int) -> Any:
    """One step in time: from input and hidden state joined, ``[batch, groups, channels, positions]``, and the state."""
    gates_of = _attention_gates if isinstance(stage, Attention) else _convolution_gates
    read = gates_of(graph, stage, name, size, streams)
    channels = stage.out.weight.shape[-2]
    in_group = channels // stage.groups

    def maps(values):
        return graph.reshape(values, 0, streams * channels, *size)

    def grouped(maps):
        return graph.reshape(maps, 0, streams * stage.groups, in_group, size[0] * size[1])

    def lstm(joined, state):
        hidden, cell = lstm_update(graph, read(joined), grouped(state["cell"]), [in_group] * 4, axis=2)
        return {"hidden": maps(hidden), "cell": maps(cell)}

    def rvt(joined, state):
        z, n = graph.split(read(joined), [in_group] * 2, axis=2)
        keep, new, old = graph.add("Sigmoid", z), graph.add("Tanh", n), grouped(state["hidden"])
        new = graph.add("Mul", graph.add("Sub", graph.number(1), keep), new)
        return {"hidden": maps(graph.add("Add", graph.add("Mul", keep, old), new))}

    return rvt if isinstance(stage, Rvt) else lstm


def _gates(stage: Any) -> list[Conv]:
    if isinstance(stage, Rvt):
        return [stage.update_gate, stage.candidate]
    return [stage.input_gate, stage.forget_gate, stage.candidate, stage.output_gate]


def _convolution_gates(graph: Graph, stage: ConvLstm, name: str, size: tuple[int, int], streams: int) -> Any:
    """Gates side by side within each group, of a convolution."""
    kernel, bias = _grouped_kernel(*_gates(stage)), group_bias(*_gates(stage)).reshape(-1)
    weight, bias = graph.constant(kernel, f"{name}.gates.weight"), graph.constant(bias, f"{name}.gates.bias")
    return lambda joined: _convolve(graph, joined, [weight, bias], kernel.shape, streams * stage.groups, size)


def _attention_gates(graph: Graph, stage: Attention, name: str, size: tuple[int, int], streams: int) -> Any:
    """The same of a convolution, and of attention over its positions."""
    groups, kernel = streams * stage.groups, _grouped_kernel(stage.conv)
    weight = graph.constant(kernel, f"{name}.conv.weight")
    maps = group_matrix(stage.query, stage.key, stage.value)
    attention_maps = graph.constant(maps, f"{name}.query_key_value.weight")
    channels = maps.shape[1] // 3
    scales = np.asarray(stage.scale[...]).reshape(groups, channels, 1)
    is_bounded = np.abs(scales).max() < MAX_LOGIT  # as on the unit sphere, no similarity exceeds the largest scale
    scale = graph.constant(scales, f"{name}.scale")
    gate_maps = graph.constant(group_matrix(*_gates(stage)), f"{name}.gates.weight")
    gate_bias = graph.constant(group_bias(*_gates(stage)), f"{name}.gates.bias")
    axis = graph.constant(np.array([2], np.int64))

    def on_unit_sphere(x):
        return graph.add("Div", x, graph.add("ReduceL2", x, axis, keepdims=1))

    def read(joined):
        z = _convolve(graph, joined, [weight], kernel.shape, groups, size)
        q, k, v = graph.split(graph.add("MatMul", attention_maps, z), [channels] * 3, axis=2)
        q, k = graph.add("Mul", on_unit_sphere(q), scale), on_unit_sphere(k)
        # A column for each query: so only the keys are transposed, and not the weights, which are far more. Those are
        # not made to add up to 1 before the average: a softmax over columns took a fifth of all the time.
        similarity = graph.add("MatMul", graph.add("Transpose", k, perm=[0, 1, 3, 2]), q)
        if not is_bounded:
            similarity = graph.add("Sub", similarity, graph.add("ReduceMax", similarity, axis, keepdims=1))
        weights = graph.add("Exp", similarity)
        attended = graph.add("Div", graph.add("MatMul", v, weights), graph.sum_over(weights, [2], keepdims=True))
        gates = graph.add("MatMul", gate_maps, graph.concatenate([z, attended], axis=2))
        return graph.add("Add", gates, gate_bias)

    return read


def _grouped_kernel(*layers: Conv) -> np.ndarray:
    """Convolutions within groups as one, whose outputs lie side by side within each group."""
    kernels = []
    for layer in layers:
        kernel = np.asarray(layer.kernel())[:, 0]  # [streams, height, width, in, groups and out]
        streams, height, width, into, _ = kernel.shape
        kernel = kernel.reshape(streams, height, width, into, layer.groups, -1)
        kernels.append(kernel.transpose(0, 4, 5, 3, 1, 2))
    kernel = np.concatenate(kernels, axis=2)
    return kernel.reshape(-1, *kernel.shape[3:])


def _convolve(
    graph: Graph, x: str, weights: list[str], shape: tuple[int, ...], groups: int, size: tuple[int, int]
) -> str:
    """A zero-padded convolution of ``[batch, groups, channels, positions]`` within groups, to the same."""
    out, into, kernel, _ = shape
    maps = graph.reshape(x, 0, groups * into, *size)
    made = graph.add("Conv", maps, *weights, group=groups, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)
    return graph.reshape(made, 0, groups, out // groups, size[0] * size[1])
