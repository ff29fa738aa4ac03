"""The feedforward part of all streams side by side in the channels, as TPUs take it.

A TPU keeps 128 channels in a row of its registers, filled or not, and each group of a stream has 32 of them. Here every
layer is one layer for all streams, whose kernel has a block for each stream and zeros between them: products with zeros
are what a TPU has to spare. Channels are ``(part, stream, channel)``, where a part is what the layers tell apart: a
group, or the maps of a layer in it.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def join_streams(array: Float[Array, "streams *shape channels"], parts: int) -> Float[Array, "*shape wide_channels"]:
    """Streams side by side inside each of so many parts of the channels."""
    streams, *shape, channels = array.shape
    array = jnp.moveaxis(array.reshape(streams, *shape, parts, channels // parts), 0, -2)
    return array.reshape(*shape, -1)


def split_streams(
    array: Float[Array, "*shape wide_channels"], parts: int, streams: int
) -> Float[Array, "streams *shape channels"]:
    """The inverse of ``join_streams``."""
    shape = array.shape[:-1]
    array = jnp.moveaxis(array.reshape(*shape, parts, streams, -1), -2, 0)
    return array.reshape(streams, *shape, -1)


def widen(layer, parts_in: int | None, parts_out: int):
    """One convolution for all streams of a layer whose parameters have a leading axis of streams.

    Inside each group it reads ``parts_in`` parts, or with None maps that the streams share, and it makes ``parts_out``
    parts in all.
    """
    wide = layer.fold()
    weight = wide.weight[...]
    streams, time, height, width, inner, outer = weight.shape
    if parts_in is None:
        weight = join_streams(weight, parts_out)
    else:
        weight = weight.reshape(streams, time, height, width, parts_in, inner // parts_in, parts_out, -1)
        weight = weight.transpose(1, 2, 3, 4, 0, 5, 6, 7)[..., None, :]
        weight = weight * jnp.eye(streams, dtype=weight.dtype).reshape(1, 1, 1, 1, streams, 1, 1, streams, 1)
        weight = weight.reshape(time, height, width, streams * inner, streams * outer)
    wide.weight = nnx.Param(weight)
    if wide.bias is not None:
        groups = wide.bias.shape[-2]
        wide.bias = nnx.Param(join_streams(wide.bias[...].reshape(streams, -1), parts_out).reshape(groups, -1))
    return wide


def widen_feedforward(feedforward):
    """A feedforward part that computes those of all streams, of one whose parameters have a leading axis of streams."""
    wide = nnx.clone(feedforward)
    parts = None  # of the maps that come in
    for index, block in enumerate(feedforward.blocks):
        wide.inputs[index] = widen(feedforward.inputs[index], parts, block.groups)
        for layer, conv in enumerate(block.convs):
            wide.blocks[index].convs[layer] = widen(conv, 1, block.groups)
        for layer, skip in enumerate(block.skips):
            wide.blocks[index].skips[layer] = widen(skip, layer + 1, block.groups)
        parts = parts_of(block)
    wide.out = widen(feedforward.out, parts, 1)
    return wide


def parts_of(block) -> int:
    """Parts of the maps that a block returns: its input and the output of every layer, in each group."""
    return block.groups * (len(block.convs) + 1)


def all_streams(feedforward, state, retina, noise):
    """A feedforward part whose parameters, state and noise have a leading axis of streams, as a call of one stream."""
    streams = feedforward.out.weight.shape[0]
    groups = [block.groups for block in feedforward.blocks]

    def joined(by_block):
        return tuple(
            tuple(join_streams(array, parts) for array in arrays)
            for arrays, parts in zip(by_block, groups, strict=True)
        )

    new_state, maps, features = widen_feedforward(feedforward)(
        joined(state), retina, None if noise is None else joined(noise)
    )
    new_state = tuple(
        tuple(split_streams(array, parts, streams) for array in arrays)
        for arrays, parts in zip(new_state, groups, strict=True)
    )
    features = {
        name: split_streams(features[name], parts_of(block), streams)
        for name, block in zip(features, feedforward.blocks, strict=True)
    }
    return new_state, split_streams(maps, 1, streams), features
