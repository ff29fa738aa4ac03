"""Units side by side, or one of them: where it lies, what was measured of it, how it responds."""

import functools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.drawing import draw_traces
from fnn_jax.common.figures import (
    DOUBLE,
    FRAMES,
    HIGHLIGHT,
    LARGE,
    MIDDLE,
    REFERENCE,
    SINGLE,
    SMALL,
    color_bar,
    journal_style,
    legend_above,
    new_figure,
    save_figure,
    style,
)
from fnn_jax.common.rate import HZ
from fnn_jax.explorer.inner import color_scale
from fnn_jax.explorer.raster import raster
from fnn_jax.explorer.results import Opened, Panel, panels_of, unit_name
from fnn_jax.explorer.views import CORTEX, MONITOR, Colors, View, limits_of, views_of

MOST = 2  # units side by side
COLUMNS = 3  # of panels of one unit
SQUARE, WIDE = (300, 300), (220, 340)  # rows and columns of the image of all units
TITLE = 8  # millimetres


@journal_style()
def draw_units(
    units: pd.DataFrame,
    rows: Sequence[int],
    results: Sequence[Opened] = (),
    played: Mapping[str, np.ndarray] | None = None,
    path: str | os.PathLike | None = None,
) -> Any:
    """One unit, or two side by side: a panel for each map and for each result; below, what they did when played to.

    Args:
        units: a row for each unit. rows: of the one or two that are drawn. results: of ``open_result``. played:
            responses of units by name, ``[T]``; those of others are not drawn. path: of a file to write.

    Raises:
        ValueError: there are no rows, or too many; or the table has nothing to draw.
    """
    if not 1 <= len(rows) <= MOST:
        raise ValueError(f"rows has {len(rows)} units; expected 1 to {MOST}.")
    shown = [unit_panels(units, row, results) for row in rows]
    together = played_panel(units, rows, played or {})
    if not any(shown) and together is None:
        raise ValueError("There is nothing to draw: the table has no two columns of numbers, and there are no results.")
    lines = _lines(shown)
    columns = max(map(len, lines), default=1)
    heights = [max(panel.height for panel in line if panel) for line in lines]
    heights += [] if together is None else [together.height]
    figure = new_figure((SINGLE, MIDDLE, DOUBLE)[columns - 1], sum(heights) + TITLE)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for number, line in enumerate(lines):
        for place, panel in enumerate(line):
            if panel is not None:
                _draw(panel, figure, grid[number, place])
    if together is not None:
        _draw(together, figure, grid[-1, :])
    figure.suptitle(" and ".join(unit_name(units.loc[row]) for row in rows), fontsize=LARGE)
    save_figure(figure, path)
    return figure


@journal_style()
def draw_panel(panel: Panel, width: float = SINGLE) -> Any:
    """A figure of one panel, ``width`` in millimetres."""
    figure = new_figure(width, panel.height)
    _draw(panel, figure, 111)
    return figure


def unit_panels(units: pd.DataFrame, row: int, results: Sequence[Opened]) -> list[Panel]:
    """Where a unit lies, and what results say of it."""
    unit = units.loc[row]
    places = [
        Panel(view.name, functools.partial(_draw_place, units=units, row=row, view=view))
        for view in views_of(units)
        if np.isfinite([unit[view.x], unit[view.y]]).all()
    ]
    return places + panels_of(unit, results)


def played_panel(units: pd.DataFrame, rows: Sequence[int], played: Mapping[str, np.ndarray]) -> Panel | None:
    """Responses of the units to what was played, one over the other; None: it was played to none of them."""
    names = [name for row in rows if (name := unit_name(units.loc[row])) in played]
    if not names:
        return None
    traces = np.stack([played[name] for name in names], axis=1)
    title = "responses to the played stimulus"
    if len(names) == MOST and (traces.std(axis=0) > 0).all():
        title += f", correlation {np.corrcoef(traces.T)[0, 1]:.2f}"
    return Panel(title, functools.partial(draw_traces, responses=traces, names=names))


