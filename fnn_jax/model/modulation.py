"""Stage 2, modulation: pupil radius and running speed become a vector that sets the state of the core."""

from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model.alternatives.flat_lstm import FlatLstm, SigmoidLstm
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.inside import tap
from fnn_jax.model.layers import Linear, nonlinearity
from fnn_jax.model.lstm import Lstm, LstmNoise, LstmState


class MlpLstm(nnx.Module):
    """The published modulation, of one stream: a linear layer without weight normalisation, gelu, and an LSTM.

    Where more layers are asked for, those after the first are weight-normalised.
    """

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        modulation = config.modulation
        width, self.nonlinearity = modulation.mlp_features, modulation.nonlinearity
        self.linear = Linear(
            modulation.behaviour_features, width, streams=streams, weight_norm=False, start_at_zero=True
        )
        self.more = nnx.List(Linear(width, width, streams=streams) for _ in range(1, modulation.mlp_layers))
        self.lstm = Lstm(width, modulation.lstm_features, streams=streams, dropout=modulation.dropout)

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
        x = behaviour
        for layer in (self.linear, *self.more):
            x = nonlinearity(self.nonlinearity, layer(x))
        return self.lstm(state, tap("modulation.linear", x), noise)


MODULATION = {"mlp_lstm": MlpLstm, "flat_lstm": FlatLstm, "sigmoid_lstm": SigmoidLstm}
