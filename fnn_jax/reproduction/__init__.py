"""Published numbers of the MICrONS mouse, reproduced: each comparison by itself, and all of them as one report.

>>> part = compare_responses(scans="8-5", num_units=10)
>>> print(part.text())
"""

from fnn_jax.reproduction.comparison import compare
from fnn_jax.reproduction.performance import compare_performance
from fnn_jax.reproduction.plan import Item, Plan
from fnn_jax.reproduction.readout import compare_readout
from fnn_jax.reproduction.report import Part, Report
from fnn_jax.reproduction.responses import compare_responses
from fnn_jax.reproduction.together import PARTS, planned, reproduce
from fnn_jax.reproduction.training import compare_training
from fnn_jax.reproduction.tuning import compare_tuning

__all__ = [
    "PARTS",
    "Item",
    "Part",
    "Plan",
    "Report",
    "compare",
    "compare_performance",
    "compare_readout",
    "compare_responses",
    "compare_training",
    "compare_tuning",
    "planned",
    "reproduce",
]
