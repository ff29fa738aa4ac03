"""Stage 3, core: the retinal image runs through feedforward blocks, then through a recurrent network with attention.

Both parts are written for one stream of one video. The feedforward part has no recurrence: an output frame depends on a
window of input frames, so all frames of a call go through together, and its state is the last frames that each
convolution saw. Only the recurrent part steps through time.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.config import NetworkConfig
from fnn_jax.model import winograd
from fnn_jax.model.layers import (
    Conv,
    InterGroup,
    asked_precision,
    dropout_mask,
    group_concatenate,
    nonlinearity,
    on_cpu,
    product,
)

MAX_LOGIT = 40  # the exponential of any smaller number, and of its negative, is a float32, and so is their sum

# For each layer [past, height, width, channels]: the last inputs of its convolution, oldest first. Before the first
# frame they are zero activations (not the activations of a black image).
BlockState = tuple[Float[Array, "..."], ...]
# Dropout masks of a block, [channels] for each layer.
BlockMasks = tuple[Float[Array, "..."], ...]


class RecurrentState(NamedTuple):
    """Hidden and cell state of the CvT-LSTM; channels are ``(group, channel in group)``."""

    hidden: Float[Array, "*batch groups height width channels"]
    cell: Float[Array, "*batch groups height width channels"]


class CoreState(NamedTuple):
    feedforward: tuple[BlockState, ...]
    recurrent: RecurrentState


class RecurrentNoise(NamedTuple):
    """Dropout masks of the recurrent input and of the hidden state."""

    inputs: Float[Array, "*batch groups channels"]
    hidden: Float[Array, "*batch groups channels"]


class CoreNoise(NamedTuple):
    """Dropout masks, one factor per channel and sequence; None where the configuration has no dropout."""

    feedforward: tuple[BlockMasks, ...] | None
    recurrent: RecurrentNoise | None


class Block(nnx.Module):
    """Densely connected convolutions over space and time, and average pooling.

    Layer ``l`` convolves ``y_l = nonlinearity(x)`` and adds a 1 x 1 map of ``y_0 ... y_(l-1)``. The block returns its
    input and the output of every layer, concatenated inside each group.
    """

    def __init__(self, config: NetworkConfig, index: int, *, streams: tuple[int, ...] = ()):
        feedforward = config.feedforward
        channels, groups = feedforward.channels[index], feedforward.groups[index]
        self.groups, self.pool = groups, feedforward.pools[index]
        self.nonlinearity = feedforward.nonlinearity
        shared = {"groups": groups, "streams": streams}
        self.convs = nnx.List(
            Conv(
                channels,
                channels,
                temporal=feedforward.temporal_kernels[index],
                spatial=feedforward.spatial_kernels[index],
                gain=2**-0.5 if layer else 1.0,
                **shared,
            )
            for layer in range(feedforward.layers[index])
        )
        self.skips = nnx.List(
            Conv(channels * layer, channels, gain=2**-0.5, bias=None, **shared)
            for layer in range(1, feedforward.layers[index])
        )

    def __call__(
        self,
        state: BlockState,
        x: Float[Array, "time height width channels"],
        masks: BlockMasks | None,
    ) -> tuple[BlockState, Float[Array, "time h w channels_out"]]:
        frames = x.shape[0]
        outputs, activations, new_state = [x], [], []
        for layer, (conv, past) in enumerate(zip(self.convs, state, strict=True)):
            y = nonlinearity(self.nonlinearity, x)
            if masks is not None:
                y = y * masks[layer][None, None, None]
            window = jnp.concatenate([past, y])
            new_state.append(window[frames:])
            x = conv(window)
            if layer:
                x = x + self.skips[layer - 1](group_concatenate(*activations, groups=self.groups))
            activations.append(y)
            outputs.append(x)
        # Each is pooled before they are put together: a third less time in the first block.
        pooled = [_average_pool(output, self.pool) for output in outputs]
        return tuple(new_state), group_concatenate(*pooled, groups=self.groups)


def _average_pool(x, size):
    time, height, width, channels = x.shape
    x = jax.lax.optimization_barrier(x)  # else what leads to x is computed once more, here
    return x.reshape(time, height // size, size, width // size, size, channels).mean((2, 4))


class Feedforward(nnx.Module):
    """Blocks at decreasing resolution, each behind a map of channels; the first map is a strided convolution."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        feedforward = config.feedforward
        self.dropout = feedforward.dropout
        inputs, channels = [], config.stimulus_channels
        for index, (width, groups, layers) in enumerate(
            zip(feedforward.channels, feedforward.groups, feedforward.layers, strict=True)
        ):
            first = index == 0
            inputs.append(
                Conv(
                    channels,
                    width,
                    out_groups=groups,
                    spatial=feedforward.input_kernel if first else 1,
                    stride=feedforward.input_stride if first else 1,
                    padding="edge",
                    weight_norm=not first,
                    streams=streams,
                )
            )
            channels = (layers + 1) * width
        self.inputs = nnx.List(inputs)
        self.blocks = nnx.List(Block(config, i, streams=streams) for i in range(len(inputs)))
        self.out = Conv(channels, feedforward.out_channels, streams=streams)

    def init_state(self, height: int, width: int) -> tuple[BlockState, ...]:
        """No past, for a retinal image of ``height x width``."""
        height, width = height // self.inputs[0].stride, width // self.inputs[0].stride
        state = []
        for block in self.blocks:
            past, channels = block.convs[0].weight.shape[-5] - 1, block.convs[0].weight.shape[-1]
            zeros = jnp.zeros((past, height, width, channels), block.convs[0].weight.dtype)
            state.append((zeros,) * len(block.convs))
            height, width = height // block.pool, width // block.pool
        return tuple(state)

    def draw_noise(self, key: Array) -> tuple[BlockMasks, ...] | None:
        if not self.dropout:
            return None

        def masks(key, block):
            channels, dtype = block.convs[0].weight.shape[-1], block.convs[0].weight.dtype
            keys = jax.random.split(key, len(block.convs))
            return tuple(dropout_mask(key, self.dropout, channels, dtype) for key in keys)

        keys = jax.random.split(key, len(self.blocks))
        return tuple(masks(key, block) for key, block in zip(keys, self.blocks, strict=True))

    def __call__(
        self,
        state: tuple[BlockState, ...],
        retina: Float[Array, "time height width channels"],
        noise: tuple[BlockMasks, ...] | None = None,
    ) -> tuple[tuple[BlockState, ...], Float[Array, "time h w out_channels"], dict[str, Array]]:
        """New state, output maps, and the output of each block by name."""
        x, new_state, features = retina, [], {}
        for index, (inputs, block) in enumerate(zip(self.inputs, self.blocks, strict=True)):
            block_state, x = block(state[index], inputs(x), None if noise is None else noise[index])
            new_state.append(block_state)
            features[f"feedforward.block{index}"] = x
        return tuple(new_state), self.out(x), features


