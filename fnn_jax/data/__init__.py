"""Recordings to train twins on and to evaluate them with, in the layout of the released package."""

from fnn_jax.data.building import from_arrays
from fnn_jax.data.evaluation import EvaluationData
from fnn_jax.data.folders import from_folder
from fnn_jax.data.nwb import from_nwb
from fnn_jax.data.nwb_export import to_nwb
from fnn_jax.data.recordings import DataError
from fnn_jax.data.resampling import Signal, Spikes
from fnn_jax.data.training import TrainingData

__all__ = [
    "DataError",
    "EvaluationData",
    "Signal",
    "Spikes",
    "TrainingData",
    "from_arrays",
    "from_folder",
    "from_nwb",
    "to_nwb",
]
