"""Figures: tuning, receptive fields, rasters; a page of a unit, and a page of a scan. PNG, PDF or SVG."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnn_jax.common.figures import new_figure, save_figure
from fnn_jax.common.rate import HZ
from fnn_jax.physiology.panels import (
    RESPONSE,
    draw_direction,
    draw_distribution,
    draw_field,
    draw_panel,
    draw_positions,
    label_of,
    panels_of,
    summary_of,
)
from fnn_jax.physiology.protocol import Result

UNIT_COLUMNS = ("scan", "readout_id", "session", "scan_idx", "unit_id", "animal_id")


def polar_tuning(result: Result, units: Sequence[int] | None = None, path: str | os.PathLike | None = None) -> Any:
    """Polar plots of direction tuning: responses as dots, the fitted curve as a line.

    Args:
        result: of ``protocols.direction_tuning``. units: rows of its table; default the first twelve.
    """
    _require(result, "direction")
    units = _rows(result, units, 12)
    figure, axes = _grid(len(units), 4, (2.5, 2.9), projection="polar")
    for ax, unit in zip(axes, units, strict=True):
        draw_direction(ax, result, unit)
        ax.set_title(f"{_name(result, unit)}\n{_selectivity(result.table.iloc[unit])}", fontsize=8)
    save_figure(figure, path)
    return figure


def receptive_field_panels(
    result: Result, units: Sequence[int] | None = None, path: str | os.PathLike | None = None
) -> Any:
    """Receptive fields of units from dots (on and off) or noise (the best lag), with the fitted Gaussians' 1-sigma
    lines.

    Args:
        result: of ``protocols.dot_receptive_field`` or ``noise_receptive_field``. units: rows of its table.
    """
    _require(result, "dots", "noise")
    units = _rows(result, units, 8)
    kinds = ["on", "off"] if result.protocol.name == "dots" else ["noise"]
    kinds = [kind for kind in kinds if kind == "noise" or kind in result.arrays]
    figure, axes = _grid(len(units) * len(kinds), 2 * len(kinds), (3.1, 2.3))
    for ax, (unit, kind) in zip(axes, [(unit, kind) for unit in units for kind in kinds], strict=True):
        draw_field(ax, result, unit, kind)
        ax.set_title(f"{_name(result, unit)}, {kind}", fontsize=8)
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
    image = ax.imshow(shown[:, order].T, aspect="auto", extent=extent, cmap="magma", interpolation="nearest", vmin=0)
    ax.set(xlabel="time (s)", ylabel="units, by time of their peak", title=title)
    if movie is not None:
        for onset in movie.intervals["onset_s"]:
            ax.axvline(onset, color="white", linewidth=0.5, alpha=0.6)
    figure.colorbar(image, ax=ax, label="response / unit's largest" if normalise else RESPONSE)
    save_figure(figure, path)
    return figure


def unit_report(results: Result | Sequence[Result], unit: int, path: str | os.PathLike | None = None) -> Any:
    """One page of a unit: what each protocol says of it, and its numbers.

    Args:
        results: of any protocols, of the same units in the same order. unit: row of their tables.
    """
    results = [results] if isinstance(results, Result) else list(results)
    _rows(results[0], [unit], 1)
    panels = [(result, kind) for result in results for kind in panels_of(result)]
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure((3.6 * columns + 3, 3 * max(rows, 2) + 0.6))
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[*[3.6] * columns, 3])
    for number, (result, kind) in enumerate(panels):
        polar = {"projection": "polar"} if kind == "direction" else {}
        ax = figure.add_subplot(grid[number // columns, number % columns], **polar)
        draw_panel(ax, result, unit, kind)
        ax.set_title({"direction": "direction", "noise": "noise, best lag"}.get(kind, kind), fontsize=10)
    text = figure.add_subplot(grid[:, -1])
    text.set_axis_off()
    text.text(0, 1, "\n".join(_lines(results, unit)), va="top", fontsize=7, transform=text.transAxes).set_in_layout(
        False
    )
    figure.suptitle(_name(results[0], unit), fontsize=12)
    save_figure(figure, path)
    return figure


def scan_summary(results: Result | Sequence[Result], path: str | os.PathLike | None = None, *, title: str = "") -> Any:
    """One page of all units of one or more protocols: distributions of their properties, and how many fits are good."""
    results = [results] if isinstance(results, Result) else list(results)
    panels = [(result, panel) for result in results for panel in summary_of(result) if panel in result.table]
    panels += [(result, "position") for result in results if "on_x" in result.table or "x" in result.table]
    if not panels:
        raise ValueError("results holds nothing that a summary shows.")
    figure, axes = _grid(len(panels), 4, (3, 2.5))
    for ax, (result, panel) in zip(axes, panels, strict=True):
        if panel == "position":
            draw_positions(ax, result)
        else:
            draw_distribution(ax, result, panel)
    counts = {len(result.table) for result in results}
    figure.suptitle(title or f"{' and '.join(map(str, sorted(counts)))} units", fontsize=11)
    save_figure(figure, path)
    return figure


def _lines(results: Sequence[Result], unit: int) -> list[str]:
    """What a summary shows of all units, of one."""
    lines: list[str] = []
    for result in results:
        row, own = result.table.iloc[unit], summary_of(result)
        label = {name: label_of(result, name) for name in own if name in row}
        lines += [result.protocol.name, *(f"   {label[name]}: {_short(row[name])}" for name in label), ""]
    return lines


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _selectivity(row: Any) -> str:
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


def _require(result: Result, *names: str) -> None:
    if result.protocol.name not in names:
        raise ValueError(f"result is of the protocol {result.protocol.name!r}; expected {' or '.join(names)}.")


def _grid(count: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, list[Any]]:
    """A figure with ``count`` axes in a grid."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = new_figure((size[0] * columns, size[1] * rows + 0.4))
    grid = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subplot(grid[i // columns, i % columns], **options) for i in range(count)]
