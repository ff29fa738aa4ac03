"""Panels, of which the page of a unit is made: each shows what one protocol says of the unit."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.common.checks import one_of, shown, text
from fnn_jax.common.figures import DATA, MAIN, style
from fnn_jax.physiology.result import Result

RESPONSE = "mean response per frame"
KINDS = ("curve", "polar", "field")


class Panel(NamedTuple):
    """How a protocol draws one unit: ``draw(ax, result, row)``, the unit's row of the result's table.

    ``kind``: ``"curve"``; ``"polar"``, of which ``figures.polar_tuning`` draws many; or ``"field"``, of which
    ``figures.receptive_field_panels`` does.
    """

    title: str
    draw: Callable[[Any, Result, int], None]
    kind: str = "curve"


def checked_panel(panel: Any) -> Panel:
    """A panel.

    Raises:
        TypeError, ValueError: it is something else, or of another kind.
    """
    if not isinstance(panel, Panel) or not callable(panel.draw):
        raise TypeError(f"panels has {shown(panel)}; expected Panel(title, draw).")
    text("title", panel.title)
    one_of("kind", panel.kind, KINDS)
    return panel


def panels_of(result: Result) -> Sequence[Panel]:
    """Where the protocol names none: its curve, or what its intervals made the units do."""
    if result.protocol.panels:
        return result.protocol.panels
    if "curve" in result.arrays and result.arrays["curve"].ndim == 2:
        return (Panel("curve", draw_curve),)
    return (Panel("responses", _draw_intervals),) if result.responses is not None else ()


def draw_curve(ax: Any, result: Result, row: int, label: str = "") -> None:
    """The array ``curve`` over the result's values; ``label`` of these, by default their name."""
    curve, values = result.arrays["curve"][:, row], result.values
    name = None if values is None else values.name
    draw_tuning_curve(ax, range(len(curve)) if values is None else values, curve, label or name or "condition")


def draw_tuning_curve(ax: Any, values: Any, responses: Any, label: str) -> Any:
    """Mean responses over what was shown; returns the axes.

    Args:
        values: numbers, or names of conditions, ``[condition]``; ``label`` says what they are, and in which unit.
            responses: ``[condition]``.

    Raises:
        ValueError: responses are not as many as values.
    """
    values, responses = pd.Index(values), np.asarray(responses, float)
    if responses.shape != values.shape:
        raise ValueError(f"responses has the shape {list(responses.shape)}; expected [{len(values)}], as values.")
    if pd.api.types.is_numeric_dtype(values):
        _draw_line(ax, values.to_numpy(float), responses)
    else:
        _draw_line(ax, range(len(responses)), responses)
        ax.set_xticks(range(len(responses)), [str(value) for value in values])
    ax.set(xlabel=label)
    scale_responses(ax, responses)
    return style(ax)


def draw_polar_tuning(ax: Any, directions: Any, responses: Any, fitted: Any = None) -> Any:
    """Mean responses to directions as dots on polar axes, and a curve; returns the axes.

    Args:
        ax: polar, as ``figure.add_subplot(projection="polar")`` makes them. directions: degrees, counter-clockwise from
            rightwards, ``[direction]``. responses: ``[direction]``. fitted: of directions in degrees, the curve.

    Raises:
        ValueError: the axes are not polar, or responses are not as many as directions.
    """
    directions, responses = np.asarray(directions, float), np.asarray(responses, float)
    if ax.name != "polar":
        raise ValueError(f"ax is {ax.name}; expected polar axes, such as figure.add_subplot(projection='polar').")
    if responses.shape != directions.shape:
        raise ValueError(
            f"responses has the shape {list(responses.shape)}; expected {list(directions.shape)}, as directions."
        )
    if fitted is not None:
        fine = np.arange(0, 361, 2.0)
        ax.plot(np.deg2rad(fine), fitted(fine), color=MAIN)
    ax.plot(np.deg2rad(directions), responses, "o", color=DATA, markersize=3)
    ax.set_rlim(0, top_of(responses))
    ax.set_xticks(np.deg2rad(np.arange(0, 360, 45)))
    ax.tick_params(pad=-2)
    ax.set_rlabel_position(22.5)
    ax.set_yticks([each for each in ax.get_yticks() if each > 0][1::2] or ax.get_yticks())
    ax.grid(linewidth=0.4)
    return style(ax)


def _draw_intervals(ax: Any, result: Result, row: int) -> None:
    assert result.responses is not None
    curve = result.responses[:, row]
    _draw_line(ax, range(len(curve)), curve)
    ax.set(xlabel="interval")
    scale_responses(ax, curve)


def _draw_line(ax: Any, values: Any, curve: np.ndarray) -> None:
    ax.plot(values, curve, "o-", color=DATA, markersize=3, linewidth=0.8)


def scale_responses(ax: Any, responses: np.ndarray) -> None:
    """An upright axis for mean responses, from 0."""
    ax.set(ylabel=RESPONSE, ylim=(min(0, np.nanmin(np.nan_to_num(responses))), top_of(responses)))


def top_of(responses: np.ndarray) -> float:
    """Where an axis of these responses ends."""
    top = np.nanmax(responses) if np.isfinite(responses).any() else 1
    return max(top, 1e-12) * 1.1
