"""Recordings of an experiment, as folders of arrays in the layout of the released code."""

from fnn_jax.data.evaluation import DataError as DataError
from fnn_jax.data.evaluation import EvaluationData as EvaluationData
