"""Pixel transforms: what a monitor emits at a pixel value, and what a retina makes of luminance."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from fnn_jax.model.layers import Buffer, constant


class Raw(nnx.Module):
    """Values as they are."""

    def __init__(self, power: float):
        del power  # of the other two

    def __call__(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return values

    def inverse(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return values


class StaticPower(nnx.Module):
    """``value ** power * scale + offset``, not trained.

    In the dark the slope of a power below 1 is infinite, and gradients are NaN: as the retina's, take ``SigmoidPower``.
    """

    def __init__(self, power: float):
        self.power = Buffer(constant((), power))
        self.scale = Buffer(constant((), 1))
        self.offset = Buffer(constant((), 0))

    def __call__(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return values ** self.power[...] * self.scale[...] + self.offset[...]

    def inverse(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """What no input gives, below the offset, counts as given by zero (the released code returns NaN)."""
        return jnp.maximum((values - self.offset[...]) / self.scale[...], 0) ** (1 / self.power[...])


class SigmoidPower(nnx.Module):
    """``(value + 1e-5) ** (sigmoid(logit) * power) * scale + offset``, trained; ``power`` is the largest exponent."""

    eps = 1e-5

    def __init__(self, power: float):
        self.max_power = power
        self.logit = nnx.Param(constant((1,), 0))
        self.scale = nnx.Param(constant((1,), 1))
        self.offset = nnx.Param(constant((1,), 0))

    def _power(self) -> Float[Array, ""]:
        power = jax.nn.sigmoid(self.logit[0])
        return power if self.max_power == 1 else power * self.max_power

    def __call__(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return (values + self.eps) ** self._power() * self.scale[0] + self.offset[0]

    def inverse(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """As for ``StaticPower``."""
        return jnp.maximum((values - self.offset[0]) / self.scale[0], 0) ** (1 / self._power()) - self.eps


PIXELS = {"raw": Raw, "static_power": StaticPower, "sigmoid_power": SigmoidPower}
