"""Stage 1 as nodes: see ``fnn_jax.model.perspective``, whose steps and conventions these are."""

import jax.numpy as jnp
import numpy as np

from fnn_jax.model.perspective import Eye, Perspective
from fnn_jax.model.pixels import Raw, SigmoidPower, StaticPower
from fnn_jax.program.onnx.graph import Graph
from fnn_jax.program.onnx.layers import nonlinearity

LEAST_DEPTH = 1e-5  # of fnn_jax.model.geometry.project_on_monitor


def perspective(graph: Graph, stage: Perspective, frames: str, eye: str, shape: tuple[int, ...], periphery: str) -> str:
    """Retinal images ``[batch, channels, height, width]`` of frames ``[batch, height, width, channels]``, uint8.

    ``shape`` is that of a frame; ``eye`` is ``[batch, features]``.
    """
    rotation = _rotation(graph, _angles(graph, stage.eye, eye))
    x, y = _points(graph, stage, rotation, shape[:2])
    image = _luminance(graph, stage, frames, shape)
    sampled = _sample(graph, image, x, y, shape, periphery)
    retina = graph.reshape(sampled, 0, 0, *stage.retina.shape[:2])
    return _pixels(graph, stage.response, retina)


def _angles(graph: Graph, layers: Eye, eye: str) -> str:
    """Three angles of each frame, ``[batch, 3]``."""
    for index, layer in enumerate(layers.layers):
        if index:
            eye = nonlinearity(graph, layers.nonlinearity, eye)
        weight = graph.constant(np.asarray(layer.kernel()), f"perspective.eye.{index}.weight")
        bias = graph.constant(np.asarray(layer.bias[...]).reshape(-1), f"perspective.eye.{index}.bias")
        eye = graph.add("Add", graph.add("MatMul", eye, weight), bias)
    return eye


def _rotation(graph: Graph, angles: str) -> str:
    """``Rz(z) @ Ry(y) @ Rx(x)``, ``[batch, 3, 3]``."""
    sin_x, sin_y, sin_z = graph.split(graph.add("Sin", angles), [1, 1, 1], axis=1)
    cos_x, cos_y, cos_z = graph.split(graph.add("Cos", angles), [1, 1, 1], axis=1)

    def product(*factors):
        result, *rest = factors
        for factor in rest:
            result = graph.add("Mul", result, factor)
        return result

    entries = [
        product(cos_z, cos_y),
        graph.add("Sub", product(cos_z, sin_y, sin_x), product(sin_z, cos_x)),
        graph.add("Add", product(cos_z, sin_y, cos_x), product(sin_z, sin_x)),
        product(sin_z, cos_y),
        graph.add("Add", product(sin_z, sin_y, sin_x), product(cos_z, cos_x)),
        graph.add("Sub", product(sin_z, sin_y, cos_x), product(cos_z, sin_x)),
        graph.add("Neg", sin_y),
        product(cos_y, sin_x),
        product(cos_y, cos_x),
    ]
    return graph.reshape(graph.concatenate(entries, axis=1), -1, 3, 3)


def _points(graph: Graph, stage: Perspective, rotation: str, in_size: tuple[int, ...]) -> tuple[str, str]:
    """Where each ray of the retina meets the monitor, in pixels of the stimulus from its first one: x and y,
    ``[batch, 1, points]``."""
    center, axes = (np.asarray(array) for array in stage.monitor.placement(None))
    rays = np.asarray(stage.retina[...]).reshape(-1, 3).T
    # The components of a ray along the axes of the monitor, whose third one is the normal.
    to_monitor = graph.add("MatMul", graph.constant(axes.T, "perspective.monitor.axes"), rotation)
    seen = graph.add("MatMul", to_monitor, graph.constant(rays, "perspective.retina"))
    x, y, depth = graph.split(seen, [1, 1, 1], axis=1)
    center = center @ axes
    distance = graph.add("Div", graph.number(center[2]), graph.add("Clip", depth, graph.number(LEAST_DEPTH)))

    (in_height, in_width), (out_height, out_width) = in_size, stage.retina.shape[:2]
    # Isotropic coordinates to those of the edges, and these to pixels: isotropic_to_sampling and bilinear_corners of
    # fnn_jax.model.geometry.
    scale = in_width / (in_width - 1)
    scale_x = scale * (out_width - 1) / out_width * in_width / 2
    scale_y = in_width / in_height * scale * (out_height - 1) / out_height * in_height / 2

    def pixels(component, center, scale, size):
        on_plane = graph.add("Sub", graph.add("Mul", distance, component), graph.number(center))
        return graph.add("Add", graph.add("Mul", on_plane, graph.number(scale)), graph.number((size - 1) / 2))

    return pixels(x, center[0], scale_x, in_width), pixels(y, center[1], scale_y, in_height)


