"""Modulations with a map behind the LSTM: it starts as zeros, so that behaviour is without effect at first."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.layers import Linear, constant
from fnn_jax.model.lstm import Lstm, LstmNoise, LstmState


class FlatLstm(nnx.Module):
    """A linear layer, tanh (without gain), an LSTM, and a linear layer."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        modulation = config.modulation
        width, hidden = modulation.mlp_features, modulation.lstm_features
        self.linear = Linear(modulation.behaviour_features, width, streams=streams)
        self.lstm = Lstm(width, hidden, streams=streams, dropout=modulation.dropout)
        self.out = Linear(hidden, modulation.features, streams=streams, gain=0.0)

    def init_state(self) -> LstmState:
        return self.lstm.init_state()

    def draw_noise(self, key: Array) -> LstmNoise | None:
        return self.lstm.draw_noise(key)

    def __call__(
        self,
        state: LstmState,
        behaviour: Float[Array, "time behaviour_features"],
        noise: LstmNoise | None = None,
    ) -> tuple[LstmState, Float[Array, "time features"]]:
        """Modulation vector of each frame; ``behaviour`` is z-scored pupil radius and treadmill velocity."""
        state, hidden = self.lstm(state, jnp.tanh(self.linear(behaviour)), noise)
        return state, self.out(hidden)


class SigmoidLstm(FlatLstm):
    """A ``FlatLstm`` of ``sigmoid(behaviour * gain + bias)``, with a gain and a bias for each input."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        super().__init__(config, streams=streams)
        shape = (*streams, config.modulation.behaviour_features)
        self.input_gain = nnx.Param(constant(shape, 1))
        self.input_bias = nnx.Param(constant(shape, 0))

    def __call__(
        self,
        state: LstmState,
        behaviour: Float[Array, "time behaviour_features"],
        noise: LstmNoise | None = None,
    ) -> tuple[LstmState, Float[Array, "time features"]]:
        return super().__call__(
            state, jax.nn.sigmoid(behaviour * self.input_gain[...][None] + self.input_bias[...][None]), noise
        )
