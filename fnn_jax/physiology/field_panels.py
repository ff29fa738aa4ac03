"""Receptive fields on the monitor, the Gaussians fitted to them, and where those of all units lie."""

from typing import Any

import numpy as np

from fnn_jax.common.figures import DATA, MAIN, OFF, ON, SIGNED, SMALL, UNKNOWN, color_bar, style
from fnn_jax.physiology.result import Result
from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.stimuli.outline import draw_monitor

BELOW_LABEL_PT = 24  # from the axes down past ticks and label
DENSE = 1000  # from so many units on, points would be a cloud of ink
SHARES = (0.5, 0.9)  # of the units inside of the lines that stand for them
GAUSSIAN = ("x", "y", "sigma_major", "sigma_minor", "angle_deg")


def draw_receptive_field(
    ax: Any, field: Any, display: Display, label: str, *, limits: tuple[float, float] | None = None
) -> Any:
    """A receptive field on the monitor, colours around its median; returns the axes.

    Args:
        field: ``[height, width]`` of the display's pixels; NaN where nothing is known. label: of its values. limits: of
            the colours, where several fields are compared; default: as far from the median as the field goes.

    Raises:
        TypeError: display is none. ValueError: field has another shape.
    """
    from matplotlib.ticker import MaxNLocator

    require_display(display)
    field = np.asarray(field, float)
    if field.shape != (display.height, display.width):
        raise ValueError(
            f"field has the shape {list(field.shape)}; expected [{display.height}, {display.width}], the display's."
        )
    low, high = limits or limits_of(field)
    # Pixels where they are in the unit of the display: on a monitor that is seen from near by, rows of them are curved.
    x, y = display.positions(np.arange(display.height)[:, None], np.arange(display.width)[None, :])
    image = ax.pcolormesh(x, y, field, cmap=SIGNED, shading="nearest", rasterized=True, vmin=low, vmax=high)
    ax.set(xlabel=f"x ({display.unit})", ylabel=f"y ({display.unit})", aspect="equal", facecolor=UNKNOWN)
    color_bar(ax, image, label, location="bottom", aspect=25, ticks=MaxNLocator(4))
    return style(ax)


def limits_of(*fields: np.ndarray) -> tuple[float, float]:
    """The same reach above and below the median of all, so that fields beside each other can be compared."""
    values = np.concatenate([np.ravel(field)[np.isfinite(np.ravel(field))] for field in fields])
    if not len(values):
        return -1.0, 1.0
    middle = np.median(values)
    reach = max(np.abs(values - middle).max(), 1e-12)
    return middle - reach, middle + reach


def draw_gaussian(ax: Any, result: Result, row: int, prefix: str = "") -> None:
    """The line at 1 sigma of the Gaussian in the columns of ``fit_gaussians``, where its fit is good."""
    fit = result.table.iloc[row]
    if not np.isfinite(fit[f"{prefix}x"]) or fit[f"{prefix}fit"] != "good":
        return
    x, y, major, minor, angle_deg = (fit[f"{prefix}{name}"] for name in GAUSSIAN)
    turn = np.linspace(0, 2 * np.pi, 61)
    angle = np.deg2rad(angle_deg)
    along, across = major * np.cos(turn), minor * np.sin(turn)
    right, up = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    ax.plot(*result.protocol.display.position_beside((x, y), right, up), color=DATA, linewidth=1)


def has_positions(result: Result) -> bool:
    """Whether Gaussians were fitted to fields of the units."""
    return any({f"{prefix}x", f"{prefix}y", f"{prefix}fit"} <= set(result.table) for prefix in ("", "on_"))


def draw_positions(ax: Any, result: Result) -> None:
    """Where the fields of all units lie whose fit is good, on the monitor."""
    from matplotlib.transforms import ScaledTranslation

    display = result.protocol.display
    prefixes = {"on_": ON, "off_": OFF} if "on_x" in result.table else {"": MAIN}
    for prefix, color in prefixes.items():
        if f"{prefix}x" in result.table:
            good = result.table[result.table[f"{prefix}fit"] == "good"]
            label = f"{prefix.strip('_') or result.protocol.name} ({len(good)})"
            draw_field_centers(ax, good[f"{prefix}x"], good[f"{prefix}y"], color=color, label=label)
    draw_monitor(ax, display)
    style(ax, "centres of receptive fields")
    # Below the label of the axis, however high the axes are.
    below = ax.transAxes + ScaledTranslation(0, -BELOW_LABEL_PT / 72, ax.figure.dpi_scale_trans)
    ax.legend(fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=2)


def draw_field_centers(ax: Any, x: Any, y: Any, *, color: str = MAIN, label: str = "") -> Any:
    """Centres of receptive fields, in the unit of a display: points, or from 1000 on lines inside of which half and 90
    percent of the units lie. Returns the axes.

    Args:
        x, y: ``[unit]``. color, label: for the legend.

    Raises:
        ValueError: x and y are not as many.
    """
    x, y = np.asarray(x, float).ravel(), np.asarray(y, float).ravel()
    if x.shape != y.shape:
        raise ValueError(f"x has {len(x)} values and y {len(y)}; expected as many.")
    if len(x) < DENSE:
        ax.plot(x, y, ".", color=color, markersize=3, markeredgewidth=0, alpha=0.6, label=label)
        return ax
    density, across, down = _density(x, y)
    ranked = np.sort(density.ravel())[::-1]
    levels = [ranked[np.searchsorted(np.cumsum(ranked), share)] for share in reversed(SHARES)]
    ax.contour(across, down, density.T, levels, colors=color, linewidths=(0.7, 1.3))
    ax.plot([], [], color=color, label=label)
    return ax


def _density(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the points in each of 60 x 60 bins, smoothed, ``[x, y]``, and the middles of the bins."""
    from scipy.ndimage import gaussian_filter

    ends = [[*np.percentile(each, [0.2, 99.8])] for each in (x, y)]
    margins = [max(high - low, 1e-9) * 0.15 for low, high in ends]
    limits = [[low - margin, high + margin] for (low, high), margin in zip(ends, margins, strict=True)]
    counts, across, down = np.histogram2d(x, y, bins=60, range=limits)
    density = gaussian_filter(counts, 1.5)
    return density / density.sum(), (across[1:] + across[:-1]) / 2, (down[1:] + down[:-1]) / 2
