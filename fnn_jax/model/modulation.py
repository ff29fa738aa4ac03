"""Stage 2, modulation: pupil radius and running speed become a vector that sets the state of the core."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.config import NetworkConfig
from fnn_jax.model.layers import Linear, Lstm, LstmState, dropout_mask, nonlinearity


class ModulationNoise(NamedTuple):
    """Dropout masks of the LSTM's input and hidden state."""

    inputs: Float[Array, "*batch features"]
    hidden: Float[Array, "*batch features"]


class Modulation(nnx.Module):
    """The modulation of one stream: a linear layer without weight normalisation, gelu, and an LSTM."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        modulation = config.modulation
        self.features, self.dropout = modulation.lstm_features, modulation.dropout
        self.linear = Linear(
            modulation.behaviour_features,
            modulation.mlp_features,
            streams=streams,
            weight_norm=False,
            start_at_zero=True,
        )
        self.lstm = Lstm(modulation.mlp_features, self.features, streams=streams)

    def init_state(self) -> LstmState:
        zeros = jnp.zeros(self.features, self.linear.weight.dtype)
        return LstmState(zeros, zeros)

    def draw_noise(self, key: Array) -> ModulationNoise | None:
        if not self.dropout:
            return None
        inputs_key, hidden_key = jax.random.split(key)
        channels, dtype = self.linear.weight.shape[-1], self.linear.weight.dtype
        return ModulationNoise(
            dropout_mask(inputs_key, self.dropout, channels, dtype),
            dropout_mask(hidden_key, self.dropout, self.features, dtype),
        )

    def __call__(
        self,
        state: LstmState,
        behaviour: Float[Array, "time behaviour_features"],
        noise: ModulationNoise | None = None,
    ) -> tuple[LstmState, Float[Array, "time features"]]:
        """Modulation vector of each frame; ``behaviour`` is z-scored pupil radius and treadmill velocity."""
        x = nonlinearity("gelu", self.linear(behaviour))
        if noise is None:
            return self.lstm(state, x)
        return self.lstm(state, x * noise.inputs[None], noise.hidden)
