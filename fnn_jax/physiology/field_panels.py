"""Receptive fields on the monitor, the Gaussians fitted to them, and where those of all units lie."""

from typing import Any

import numpy as np

from fnn_jax.common.figures import DATA, MAIN, OFF, ON, REFERENCE, SIGNED, SMALL, UNKNOWN, color_bar, style
from fnn_jax.physiology.result import Result
from fnn_jax.stimuli.display import Display

GAUSSIAN = ("x", "y", "sigma_major", "sigma_minor", "angle_deg")


def draw_field(ax: Any, field: np.ndarray, pixels: Display, label: str) -> None:
    """A field ``[height, width]`` of a display's pixels, colours around its median; ``label`` of its values."""
    middle = np.nanmedian(field) if np.isfinite(field).any() else 0.0
    reach = np.nanmax(np.abs(field - middle)) if np.isfinite(field).any() else 1.0
    # Pixels where they are in the unit of the display: on a monitor that is seen from near by, rows of them are curved.
    x, y = pixels.positions(np.arange(pixels.height)[:, None], np.arange(pixels.width)[None, :])
    limits = {"vmin": middle - reach, "vmax": middle + reach}
    image = ax.pcolormesh(x, y, field, cmap=SIGNED, shading="nearest", rasterized=True, **limits)
    ax.set(xlabel=f"x ({pixels.unit})", ylabel=f"y ({pixels.unit})", aspect="equal", facecolor=UNKNOWN)
    color_bar(ax, image, label)


def draw_gaussian(ax: Any, result: Result, unit: int, prefix: str = "") -> None:
    """The line at 1 sigma of the Gaussian in the columns of ``fit_gaussians``, where its fit is good."""
    row = result.table.iloc[unit]
    if not np.isfinite(row[f"{prefix}x"]) or row[f"{prefix}fit"] != "good":
        return
    x, y, major, minor, angle_deg = (row[f"{prefix}{name}"] for name in GAUSSIAN)
    turn = np.linspace(0, 2 * np.pi, 61)
    angle = np.deg2rad(angle_deg)
    along, across = major * np.cos(turn), minor * np.sin(turn)
    right, up = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    ax.plot(*result.protocol.display.position_beside((x, y), right, up), color=DATA, linewidth=1)


def has_positions(result: Result) -> bool:
    """Whether Gaussians were fitted to fields of the units."""
    return any({f"{prefix}x", f"{prefix}y", f"{prefix}fit"} <= set(result.table) for prefix in ("", "on_"))


def draw_positions(ax: Any, result: Result) -> None:
    """Where the fields of all units lie whose fit is good."""
    display = result.protocol.display
    prefixes = {"on_": ON, "off_": OFF} if "on_x" in result.table else {"": MAIN}
    for prefix, color in prefixes.items():
        if f"{prefix}x" in result.table:
            good = result.table[result.table[f"{prefix}fit"] == "good"]
            label = f"{prefix.strip('_') or result.protocol.name} ({len(good)})"
            ax.plot(good[f"{prefix}x"], good[f"{prefix}y"], ".", color=color, markersize=4, alpha=0.6, label=label)
    ax.plot(*_outline(display), color=REFERENCE, linewidth=0.8)
    ax.set(xlabel=f"x ({display.unit})", ylabel=f"y ({display.unit})", aspect="equal")
    style(ax, "centres of receptive fields")
    ax.legend(fontsize=SMALL, frameon=False)


def _outline(display: Display) -> tuple[np.ndarray, np.ndarray]:
    """The edge of the monitor."""
    last_row, last_column = display.height - 1, display.width - 1
    along, back = np.linspace(0, 1, 30), np.linspace(1, 0, 30)
    zeros, ones = np.zeros(30), np.ones(30)
    row = np.concatenate([zeros, along, ones, back]) * last_row
    column = np.concatenate([along, ones, back, zeros]) * last_column
    return display.positions(row, column)
