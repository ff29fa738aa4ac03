"""RVT, the recurrent vision transformer: attention as in the CvT-LSTM, and one gate between old state and new."""

import jax
import jax.numpy as jnp

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.recurrent import Advance, Attention, RvtState


class Rvt(Attention):
    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        super().__init__(config, streams=streams)
        self.update_gate, self.candidate = self.gate(config, 1.0, streams), self.gate(config, 0.0, streams)

    def init_state(self, height: int, width: int) -> RvtState:
        return RvtState(self._zeros(height, width))

    def advance(self, height: int, width: int) -> Advance:
        read = self.gates_of_attention(height, width, self.update_gate, self.candidate)

        def advance(state, joined, mask):
            z, n = jnp.split(read(joined), 2, axis=-1)
            keep, new = jax.nn.sigmoid(z), jnp.tanh(n)
            if mask is not None:  # of what is new alone: what is kept was masked when it was new
                new = new * mask
            return RvtState(keep * state.hidden + (1 - keep) * new)

        return advance
