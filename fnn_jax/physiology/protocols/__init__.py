"""Protocols that are ready to be run, with the field's usual parameters.

Each takes a ``Display`` (``Display.of(twin)``) and returns a ``Protocol``. Gratings are shown one condition a movie,
after half a second of gray; lengths and positions are in the unit of the display.
"""

from collections.abc import Callable

from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols.center import readout_center
from fnn_jax.physiology.protocols.contrast import contrast_tuning
from fnn_jax.physiology.protocols.direction import direction_tuning
from fnn_jax.physiology.protocols.dots import dot_receptive_field
from fnn_jax.physiology.protocols.frequency import frequency_tuning
from fnn_jax.physiology.protocols.noise import noise_receptive_field
from fnn_jax.physiology.protocols.size import size_tuning
from fnn_jax.physiology.protocols.surround import surround_tuning

PROTOCOLS: dict[str, Callable[..., Protocol]] = {
    "direction": direction_tuning,
    "frequency": frequency_tuning,
    "size": size_tuning,
    "contrast": contrast_tuning,
    "surround": surround_tuning,
    "dots": dot_receptive_field,
    "noise": noise_receptive_field,
}

__all__ = [
    "PROTOCOLS",
    "contrast_tuning",
    "direction_tuning",
    "dot_receptive_field",
    "frequency_tuning",
    "noise_receptive_field",
    "readout_center",
    "size_tuning",
    "surround_tuning",
]
