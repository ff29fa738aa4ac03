"""Whether units that are alike in one measure are alike in another, such as readout weights and tuning."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from fnn_jax.analysis.measures import Measure, check_measure
from fnn_jax.analysis.pairs import check_labels, p_value, shuffled, unit_pairs
from fnn_jax.common.checks import integer
from fnn_jax.common.checks import seed as checked_seed
from fnn_jax.common.progress import checked_progress, progress_bar

LEAST_UNITS = 10


class Relation(NamedTuple):
    """How one measure of pairs of units goes with another.

    ``rho``: Spearman's rank correlation over pairs. ``p``: two-sided, of a permutation of units. ``by_chance``: the
    correlations of the permutations. ``curve``: a row for each bin of ``x``, with ``x`` and ``y`` (means), ``low`` and
    ``high`` (where 95 % of the means of ``y`` lie by chance) and ``pairs``. ``left_out``: units with unknown values.
    """

    x: str
    y: str
    rho: float
    p: float
    curve: pd.DataFrame
    by_chance: np.ndarray
    num_pairs: int
    num_units: int
    left_out: int

    def __repr__(self) -> str:
        of = f"{self.num_pairs} pairs of {self.num_units} units"
        return f"Relation({self.y} against {self.x}: rho {self.rho:.3f}, p {self.p:.3g}, {of})"


def relate(
    x: Measure,
    y: Measure,
    *,
    scans: Any = None,
    most_pairs: int = 100_000,
    bins: int = 10,
    permutations: int = 999,
    seed: int = 0,
    progress: bool | None = None,
) -> Relation:
    """Similarity of tuning against similarity of readout weights, or any measure against another.

    Pairs of units are not independent: each unit is in many. So the test permutes *units*, within their scan, of one
    measure, and computes the pairs anew (Mantel 1967).

    Args:
        x, y: measures of the same units.
        scans: a label for each unit: only pairs of the same scan count; None: all are of one.
        most_pairs: where there are more, so many are drawn.
        bins: of ``x``, with as many pairs each.
        permutations: of the test; p is not below ``1 / (permutations + 1)``.
        seed: of pairs and permutations.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        TypeError, ValueError: wrong arguments, fewer than 10 units that are known, or a measure that does not vary.
    """
    y = check_measure("y", y, check_measure("x", x).num_units)
    most_pairs, bins, permutations = integer("most_pairs", most_pairs), integer("bins", bins), _count(permutations)
    random, progress = np.random.default_rng(checked_seed("seed", seed)), checked_progress(progress)
    labels = check_labels("scans", scans, x.num_units)
    known = x.known() & y.known()
    if known.sum() < LEAST_UNITS:
        raise ValueError(f"x and y are both known for {known.sum()} units; expected at least {LEAST_UNITS}.")
    x, y = x._replace(vectors=x.vectors[known]), y._replace(vectors=y.vectors[known])
    labels = labels[known]

    first, second = unit_pairs(len(labels), labels, most=most_pairs, seed=seed).T
    of_x, of_y = x.values(first, second), y.values(first, second)
    for name, values in (("x", of_x), ("y", of_y)):
        if np.ptp(values) < 1e-9:
            raise ValueError(f"{name} is {values[0]:.3g} for all pairs; expected a measure that varies.")
    edges = np.unique(np.quantile(of_x, np.linspace(0, 1, bins + 1)))
    index = np.searchsorted(edges[1:-1], of_x, side="right")
    count = np.bincount(index)

    ranks = _standard_ranks(of_x)
    correlations, means = np.empty(permutations), np.empty((permutations, len(count)))
    for k in progress_bar(progress, "permutations", "permutation", over=range(permutations)):
        order = shuffled(labels, random)
        drawn = y.values(order[first], order[second])
        correlations[k] = ranks @ _standard_ranks(drawn)
        means[k] = np.bincount(index, drawn) / np.maximum(count, 1)
    rho = float(ranks @ _standard_ranks(of_y))
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    safe = np.where(count, count, np.nan)
    columns = {"x": np.bincount(index, of_x) / safe, "y": np.bincount(index, of_y) / safe}
    curve = pd.DataFrame(columns | {"low": low, "high": high, "pairs": count})[count > 0]
    left_out = int((~known).sum())
    p = p_value(rho, correlations)
    return Relation(x.label, y.label, rho, p, curve, correlations, len(first), len(labels), left_out)


def _count(permutations: int) -> int:
    return integer("permutations", permutations, 19)  # fewer cannot reach p = 0.05


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks with mean 0 and length 1, whose product is Spearman's correlation; zeros where all are equal."""
    ranks = rankdata(values)
    ranks -= ranks.mean()
    return ranks / max(np.linalg.norm(ranks), 1e-300)
