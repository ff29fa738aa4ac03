"""Panels, of which the page of a unit is made: each shows what one protocol says of the unit."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.common.checks import one_of, shown, text
from fnn_jax.common.figures import DATA
from fnn_jax.physiology.result import Result

RESPONSE = "mean response per frame"
KINDS = ("curve", "polar", "field")


class Panel(NamedTuple):
    """How a protocol draws one unit: ``draw(ax, result, unit)``, unit being a row of the result's table.

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


def draw_curve(ax: Any, result: Result, unit: int, label: str = "") -> None:
    """The array ``curve`` over the result's values; ``label`` of these, by default their name."""
    curve, values = result.arrays["curve"][:, unit], result.values
    if values is not None and pd.api.types.is_numeric_dtype(values):
        _draw_line(ax, values.to_numpy(float), curve)
    else:
        _draw_line(ax, range(len(curve)), curve)
        if values is not None:
            ax.set_xticks(range(len(curve)), [str(value) for value in values])
    ax.set(xlabel=label or (None if values is None else values.name) or "condition")
    scale_responses(ax, curve)


def _draw_intervals(ax: Any, result: Result, unit: int) -> None:
    assert result.responses is not None
    curve = result.responses[:, unit]
    _draw_line(ax, range(len(curve)), curve)
    ax.set(xlabel="interval")
    scale_responses(ax, curve)


def _draw_line(ax: Any, values: Any, curve: np.ndarray) -> None:
    ax.plot(values, curve, "o-", color=DATA, markersize=4, linewidth=0.8)


def scale_responses(ax: Any, responses: np.ndarray) -> None:
    """An upright axis for mean responses, from 0."""
    ax.set(ylabel=RESPONSE, ylim=(min(0, np.nanmin(np.nan_to_num(responses))), top_of(responses)))


def top_of(responses: np.ndarray) -> float:
    """Where an axis of these responses ends."""
    top = np.nanmax(responses) if np.isfinite(responses).any() else 1
    return max(top, 1e-12) * 1.1
