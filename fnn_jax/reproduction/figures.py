"""Figures of the comparisons with published numbers."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.figures import (
    DATA,
    DOUBLE,
    HIGHLIGHT,
    LARGE,
    MAIN,
    REFERENCE,
    SMALL,
    journal_style,
    new_figure,
    save_figure,
    style,
)
from fnn_jax.common.rate import HZ
from fnn_jax.reproduction.comparison import relative_errors

LEAST = 1e-9  # differences below are drawn there


@journal_style()
def responses(
    table: pd.DataFrame,
    responses: Mapping[str, tuple[np.ndarray, np.ndarray]],
    worst: int,
    tolerance: float,
    path: str | os.PathLike | None = None,
) -> Any:
    """Predicted beside published responses: the unit that differs most, differences over time, and over units.

    Args:
        table: of ``compare_responses``. responses: by scan, predicted and published, ``[frame, unit]``.
        worst: the column that is shown, of the scan that differs most.
    """
    scan = str(table.loc[table["largest"].fillna(np.inf).idxmax(), "scan"])
    predicted, published = (each[:, worst] for each in responses[scan])
    errors = np.concatenate([relative_errors(*pair) for pair in responses.values()], axis=1)
    figure = new_figure(DOUBLE, 110)
    above, below = figure.subplots(2, 1)
    left, right = below.get_subplotspec().subgridspec(1, 2, width_ratios=[2, 1]).subplots()
    below.set_axis_off()
    seconds = np.arange(len(published)) / HZ
    above.plot(seconds, published, color=DATA, linewidth=2, label="published")
    above.plot(seconds, predicted, color=HIGHLIGHT, linewidth=1, linestyle="--", label="predicted here")
    above.set(xlabel="time (s)", ylabel="response per frame")
    above.legend(fontsize=SMALL, frameon=False)
    unit = table[table["scan"] == scan].iloc[worst]
    style(above, f"the unit that differs most: scan {scan}, unit_id {unit['unit_id']}")
    left.semilogy(seconds, np.maximum(errors.max(1), LEAST), color=HIGHLIGHT, label="largest of all units")
    left.semilogy(seconds, np.maximum(np.median(errors, axis=1), LEAST), color=MAIN, label="median")
    left.axhline(tolerance, color=REFERENCE, linestyle=":", label="tolerance")
    left.set(xlabel="time (s)", ylabel="difference / unit's largest")
    left.legend(fontsize=SMALL, frameon=False)
    style(left)
    largest = np.log10(np.maximum(errors.max(0), LEAST))
    right.hist(largest[np.isfinite(largest)], bins=30, color=MAIN)
    right.axvline(np.log10(tolerance), color=REFERENCE, linestyle=":")
    right.set(xlabel="log10 of a unit's largest difference", ylabel="units")
    style(right)
    figure.suptitle(f"responses: {errors.shape[1]} units, {len(published)} frames", fontsize=LARGE)
    save_figure(figure, path)
    return figure


@journal_style()
def locations(places: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | os.PathLike | None = None) -> Any:
    """Published readout locations over the model's: x, and y counted downwards, of all units of all scans.

    Args:
        places: by scan, published and the model's, ``[unit, 2]``.
    """
    published, model = (np.concatenate(each) for each in zip(*places.values(), strict=True))
    figure = new_figure(DOUBLE, 90)
    for ax, axis, name in zip(figure.subplots(1, 2), (0, 1), ("x", "y (down)"), strict=True):
        ends = [min(model[:, axis].min(), -1), max(model[:, axis].max(), 1)]
        ax.plot(ends, ends, color=REFERENCE, linestyle="--", linewidth=1)
        ax.scatter(model[:, axis], published[:, axis], s=_size(len(model)), color=MAIN, linewidths=0, rasterized=True)
        ax.set(xlabel=f"{name} of the model", ylabel=f"published {name.partition(' ')[0]}")
        ax.set_aspect("equal")
        style(ax)
    figure.suptitle(f"readout locations: {len(model)} units, half the monitor is 1", fontsize=LARGE)
    save_figure(figure, path)
    return figure


def _size(points: int) -> int:
    return 1 if points > 1000 else 6


@journal_style()
def tuning(both: pd.DataFrame, table: pd.DataFrame, path: str | os.PathLike | None = None) -> Any:
    """Measures of tuning over the published ones, a panel each.

    Args:
        both: a row for each unit, published columns with ``_published``. table: of ``compare_tuning``.
    """
    figure = new_figure(DOUBLE, 125)
    for ax, row in zip(figure.subplots(2, 3).flat, table.itertuples(), strict=True):
        _beside(ax, both, row)
    figure.suptitle(f"tuning: {len(both)} units", fontsize=LARGE)
    save_figure(figure, path)
    return figure


@journal_style()
def performance(both: pd.DataFrame, table: pd.DataFrame, path: str | os.PathLike | None = None) -> Any:
    """cc_abs, cc_max and cc_norm over the published ones; arguments as for ``tuning``."""
    figure = new_figure(DOUBLE, 68)
    for ax, row in zip(figure.subplots(1, 3), table.itertuples(), strict=True):
        _beside(ax, both, row)
    figure.suptitle(f"performance: {len(both)} units", fontsize=LARGE)
    save_figure(figure, path)
    return figure


@journal_style()
def training(
    metrics: pd.DataFrame, cc_norm: pd.Series, table: pd.DataFrame, path: str | os.PathLike | None = None
) -> Any:
    """Objectives over epochs with the released ones as lines, and the distribution of cc_norm over units.

    Args:
        metrics: of ``Training.metrics``. cc_norm: of each unit. table: of ``compare_training``.
    """
    rows = table.set_index("measure")
    figure = new_figure(DOUBLE, 75)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for measure, color in (("training_objective", REFERENCE), ("validation_objective", MAIN)):
        name, row = measure.partition("_")[0], rows.loc[measure]
        label = f"{name}, best {row['ours']:.4f}"
        left.plot(metrics["epoch"], metrics[measure].astype(float), color=color, marker=".", ms=3, label=label)
        released = f"{name}, best of the release {row['released']:g}"
        left.axhline(row["released"], color=color, linestyle=":", label=released, zorder=3)
    left.set(xlabel="epoch", ylabel="objective (Poisson loss)")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(fontsize=SMALL, frameon=False)
    style(left)
    known = cc_norm.to_numpy(float)
    known = known[np.isfinite(known)]
    row = rows.loc["cc_norm"]
    right.hist(known, bins=min(100, max(10, len(known) // 20)), color=MAIN)
    right.axvline(row["ours"], color=DATA)
    right.axvline(row["released"], color=DATA, linestyle=":")
    right.set(xlabel="$CC_{norm}$", ylabel="units")
    style(right, f"median {row['ours']:.2f} (line), of the release {row['released']:g} (dots)")
    figure.suptitle(f"training: {len(metrics)} epochs, {len(cc_norm)} units", fontsize=LARGE)
    save_figure(figure, path)
    return figure


def _beside(ax: Any, both: pd.DataFrame, row: Any) -> None:
    """One measure: ours over the published one, and the line where they are equal."""
    pair = both[[f"{row.measure}_published", row.measure]].dropna().to_numpy(float)
    if len(pair):
        ends = [pair.min(), pair.max()]
        ax.plot(ends, ends, color=REFERENCE, linestyle="--", linewidth=1)
        ax.scatter(*pair.T, s=_size(len(pair)), color=MAIN, linewidths=0, rasterized=True)
    degrees = " (degrees)" if row.measure.startswith("pref") else ""
    ax.set(xlabel=f"published {row.measure}{degrees}", ylabel=f"{row.measure} here")
    style(ax, f"r {row.correlation:.3f}, median difference {row.difference:.2g}")
