"""The LSTM on vectors, with weight-normalised gates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model.inside import scan, tap
from fnn_jax.model.layers import Linear, dropout_mask


class LstmState(NamedTuple):
    """Hidden and cell state of an LSTM on vectors."""

    hidden: Float[Array, "*batch features"]
    cell: Float[Array, "*batch features"]


class LstmNoise(NamedTuple):
    """Dropout masks of an LSTM's input and hidden state."""

    inputs: Float[Array, "*batch features"]
    hidden: Float[Array, "*batch features"]


class Lstm(nnx.Module):
    """LSTM on vectors with weight-normalised gates."""

    def __init__(self, in_features: int, features: int, *, streams: tuple[int, ...] = (), dropout: float = 0.0):
        self.features, self.dropout = (in_features, features), dropout

        def gate(bias):
            return Linear(in_features + features, features, streams=streams, bias=bias)

        self.input_gate = gate(-1.0)
        self.forget_gate = gate(1.0)
        self.candidate = gate(0.0)
        self.output_gate = gate(0.0)

    def init_state(self) -> LstmState:
        zeros = jnp.zeros(self.features[1], self.input_gate.weight.dtype)
        return LstmState(zeros, zeros)

    def draw_noise(self, key: Array) -> LstmNoise | None:
        if not self.dropout:
            return None
        pairs = zip(jax.random.split(key), self.features, strict=True)
        return LstmNoise(*(dropout_mask(k, self.dropout, size, self.input_gate.weight.dtype) for k, size in pairs))

    def __call__(
        self, state: LstmState, inputs: Float[Array, "time in_features"], noise: LstmNoise | None = None
    ) -> tuple[LstmState, Float[Array, "time features"]]:
        """Run over time."""
        gates = (self.input_gate, self.forget_gate, self.candidate, self.output_gate)
        kernel = jnp.concatenate([gate.kernel() for gate in gates], axis=-1)
        bias = jnp.concatenate([gate.row_bias() for gate in gates], axis=-1)[0]
        if noise is not None:
            inputs = inputs * noise.inputs[None]

        def step(state, x):
            i, f, g, o = jnp.split(jnp.concatenate([x, state.hidden]) @ kernel + bias, 4)
            cell = tap("modulation.cell", jax.nn.sigmoid(f) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(g))
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            if noise is not None:
                hidden = hidden * noise.hidden
            hidden = tap("modulation.hidden", hidden)
            return LstmState(hidden, cell), hidden

        return scan(step, state, inputs)
