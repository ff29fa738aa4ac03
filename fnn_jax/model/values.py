"""What goes into the network, what it remembers, and what comes out."""

from typing import NamedTuple

from jaxtyping import Array, Float, UInt8

from fnn_jax.model.core import CoreNoise, CoreState
from fnn_jax.model.lstm import LstmNoise, LstmState
from fnn_jax.model.perspective import PerspectiveNoise
from fnn_jax.model.readout import ReadoutNoise


class Inputs(NamedTuple):
    """What the network sees, time first, then batch (``step`` takes the same without time).

    ``stimuli`` hold pixels, uint8 or floats in [0, 1]; or, for a rollout that starts inside the network, the values
    there: retinal images, or maps ``[time, batch, stream, height, width, channel]``. ``perspectives`` are the z-scored
    pupil position (x, y), ``modulations`` the z-scored pupil radius and treadmill velocity.
    """

    stimuli: Float[Array, "*time batch height width channel"] | UInt8[Array, "*time batch height width channel"]
    perspectives: Float[Array, "*time batch eye_features"]
    modulations: Float[Array, "*time batch behaviour_features"]


class Noise(NamedTuple):
    """The random draws of a training sequence, one for each video; constant over its frames."""

    perspective: PerspectiveNoise
    modulation: LstmNoise | None
    core: CoreNoise
    readout: ReadoutNoise


class NetworkState(NamedTuple):
    """Everything the network remembers from one frame to the next.

    Arrays are ``[batch, stream, ...]``; those of the noise that the streams share, ``[batch, ...]``.
    """

    modulation: LstmState
    core: CoreState
    noise: Noise | None


class Output(NamedTuple):
    """``responses`` per unit, the ``readout`` that published units take the exponential of, and features by name.

    Of a rollout that ends before the readout, features alone: the others are None.
    """

    responses: Float[Array, "*time batch units"]
    readout: Float[Array, "*time batch units"]
    features: dict[str, Array]
