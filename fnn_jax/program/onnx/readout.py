"""Stage 4 as nodes: see ``fnn_jax.model.readout``."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from fnn_jax.model.config import UnitConfig
from fnn_jax.model.geometry import bilinear_corners
from fnn_jax.program.onnx.graph import Graph


def readout(graph: Graph, stage: Any, unit: UnitConfig, maps: str, size: tuple[int, int], streams: int) -> str:
    """Responses ``[batch, units]`` to maps ``[batch, channels of all streams, height, width]``."""
    weights = np.asarray(stage.feature.weights())  # [streams, units, channels]
    units, channels = weights.shape[1], streams * weights.shape[2]
    weights = graph.constant(weights.transpose(1, 0, 2).reshape(units, channels), "readout.feature.weight")
    flat = graph.reshape(maps, 0, channels, size[0] * size[1])
    positions = graph.add("Transpose", flat, perm=[0, 2, 1])  # what a unit reads at a position is one row
    samples = ""
    # Where each unit reads is known now: which positions, and how much of each.
    corners = bilinear_corners(stage.position(), *size, "edge")
    for index, (position, share, _) in enumerate(corners):
        where = graph.constant(np.asarray(position, np.int64), f"readout.corner.{index}.position")
        share = graph.constant(np.asarray(share, np.float32)[:, None], f"readout.corner.{index}.share")
        corner = graph.add("Mul", graph.add("Gather", positions, where, axis=1), share)
        samples = graph.add("Add", samples, corner) if samples else corner
    total = graph.sum_over(graph.add("Mul", samples, weights), [2], keepdims=False)
    mean = total if streams == 1 else graph.add("Mul", total, graph.number(1 / streams))
    bias = np.asarray(jnp.mean(stage.feature.bias[...], axis=0))
    return _response(graph, unit, graph.add("Add", mean, graph.constant(bias, "readout.feature.bias")))


def _response(graph: Graph, unit: UnitConfig, read: str) -> str:
    if unit.kind == "poisson":
        return graph.add("Exp", read)
    return graph.add("Add", graph.add("Elu", read, alpha=unit.alpha), graph.number(unit.alpha))
