"""Tuning for direction."""

import functools
from typing import Any

import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.checks import integer, number, one_of
from fnn_jax.common.rate import HZ
from fnn_jax.physiology import tuning
from fnn_jax.physiology.panels import Panel, draw_polar_tuning
from fnn_jax.physiology.protocol import BURN_IN, Protocol
from fnn_jax.physiology.protocols.gratings import one_grating_a_movie
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.physiology.von_mises import PARAMETERS, direction_selectivity, von_mises_curve
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.monet import monet2
from fnn_jax.stimuli.movie import frames_in

ORI_FRACTION = 0.4  # of each period of Monet2 in which a direction is on


def direction_tuning(
    display: Display,
    *,
    stimulus: str = "monet2",
    directions: int = 16,
    movies: int = 8,
    duration_s: float = 30.0,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
    seed: int = 0,
) -> Protocol:
    """Tuning for direction, as in the published tables: OSI, DSI, gOSI, gDSI, pref_ori, pref_dir.

    Args:
        stimulus: ``"monet2"``: ``movies`` of ``duration_s``, each with every direction in a random order; or
            ``"gratings"``: each direction once, for ``on_s``, at ``spatial_frequency`` and ``temporal_frequency``.
        seed: of the first movie; the following ones have the next numbers.

    Curves are ``[direction, unit]``. With several movies the table has ``p_direction``, a permutation test of gDSI over
    single intervals.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or cannot be shown on this display.
    """
    one_of("stimulus", stimulus, ("monet2", "gratings"))
    directions, seed = integer("directions", directions), checks.seed("seed", seed)
    integer("movies", movies)
    frames = frames_in(duration_s)
    frames_in(on_s, "on_s")
    number("spatial_frequency", spatial_frequency, 0)
    number("temporal_frequency", temporal_frequency, -HZ / 2, most=HZ / 2)
    if stimulus == "monet2":
        if (1 - ORI_FRACTION) / 2 * frames / directions <= BURN_IN - 1:
            least_s = 2 / (1 - ORI_FRACTION) * BURN_IN / HZ * directions
            raise ValueError(
                f"duration_s is {duration_s}; expected at least {least_s:.3g} s for {directions} directions, of which "
                f"the first comes after the burn-in, {BURN_IN} frames."
            )
        options: dict[str, Any] = {"directions": directions, "ori_fraction": ORI_FRACTION, "duration_s": duration_s}
        make = [functools.partial(monet2, display, **options, seed=seed + number) for number in range(movies)]
    else:
        shown = {"spatial_frequency": spatial_frequency, "temporal_frequency": temporal_frequency}
        conditions = {"directions": tuple(np.arange(directions) * 360 / directions), **shown}
        make = one_grating_a_movie(display, conditions, on_s)
    return Protocol(
        "direction",
        display,
        make,
        _measure,
        panels=[Panel("direction", _draw, "polar")],
        summary=["OSI", "DSI", "gOSI", "gDSI", "pref_ori", "pref_dir", "r2", "fit"],
        best_by="r2",
    )


def _measure(protocol: Protocol, responses: np.ndarray) -> Measured:
    values, curve = tuning.tuning_curve(responses, protocol.conditions, "direction")
    table = direction_selectivity(values, curve)
    if len(protocol.conditions) > len(values):
        test = tuning.permutation_test(protocol.conditions["direction"], responses)
        table["p_direction"] = test["p"].to_numpy()
    return Measured(table, {"curve": curve}, values)


def _draw(ax: Any, result: Result, row: int) -> None:
    assert result.values is not None
    directions, curve = result.values.to_numpy(float), result.arrays["curve"][:, row]
    measured = result.table.iloc[row]
    parameters = measured[[*PARAMETERS]].astype(float)
    fitted = (lambda fine: von_mises_curve(fine, *parameters)) if np.isfinite(measured["mu"]) else None
    draw_polar_tuning(ax, directions, curve, fitted)
