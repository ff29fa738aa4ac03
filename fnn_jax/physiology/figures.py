"""Figures: tuning, receptive fields, rasters; a page of a unit, and a page of a scan. PNG, PDF or SVG."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnn_jax.common.drawing import draw_population
from fnn_jax.common.figures import (
    DOUBLE,
    LARGE,
    MIDDLE,
    SINGLE,
    SMALL,
    journal_style,
    new_figure,
    panel_letters,
    save_figure,
    style,
)
from fnn_jax.physiology.columns import columns_of, draw_distribution, label_of
from fnn_jax.physiology.field_panels import draw_positions, has_positions
from fnn_jax.physiology.panels import Panel, panels_of
from fnn_jax.physiology.result import Result

PANEL, LINE = 58, 3.3  # millimetres: height of a panel, and of a line of text


@journal_style()
def polar_tuning(result: Result, rows: Sequence[int] | None = None, path: str | os.PathLike | None = None) -> Any:
    """Polar plots of direction tuning: responses as dots, the fitted curve as a line.

    Args:
        result: of ``protocols.direction_tuning``, or of another protocol with polar panels.
        rows: of its table, which are not the ids of its units; default the first twelve.
    """
    panels = _panels(result, "polar", "direction")
    drawn = [(row, panel) for row in _rows(result, rows, 12) for panel in panels]
    figure, axes = _grid(len(drawn), 4, 50, projection="polar")
    for ax, (row, panel) in zip(axes, drawn, strict=True):
        panel.draw(ax, result, row)
        style(ax, f"{_name(result, row)}\n{_selectivity(result.table.iloc[row])}")
    save_figure(figure, path)
    return figure


@journal_style()
def receptive_field_panels(
    result: Result, rows: Sequence[int] | None = None, path: str | os.PathLike | None = None
) -> Any:
    """Receptive fields of units from dots (on and off) or noise (the best lag), with the fitted Gaussians' 1-sigma
    lines.

    Args:
        result: of ``protocols.dot_receptive_field`` or ``noise_receptive_field``, or of another protocol with panels of
            fields.
        rows: of its table, which are not the ids of its units; default the first eight.
    """
    panels = _panels(result, "field", "dots", "noise")
    drawn = [(row, panel) for row in _rows(result, rows, 8) for panel in panels]
    figure, axes = _grid(len(drawn), min(2 * len(panels), 4), 45)
    for ax, (row, panel) in zip(axes, drawn, strict=True):
        panel.draw(ax, result, row)
        style(ax, f"{_name(result, row)}, {panel.title}")
    save_figure(figure, path)
    return figure


@journal_style()
def response_raster(
    responses: Any,
    path: str | os.PathLike | None = None,
    *,
    movie: Any = None,
    normalise: bool = True,
    title: str = "",
) -> Any:
    """Responses of all units over time, units that peak early above.

    Args:
        responses: ``[T, unit]``. movie: its intervals are marked. normalise: each unit by its largest response.
    """
    figure = new_figure(DOUBLE, 90)
    ax = figure.subplots()
    draw_population(ax, responses, normalise=normalise, onsets=() if movie is None else movie.intervals["onset_s"])
    style(ax, title)
    save_figure(figure, path)
    return figure


@journal_style()
def unit_report(results: Result | Sequence[Result], row: int, path: str | os.PathLike | None = None) -> Any:
    """One page of a unit: what each protocol says of it, and its numbers.

    Args:
        results: of any protocols, of the same units in the same order. row: of their tables, that of the unit.
    """
    results = [results] if isinstance(results, Result) else list(results)
    _rows(results[0], [row], 1)
    panels = [(result, panel) for result in results for panel in panels_of(result)]
    columns = max(1, min(3, len(panels)))
    rows = math.ceil(len(panels) / columns)
    texts = _in_columns(_blocks(results, row), columns)
    text_height = LINE * (1 + max(text.count("\n") + 1 for text in texts))
    figure = new_figure((SINGLE, MIDDLE, DOUBLE)[columns - 1], PANEL * rows + text_height + 2 * LINE)
    # Of a grid, the last row would get what labels and bars of colours leave, and cut the text.
    above, below = figure, figure
    if panels:
        above, below = figure.subfigures(2, 1, height_ratios=[PANEL * rows, text_height])
    grid = above.add_gridspec(max(rows, 1), columns)
    axes = []
    for number, (result, panel) in enumerate(panels):
        polar = {"projection": "polar"} if panel.kind == "polar" else {}
        axes.append(figure.add_subplot(grid[number // columns, number % columns], **polar))
        panel.draw(axes[-1], result, row)
        style(axes[-1], panel.title)
    if len(panels) > 1:
        panel_letters(axes)
    for column, lines in enumerate(texts):
        text = below.add_subplot(1, columns, column + 1)
        text.set_axis_off()
        text.text(0, 1, lines, va="top", fontsize=SMALL, transform=text.transAxes).set_in_layout(False)
    figure.suptitle(_name(results[0], row), fontsize=LARGE)
    save_figure(figure, path)
    return figure


@journal_style()
def scan_summary(results: Result | Sequence[Result], path: str | os.PathLike | None = None, *, title: str = "") -> Any:
    """One page of all units of one or more protocols: distributions of their properties, and how many fits are good."""
    results = [results] if isinstance(results, Result) else list(results)
    columns = [(result, column) for result in results for column in columns_of(result)]
    with_positions = [result for result in results if has_positions(result)]
    if not columns and not with_positions:
        raise ValueError("results holds nothing that a summary shows.")
    figure, axes = _grid(len(columns) + len(with_positions), 4, 42)
    for ax, (result, column) in zip(axes, columns, strict=False):
        draw_distribution(ax, result, column)
    for ax, result in zip(axes[len(columns) :], with_positions, strict=True):
        draw_positions(ax, result)
    counts = {len(result.table) for result in results}
    figure.suptitle(title or f"{' and '.join(map(str, sorted(counts)))} units", fontsize=LARGE)
    save_figure(figure, path)
    return figure


def _blocks(results: Sequence[Result], row: int) -> list[list[str]]:
    """What a summary shows of all units, of one: a block for each protocol."""
    blocks = []
    for result in results:
        unit = result.table.iloc[row]
        numbers = [f"   {label_of(result, column)}: {_short(unit[column.name])}" for column in columns_of(result)]
        blocks.append([result.protocol.name, *numbers, ""])
    return blocks


def _in_columns(blocks: Sequence[list[str]], columns: int) -> list[str]:
    """Blocks in their order, in columns of about the same length."""
    texts: list[list[str]] = [[]]
    longest = max(sum(map(len, blocks)) / columns, max(map(len, blocks)))
    for block in blocks:
        if texts[-1] and len(texts) < columns and len(texts[-1]) + len(block) / 2 > longest:
            texts.append([])
        texts[-1] += block
    return ["\n".join(text).rstrip() for text in texts]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _selectivity(row: Any) -> str:
    if "OSI" not in row:
        return ""
    if not np.isfinite(row["OSI"]):
        return str(row["fit"])
    return f"OSI {row['OSI']:.2f}, DSI {row['DSI']:.2f}" + ("" if row["fit"] == "good" else f" ({row['fit']})")


def _name(result: Result, row: int) -> str:
    unit = result.table.iloc[row]
    number = f"unit {unit['unit_id']}" if "unit_id" in unit else f"readout {unit['readout_id']}"
    return f"{unit['scan']} {number}"


def _rows(result: Result, rows: Sequence[int] | None, default: int) -> list[int]:
    count = len(result.table)
    rows = list(range(min(default, count))) if rows is None else [int(row) for row in rows]
    wrong = [row for row in rows if not 0 <= row < count]
    if wrong or not rows:
        raise ValueError(f"rows has {wrong or 'none'}; expected rows of the table, 0 to {count - 1}.")
    return rows


def _panels(result: Result, kind: str, *known: str) -> list[Panel]:
    """Those of a kind, which the ``known`` protocols have."""
    panels = [panel for panel in result.protocol.panels if panel.kind == kind]
    if not panels:
        raise ValueError(
            f"result is of the protocol {result.protocol.name!r}; expected {' or '.join(known)}, or another with a "
            f"panel of the kind {kind!r}."
        )
    return panels


def _grid(count: int, columns: int, height: float, **options: Any) -> tuple[Any, list[Any]]:
    """A figure with ``count`` axes in a grid, rows of a height in millimetres."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = new_figure({1: SINGLE, 2: MIDDLE}.get(columns, DOUBLE), height * rows + 2 * LINE)
    grid = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subplot(grid[i // columns, i % columns], **options) for i in range(count)]
