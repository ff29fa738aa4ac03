"""Stage 4, readout: each unit reads the core at one position, with one weight vector per stream."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model.alternatives.elu_unit import EluUnit
from fnn_jax.model.alternatives.norm_features import NormFeature
from fnn_jax.model.config import NetworkConfig, UnitConfig
from fnn_jax.model.layers import constant
from fnn_jax.model.reading import weighted_samples

BOUNDS = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


class ReadoutNoise(NamedTuple):
    """Standard normal draws that displace the positions during training, one per sequence and video."""

    position: Float[Array, "*batch units 2"]


class Position(nnx.Module):
    """Where each unit reads, shared by the streams.

    ``tanh(mean)`` is (x, y) in [-1, 1] from edge to edge of the core's map; y = -1 is the *top* row. With the bound
    ``sigmoid`` instead of ``tanh``, only the lower right quarter can be reached, as in the released code.
    """

    def __init__(self, config: NetworkConfig):
        self.bound = config.readout.bound
        self.mean = nnx.Param(constant((config.num_units, 2), 0))
        self.spread = nnx.Param(jax.device_put(np.tile(0.4 * np.eye(2, dtype=np.float32), (config.num_units, 1, 1))))

    def draw_noise(self, key: Array) -> ReadoutNoise:
        return ReadoutNoise(jax.random.normal(key, self.mean.shape, self.mean.dtype))

    def __call__(self, noise: ReadoutNoise | None = None) -> Float[Array, "units 2"]:
        position = self.mean[...]
        if noise is not None:
            position = position + jnp.einsum("uij,uj->ui", self.spread[...], noise.position)
        return BOUNDS[self.bound](position)


class Feature(nnx.Module):
    """Feature weights and bias of each unit, for one stream."""

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        # The released model starts at zero; an untrained network then responds 1 to everything.
        self.weight = nnx.Param(constant((*streams, config.num_units, config.recurrent.out_channels), 0))
        self.bias = nnx.Param(constant((*streams, config.num_units), 0))

    def weights(self) -> Float[Array, "*streams units channels"]:
        """The feature weights as they are applied."""
        return self.weight[...]

    def __call__(
        self, maps: Float[Array, "time height width channels"], position: Float[Array, "units 2"]
    ) -> Float[Array, "time units"]:
        return weighted_samples(maps, position, self.weight[...]) + self.bias[...][None]


FEATURES = {"vanilla": Feature, "norm": NormFeature}


def response(readout: Float[Array, "*batch units"]) -> Float[Array, "*batch units"]:
    """Mean response per frame of published units whose readout (mean over streams) is given."""
    return jnp.exp(readout)


def poisson_loss(
    readout: Float[Array, "*batch units"], target: Float[Array, "*batch units"] | Float[np.ndarray, "*batch units"]
) -> Float[Array, "*batch units"]:
    """Poisson loss ``exp(r) - r * y`` per unit and frame; ``readout`` is ``r`` before the exponential."""
    return jnp.exp(readout) - readout * target


class PoissonUnit:
    """The published unit: an exponential, and the Poisson loss."""

    def __init__(self, config: UnitConfig):
        self.response, self.loss = response, poisson_loss


UNITS = {"poisson": PoissonUnit, "elu_mse": EluUnit}
