"""Receptive fields from white noise."""

import functools
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.rate import HZ
from fnn_jax.physiology import receptive_fields
from fnn_jax.physiology.field_panels import draw_gaussian, draw_receptive_field
from fnn_jax.physiology.panels import Panel
from fnn_jax.physiology.protocol import BURN_IN, Protocol
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.movie import frames_in
from fnn_jax.stimuli.noise import white_noise


def noise_receptive_field(
    display: Display,
    *,
    check: float = 8.0,
    rate_hz: float = 10.0,
    lags: int = 9,
    movies: int = 8,
    duration_s: float = 60.0,
    seed: int = 0,
) -> Protocol:
    """Receptive fields over space and time from binary white noise: the response-weighted mean of preceding frames.

    The table has ``best_lag`` (frames before the response at which the field varies most over space) and the Gaussian
    fitted to the field there. ``field`` is ``[unit, lag, rows, columns]``, one value to a check.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or cannot be shown on this display.
    """
    frames, seed = frames_in(duration_s), checks.seed("seed", seed)
    if frames <= BURN_IN:
        raise ValueError(f"duration_s is {duration_s}; expected more than {BURN_IN / HZ:.3g} s, the burn-in.")
    lags = checks.integer("lags", lags, 1, frames)
    checks.integer("movies", movies)
    make = functools.partial(white_noise, display, check=check, rate_hz=rate_hz, duration_s=duration_s)
    return Protocol(
        "noise",
        display,
        [functools.partial(make, seed=seed + number) for number in range(movies)],
        functools.partial(_measure, lags=lags),
        every_frame=True,
        panels=[Panel("noise, best lag", _draw, "field")],
        summary=["best_lag", "sigma_major", "r2", "fit"],
        best_by="r2",
    )


def _check_px(protocol: Protocol) -> int:
    """Pixels of a check, on each side."""
    return int(protocol.conditions["check_px"].iloc[0])


def _measure(protocol: Protocol, responses: Any, lags: int) -> Measured:
    size = _check_px(protocol)
    field = receptive_fields.noise_receptive_fields(responses, lags=lags, block=size)
    best = field.var((2, 3)).argmax(1)
    spatial = field[np.arange(len(field)), best]
    fitted = receptive_fields.fit_gaussians(spatial, protocol.display.in_blocks(size))
    return Measured(pd.concat([pd.DataFrame({"best_lag": best}), fitted], axis=1), {"field": field})


def _draw(ax: Any, result: Result, row: int) -> None:
    field = result.arrays["field"][row, int(result.table["best_lag"].iloc[row])]
    draw_receptive_field(ax, field, result.protocol.display.in_blocks(_check_px(result.protocol)), "weighted level")
    draw_gaussian(ax, result, row)
