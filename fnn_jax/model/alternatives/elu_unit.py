"""A unit that responds with an ELU instead of an exponential, and is trained on squared errors."""

import jax
import numpy as np
from jaxtyping import Array, Float

from fnn_jax.model.config import UnitConfig


class EluUnit:
    def __init__(self, config: UnitConfig):
        self.alpha = config.alpha

    def response(self, readout: Float[Array, "*batch units"]) -> Float[Array, "*batch units"]:
        """``elu(r, alpha) + alpha``, which is positive."""
        return jax.nn.elu(readout, self.alpha) + self.alpha

    def loss(
        self,
        readout: Float[Array, "*batch units"],
        target: Float[Array, "*batch units"] | Float[np.ndarray, "*batch units"],
    ) -> Float[Array, "*batch units"]:
        """Squared error of the response, per unit and frame."""
        return (self.response(readout) - target) ** 2
