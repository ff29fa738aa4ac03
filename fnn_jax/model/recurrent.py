"""Stage 3b, the recurrent part of the core: what every kind of it shares, and the published CvT-LSTM."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model import stacked
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.formulation import formulation
from fnn_jax.model.grouped import attend, attention, convolution, join_groups, map_groups, split_groups
from fnn_jax.model.inside import asked, scan, tap
from fnn_jax.model.layers import Conv, InterGroup, constant, dropout_mask
from fnn_jax.model.numerics import product


class RecurrentState(NamedTuple):
    """Hidden and cell state of an LSTM over maps; channels are ``(group, channel in group)``."""

    hidden: Float[Array, "*batch groups height width channels"]
    cell: Float[Array, "*batch groups height width channels"]


class RvtState(NamedTuple):
    """Hidden state of the RVT, which has no cells."""

    hidden: Float[Array, "*batch groups height width channels"]


class RecurrentNoise(NamedTuple):
    """Dropout masks of the recurrent input and of the hidden state."""

    inputs: Float[Array, "*batch groups channels"]
    hidden: Float[Array, "*batch groups channels"]


State = RecurrentState | RvtState
# One step in time: from the state, input and hidden state joined, and the dropout mask of the hidden state.
Advance = Callable[[State, Array, Array | None], State]


class Recurrent(nnx.Module):
    """A recurrent network over maps: its input maps, its output map, and the loop over time.

    Inside, maps are ``[group, height, width, channel in group]``: every map but the output's stays within its group.
    What happens to the state in a step is the kind's own, in ``advance``; its states have a field ``hidden``.
    """

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        recurrent = config.recurrent
        self.groups, self.dropout = recurrent.groups, recurrent.dropout
        hidden, inner = recurrent.hidden_channels, recurrent.in_channels
        is_grouped = self.groups > 1  # one group has no other ones to see
        shared: dict[str, Any] = {
            "gain": (3 if is_grouped else 2) ** -0.5,
            "streams": streams,
        }  # so many maps are added up
        self.hidden_map = InterGroup(hidden, inner, groups=self.groups, **shared) if is_grouped else None
        shared["out_groups"] = self.groups
        self.feedforward_map = Conv(config.feedforward.out_channels, inner, **shared)
        self.modulation_map = Conv(config.modulation.features, inner, bias=None, **shared)
        self.out = Conv(hidden, recurrent.out_channels, streams=streams)

    def advance(self, height: int, width: int) -> Advance:
        """The step in time for maps of ``height x width``, its weights made ready once."""
        raise NotImplementedError

    def _zeros(self, height, width):
        channels = self.out.weight.shape[-2] // self.groups
        return jnp.zeros((self.groups, height, width, channels), self.out.weight.dtype)

    def init_state(self, height: int, width: int) -> State:
        """Zeros, for maps of ``height x width``."""
        zeros = self._zeros(height, width)
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
        state: State,
        feedforward: Float[Array, "time height width channels"],
        modulation: Float[Array, "time features"],
        noise: RecurrentNoise | None = None,
    ) -> tuple[State, Float[Array, "time height width out_channels"], dict[str, Array]]:
        """New state, output maps, and the recurrent input and hidden state by name."""
        inputs, forms = self._inputs(feedforward, modulation), (_seen, self._hidden_form)
        hidden_blocks = None if self.hidden_map is None else self.hidden_map.blocks()
        advance = self.advance(*feedforward.shape[1:3])

        def step(state, inputs):
            if hidden_blocks is not None:
                inputs = product("ihwc,oidc->ohwd", state.hidden, hidden_blocks) + inputs
            x = tap("recurrent.input", jnp.tanh(tap("recurrent.linear", inputs, *forms)), *forms)
            dropped = x if noise is None else x * noise.inputs[:, None, None]
            joined = jnp.concatenate([dropped, state.hidden], axis=-1)
            state = advance(state, joined, None if noise is None else noise.hidden[:, None, None])
            state = state._replace(hidden=tap("recurrent.hidden", state.hidden, *forms))
            return state, (x, state.hidden)

        state, (x, hidden) = scan(step, state, split_groups(inputs, self.groups))
        x, hidden = join_groups(x), join_groups(hidden)
        return state, tap("core", self.out(hidden)), {"recurrent.input": x, "recurrent.hidden": hidden}

    def _hidden_form(self, maps):
        """Maps ``[height, width, channels]`` as they lie inside."""
        return split_groups(maps[None], self.groups)[0]

    def _inputs(self, feedforward, modulation):
        return self.feedforward_map(feedforward) + self.modulation_map(modulation[:, None, None, :])

    def all_streams(
        self,
        state: State,
        feedforward: Float[Array, "streams time height width channels"],
        modulation: Float[Array, "streams time features"],
        noise: RecurrentNoise | None = None,
    ) -> tuple[State, Float[Array, "streams time height width out_channels"], dict[str, Array]]:
        """The same of a module whose parameters have a leading axis of streams, for GPUs and TPUs."""
        return jax.vmap(lambda stream, *args: stream(*args))(self, state, feedforward, modulation, noise)


def _seen(maps: Float[Array, "groups height width c"]) -> Float[Array, "height width channels"]:
    """Maps as people see them."""
    return join_groups(maps[None])[0]


def grouped_gates(*gates: Conv) -> tuple[Float[Array, "groups h w in_channels c"], Float[Array, "groups 1 1 c"]]:
    """Kernel and bias of several maps within groups, as one."""
    kernel = jnp.concatenate([gate.grouped_kernel() for gate in gates], axis=-1)
    return kernel, jnp.concatenate([gate.grouped_bias() for gate in gates], axis=-1)[:, None, None, :]


def lstm_update(
    state: RecurrentState,
    gates: Float[Array, "groups height width c"],
    mask: Float[Array, "#groups #height #width channels"] | None,
) -> RecurrentState:
    """The next state, from input gate, forget gate, candidate and output gate side by side."""
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    forms = _seen, lambda maps: split_groups(maps[None], gates.shape[0])[0]
    i, f = (tap(f"recurrent.{n}", jax.nn.sigmoid(a), *forms) for n, a in (("input_gate", i), ("forget_gate", f)))
    cell = tap("recurrent.cell", f * state.cell + i * tap("recurrent.candidate", jnp.tanh(g), *forms), *forms)
    hidden = tap("recurrent.output_gate", jax.nn.sigmoid(o), *forms) * jnp.tanh(cell)
    if mask is not None:
        hidden = hidden * mask
    return RecurrentState(hidden, cell)


class Attention(Recurrent):
    """A recurrent network whose gates read a convolution of input and state, and attention over its positions."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        super().__init__(config, streams=streams)
        recurrent, groups, common = config.recurrent, self.groups, config.recurrent.common_channels
        shared: dict[str, Any] = {"groups": groups, "gain": None, "bias": None, "streams": streams}
        self.conv = Conv(recurrent.in_channels + recurrent.hidden_channels, common, spatial=recurrent.kernel, **shared)
        self.query, self.key, self.value = (Conv(common, common, **shared) for _ in range(3))
        self.scale = nnx.Param(constant((*streams, groups, common // groups), 1))

    def gates_of_attention(self, height: int, width: int, *gates: Conv) -> Callable[[Array], Array]:
        """From input and hidden state joined to 1 x 1 gates, side by side."""
        convolve = convolution(self.conv.grouped_kernel(), height, width)
        attention_maps = jnp.concatenate([m.grouped_kernel() for m in (self.query, self.key, self.value)], axis=-1)
        gate_maps, gate_bias = grouped_gates(*gates)

        def read(joined):
            forms = _seen, self._hidden_form
            z = tap("recurrent.convolution", convolve(joined), *forms)
            maps = zip(("query", "key", "value"), jnp.split(map_groups(z, attention_maps), 3, axis=-1), strict=True)
            query, key, value = (tap(f"recurrent.{name}", each, *forms) for name, each in maps)
            if asked("recurrent.attention"):
                tap("recurrent.attention", attention(query, key, self.scale[...]))
            a = tap("recurrent.attended", attend(query, key, value, self.scale[...]), *forms)
            return map_groups(jnp.concatenate([z, a], axis=-1), gate_maps) + gate_bias

        return read

    def gate(self, config: NetworkConfig, bias: float, streams: tuple[int, ...]) -> Conv:
        recurrent = config.recurrent
        return Conv(
            2 * recurrent.common_channels, recurrent.hidden_channels, groups=self.groups, bias=bias, streams=streams
        )


class CvtLstm(Attention):
    """The published recurrent network: an LSTM whose gates read a convolution, and attention over positions."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        super().__init__(config, streams=streams)
        self.input_gate = self.gate(config, -1.0, streams)
        self.forget_gate = self.gate(config, 1.0, streams)
        self.candidate = self.gate(config, 0.0, streams)
        self.output_gate = self.gate(config, 0.0, streams)

    def advance(self, height: int, width: int) -> Advance:
        read = self.gates_of_attention(height, width, *self._gates)
        return lambda state, joined, mask: lstm_update(state, read(joined), mask)  # type: ignore[arg-type]

    @property
    def _gates(self):
        return self.input_gate, self.forget_gate, self.candidate, self.output_gate

    def all_streams(self, state, feedforward, modulation, noise=None):
        """See ``Recurrent.all_streams``; on a GPU the maps of all streams lie side by side, as ``stacked`` has them."""
        if formulation() == "tpu":  # which moves 204 MB a frame of a video mapped over, and 295 side by side
            return super().all_streams(state, feedforward, modulation, noise)
        streams, _, height, width, _ = feedforward.shape

        def weights(stream):
            kernel, bias = grouped_gates(*stream._gates)
            attention = [layer.grouped_kernel() for layer in (stream.query, stream.key, stream.value)]
            per_group = (stream.conv.grouped_kernel(), jnp.concatenate(attention, axis=-1)[:, 0, 0])
            between = None if stream.hidden_map is None else stream.hidden_map.blocks()
            return between, (*per_group, kernel[:, 0, 0], bias[:, 0, 0], stream.scale[...])

        between, per_group = jax.vmap(weights)(self)
        conv, attention, gates, bias, scale = map(stacked.per_group, per_group)
        scale = stacked.safe_scale(scale)
        if between is not None:
            channels = math.prod(between.shape[2::2]), math.prod(between.shape[1::2])
            between = between.transpose(0, 2, 4, 1, 3).reshape(streams, *channels)
        masks = None if noise is None else RecurrentNoise(*(stacked.per_group(mask)[None, None] for mask in noise))

        def step(state, inputs):
            if between is not None:
                hidden = state.hidden.reshape(height, width, streams, -1)
                inputs = product("hwsi,sio->hwso", hidden, between).reshape(inputs.shape) + inputs
            x = jnp.tanh(inputs)
            dropped = x if masks is None else x * masks.inputs
            z = stacked.convolve(jnp.concatenate([dropped, state.hidden], axis=-1), conv)
            attended = stacked.attend(stacked.map_groups(z, attention), scale)
            read = stacked.map_groups(jnp.concatenate([z, attended], axis=-1), gates) + bias[None, None]
            state = lstm_update(state, read, None if masks is None else masks.hidden)
            return state, (x, state.hidden)

        inputs = jax.vmap(lambda stream, *args: stream._inputs(*args))(self, feedforward, modulation)
        state, maps = jax.lax.scan(
            step, RecurrentState(*map(stacked.stack, state)), stacked.stack_frames(inputs, self.groups)
        )
        x, hidden = (stacked.unstack_frames(a, streams) for a in maps)
        state = RecurrentState(*(stacked.unstack(a, streams) for a in state))
        out = jax.vmap(lambda layer, maps: layer(maps))(self.out, hidden)
        return state, out, {"recurrent.input": x, "recurrent.hidden": hidden}
