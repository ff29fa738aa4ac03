"""Where a reader of the documentation would be: with a scan in the cache, offline."""

import dataclasses
import shutil

import numpy as np
import pandas as pd

from fnn_jax import NetworkConfig
from fnn_jax.demo import random_network
from fnn_jax.microns.cache import COLUMNS
from fnn_jax.microns.downloads import record_checksum
from fnn_jax.microns.release import MICRONS
from fnn_jax.weights.store import save_network


def thin(num_units):
    """The published architecture, every size of inputs and maps included, with few channels: it compiles sooner."""
    whole = NetworkConfig.microns(num_units)
    return dataclasses.replace(
        whole,
        feedforward=dataclasses.replace(whole.feedforward, channels=(4, 8, 8), out_channels=16),
        recurrent=dataclasses.replace(whole.recurrent, in_channels=16, hidden_channels=16, common_channels=16),
    )


def furnish(folder, config, gain=1):
    """Random weights of six units, called scan 8-5, in the folder ``weights`` and in the folder ``cache``.

    ``gain``: of the readout; a large one, and responses depend on the stimulus so much that figures show it.
    """
    network = random_network(config)
    network.readout.feature.weight[...] *= gain
    key = {"session": 8, "scan_idx": 5, "unit_id": np.arange(6)}
    units = pd.DataFrame(key | {"animal_id": 17797}, index=pd.RangeIndex(6, name="readout_id"))
    save_network(folder / "weights", network, scan="8-5", units=units)
    store = folder / "cache" / "weights" / "default"
    shutil.copytree(folder / "weights", store)
    units[[*key]].reset_index().to_csv(store / "units.csv", index=False)
    for group in ("performance", "tuning", "anatomy"):
        path = folder / "cache" / MICRONS.properties[group]["units.csv"].path
        path.parent.mkdir(parents=True)
        columns = {name: np.linspace(0, 1, 6) for name in COLUMNS[group]} | {"brain_area": ["V1", "LM"] * 3, "field": 1}
        pd.DataFrame(key | {name: columns[name] for name in COLUMNS[group]}).to_csv(path, index=False)
        record_checksum(folder / "cache", MICRONS.properties[group]["units.csv"].path)
    return folder
