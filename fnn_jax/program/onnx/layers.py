"""Layers and nonlinearities of ``fnn_jax.model.layers`` as nodes, of all streams at once.

Layers are those of a network whose weights are normalised already (``fold_weight_norm``), with the streams as their
first axis. Maps are ``[batch, channels, height, width]``, channels ``(stream, group, channel in group)``; vectors are
``[batch, streams, 1, features]``, or ``[batch, 1, 1, features]`` where all streams have the same.
"""

from typing import Any

import numpy as np

from fnn_jax.model.layers import _NONLINEARITIES, Conv, Linear
from fnn_jax.program.onnx.graph import Graph


def nonlinearity(graph: Graph, kind: str, x: str) -> str:
    """The named nonlinearity times its gain."""
    functions = {
        "gelu": lambda: graph.add("Gelu", x),  # the exact one, unless it is asked to be approximate
        "silu": lambda: graph.add("Mul", x, graph.add("Sigmoid", x)),
        "elu": lambda: graph.add("Elu", x, alpha=1.0),
        "tanh": lambda: graph.add("Tanh", x),
        "identity": lambda: x,
    }
    y, gain = functions[kind](), _NONLINEARITIES[kind][1]
    return y if gain == 1 else graph.add("Mul", y, graph.number(gain))


def convolution(graph: Graph, name: str, layer: Conv, x: str, streams: int, *, shared_input: bool = False) -> str:
    """A convolution over space; ``shared_input``: every stream sees the same channels.

    A kernel that spans several frames has them in its channels, oldest first within each group: ``window_channels``.
    """
    kernel = np.asarray(layer.kernel())
    _, temporal, size, _, into, out = kernel.shape
    kernel = kernel.transpose(0, 5, 1, 4, 2, 3).reshape(streams * out, temporal * into, size, size)
    pad = (size - layer.stride) // 2
    attributes: dict[str, Any] = {"group": 1 if shared_input else streams * layer.groups, "kernel_shape": [size, size]}
    if layer.padding == "edge" and pad:
        pads = graph.constant(np.array([0, 0, pad, pad] * 2, np.int64))
        x, pad = graph.add("Pad", x, pads, mode="edge"), 0
    inputs = [x, graph.constant(kernel, f"{name}.weight")]
    if layer.bias is not None:
        inputs.append(graph.constant(np.asarray(layer.bias[...]).reshape(-1), f"{name}.bias"))
    return graph.add("Conv", *inputs, strides=[layer.stride] * 2, pads=[pad] * 4, **attributes)


def linear(graph: Graph, name: str, layer: Linear, x: str) -> str:
    """A linear map of vectors, with its own weights in each stream."""
    product = graph.add("MatMul", x, graph.constant(np.asarray(layer.kernel()), f"{name}.weight"))
    bias = np.asarray(layer.bias[...])
    return graph.add("Add", product, graph.constant(bias.reshape(len(bias), 1, -1), f"{name}.bias"))


def group_matrix(*layers: Conv) -> np.ndarray:
    """Several 1 x 1 maps within groups as one: ``[stream and group, out channels of all of them, in channels]``."""
    matrices = []
    for layer in layers:
        kernel = np.asarray(layer.kernel())[:, 0, 0, 0]  # [streams, in, groups and out]
        streams, into, _ = kernel.shape
        kernel = kernel.reshape(streams, into, layer.groups, -1)
        matrices.append(kernel.transpose(0, 2, 3, 1).reshape(streams * layer.groups, -1, into))
    return np.concatenate(matrices, axis=1)


def group_bias(*layers: Conv) -> np.ndarray:
    """The biases that go with it, ``[stream and group, out channels of all of them, 1]``."""
    biases = [np.asarray(layer.bias[...]) for layer in layers]
    biases = [bias.reshape(bias.shape[0] * layer.groups, -1) for bias, layer in zip(biases, layers, strict=True)]
    return np.concatenate(biases, axis=1)[..., None]


def lstm_update(graph: Graph, gates: str, cell: str, sizes: list[int], axis: int) -> tuple[str, str]:
    """New hidden state and cell, from input gate, forget gate, candidate and output gate side by side."""
    i, f, g, o = graph.split(gates, sizes, axis=axis)
    kept = graph.add("Mul", graph.add("Sigmoid", f), cell)
    cell = graph.add("Add", kept, graph.add("Mul", graph.add("Sigmoid", i), graph.add("Tanh", g)))
    return graph.add("Mul", graph.add("Sigmoid", o), graph.add("Tanh", cell)), cell
