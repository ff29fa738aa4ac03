"""The Foundation Neural Network of mouse visual cortex (Wang et al., Nature 2025) in JAX and Flax.

>>> from fnn_jax import microns
>>> twin, ids = microns.scan(session=8, scan_idx=5)
>>> responses = twin.predict(video)
"""

from fnn_jax.checkpoint import CheckpointError
from fnn_jax.config import NetworkConfig
from fnn_jax.model.network import Inputs, Network, NetworkState, Output
from fnn_jax.model.readout import poisson_loss
from fnn_jax.twin import Twin
from fnn_jax.version import __version__

__all__ = [
    "CheckpointError",
    "Inputs",
    "Network",
    "NetworkConfig",
    "NetworkState",
    "Output",
    "Twin",
    "__version__",
    "poisson_loss",
]
