"""Stage 3a as nodes: see ``fnn_jax.model.core``.

There is no convolution over three axes: the frames that one spans lie side by side in its channels, as on a CPU.
"""

from fnn_jax.model.core import Block, Feedforward
from fnn_jax.program.onnx.graph import Graph
from fnn_jax.program.onnx.layers import convolution, nonlinearity


def feedforward(
    graph: Graph,
    stage: Feedforward,
    retina: str,
    state: dict[str, str],
    size: tuple[int, int],
    streams: int,
    frames: int,
) -> tuple[str, dict[str, str]]:
    """Maps ``[batch and frame, channels of all streams, height, width]``, and the new state.

    ``retina`` is ``[batch and frame, channels, height, width]``, of ``size``. ``state`` holds the last activations of
    each layer that spans several frames, oldest first, by ``"block.layer"``:
    ``[batch, past, channels of all streams, height, width]``.
    """
    x = retina
    new: dict[str, str] = {}
    stride = stage.inputs[0].stride
    height, width = size[0] // stride, size[1] // stride
    for index, (inputs, block) in enumerate(zip(stage.inputs, stage.blocks, strict=True)):
        name = f"core.feedforward.inputs.{index}"
        x = convolution(graph, name, inputs, x, streams, shared_input=index == 0)
        past = {
            layer.removeprefix(f"{index}."): value for layer, value in state.items() if layer.startswith(f"{index}.")
        }
        x, block_state = _block(
            graph, block, f"core.feedforward.blocks.{index}", x, past, height, width, streams, frames
        )
        new |= {f"{index}.{layer}": value for layer, value in block_state.items()}
        height, width = height // block.pool, width // block.pool
    return convolution(graph, "core.feedforward.out", stage.out, x, streams), new


def _block(
    graph: Graph,
    block: Block,
    name: str,
    x: str,
    state: dict[str, str],
    height: int,
    width: int,
    streams: int,
    frames: int,
) -> tuple[str, dict[str, str]]:
    temporal, channels = block.convs[0].weight.shape[-5], block.convs[0].weight.shape[-1]
    groups = streams * block.groups
    new: dict[str, str] = {}
    in_groups = (groups, channels // block.groups, height * width)
    past = temporal - 1

    def side_by_side(maps, pixels):
        """Maps put together within each group of channels; in the end they are maps again."""
        if len(maps) == 1:
            return maps[0]
        parts = [graph.reshape(each, 0, groups, -1, pixels[0] * pixels[1]) for each in maps]
        joined = len(maps) * streams * channels
        return graph.reshape(graph.concatenate(parts, axis=2), 0, joined, *pixels)

    def window(layer, y):
        """The frames that each frame's convolution sees, in its channels; and those that the next frames will need."""
        if not past:
            return y
        pieces = graph.reshape(state[layer], 0, past, *in_groups), graph.reshape(y, -1, frames, *in_groups)
        seen = graph.concatenate(pieces, axis=1)
        kept = graph.slice(seen, frames, frames + past, axis=1)
        new[layer] = graph.reshape(kept, 0, past, streams * channels, height, width)
        taps = [graph.slice(seen, first, first + frames, axis=1) for first in range(temporal)]
        return graph.reshape(graph.concatenate(taps, axis=3), -1, temporal * streams * channels, height, width)

    outputs = [x]
    activations: list[str] = []
    for layer, conv in enumerate(block.convs):
        y = nonlinearity(graph, block.nonlinearity, x)
        x = convolution(graph, f"{name}.convs.{layer}", conv, window(str(layer), y), streams)
        if layer:
            skipped = side_by_side(activations, (height, width))
            skip = convolution(graph, f"{name}.skips.{layer - 1}", block.skips[layer - 1], skipped, streams)
            x = graph.add("Add", x, skip)
        activations.append(y)
        outputs.append(x)
    if block.pool > 1:
        size = {"kernel_shape": [block.pool] * 2, "strides": [block.pool] * 2}
        outputs = [graph.add("AveragePool", output, **size) for output in outputs]
    return side_by_side(outputs, (height // block.pool, width // block.pool)), new
