"""Recordings to train twins on and to evaluate them with, in the layout of the released package."""

from fnn_jax.data.evaluation import EvaluationData
from fnn_jax.data.recordings import DataError
from fnn_jax.data.training import TrainingData

__all__ = ["DataError", "EvaluationData", "TrainingData"]
