"""Receptive fields from single dots."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.rate import HZ
from fnn_jax.physiology import receptive_fields
from fnn_jax.physiology.field_panels import draw_gaussian, draw_receptive_field, limits_of
from fnn_jax.physiology.panels import RESPONSE, Panel
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols.gratings import OFF_S
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.dots import gaussian_dots
from fnn_jax.stimuli.movie import Movie, concatenate
from fnn_jax.stimuli.simple import blank


def dot_receptive_field(
    display: Display,
    positions: Sequence[tuple[float, float]] | None = None,
    *,
    sigma: float = 5.0,
    on_s: float = 9 / HZ,
    repeats: int = 4,
    seed: int = 0,
) -> Protocol:
    """Receptive fields from single dots, bright and dark: 105 positions unless others are given.

    The table has, of ``on``, ``off`` and ``both``: the fitted Gaussian (``on_x``, ``on_y``, ``on_sigma_major`` ...) and
    ``on_ssi``, the spatial spread index. Fields are ``[unit, height, width]``: spike-triggered averages.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or cannot be shown on this display.
    """
    if positions is not None:
        positions = checks.sequence("positions", positions, "points (x, y)")
    seed = checks.seed("seed", seed)
    checks.integer("repeats", repeats)
    make = functools.partial(_movie, display, positions, sigma=sigma, on_s=on_s)
    return Protocol(
        "dots",
        display,
        [functools.partial(make, seed=seed + number) for number in range(repeats)],
        _measure,
        panels=[Panel(name, functools.partial(_draw, name=name), "field") for name in ("on", "off")],
        summary=["on_sigma_major", "off_sigma_major", "both_ssi", "on_fit", "off_fit"],
        best_by="on_r2",
    )


def _movie(display: Display, positions: Any, **options: Any) -> Movie:
    gray = blank(display, OFF_S)
    return concatenate([Movie.of(gray.frames, gray.intervals[:0]), gaussian_dots(display, positions, **options)])


def _measure(protocol: Protocol, responses: np.ndarray) -> Measured:
    fields = receptive_fields.dot_receptive_fields(responses, protocol.conditions, protocol.display)
    tables = []
    for name, field in fields.items():
        table = receptive_fields.fit_gaussians(field, protocol.display)
        table["ssi"] = receptive_fields.spatial_spread_index(field)
        tables.append(table.add_prefix(f"{name}_"))
    return Measured(pd.concat(tables, axis=1), fields)


def _draw(ax: Any, result: Result, row: int, name: str) -> None:
    compared = limits_of(result.arrays["on"][row], result.arrays["off"][row])
    draw_receptive_field(ax, result.arrays[name][row], result.protocol.display, RESPONSE, limits=compared)
    draw_gaussian(ax, result, row, f"{name}_")