@journal_style()
def draw_played(
    frames: np.ndarray,
    retina: np.ndarray,
    responses: np.ndarray,
    names: Sequence[str],
    frame: int = 0,
    path: str | os.PathLike | None = None,
    *,
    inner: np.ndarray | None = None,
    inner_label: str = "activation",
) -> Any:
    """A frame of what was played, the image on the retina and a map inside the network; below, the responses.

    Args:
        frames: uint8 ``[T, H, W]``. retina: ``[T, h, w]``, its least and largest value are black and white. responses:
            ``[T, unit]``. names: of the units. frame: that is shown, a line is at its time. path: of a file to write.
        inner: a map inside, ``[T, h, w]``, in the colours of one scale for all frames; None: none.
        inner_label: what its numbers are.

    Raises:
        ValueError: there is no such frame, or inner has not as many.
    """
    if not 0 <= frame < len(frames):
        raise ValueError(f"frame is {frame}; expected 0 to {len(frames) - 1}.")
    images = [
        ("monitor", frames, FRAMES, (0, 255)),
        ("retinal image", retina, FRAMES, (retina.min(), retina.max())),
    ]
    if inner is not None:
        if np.ndim(inner) != 3 or len(inner) != len(frames):
            raise ValueError(f"inner has the shape {list(np.shape(inner))}; expected [{len(frames)}, height, width].")
        images.append(("inner map", inner, *color_scale(inner)))
    figure = new_figure(MIDDLE if inner is None else DOUBLE, 100)
    grid = figure.add_gridspec(2, len(images))
    second = frame / HZ
    for place, (title, image, colors, limits) in enumerate(images):
        ax = figure.add_subplot(grid[0, place])
        shown = ax.imshow(image[frame], cmap=colors, vmin=limits[0], vmax=limits[1])
        ax.set(xticks=[], yticks=[])
        style(ax, f"{title} at {second:.2f} s")
        if colors != FRAMES:
            color_bar(ax, shown, inner_label.replace(", ", ",\n"), location="bottom", aspect=25)
    ax = draw_traces(figure.add_subplot(grid[1, :]), responses, names)
    ax.axvline(second, color=REFERENCE, linewidth=0.8)
    _legend_above(ax)
    save_figure(figure, path)
    return figure


def _draw(panel: Panel, figure: Any, place: Any) -> None:
    ax = figure.add_subplot(place, **({"projection": "polar"} if panel.is_polar else {}))
    panel.draw(ax)
    style(ax, panel.title)
    if ax.get_legend() is not None:
        _legend_above(ax)


def _legend_above(ax: Any) -> None:
    """Between the axes and their title."""
    entries = len(ax.get_legend_handles_labels()[1])
    legend_above(ax)
    ax.set_title(ax.get_title(), pad=4 + 1.5 * SMALL * math.ceil(entries / 2), fontsize=ax.title.get_fontsize())


def _lines(shown: Sequence[Sequence[Panel]]) -> list[list[Panel | None]]:
    """Rows of panels: of one unit as they come, of two the same thing side by side."""
    if len(shown) == 1:
        (panels,) = shown
        return [list(panels[start : start + COLUMNS]) for start in range(0, len(panels), COLUMNS)]
    titles = dict.fromkeys(panel.title for panels in shown for panel in panels)
    by_title = [{panel.title: panel for panel in panels} for panels in shown]
    return [[each.get(title) for each in by_title] for title in titles]


def _draw_place(ax: Any, units: pd.DataFrame, row: int, view: View) -> None:
    """All units as a faint ground, and one."""
    x, y = units[view.x].to_numpy(float), units[view.y].to_numpy(float)
    limits = across, up = limits_of(units, view)
    nobody = Colors(np.zeros(len(units)), ("unit",), (0, 1), False)
    is_square = view in CORTEX  # as many micrometres in both directions
    image = raster(x, y, nobody, np.zeros(len(units), bool), limits, SQUARE if is_square else WIDE)
    ax.imshow(
        image, extent=(*across, *up), origin="lower", interpolation="nearest", aspect="equal" if is_square else "auto"
    )
    if not is_square:
        ax.set_box_aspect(WIDE[0] / WIDE[1])
    if view.edges:
        ax.plot(*MONITOR, color=REFERENCE, linestyle="--", linewidth=0.8)
    ax.plot(units[view.x][row], units[view.y][row], "o", color=HIGHLIGHT, markersize=5)
    ax.set(xlim=across, ylim=up[::-1] if view.y_down else up, xlabel=view.x_label, ylabel=view.y_label)
