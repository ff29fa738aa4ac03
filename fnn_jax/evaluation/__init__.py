"""How well a twin predicts: correlations with repeated presentations, and with what their noise allows.

>>> evaluation = evaluate(twin, EvaluationData("evaluation_data"))
>>> evaluation.table[["cc_abs", "cc_max", "cc_norm"]]
>>> evaluation.save("results")
>>> evaluation = Evaluation.load("results")  # later; what is damaged is refused
"""

from fnn_jax.evaluation import figures
from fnn_jax.evaluation.measures import Evaluation, EvaluationError, evaluate
from fnn_jax.evaluation.metrics import (
    cc_abs,
    cc_max,
    cc_norm,
    fev,
    feve,
    format_responses,
    oracle,
    single_trial_correlation,
)
from fnn_jax.evaluation.statistics import PredictionStatistics, ResponseStatistics, Statistics

__all__ = [
    "Evaluation",
    "EvaluationError",
    "PredictionStatistics",
    "ResponseStatistics",
    "Statistics",
    "cc_abs",
    "cc_max",
    "cc_norm",
    "evaluate",
    "fev",
    "feve",
    "figures",
    "format_responses",
    "oracle",
    "single_trial_correlation",
]
