"""Where units read: in the maps of the core, and on the monitor."""

import jax.numpy as jnp
import numpy as np
import pandas as pd

from fnn_jax.model.network import Network
from fnn_jax.weights.units import y_sign


def readout_locations(network: Network, index: pd.Index, y: str) -> pd.DataFrame:
    """See ``Twin.readout_locations``."""
    sign = y_sign(y)
    core = np.asarray(network.readout.position())
    eye = jnp.zeros(network.config.perspective.eye_features, network.perspective.monitor.center.dtype)
    monitor = np.asarray(network.perspective.monitor_position(core.astype(np.float64), eye))
    columns = {"core_x": core[:, 0], f"core_y_{y}": sign * core[:, 1]}
    columns |= {"monitor_x": monitor[:, 0], f"monitor_y_{y}": sign * monitor[:, 1]}
    return pd.DataFrame(columns, index=index)
