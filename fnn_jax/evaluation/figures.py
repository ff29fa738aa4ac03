"""Figures of an evaluation, as in the released demonstration: histograms, and cc_abs beside cc_max."""

import os
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.checks import one_of
from fnn_jax.common.drawing import draw_relation
from fnn_jax.common.figures import (
    DOUBLE,
    LARGE,
    MAIN,
    SINGLE,
    journal_style,
    new_figure,
    panel_letters,
    save_figure,
    style,
)

LABELS = {"cc_abs": "$CC_{abs}$", "cc_max": "$CC_{max}$", "cc_norm": "$CC_{norm}$", "feve": "FEVE"}
BINS = 100


@journal_style()
def histogram(table: pd.DataFrame, measure: str, path: str | os.PathLike | None = None) -> Any:
    """Histogram of a measure over units, such as ``"cc_max"``.

    Args:
        table: of ``Evaluation.table``; units where the measure is NaN are left out, and counted in the title.
    """
    figure = new_figure(SINGLE, 65)
    _draw_histogram(figure.subplots(), table, measure)
    save_figure(figure, path)
    return figure


@journal_style()
def scatter(table: pd.DataFrame, path: str | os.PathLike | None = None) -> Any:
    """``cc_abs`` of each unit over its ``cc_max``, the line where they are equal, and the median ``cc_norm``."""
    figure = new_figure(SINGLE, 80)
    _draw_scatter(figure.subplots(), table)
    save_figure(figure, path)
    return figure


@journal_style()
def summary(table: pd.DataFrame, path: str | os.PathLike | None = None, *, title: str = "") -> Any:
    """Both histograms and the scatter in a row; of ``cc_abs`` alone where nothing was repeated."""
    repeated = table["cc_max"].notna().any()
    figure = new_figure(*((DOUBLE, 60) if repeated else (SINGLE, 65)))
    axes = np.atleast_1d(figure.subplots(1, 3 if repeated else 1))
    if repeated:
        _draw_histogram(axes[0], table, "cc_max")
        _draw_histogram(axes[1], table, "cc_abs")
        _draw_scatter(axes[2], table)
        panel_letters(list(axes))
    else:
        _draw_histogram(axes[0], table, "cc_abs")
    if title:
        figure.suptitle(title, fontsize=LARGE)
    save_figure(figure, path)
    return figure


def _draw_histogram(ax: Any, table: pd.DataFrame, measure: str) -> None:
    values = table[one_of("measure", measure, list(table.columns))].to_numpy(float)
    known = values[np.isfinite(values)]
    label = LABELS.get(measure, measure)
    ax.hist(known, bins=min(BINS, max(10, len(known) // 20)), color=MAIN)
    ax.set(xlabel=label, ylabel="units")
    middle = f"median {label}: {np.median(known):.2f}" if len(known) else "none is defined"
    undefined = f"\n({len(values) - len(known)} of {len(values)} undefined)" if 0 < len(known) < len(values) else ""
    style(ax, f"{middle}{undefined}")


def _draw_scatter(ax: Any, table: pd.DataFrame) -> None:
    norm = table["cc_norm"].to_numpy(float)
    known = norm[np.isfinite(norm)]
    lowest = min(0.0, float(table["cc_abs"].min(skipna=True)))
    draw_relation(ax, table["cc_max"], table["cc_abs"], equal=True)
    ax.set(xlim=(0, 1), ylim=(lowest, 1), xlabel=LABELS["cc_max"], ylabel=LABELS["cc_abs"])
    middle = f"{np.median(known):.2f}" if len(known) else "none is defined"
    style(ax, f"median {LABELS['cc_norm']}: {middle}")
