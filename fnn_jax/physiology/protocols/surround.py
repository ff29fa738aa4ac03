"""What a surround does to the response to a grating in the centre."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.checks import number, numbers, point
from fnn_jax.common.figures import MAIN
from fnn_jax.physiology import curves, tuning
from fnn_jax.physiology.panels import Panel, scale_responses
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols.gratings import DIRECTIONS, LIMITS, OFF_S
from fnn_jax.physiology.result import Measured, Result
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.gratings import center_surround, combinations
from fnn_jax.stimuli.movie import Movie, frames_in, one_after_another

TURNS = {"center": None, "iso": 0.0, "cross": 90.0, "opposite": 180.0}  # of the surround from the centre, in degrees
SURROUNDS = (*TURNS, "alone")


def surround_tuning(
    display: Display,
    *,
    center: tuple[float, float] = (0.0, 0.0),
    diameter: float = 20.0,
    gap: float = 0.0,
    directions: Sequence[float] = DIRECTIONS,
    spatial_frequency: float = 0.04,
    temporal_frequency: float = 2.0,
    on_s: float = 2.0,
) -> Protocol:
    """What a surround does to the response to a grating in the centre: the same direction (``iso``), the orthogonal one
    (``cross``), the opposite one, and the surround alone.

    The table has ``pref_direction`` (of the centre alone) and, at it, the responses and ``iso_modulation``,
    ``cross_modulation``, ``opposite_modulation``: ``(both - center) / (both + center)``. Curves are ``[surround,
    unit]``.

    Raises:
        TypeError, ValueError: an argument is of another kind, out of range, or cannot be shown on this display.
    """
    require_display(display)
    center = point("center", center)
    number("diameter", diameter, above=0)
    number("gap", gap, 0)
    number("spatial_frequency", spatial_frequency)
    number("temporal_frequency", temporal_frequency)
    if not (display.distance(center) > diameter / 2 + gap).any():
        raise ValueError(
            f"gap is {gap} and diameter {diameter}; expected less: nothing of the surround is on the monitor."
        )
    directions = numbers("directions", directions, **LIMITS["directions"])
    same = {  # in all conditions
        "center_x": center[0],
        "center_y": center[1],
        "diameter": float(diameter),
        "gap": float(gap),
        "spatial_frequency": float(spatial_frequency),
        "temporal_frequency": float(temporal_frequency),
    }
    several = combinations({"direction": tuple(map(float, directions)), "surround": SURROUNDS})
    conditions = [{**condition, **same} for condition in several]
    for condition in conditions:
        _frames(display, 1, **condition)
    return Protocol(
        "surround",
        display,
        [functools.partial(_movie, display, on_s, condition) for condition in conditions],
        _measure,
        panels=[Panel("surround", _draw)],
        summary=["iso_modulation", "cross_modulation", "opposite_modulation"],
    )


def _movie(display: Display, on_s: float, condition: Mapping[str, Any]) -> Movie:
    show = functools.partial(_frames, display, frames_in(on_s, "on_s"))
    return one_after_another(display, [condition], show, on_s=on_s, off_s=OFF_S)


def _frames(
    display: Display,
    num_frames: int,
    *,
    direction: float,
    surround: str,
    center_x: float,
    center_y: float,
    diameter: float,
    **others: float,
) -> Any:
    turn = TURNS.get(surround)
    directions: dict[str, Any] = {"center_direction": direction, "surround_direction": None}
    if surround == "alone":
        directions = {"center_direction": None, "surround_direction": direction}
    elif turn is not None:
        directions["surround_direction"] = (direction + turn) % 360
    place: dict[str, Any] = {"center": (center_x, center_y), "center_diameter": diameter, "num_frames": num_frames}
    return center_surround(display, **directions, **place, **others)


def _measure(protocol: Protocol, responses: np.ndarray) -> Measured:
    kinds = pd.Index(SURROUNDS, name="surround")
    values, means = tuning.tuning_curve(responses, protocol.conditions, ["surround", "direction"])
    by_kind = {kind: means[values.get_level_values("surround") == kind] for kind in kinds}
    directions = values[values.get_level_values("surround") == "center"].get_level_values("direction")
    best = np.nan_to_num(by_kind["center"], nan=-np.inf).argmax(0)
    units = np.arange(responses.shape[1])
    curve = np.stack([by_kind[kind][best, units] for kind in kinds])
    table = pd.DataFrame({"pref_direction": tuning.preferred(directions, by_kind["center"])})
    for kind, response in zip(kinds, curve, strict=True):
        table[f"r_{kind}"] = response
    for kind in ("iso", "cross", "opposite"):
        table[f"{kind}_modulation"] = curves.surround_modulation(table["r_center"], table[f"r_{kind}"])
    return Measured(table, {"curve": curve}, kinds)


def _draw(ax: Any, result: Result, row: int) -> None:
    curve = result.arrays["curve"][:, row]
    ax.bar(range(len(curve)), curve, color=MAIN)
    ax.set_xticks(range(len(curve)), SURROUNDS, rotation=30)
    ax.set(xlabel="surround")
    scale_responses(ax, curve)