def _luminance(graph: Graph, stage: Perspective, frames: str, shape: tuple[int, ...]) -> str:
    """What the monitor emits, ``[batch, channels, height, width]``: looked up for the 256 levels, as the twin does."""
    levels = np.asarray(stage.luminance(jnp.arange(256, dtype=jnp.float32) / 255))
    if shape[2] > 1:
        frames = graph.add("Transpose", frames, perm=[0, 3, 1, 2])
    index = graph.add("Cast", graph.reshape(frames, 0, shape[2], *shape[:2]), to=_type("int32"))
    return graph.add("Gather", graph.constant(levels, "perspective.luminance"), index, axis=0)


def _sample(graph: Graph, image: str, x: str, y: str, shape: tuple[int, ...], periphery: str) -> str:
    """Bilinear samples at points in pixels, ``[batch, channels, points]``.

    Instead of asking which corners lie outside, the image gets a border: of dark pixels, one before and two behind,
    to which all points outside are moved; or, where the edge extends, one that no point reaches but with weight zero.
    """
    height, width, channels = shape
    before = 1 if periphery == "dark" else 0
    behind = before + 1
    pads = np.array([0, 0, before, before, 0, 0, behind, behind], np.int64)
    image = graph.add("Pad", image, graph.constant(pads), graph.number(0), mode="constant")
    columns = width + before + behind
    flat = graph.reshape(image, 0, 0, (height + before + behind) * columns)

    def inside(points, size):
        moved = graph.add("Add", points, graph.number(before)) if before else points
        return graph.add("Clip", moved, graph.number(0), graph.number(size - 1 + 2 * before))

    x, y = inside(x, width), inside(y, height)
    left, top = graph.add("Floor", x), graph.add("Floor", y)
    right_weight, bottom_weight = graph.add("Sub", x, left), graph.add("Sub", y, top)
    column, row = (graph.add("Cast", each, to=_type("int32")) for each in (left, top))
    first = graph.add("Add", graph.add("Mul", row, graph.constant(np.int32(columns))), column)

    def corner(offset):
        index = graph.add("Add", first, graph.constant(np.int32(offset))) if offset else first
        return graph.add("GatherElements", flat, graph.concatenate([index] * channels, axis=1), axis=2)

    def between(a, b, weight):
        other = graph.add("Sub", graph.number(1), weight)
        return graph.add("Add", graph.add("Mul", a, other), graph.add("Mul", b, weight))

    upper = between(corner(0), corner(1), right_weight)
    lower = between(corner(columns), corner(columns + 1), right_weight)
    return between(upper, lower, bottom_weight)


def _pixels(graph: Graph, transform: Raw | StaticPower | SigmoidPower, values: str) -> str:
    """What the retina makes of luminance; see ``fnn_jax.model.pixels``."""
    if isinstance(transform, Raw):
        return values
    if isinstance(transform, SigmoidPower):
        values = graph.add("Add", values, graph.number(transform.eps))
        power = transform._power()
    else:
        power = transform.power[...]
    scale, offset = (float(each[...].reshape(())) for each in (transform.scale, transform.offset))
    values = graph.add("Pow", values, graph.number(float(power)))
    return graph.add("Add", graph.add("Mul", values, graph.number(scale)), graph.number(offset))


def _type(dtype: str) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
