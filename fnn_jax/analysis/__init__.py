"""The paper's analyses on twins: tuning and readout, areas from readout weights, like-to-like connections.

>>> weights = twin.readout_weights()
>>> relate(feature_similarity(weights), tuning_similarity(responses)).rho
>>> decode_area(weights, table.brain_area).balanced_accuracy
>>> like_to_like(read_connections("pairs.csv"), table, {"feature": feature_similarity(weights)}).tests
"""

from typing import TYPE_CHECKING, Any

from fnn_jax.analysis import figures
from fnn_jax.analysis.connections import find_pairs, read_connections
from fnn_jax.analysis.like_to_like import LikeToLike, like_to_like
from fnn_jax.analysis.measures import (
    Measure,
    feature_similarity,
    location_distance,
    orientation_similarity,
    tuning_similarity,
)
from fnn_jax.analysis.pairs import unit_pairs
from fnn_jax.analysis.relation import Relation, relate

if TYPE_CHECKING:
    from fnn_jax.analysis.areas import AreaDecoding, decode_area

__all__ = [
    "AreaDecoding",
    "LikeToLike",
    "Measure",
    "Relation",
    "decode_area",
    "feature_similarity",
    "figures",
    "find_pairs",
    "like_to_like",
    "location_distance",
    "orientation_similarity",
    "read_connections",
    "relate",
    "tuning_similarity",
    "unit_pairs",
]


def __getattr__(name: str) -> Any:
    """Areas alone need scikit-learn, which is asked for where they are used."""
    if name in ("AreaDecoding", "decode_area"):
        from fnn_jax.analysis import areas

        return getattr(areas, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
