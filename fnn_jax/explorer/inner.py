"""Maps inside the network that run along with a stimulus: which there are, and one number of each place."""

from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common.figures import RESPONSES, SIGNED
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.inside import ONLY_READ, table
from fnn_jax.twin.twin import Twin

OF_MAPS = ("feedforward", "recurrent", "core")  # names of values that are maps begin so


class InnerMap(NamedTuple):
    """``name``: of ``twin.feature_table()``. ``stream``, ``channel``: counted from 0; channel None: the mean of the
    absolute values of all channels.
    """

    name: str
    stream: int = 0
    channel: int | None = None

    @property
    def label(self) -> str:
        """What its numbers are."""
        return f"{self.name}, stream {self.stream}, " + (
            "mean |activation|" if self.channel is None else f"channel {self.channel}, activation"
        )

    @property
    def code(self) -> str:
        """The expression that takes it from what ``twin.features`` returned, under the name ``inside``."""
        of_stream = f"inside[{self.name!r}][:, {self.stream}]"
        return f"np.abs({of_stream}).mean(-1)" if self.channel is None else f"{of_stream}[..., {self.channel}]"

    def read(self, values: Any) -> np.ndarray:
        """``[T, h, w]`` of values ``[T, stream, h, w, channel]``."""
        of_stream = np.asarray(values[:, self.stream])
        return np.abs(of_stream).mean(-1) if self.channel is None else of_stream[..., self.channel]

    def check(self, twin: Twin) -> None:
        """Before anything is computed.

        Raises:
            ValueError: the twin has no such map, or not so many streams or channels.
        """
        if self.name not in map_names(twin.config):
            raise ValueError(f"inner has the name {self.name!r}; expected one of {', '.join(map_names(twin.config))}.")
        streams, *_, channels = shapes(twin)[self.name]
        for what, number, count in (("stream", self.stream, streams), ("channel", self.channel or 0, channels)):
            if not 0 <= number < count:
                raise ValueError(f"inner has the {what} {number} of {self.name}; expected 0 to {count - 1}.")


def map_names(config: NetworkConfig) -> list[str]:
    """Names of the maps of a network, in the order of its stages."""
    return [name for name in table(config) if name.split(".")[0] in OF_MAPS and name not in ONLY_READ]


def shapes(twin: Twin) -> dict[str, tuple[int, ...]]:
    """Of each map ``(stream, h, w, channel)``; takes a second."""
    return twin.feature_table()["shape"].loc[map_names(twin.config)].to_dict()


def color_scale(values: np.ndarray) -> tuple[str, tuple[float, float]]:
    """A map of colours, and its ends, for all frames of a clip: from 0 on, or as far on both sides of 0."""
    reach = float(np.abs(values).max()) or 1.0
    return (SIGNED, (-reach, reach)) if values.min() < 0 else (RESPONSES, (0.0, reach))
