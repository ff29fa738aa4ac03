"""Where units read: in the maps of the core, and on the monitor."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fnn_jax.model.network import Network
from fnn_jax.model.perspective import Perspective
from fnn_jax.weights.units import y_sign

BLOCK = 4096  # units that are computed together: it is one program, compiled once for scans of all sizes
_project = jax.jit(Perspective.rays_on_monitor)


def readout_locations(network: Network, index: pd.Index, y: str) -> pd.DataFrame:
    """See ``Twin.readout_locations``."""
    sign = y_sign(y)
    core = np.asarray(network.readout.position())
    monitor = _on_monitor(network.perspective, core, network.config.perspective.eye_features)
    columns = {"core_x": core[:, 0], f"core_y_{y}": sign * core[:, 1]}
    columns |= {"monitor_x": monitor[:, 0], f"monitor_y_{y}": sign * monitor[:, 1]}
    return pd.DataFrame(columns, index=index)


def _on_monitor(perspective: Perspective, core: np.ndarray, eye_features: int) -> np.ndarray:
    """``[U, 2]``: what points of the retina look at when the eye is at its mean."""
    dtype = perspective.monitor.center.dtype
    rays = perspective.retinal_rays(core.astype(np.float64))
    padded = np.pad(rays, ((0, -len(rays) % BLOCK), (0, 0))).reshape(-1, BLOCK, 3)
    eye = jnp.zeros(eye_features, dtype)
    found = [np.asarray(_project(perspective, jnp.asarray(block, dtype), eye)) for block in padded]
    return np.concatenate(found)[: len(rays)]
