"""Feature weights that are normalised within groups of channels."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.layers import WEIGHT_NORM_EPS, WeightNormed, constant
from fnn_jax.model.reading import weighted_samples


class NormFeature(WeightNormed):
    """Feature weights ``[units, groups, channels / groups]``, gain ``[units, groups]`` and bias of each unit.

    Mean and variance are those of a group; ``fan_in`` counts *all* channels, unlike in the other layers.
    """

    input_axes = (-1,)

    def __init__(self, config: NetworkConfig, *, streams: tuple[int, ...] = ()):
        units, groups = (*streams, config.num_units), config.readout.groups
        self.weight_norm = True
        self.weight = nnx.Param(constant((*units, groups, config.recurrent.out_channels // groups), 0))
        self.gain = nnx.Param(constant((*units, groups), groups**-0.5))
        self.bias = nnx.Param(constant(units, 0))

    def initial_bound(self) -> float:
        return 0.0  # weights start at zero, like those that are not normalised

    def kernel(self) -> Float[Array, "*streams units groups channels"]:
        weight = self.weight[...]
        if not self.weight_norm:
            return weight
        fan_in = weight.shape[-2] * weight.shape[-1]
        mean, variance = weight.mean(-1, keepdims=True), weight.var(-1, keepdims=True)
        return (weight - mean) * (self.gain[...][..., None] * jax.lax.rsqrt(variance * fan_in + WEIGHT_NORM_EPS))

    def weights(self) -> Float[Array, "*streams units channels"]:
        """The feature weights as they are applied."""
        kernel = self.kernel()
        return kernel.reshape(*kernel.shape[:-2], -1)

    def __call__(
        self, maps: Float[Array, "time height width channels"], position: Float[Array, "units 2"]
    ) -> Float[Array, "time units"]:
        return weighted_samples(maps, position, self.weights()) + self.bias[...][None]
