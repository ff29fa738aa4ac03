"""Tuning for size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.physiology import curves
from fnn_jax.physiology.panels import Panel, draw_curve
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols.gratings import DIRECTIONS, curve_at_best, one_grating_a_movie
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.stimuli.display import Display


def size_tuning(
    display: Display,
    *,
    center: tuple[float, float] = (0.0, 0.0),
    diameters: Sequence[float] = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0),
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
) -> Protocol:
    """Tuning for the diameter of a grating around ``center``, at each unit's preferred direction.

    ``center`` should lie in the receptive fields of the units: ``readout_center`` gives their median. The table has
    ``pref_direction``, ``preferred_size`` and ``suppression``. Curves are ``[diameter, unit]``.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or cannot be shown on this display.
    """
    shown = {
        "directions": directions,
        "diameters": diameters,
        "spatial_frequency": spatial_frequency,
        "temporal_frequency": temporal_frequency,
    }
    return Protocol(
        "size",
        display,
        one_grating_a_movie(display, shown, on_s, center=center),
        _measure,
        panels=[Panel("size", _draw)],
        summary=["preferred_size", "suppression"],
    )


def _measure(protocol: Protocol, responses: np.ndarray) -> Measured:
    level, best, curve = curve_at_best(protocol, responses, "diameter")
    return Measured(pd.concat([best, curves.size_preference(level, curve)], axis=1), {"curve": curve}, level)


def _draw(ax: Any, result: Result, row: int) -> None:
    draw_curve(ax, result, row, f"diameter ({result.protocol.display.unit})")
