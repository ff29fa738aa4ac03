"""In-silico physiology: protocols, tuning, receptive fields, and the inside of the network.

>>> from fnn_jax import physiology, stimuli
>>> display = stimuli.Display.of(twin)
>>> result = physiology.protocols.direction_tuning(display).run(twin, "direction.zarr")
>>> result.table[["unit_id", "OSI", "DSI", "pref_dir"]]
"""

from fnn_jax.physiology import curves, figures, protocols
from fnn_jax.physiology.columns import Column
from fnn_jax.physiology.features import record_features
from fnn_jax.physiology.panels import Panel
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.receptive_fields import (
    dot_masks,
    dot_receptive_fields,
    fit_gaussians,
    gradient_receptive_fields,
    noise_receptive_fields,
    spatial_spread_index,
    spike_triggered_average,
)
from fnn_jax.physiology.report import write_report
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.physiology.similarity import location_distance_deg, readout_cosine, signal_correlation
from fnn_jax.physiology.tuning import gdsi, gosi, interval_responses, permutation_test, preferred, tuning_curve
from fnn_jax.physiology.von_mises import direction_selectivity, von_mises_curve

__all__ = [
    "Column",
    "Measured",
    "Panel",
    "Protocol",
    "Result",
    "curves",
    "direction_selectivity",
    "dot_masks",
    "dot_receptive_fields",
    "figures",
    "fit_gaussians",
    "gdsi",
    "gosi",
    "gradient_receptive_fields",
    "interval_responses",
    "location_distance_deg",
    "noise_receptive_fields",
    "permutation_test",
    "preferred",
    "protocols",
    "readout_cosine",
    "record_features",
    "signal_correlation",
    "spatial_spread_index",
    "spike_triggered_average",
    "tuning_curve",
    "von_mises_curve",
    "write_report",
]
