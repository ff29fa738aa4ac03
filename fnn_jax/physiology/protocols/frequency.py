"""Tuning for spatial and temporal frequency."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.figures import RESPONSES, color_bar
from fnn_jax.physiology import curves, tuning
from fnn_jax.physiology.panels import RESPONSE, Panel
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols.gratings import DIRECTIONS, at_best, one_grating_a_movie, pick
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.stimuli.display import Display


def frequency_tuning(
    display: Display,
    *,
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequencies: Sequence[float] = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32),
    temporal_frequencies: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0),
    on_s: float = 2.0,
) -> Protocol:
    """Tuning for spatial x temporal frequency, at each unit's preferred direction.

    The table has ``pref_direction`` (degrees, of the largest response), and of the responses there: ``pref_sf`` and
    ``pref_tf`` (largest mean over the other frequency), fits over both (``sf_...``, ``tf_...``: a Gaussian over
    octaves, with at least four frequencies), and ``separability``. Curves are ``[spatial, temporal, unit]``.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or cannot be shown on this display.
    """
    shown = {
        "directions": directions,
        "spatial_frequencies": spatial_frequencies,
        "temporal_frequencies": temporal_frequencies,
    }
    return Protocol(
        "frequency",
        display,
        one_grating_a_movie(display, shown, on_s),
        _measure,
        panels=[Panel("frequency", _draw)],
        summary=["pref_sf", "pref_tf", "sf_bandwidth_octaves", "tf_bandwidth_octaves", "separability", "sf_fit"],
    )


def _measure(protocol: Protocol, responses: np.ndarray) -> Measured:
    by = ["direction", "spatial_frequency", "temporal_frequency"]
    values, means = tuning.tuning_curve(responses, protocol.conditions, by)
    sizes = [len(level) for level in values.levels]
    best, curve = at_best(means.reshape(*sizes, -1))
    table = pd.DataFrame({"pref_direction": pick(values.levels[0], best, curve)})
    for name, axis in (("sf", 0), ("tf", 1)):
        level, single = values.levels[axis + 1], curve.mean(1 - axis)
        table[f"pref_{name}"] = tuning.preferred(level, single)
        if len(level) >= curves.MIN_POINTS:
            fitted = curves.log_gaussian(level, single)
            table = pd.concat([table, fitted.add_prefix(f"{name}_")], axis=1)
    table["separability"] = curves.separability(curve)
    return Measured(table, {"curve": curve}, values.droplevel(0).drop_duplicates())


def _draw(ax: Any, result: Result, row: int) -> None:
    assert isinstance(result.values, pd.MultiIndex)
    levels, curve = result.values.levels, result.arrays["curve"][..., row]
    image = ax.imshow(curve.T, origin="lower", cmap=RESPONSES, aspect="auto", vmin=0)
    ax.set_xticks(range(len(levels[0])), [f"{value:g}" for value in levels[0]])
    ax.set_yticks(range(len(levels[1])), [f"{value:g}" for value in levels[1]])
    ax.set(xlabel=f"spatial frequency (cycles/{result.protocol.display.unit})", ylabel="temporal frequency (Hz)")
    color_bar(ax, image, RESPONSE)
