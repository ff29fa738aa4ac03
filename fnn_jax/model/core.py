"""Stage 3, core: the retinal image runs through feedforward blocks, then through a recurrent network.

Both parts are written for one stream of one video. The feedforward part has no recurrence: an output frame depends on a
window of input frames, so all frames of a call go through together, and its state is the last frames that each
convolution saw. Only the recurrent part, in ``recurrent``, steps through time.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model import wide
from fnn_jax.model.alternatives.conv_lstm import ConvLstm
from fnn_jax.model.alternatives.rvt import Rvt
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.formulation import formulation
from fnn_jax.model.inside import asked, tap
from fnn_jax.model.layers import Conv, dropout_mask, nonlinearity
from fnn_jax.model.recurrent import CvtLstm, RecurrentNoise, State

# For each layer [past, height, width, channels]: the last inputs of its convolution, oldest first. Before the first
# frame they are zero activations (not the activations of a black image).
BlockState = tuple[Float[Array, "..."], ...]
# Dropout masks of a block, [channels] for each layer.
BlockMasks = tuple[Float[Array, "..."], ...]


class CoreState(NamedTuple):
    feedforward: tuple[BlockState, ...]
    recurrent: State


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
        shared: dict[str, Any] = {"groups": groups, "streams": streams}
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
        name: str = "block",
    ) -> tuple[BlockState, Float[Array, "time h w channels_out"]]:
        """The groups go through one by one: what is put together and split again costs as much as a convolution."""
        if asked(f"{name}."):
            return self._layer_by_layer(state, x, masks, name)
        by_group = zip(*(layer.by_group() for layer in (*self.convs, *self.skips)), strict=True)
        splits = [jnp.split(array, self.groups, axis=-1) for array in (x, *state, *(masks or ()))]
        groups = list(zip(by_group, zip(*splits, strict=True), strict=True))
        if formulation() in ("cpu", "tpu") and self.groups > 1:
            # One compiled body: a CPU's program is made in a fifth less time, and a TPU's compiler takes 5 seconds for
            # each convolution.
            results = jax.lax.map(self._group, jax.tree.map(lambda *arrays: jnp.stack(arrays), *groups))
            results = [jax.tree.map(lambda a: a[i], results) for i in range(self.groups)]  # noqa: B023
        else:
            results = [self._group(group) for group in groups]
        states, outputs = zip(*results, strict=True)
        new_state = tuple(jnp.concatenate(parts, axis=-1) for parts in zip(*states, strict=True))
        return new_state, jnp.concatenate([maps for group in outputs for maps in group], axis=-1)

    def _layer_by_layer(self, state, x, masks, name):
        """The same with all groups of a layer together, in maps that people can read and change."""
        new_state, outputs = self._layers(self.convs, self.skips, state, masks, x, self.groups, name)
        return tuple(new_state), _side_by_side(outputs, self.groups)

    def _group(self, group):
        """New state of a group, and its input and the output of every layer, pooled."""
        layers, (x, *arrays) = group
        depth = len(self.convs)
        return self._layers(layers[:depth], layers[depth:], arrays[:depth], arrays[depth:], x)

    def _layers(self, convs, skips, state, masks, x, groups=1, name="group"):
        """New state, and the input and the output of every layer, pooled, of so many groups together."""
        frames = x.shape[0]
        outputs, activations, new_state = [x], [], []  # type: ignore[var-annotated]
        for layer, (conv, past) in enumerate(zip(convs, state, strict=True)):
            one = f"{name}.layer{layer}"
            y = tap(f"{one}.activation", nonlinearity(self.nonlinearity, x))
            if masks:
                y = y * masks[layer][None, None, None]
            window = jnp.concatenate([past, y])
            new_state.append(window[frames:])
            x = tap(f"{one}.convolution", conv(window))
            if layer:
                x = x + tap(f"{one}.skip", skips[layer - 1](_side_by_side(activations, groups)))
            x = tap(one, x)
            activations.append(y)
            outputs.append(x)
        # Each is pooled before they are put together: a third less time in the first block.
        return new_state, [_average_pool(output, self.pool) for output in outputs]


def _side_by_side(parts, groups):
    """Maps put together within each of the groups of their channels."""
    if groups == 1:
        return jnp.concatenate(parts, axis=-1)
    joined = jnp.concatenate([part.reshape(*part.shape[:-1], groups, -1) for part in parts], axis=-1)
    return joined.reshape(*joined.shape[:-2], -1)


def _average_pool(x, size):
    time, height, width, channels = x.shape
    if formulation() != "tpu":
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
                    weight_norm=feedforward.input_weight_norm or not first,
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
            x, name = tap(f"feedforward.input{index}", inputs(x)), f"feedforward.block{index}"
            block_state, x = block(state[index], x, None if noise is None else noise[index], name)
            new_state.append(block_state)
            features[name] = x = tap(name, x)
        return tuple(new_state), tap("feedforward", self.out(x)), features


RECURRENT = {"cvt_lstm": CvtLstm, "conv_lstm": ConvLstm, "rvt": Rvt}


class Core(nnx.Module):
    """Feedforward and recurrent network of one stream."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        self.feedforward = Feedforward(config, streams=streams)
        self.recurrent = RECURRENT[config.recurrent.kind](config, streams=streams)

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
        retina: Float[Array, "time height width channels"] | None,
        modulation: Float[Array, "time features"] | None,
        noise: CoreNoise | None = None,
        maps: Float[Array, "time h w channels"] | None = None,
    ) -> tuple[CoreState, Float[Array, "time h w out_channels"], dict[str, Array]]:
        """New state, core maps of each frame, and intermediate features by name.

        With ``maps`` of the feedforward part instead of a retinal image, the recurrent part alone; without modulation
        the feedforward part alone, whose maps are returned. The state of what does not run stays as it is.
        """
        feedforward_noise, recurrent_noise = (None, None) if noise is None else noise
        feedforward_state, recurrent_state = state
        features: dict[str, Array] = {}
        if maps is None:
            assert retina is not None
            feedforward_state, maps, features = self.feedforward(feedforward_state, retina, feedforward_noise)
        else:
            maps = tap("feedforward", maps)
        features["feedforward"] = maps
        if modulation is not None:
            recurrent_state, maps, more = self.recurrent(recurrent_state, maps, modulation, recurrent_noise)
            features |= more | {"core": maps}
        return CoreState(feedforward_state, recurrent_state), maps, features

    def all_streams(
        self,
        state: CoreState,
        retina: Float[Array, "time height width channels"] | None,
        modulation: Float[Array, "streams time features"] | None,
        noise: CoreNoise | None = None,
        maps: Float[Array, "streams time h w channels"] | None = None,
    ) -> tuple[CoreState, Float[Array, "streams time h w out_channels"], dict[str, Array]]:
        """The same of a core whose parameters have a leading axis of streams, for GPUs and TPUs.

        On a GPU the feedforward parts go one by one, as dense convolutions: mapped over, they would become one
        convolution in groups, for which neither GPUs nor the partition over several devices have good code. On a TPU
        they go side by side in the channels; see ``wide``.
        """
        feedforward_noise, recurrent_noise = (None, None) if noise is None else noise
        feedforward_state, recurrent_state = state
        features: dict[str, Array] = {}
        if maps is None and formulation() == "tpu":
            feedforward_state, maps, features = wide.all_streams(
                self.feedforward, feedforward_state, retina, feedforward_noise
            )
        elif maps is None:
            arguments = self.feedforward, feedforward_state, feedforward_noise
            count = self.feedforward.out.weight.shape[0]
            streams = [jax.tree.map(lambda a: a[i], arguments) for i in range(count)]  # noqa: B023
            outputs = [feedforward(state, retina, noise) for feedforward, state, noise in streams]
            feedforward_state, maps, features = jax.tree.map(lambda *arrays: jnp.stack(arrays), *outputs)
        features["feedforward"] = maps
        if modulation is not None:
            recurrent_state, maps, more = self.recurrent.all_streams(recurrent_state, maps, modulation, recurrent_noise)
            features |= more | {"core": maps}
        return CoreState(feedforward_state, recurrent_state), maps, features
