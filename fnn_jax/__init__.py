"""The Foundation Neural Network of mouse visual cortex (Wang et al., Nature 2025) in JAX and Flax.

>>> from fnn_jax import microns
>>> twin, ids = microns.scan(session=8, scan_idx=5)
>>> responses = twin.predict(video)
"""

from fnn_jax.model import interventions
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.network import Inputs, Network, NetworkState, Output
from fnn_jax.model.readout import poisson_loss
from fnn_jax.screen import Screen, ScreenError, Stimulus, open_screen
from fnn_jax.twin.compilation import enable_compilation_cache
from fnn_jax.twin.twin import Twin
from fnn_jax.version import __version__
from fnn_jax.weights.checkpoint import CheckpointError

__all__ = [
    "CheckpointError",
    "Inputs",
    "Network",
    "NetworkConfig",
    "NetworkState",
    "Output",
    "Screen",
    "ScreenError",
    "Stimulus",
    "Twin",
    "__version__",
    "enable_compilation_cache",
    "interventions",
    "open_screen",
    "poisson_loss",
]
