"""Conv-LSTM, the paper's second core: the gates are convolutions of input and hidden state, without attention."""

from typing import Any

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.grouped import convolution
from fnn_jax.model.layers import Conv
from fnn_jax.model.recurrent import Advance, Recurrent, grouped_gates, lstm_update


class ConvLstm(Recurrent):
    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        super().__init__(config, streams=streams)
        recurrent = config.recurrent
        inner, hidden = recurrent.in_channels, recurrent.hidden_channels

        def gate(bias):
            shared: dict[str, Any] = {"groups": self.groups, "spatial": recurrent.kernel, "streams": streams}
            return Conv(inner + hidden, hidden, bias=bias, **shared)

        self.input_gate, self.forget_gate = gate(-1.0), gate(1.0)
        self.candidate, self.output_gate = gate(0.0), gate(0.0)

    def advance(self, height: int, width: int) -> Advance:
        kernel, bias = grouped_gates(self.input_gate, self.forget_gate, self.candidate, self.output_gate)
        convolve = convolution(kernel, height, width)
        return lambda state, joined, mask: lstm_update(state, convolve(joined) + bias, mask)  # type: ignore[arg-type]
