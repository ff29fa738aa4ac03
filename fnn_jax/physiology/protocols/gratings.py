"""What the protocols with gratings share: one condition a movie, and each unit at its preferred direction."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.checks import number, numbers, point
from fnn_jax.common.rate import HZ
from fnn_jax.physiology import tuning
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.gratings import combinations, gratings
from fnn_jax.stimuli.movie import Movie

DIRECTIONS = tuple(float(direction) for direction in range(0, 360, 45))
OFF_S = 0.5
LIMITS: dict[str, dict[str, float]] = {
    "directions": {"least": -360, "most": 360},
    "spatial_frequencies": {"least": 0},
    "temporal_frequencies": {"least": -HZ / 2, "most": HZ / 2},
    "contrasts": {"least": 0, "most": 1},
    "diameters": {"above": 0},
}
SINGLE = {"spatial_frequency": "spatial_frequencies", "temporal_frequency": "temporal_frequencies"}


def one_grating_a_movie(
    display: Display, values: Mapping[str, Any], on_s: float, center: tuple[float, float] = (0.0, 0.0)
) -> list[Callable[[], Movie]]:
    """Every combination as a movie of its own; values are those of a protocol's arguments, by name.

    Intervals have all that decides what is shown: the values, ``center_x`` and ``center_y``.

    Raises:
        TypeError, ValueError: one of them is of another kind, or out of range.
    """
    center, several = point("center", center), {}
    for name, given in values.items():
        if name in SINGLE:
            number(name, given, **LIMITS[SINGLE[name]])
            several[SINGLE[name]] = [given]
        else:
            several[name] = numbers(name, given, **LIMITS[name])
    movies: list[Callable[[], Movie]] = []
    for condition in combinations(several):
        single: dict[str, Any] = {name: (value,) for name, value in condition.items()}
        movies.append(functools.partial(_movie, display, center=center, **single, on_s=on_s, off_s=OFF_S))
    return movies


def _movie(display: Display, center: tuple[float, float], **options: Any) -> Movie:
    movie = gratings(display, center=center, **options)
    movie.intervals = movie.intervals.assign(center_x=center[0], center_y=center[1])
    return movie


def at_best(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``[direction, ..., unit]`` the direction of each unit's largest response, and the responses at it."""
    units = means.shape[-1]
    flat = np.nan_to_num(means.reshape(len(means), -1, units), nan=-np.inf)
    best = flat.max(1).argmax(0)
    return best, np.moveaxis(means, -1, 1)[best, np.arange(units)].transpose(*range(1, means.ndim - 1), 0)


def pick(level: pd.Index, best: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """The value of each unit's best level; NaN where it does not respond."""
    responded = (np.nan_to_num(curve) != 0).any(tuple(range(curve.ndim - 1)))
    return np.where(responded, level.to_numpy(float)[best], np.nan)


def curve_at_best(protocol: Protocol, responses: np.ndarray, by: str) -> tuple[pd.Index, pd.DataFrame, np.ndarray]:
    """Values of a condition, each unit's preferred direction, and its curve there."""
    values, means = tuning.tuning_curve(responses, protocol.conditions, ["direction", by])
    directions, level = values.levels[0], values.levels[1]
    best, curve = at_best(means.reshape(len(directions), len(level), -1))
    return level, pd.DataFrame({"pref_direction": pick(directions, best, curve)}), curve
