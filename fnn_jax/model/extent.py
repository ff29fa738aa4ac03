"""Which part of the network a rollout runs: from the stimulus or from values inside to responses or to such values."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp

from fnn_jax.common.checks import one_of, shown
from fnn_jax.model.config import NetworkConfig

# Values from which everything after them follows, together with behaviour.
BORDERS = ("stimulus", "retina", "feedforward", "core", "responses")
MAPS = ("feedforward", "core")  # those of each stream
# Between which borders values arise, by the first word of their names: behind which one.
BEHIND = {"perspective": "stimulus", "feedforward": "retina", "modulation": "feedforward"}
BEHIND |= {"recurrent": "feedforward", "readout": "core"}


class Extent(NamedTuple):
    """From which of ``BORDERS`` to which."""

    start: str = BORDERS[0]
    end: str = BORDERS[-1]

    def covers(self, border: str) -> bool:
        """Whether what follows this border, up to the next one, is computed."""
        return BORDERS.index(self.start) <= BORDERS.index(border) < BORDERS.index(self.end)

    def has(self, name: str) -> bool:
        """Whether the value of this name is given or computed."""
        if name in BORDERS:
            return BORDERS.index(self.start) <= BORDERS.index(name) <= BORDERS.index(self.end)
        return self.covers(BEHIND[name.split(".")[0]])


def checked_extent(start: Any, end: Any, **names: Iterable[str]) -> Extent:
    """The extent, in which all of these names arise, by argument.

    Raises:
        TypeError, ValueError: the network cannot be left or entered there, or a name lies outside.
    """
    extent = Extent(one_of("start", start, BORDERS[:-1]), one_of("end", end, BORDERS[1:]))
    after = BORDERS[BORDERS.index(extent.start) + 1 :]
    if extent.end not in after:
        raise ValueError(f"start is {start!r} and end is {end!r}; expected an end out of {after}.")
    for argument, asked in names.items():
        outside = [name for name in asked if not extent.has(name)]
        if outside:
            raise ValueError(
                f"{argument} has {shown(outside)}, which do not arise from {start!r} to {end!r}; expected values of "
                "that part."
            )
    return extent


def last_border(start: str, names: Iterable[str]) -> str:
    """The border up to which a rollout from ``start`` has to go for values of these names."""
    ends = BORDERS[BORDERS.index(start) + 1 :]
    return next(end for end in ends if all(Extent(end=end).has(name) for name in names))


def value_shape(config: NetworkConfig, border: str) -> tuple[int, ...]:
    """Of the values at a border, in one frame: of a video, or, of maps, of one stream of it."""
    if border == "stimulus":
        return config.stimulus_height, config.stimulus_width, config.stimulus_channels
    height, width = config.perspective.height, config.perspective.width
    if border == "retina":
        return height, width, config.stimulus_channels
    scale = config.feedforward.input_stride * math.prod(config.feedforward.pools)
    part = config.feedforward if border == "feedforward" else config.recurrent
    return height // scale, width // scale, part.out_channels


def allowed_shapes(config: NetworkConfig, start: str, one_stream: bool) -> list[tuple[int, ...]]:
    """Of the values of one frame of a video at which a rollout can start; of one stream, its maps alone are enough."""
    shape = value_shape(config, start)
    if start not in MAPS:
        return [shape]
    return [(config.num_streams, *shape), (1, *shape)][: 1 + one_stream]


def check_values(config: NetworkConfig, start: str, values: Any, one_stream: bool) -> None:
    """Raise ``ValueError`` for arrays ``[time, batch, ...]`` at which a rollout cannot start."""
    if start == "stimulus":
        return
    allowed = allowed_shapes(config, start, one_stream)
    if tuple(values.shape[2:]) not in allowed or not jnp.issubdtype(values.dtype, jnp.floating):
        expected = ", ".join(map(str, allowed[0]))
        raise ValueError(
            f"inputs.stimuli is {values.dtype}{list(values.shape)}; expected what start={start!r} says, floats [time, "
            f"batch, {expected}]."
        )
