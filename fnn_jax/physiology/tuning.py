"""Responses to intervals, tuning curves, and what they select for.

Curves are ``[value, unit]`` throughout, responses ``[interval, unit]``. Directions and orientations are in degrees, 0
rightwards, counter-clockwise; "a vertical bar moving right is 0". All sums leave NaN out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.stimuli.movie import frame_spans


def interval_responses(responses: Any, intervals: pd.DataFrame) -> np.ndarray:
    """Means over the frames of each interval, ``[interval, unit]``.

    Args:
        responses: per frame, ``[T, unit]``.
        intervals: with ``onset_s`` and ``offset_s``; the frames whose times lie in [onset, offset).

    Raises:
        ValueError: an interval holds no frame, or goes beyond the responses.
    """
    responses = np.asarray(responses)
    if responses.ndim != 2:
        raise ValueError(f"responses has the shape {list(responses.shape)}; expected [frames, units].")
    spans = frame_spans(intervals)
    beyond = spans[:, 1] > len(responses)
    if beyond.any():
        raise ValueError(
            f"intervals has {int(beyond.sum())} that end after the {len(responses)} frames of responses, such as "
            f"the one to frame {spans[beyond][0, 1]}."
        )
    return np.stack([responses[start:stop].mean(0) for start, stop in spans])


def tuning_curve(
    responses: Any, conditions: pd.DataFrame | Any, by: str | Sequence[str] = "direction"
) -> tuple[pd.Index, np.ndarray]:
    """Mean response to each value of a condition, ignoring NaN.

    Args:
        responses: ``[interval, unit]``. conditions: a table with a row for each interval.
        by: a column, or several, whose combinations then make the values.

    Returns:
        The values in order (an index, of several levels for several columns), and the curves ``[value, unit]``; NaN
        where a unit has no response.
    """
    responses = np.asarray(responses, float)
    if len(responses) != len(conditions):
        raise ValueError(
            f"responses has {len(responses)} intervals and conditions {len(conditions)}; expected as many."
        )
    columns = [by] if isinstance(by, str) else list(by)
    missing = [column for column in columns if column not in conditions]
    if missing:
        raise ValueError(f"by is {by!r}; conditions has the columns {list(conditions)}.")
    groups = conditions[columns].reset_index(drop=True).groupby(columns, dropna=False).indices
    keys = sorted(groups, key=lambda key: tuple(np.atleast_1d(np.asarray(key, object))))
    curves = np.stack([_mean(responses[groups[key]]) for key in keys]) if keys else np.empty((0, responses.shape[1]))
    if isinstance(by, str):
        values = [key[0] if isinstance(key, tuple) else key for key in keys]
        return pd.Index(values, name=by), curves
    return pd.MultiIndex.from_tuples(keys, names=columns), curves


def _mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """The mean that ignores NaN, and is NaN, without a warning, where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count, np.where(known, values, 0).sum(axis), np.nan) / np.maximum(count, 1)


def gosi(directions_deg: Any, curves: Any) -> np.ndarray:
    """Global orientation selectivity of curves ``[direction, unit]``: ``|sum r exp(i pi d / 90)| / sum r``.

    NaN where the responses of a unit are all zero, negative in sum, or not all known.
    """
    return _resultant(directions_deg, curves, 2)


def gdsi(directions_deg: Any, curves: Any) -> np.ndarray:
    """Global direction selectivity of curves ``[direction, unit]``: ``|sum r exp(i pi d / 180)| / sum r``."""
    return _resultant(directions_deg, curves, 1)


def check_directions(directions_deg: Any, curves: Any) -> tuple[np.ndarray, np.ndarray]:
    """Directions ``[D]`` and curves ``[D, unit]`` as float64.

    Raises:
        ValueError: they do not fit together, a direction comes twice, or directions seem to be in radians.
    """
    directions, curves = np.asarray(directions_deg, float), np.asarray(curves, float)
    if curves.ndim == 1:
        curves = curves[:, None]
    if directions.ndim != 1 or curves.ndim != 2 or len(curves) != len(directions):
        raise ValueError(
            f"directions_deg has the shape {list(directions.shape)} and curves {list(curves.shape)}; expected [D] and "
            "[D, units]."
        )
    if len(np.unique(directions % 360)) != len(directions):
        raise ValueError("directions_deg has a direction more than once; average first: tuning_curve.")
    if len(directions) > 2 and np.ptp(directions) <= 2 * np.pi:
        raise ValueError(
            f"directions_deg runs from {directions.min():g} to {directions.max():g}; expected degrees. If these are "
            "radians: np.rad2deg(directions)."
        )
    return directions, curves


def _resultant(directions_deg: Any, curves: Any, harmonic: int) -> np.ndarray:
    directions, curves = check_directions(directions_deg, curves)
    total = curves.sum(0)
    vector = np.abs(np.exp(1j * harmonic * np.deg2rad(directions)) @ curves)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, vector / np.where(total > 0, total, 1), np.nan)


def preferred(values: Any, curves: Any) -> np.ndarray:
    """The value with the largest response of each unit; NaN where all are NaN or zero."""
    values, curves = np.asarray(values, float), np.asarray(curves, float)
    known = np.where(np.isnan(curves), -np.inf, curves)
    best = values[known.argmax(0)]
    return np.where(np.isfinite(known.max(0)) & (np.nan_to_num(curves) != 0).any(0), best, np.nan)


def permutation_test(
    directions_deg: Any,
    responses: Any,
    *,
    statistic: str = "gDSI",
    permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Is a unit selective, or would any assignment of directions to its responses look so?

    Directions are shuffled among the intervals; ``p`` is the part of the shuffles, the true order included, whose
    statistic is at least as large.

    Args:
        directions_deg: ``[interval]``. responses: ``[interval, unit]``, single intervals, not means.
        statistic: ``"gDSI"`` or ``"gOSI"``.

    Returns:
        A row for each unit: the statistic, its mean over shuffles, and ``p``; NaN where it is not defined.

    Raises:
        ValueError: no direction was shown twice, so there is nothing to shuffle against.
    """
    harmonics = {"gDSI": 1, "gOSI": 2}
    if statistic not in harmonics:
        raise ValueError(f"statistic is {statistic!r}; expected one of {tuple(harmonics)}.")
    directions, responses = np.asarray(directions_deg, float), np.asarray(responses, float)
    if responses.ndim != 2 or len(responses) != len(directions):
        raise ValueError(
            f"responses has the shape {list(responses.shape)} for {len(directions)} intervals; expected [interval, "
            "unit]."
        )
    values, which, counts = np.unique(directions % 360, return_inverse=True, return_counts=True)
    if len(values) == len(directions):
        raise ValueError(
            "Every direction was shown once; expected repeats. Show several movies, or repeats=2 and more."
        )
    random = np.random.default_rng(seed)
    orders = np.stack([which, *(random.permutation(which) for _ in range(permutations))])
    # A direction's mean weighs each of its intervals by one over their number, whoever they are.
    weights = 1 / counts[orders]
    turn = np.exp(1j * harmonics[statistic] * np.deg2rad(values))[orders] * weights
    with np.errstate(invalid="ignore", divide="ignore"):
        statistics = np.abs(turn @ responses) / (weights @ responses)
    true, shuffled = statistics[0], statistics[1:]
    defined = np.isfinite(true) & ((weights @ responses) > 0).all(0)
    count = (shuffled >= true * (1 - 1e-12)).sum(0)
    table = {statistic: true, "shuffled_mean": shuffled.mean(0), "p": (count + 1) / (permutations + 1)}
    return pd.DataFrame({name: np.where(defined, column, np.nan) for name, column in table.items()})