class Recurrent(nnx.Module):
    """CvT-LSTM: an LSTM over maps whose gates read a convolution of input and state, and attention over positions.

    Inside, maps are ``[group, height, width, channel in group]``: every map but the output's stays within its group,
    so each is one batched matrix product.
    """

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        recurrent = config.recurrent
        groups = recurrent.groups
        hidden, common, inner = recurrent.hidden_channels, recurrent.common_channels, recurrent.in_channels
        self.groups, self.dropout = groups, recurrent.dropout
        shared = {"streams": streams}
        gain = 3**-0.5  # three maps are added up
        self.hidden_map = InterGroup(hidden, inner, groups=groups, gain=gain, **shared)
        self.feedforward_map = Conv(config.feedforward.out_channels, inner, out_groups=groups, gain=gain, **shared)
        self.modulation_map = Conv(
            config.modulation.lstm_features, inner, out_groups=groups, gain=gain, bias=None, **shared
        )
        self.conv = Conv(
            inner + hidden, common, groups=groups, spatial=recurrent.kernel, gain=None, bias=None, **shared
        )
        self.scale = nnx.Param(jnp.ones((*streams, groups, common // groups), jnp.float32))

        def attention_map():
            return Conv(common, common, groups=groups, gain=None, bias=None, **shared)

        def gate(bias):
            return Conv(2 * common, hidden, groups=groups, bias=bias, **shared)

        self.query, self.key, self.value = attention_map(), attention_map(), attention_map()
        self.input_gate, self.forget_gate = gate(-1.0), gate(1.0)
        self.candidate, self.output_gate = gate(0.0), gate(0.0)
        self.out = Conv(hidden, recurrent.out_channels, **shared)

    def init_state(self, height: int, width: int) -> RecurrentState:
        """Zeros, for maps of ``height x width``."""
        channels = self.out.weight.shape[-2] // self.groups
        zeros = jnp.zeros((self.groups, height, width, channels), self.out.weight.dtype)
        return RecurrentState(zeros, zeros)

    def draw_noise(self, key: Array) -> RecurrentNoise | None:
        if not self.dropout:
            return None

        def mask(key, channels):
            return dropout_mask(key, self.dropout, channels, self.out.weight.dtype).reshape(self.groups, -1)

        inputs_key, hidden_key = jax.random.split(key)
        return RecurrentNoise(
            mask(inputs_key, self.feedforward_map.weight.shape[-1]), mask(hidden_key, self.out.weight.shape[-2])
        )

    def __call__(
        self,
        state: RecurrentState,
        feedforward: Float[Array, "time height width channels"],
        modulation: Float[Array, "time features"],
        noise: RecurrentNoise | None = None,
    ) -> tuple[RecurrentState, Float[Array, "time height width out_channels"], dict[str, Array]]:
        """New state, output maps, and the recurrent input and hidden state by name."""
        inputs = self.feedforward_map(feedforward) + self.modulation_map(modulation[:, None, None, :])
        hidden_blocks = self.hidden_map.blocks()
        convolve = _convolution(self.conv.grouped_kernel(), *feedforward.shape[1:3])
        attention_maps = jnp.concatenate([m.grouped_kernel() for m in (self.query, self.key, self.value)], axis=-1)
        gates = (self.input_gate, self.forget_gate, self.candidate, self.output_gate)
        gate_maps = jnp.concatenate([gate.grouped_kernel() for gate in gates], axis=-1)
        gate_bias = jnp.concatenate([gate.grouped_bias() for gate in gates], axis=-1)[:, None, None, :]

        def step(state, inputs):
            x = jnp.tanh(product("ihwc,oidc->ohwd", state.hidden, hidden_blocks) + inputs)
            dropped = x if noise is None else x * noise.inputs[:, None, None]
            z = convolve(jnp.concatenate([dropped, state.hidden], axis=-1))
            a = _attend(*jnp.split(_map_groups(z, attention_maps), 3, axis=-1), self.scale[...])
            gate = _map_groups(jnp.concatenate([z, a], axis=-1), gate_maps) + gate_bias
            i, f, g, o = jnp.split(gate, 4, axis=-1)
            cell = jax.nn.sigmoid(f) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            if noise is not None:
                hidden = hidden * noise.hidden[:, None, None]
            return RecurrentState(hidden, cell), (x, hidden)

        grouped = inputs.reshape(*inputs.shape[:-1], self.groups, -1)
        state, (x, hidden) = jax.lax.scan(step, state, jnp.moveaxis(grouped, -2, 1))
        x, hidden = (_channels_last(maps) for maps in (x, hidden))
        return state, self.out(hidden), {"recurrent.input": x, "recurrent.hidden": hidden}


def _channels_last(maps: Float[Array, "time groups height width c"]) -> Float[Array, "time height width channels"]:
    maps = jnp.moveaxis(maps, 1, -2)
    return maps.reshape(*maps.shape[:-2], -1)


def _map_groups(x, kernel):
    """A 1 x 1 map inside each group."""
    return product("ghwi,gio->ghwo", x, kernel[:, 0, 0])


def _convolution(kernel, height, width):
    """Convolution inside each group, zero-padded, as a function of maps ``[group, height, width, channel]``."""
    size = kernel.shape[1]
    made = len(winograd.TWO.outputs)
    fits = size == winograd.TAPS and height % made == width % made == 0
    if fits and on_cpu() and asked_precision() == "float32":
        return functools.partial(_convolve_tiles, kernels=_tile_kernels(kernel))
    return functools.partial(_convolve_groups, kernel=kernel)


def _convolve_groups(x, kernel):
    """The formula: the sum over taps of shifted 1 x 1 maps."""
    _, height, width, _ = x.shape
    size = kernel.shape[1]
    x = jnp.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    return sum(
        product("ghwi,gio->ghwo", x[:, i : i + height, j : j + width], kernel[:, i, j])
        for i in range(size)
        for j in range(size)
    )


def _tile_kernels(kernel):
    """Kernels ``[group, 3, 3, in, out]`` as ``_convolve_tiles`` wants them, ``[4 x 4, group, in, out]``."""
    rows = winograd.transform(winograd.TWO.kernel, [kernel[:, i] for i in range(winograd.TAPS)])
    tiles = [winograd.transform(winograd.TWO.kernel, [row[:, j] for j in range(winograd.TAPS)]) for row in rows]
    return jnp.stack([tile for row in tiles for tile in row])


def _convolve_tiles(x, kernels):
    """The same for 3 x 3 kernels, by products of transformed tiles of 4 x 4 pixels; see ``winograd``."""
    made = len(winograd.TWO.outputs)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tiles = []
    for row in winograd.transform(winograd.TWO.inputs, winograd.windows(x, 1, made)):
        tiles += winograd.transform(winograd.TWO.inputs, winograd.windows(row, 2, made))
    products = product("kghwi,kgio->kghwo", jnp.stack(tiles), kernels)
    size = len(winograd.TWO.inputs)
    rows = winograd.transform(winograd.TWO.outputs, [products[i * size : (i + 1) * size] for i in range(size)])
    columns = [winograd.transform(winograd.TWO.outputs, list(row)) for row in rows]
    return winograd.interleave([winograd.interleave(row, 2) for row in columns], 1)


def _attend(query, key, value, scale):
    """Attention over positions inside each group, of queries and keys on the unit sphere, queries scaled."""
    groups, height, width, channels = query.shape
    query, key = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (query, key))
    query = query * scale[:, None, None]
    query, key, value = (x.reshape(groups, height * width, channels) for x in (query, key, value))

    def maximum():
        return product("gpc,gqc->gpq", query, key).max(-1, keepdims=True)

    # On the unit sphere no logit exceeds the largest scale: unless that is huge, there is no maximum to look for.
    zeros = jnp.zeros((*query.shape[:-1], 1), query.dtype)
    shift = jax.lax.cond(jnp.abs(scale).max() < MAX_LOGIT, lambda: zeros, maximum)
    attended = _average_by_similarity(asked_precision(), query, key, value, jax.lax.stop_gradient(shift))
    return attended.reshape(groups, height, width, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _average_by_similarity(precision, query, key, value, shift):
    """Averages of the values with the weights ``exp(query . key - shift)``; any shift gives the same."""
    return _average_forward(precision, query, key, value, shift)[0]


def _similarity(precision, query, key, shift):
    return jnp.exp(product("gpc,gqc->gpq", query, key, precision) - shift)


def _with_ones(value):
    return jnp.concatenate([value, jnp.ones((*value.shape[:-1], 1), value.dtype)], axis=-1)


def _average_forward(precision, query, key, value, shift):
    # The sum of the weights is made as one more column of the values.
    sums = product("gpq,gqc->gpc", _similarity(precision, query, key, shift), _with_ones(value), precision)
    average = sums[..., :-1] / sums[..., -1:]
    return average, (query, key, value, shift, average, sums[..., -1:])


def _average_backward(precision, saved, g):
    # The weights, by far the largest array, are computed anew instead of being kept for every frame.
    query, key, value, shift, average, total = saved
    weights = _similarity(precision, query, key, shift)
    on_sums = jnp.concatenate([g, -(g * average).sum(-1, keepdims=True)], axis=-1) / total
    on_logits = product("gpc,gqc->gpq", on_sums, _with_ones(value), precision) * weights
    on_query = product("gpq,gqc->gpc", on_logits, key, precision)
    # In this order the small operand is transposed and not the weights: half the time.
    on_key, on_value = (
        product("gpc,gpq->gcq", a, b, precision).swapaxes(-1, -2)
        for a, b in ((query, on_logits), (on_sums[..., :-1], weights))
    )
    return on_query, on_key, on_value, jnp.zeros_like(shift)


_average_by_similarity.defvjp(_average_forward, _average_backward)


class Core(nnx.Module):
    """Feedforward and recurrent network of one stream."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        self.feedforward = Feedforward(config, streams=streams)
        self.recurrent = Recurrent(config, streams=streams)

    def init_state(self, height: int, width: int) -> CoreState:
        """State before the first frame, for a retinal image of ``height x width``."""
        feedforward = self.feedforward.init_state(height, width)
        scale = self.feedforward.inputs[0].stride
        for block in self.feedforward.blocks:
            scale *= block.pool
        return CoreState(feedforward, self.recurrent.init_state(height // scale, width // scale))

    def draw_noise(self, key: Array) -> CoreNoise:
        feedforward_key, recurrent_key = jax.random.split(key)
        return CoreNoise(self.feedforward.draw_noise(feedforward_key), self.recurrent.draw_noise(recurrent_key))

    def __call__(
        self,
        state: CoreState,
        retina: Float[Array, "time height width channels"],
        modulation: Float[Array, "time features"],
        noise: CoreNoise | None = None,
    ) -> tuple[CoreState, Float[Array, "time h w out_channels"], dict[str, Array]]:
        """New state, core maps of each frame, and intermediate features by name."""
        feedforward_noise, recurrent_noise = (None, None) if noise is None else noise
        feedforward_state, maps, features = self.feedforward(state.feedforward, retina, feedforward_noise)
        features["feedforward"] = maps
        recurrent_state, maps, recurrent_features = self.recurrent(state.recurrent, maps, modulation, recurrent_noise)
        features |= recurrent_features | {"core": maps}
        return CoreState(feedforward_state, recurrent_state), maps, features
