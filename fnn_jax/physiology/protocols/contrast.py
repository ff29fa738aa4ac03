"""Tuning for contrast."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.figures import MAIN
from fnn_jax.physiology import curves
from fnn_jax.physiology.panels import Panel, draw_curve
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols.gratings import DIRECTIONS, curve_at_best, one_grating_a_movie
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.stimuli.display import Display


def contrast_tuning(
    display: Display,
    *,
    contrasts: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0),
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
) -> Protocol:
    """Tuning for contrast at each unit's preferred direction, with the fit of ``curves.naka_rushton``.

    Curves are ``[contrast, unit]``.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or cannot be shown on this display.
    """
    shown = {
        "directions": directions,
        "contrasts": contrasts,
        "spatial_frequency": spatial_frequency,
        "temporal_frequency": temporal_frequency,
    }
    return Protocol(
        "contrast",
        display,
        one_grating_a_movie(display, shown, on_s),
        _measure,
        panels=[Panel("contrast", _draw)],
        summary=["c50", "exponent", "r_max", "r2", "fit"],
        best_by="r2",
    )


def _measure(protocol: Protocol, responses: np.ndarray) -> Measured:
    level, best, curve = curve_at_best(protocol, responses, "contrast")
    return Measured(pd.concat([best, curves.naka_rushton(level, curve)], axis=1), {"curve": curve}, level)


def _draw(ax: Any, result: Result, row: int) -> None:
    draw_curve(ax, result, row, "contrast")
    measured = result.table.iloc[row]
    if np.isfinite(measured["c50"]):
        fine = np.linspace(0, 1, 101)
        power = fine ** measured["exponent"]
        ax.plot(
            fine,
            measured["r_max"] * power / (power + measured["c50"] ** measured["exponent"]) + measured["base"],
            color=MAIN,
        )
