"""A map of units as a figure of matplotlib, for files."""

import io
import threading
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fnn_jax.common.figures import DPI, FAINT, MEDIUM, REFERENCE, SMALL, UNKNOWN, color_bar, journal_style, style
from fnn_jax.explorer.raster import color_map, scaled
from fnn_jax.explorer.views import Colors, View, limits_of

FORMATS = ("png", "svg", "pdf")
MOST_AS_LINES = 5_000  # units from which on they are pixels in a figure whose text stays text
ONE_FIGURE = threading.RLock()  # matplotlib's parameters are those of the process: pages are drawn beside exports
DOT = 6.0  # square points, where there are few


def draw_map(ax: Any, units: pd.DataFrame, view: View, colors: Colors, chosen: np.ndarray, label: str) -> None:
    """The chosen units in colours, the others faint; ``label``: what the colours are."""
    x, y = units[view.x].to_numpy(float), units[view.y].to_numpy(float)
    known = np.isfinite(colors.values)
    size = DOT if len(units) < MOST_AS_LINES else 1.0
    dots: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": len(units) >= MOST_AS_LINES}
    ax.scatter(x[~chosen], y[~chosen], color=FAINT, **dots)
    ax.scatter(x[chosen & ~known], y[chosen & ~known], color=UNKNOWN, **dots)
    drawn = chosen & known
    if colors.kinds:
        for kind in np.unique(colors.values[drawn]).astype(int):
            of_kind = drawn & (colors.values == kind)
            ax.scatter(x[of_kind], y[of_kind], color=color_map(colors)(kind), label=colors.kinds[kind], **dots)
        if drawn.any():
            ax.legend(
                title=label,
                fontsize=SMALL,
                title_fontsize=MEDIUM,
                frameon=False,
                markerscale=3,
                loc="upper left",
                bbox_to_anchor=(1, 1),
            )
    else:
        image = ax.scatter(
            x[drawn], y[drawn], c=scaled(colors, colors.values[drawn]), cmap=color_map(colors), vmin=0, vmax=1, **dots
        )
        image.set(norm=None, array=colors.values[drawn], clim=colors.limits)
        color_bar(ax, image, label)
    across, up = limits_of(units, view)
    if view.is_same_measure:
        ax.plot(across, across, color=REFERENCE, linewidth=0.8)  # where both agree
    ax.set(xlim=across, ylim=up[::-1] if view.y_down else up, xlabel=view.x_label, ylabel=view.y_label)
    style(ax, view.name)


def map_file(
    units: pd.DataFrame, views: list[View], colors: Colors, chosen: np.ndarray, label: str, kind: str
) -> bytes:
    """Maps side by side as a file, ``kind`` of ``FORMATS``."""
    figure = Figure(figsize=(5.5 * len(views), 4.2), layout="constrained")  # in inches
    for view, ax in zip(views, np.ravel(figure.subplots(1, len(views))), strict=True):
        draw_map(ax, units, view, colors, chosen, label)
    return file_of(figure, kind)


def file_of(figure: Any, kind: str) -> bytes:
    """A figure as a file, ``kind`` of ``FORMATS``."""
    file = io.BytesIO()
    with journal_style():
        figure.savefig(file, format=kind, dpi=DPI)
    return file.getvalue()
