"""Figures: tuning, receptive fields, rasters; a page of a unit, and a page of a scan. PNG, PDF or SVG."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnn_jax.common.figures import LARGE, ON_IMAGE, RESPONSES, SMALL, color_bar, new_figure, save_figure, style
from fnn_jax.common.rate import HZ
from fnn_jax.physiology.columns import columns_of, draw_distribution, label_of
from fnn_jax.physiology.field_panels import draw_positions, has_positions
from fnn_jax.physiology.panels import RESPONSE, Panel, panels_of
from fnn_jax.physiology.result import Result

UNIT_COLUMNS = ("scan", "readout_id", "session", "scan_idx", "unit_id", "animal_id")


def polar_tuning(result: Result, units: Sequence[int] | None = None, path: str | os.PathLike | None = None) -> Any:
    """Polar plots of direction tuning: responses as dots, the fitted curve as a line.

    Args:
        result: of ``protocols.direction_tuning``, or of another protocol with polar panels.
        units: rows of its table; default the first twelve.
    """
    panels = _panels(result, "polar", "direction")
    drawn = [(unit, panel) for unit in _rows(result, units, 12) for panel in panels]
    figure, axes = _grid(len(drawn), 4, (2.5, 2.9), projection="polar")
    for ax, (unit, panel) in zip(axes, drawn, strict=True):
        panel.draw(ax, result, unit)
        style(ax, f"{_name(result, unit)}\n{_selectivity(result.table.iloc[unit])}")
    save_figure(figure, path)
    return figure


def receptive_field_panels(
    result: Result, units: Sequence[int] | None = None, path: str | os.PathLike | None = None
) -> Any:
    """Receptive fields of units from dots (on and off) or noise (the best lag), with the fitted Gaussians' 1-sigma
    lines.

    Args:
        result: of ``protocols.dot_receptive_field`` or ``noise_receptive_field``, or of another protocol with panels of
            fields.
        units: rows of its table; default the first eight.
    """
    panels = _panels(result, "field", "dots", "noise")
    drawn = [(unit, panel) for unit in _rows(result, units, 8) for panel in panels]
    figure, axes = _grid(len(drawn), 2 * len(panels), (3.1, 2.3))
    for ax, (unit, panel) in zip(axes, drawn, strict=True):
        panel.draw(ax, result, unit)
        style(ax, f"{_name(result, unit)}, {panel.title}")
    save_figure(figure, path)
    return figure


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
    responses = np.asarray(responses, float)
    if responses.ndim != 2 or 0 in responses.shape:
        raise ValueError(
            f"responses has the shape {list(responses.shape)}; expected [frames, units], at least one each."
        )
    peak = np.maximum(np.nan_to_num(responses).max(0), 1e-12)
    shown = responses / peak if normalise else responses
    order = np.argsort(np.nan_to_num(shown, nan=-np.inf).argmax(0), kind="stable")
    figure = new_figure((9, 5))
    ax = figure.subplots()
    extent = (0, len(responses) / HZ, responses.shape[1], 0)
    image = ax.imshow(shown[:, order].T, aspect="auto", extent=extent, cmap=RESPONSES, interpolation="nearest", vmin=0)
    ax.set(xlabel="time (s)", ylabel="units, by time of their peak")
    style(ax, title)
    if movie is not None:
        for onset in movie.intervals["onset_s"]:
            ax.axvline(onset, color=ON_IMAGE, linewidth=0.5, alpha=0.6)
    color_bar(ax, image, "response / unit's largest" if normalise else RESPONSE)
    save_figure(figure, path)
    return figure


def unit_report(results: Result | Sequence[Result], unit: int, path: str | os.PathLike | None = None) -> Any:
    """One page of a unit: what each protocol says of it, and its numbers.

    Args:
        results: of any protocols, of the same units in the same order. unit: row of their tables.
    """
    results = [results] if isinstance(results, Result) else list(results)
    _rows(results[0], [unit], 1)
    panels = [(result, panel) for result in results for panel in panels_of(result)]
    columns = max(1, min(3, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = new_figure((3.6 * columns + 3, 3 * max(rows, 2) + 0.6))
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[*[3.6] * columns, 3])
    for number, (result, panel) in enumerate(panels):
        polar = {"projection": "polar"} if panel.kind == "polar" else {}
        ax = figure.add_subplot(grid[number // columns, number % columns], **polar)
        panel.draw(ax, result, unit)
        style(ax, panel.title)
    text = figure.add_subplot(grid[:, -1])
    text.set_axis_off()
    text.text(0, 1, "\n".join(_lines(results, unit)), va="top", fontsize=SMALL, transform=text.transAxes).set_in_layout(
        False
    )
    figure.suptitle(_name(results[0], unit), fontsize=LARGE)
    save_figure(figure, path)
    return figure


def scan_summary(results: Result | Sequence[Result], path: str | os.PathLike | None = None, *, title: str = "") -> Any:
    """One page of all units of one or more protocols: distributions of their properties, and how many fits are good."""
    results = [results] if isinstance(results, Result) else list(results)
    columns = [(result, column) for result in results for column in columns_of(result)]
    with_positions = [result for result in results if has_positions(result)]
    if not columns and not with_positions:
        raise ValueError("results holds nothing that a summary shows.")
    figure, axes = _grid(len(columns) + len(with_positions), 4, (3, 2.5))
    for ax, (result, column) in zip(axes, columns, strict=False):
        draw_distribution(ax, result, column)
    for ax, result in zip(axes[len(columns) :], with_positions, strict=True):
        draw_positions(ax, result)
    counts = {len(result.table) for result in results}
    figure.suptitle(title or f"{' and '.join(map(str, sorted(counts)))} units", fontsize=LARGE)
    save_figure(figure, path)
    return figure


def _lines(results: Sequence[Result], unit: int) -> list[str]:
    """What a summary shows of all units, of one."""
    lines: list[str] = []
    for result in results:
        row = result.table.iloc[unit]
        numbers = [f"   {label_of(result, column)}: {_short(row[column.name])}" for column in columns_of(result)]
        lines += [result.protocol.name, *numbers, ""]
    return lines


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _selectivity(row: Any) -> str:
    if "OSI" not in row:
        return ""
    if not np.isfinite(row["OSI"]):
        return str(row["fit"])
    return f"OSI {row['OSI']:.2f}, DSI {row['DSI']:.2f}" + ("" if row["fit"] == "good" else f" ({row['fit']})")


def _name(result: Result, unit: int) -> str:
    row = result.table.iloc[unit]
    number = f"unit {row['unit_id']}" if "unit_id" in row else f"readout {row['readout_id']}"
    return f"{row['scan']} {number}"


def _rows(result: Result, units: Sequence[int] | None, default: int) -> list[int]:
    count = len(result.table)
    rows = list(range(min(default, count))) if units is None else [int(unit) for unit in units]
    wrong = [row for row in rows if not 0 <= row < count]
    if wrong or not rows:
        raise ValueError(f"units has {wrong or 'none'}; expected rows of the table, 0 to {count - 1}.")
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


def _grid(count: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, list[Any]]:
    """A figure with ``count`` axes in a grid."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = new_figure((size[0] * columns, size[1] * rows + 0.4))
    grid = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subplot(grid[i // columns, i % columns], **options) for i in range(count)]
