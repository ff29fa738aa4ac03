"""Drawings of arrays that several figures share: each takes axes of matplotlib, draws on them, and returns them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnn_jax.common.checks import integer, shown
from fnn_jax.common.figures import (
    COUNTS,
    DATA,
    FRAMES,
    HIGHLIGHT,
    MAIN,
    ON_IMAGE,
    REFERENCE,
    RESPONSES,
    SIDE_BY_SIDE,
    SMALL,
    VALUES,
    color_bar,
    legend_above,
    style,
)
from fnn_jax.common.rate import HZ

RESPONSE = "response per frame"
DENSE = 1000  # from so many points on, a scatter would be a cloud of ink
GAP = 0.04  # between frames of a strip, of their width
FADED, OUTLINED = 0.25, 0.5  # influence below which frames fade, and around which a line is drawn


def draw_frames(
    ax: Any, frames: Any, *, num_frames: int = 6, limits: tuple[float, float] = (0, 255), influence: Any = None
) -> Any:
    """A strip of frames of a video, evenly spaced in time, each above the second at which it is shown.

    Args:
        frames: ``[T, H, W]``. limits: the values that are black and white. influence: of each pixel on what is meant,
            ``[H, W]``, at most 1. Frames fade to gray where it is below a quarter, and a line goes around the pixels
            where it is above a half.

    Raises:
        ValueError: frames or influence have another shape.
    """
    frames = _array("frames", frames, "[frames, height, width]", 3)
    if influence is not None:
        influence = np.asarray(influence, float)
        if influence.shape != frames.shape[1:]:
            raise ValueError(
                f"influence has the shape {list(influence.shape)}; expected that of a frame, {list(frames.shape[1:])}."
            )
        gray = np.mean(limits)
        frames = gray + (frames - gray) * np.clip(influence / FADED, 0, 1)
    num_frames = min(integer("num_frames", num_frames), len(frames))
    chosen = ((np.arange(num_frames) + 0.5) * len(frames) / num_frames).astype(int)
    aspect = frames.shape[1] / frames.shape[2]
    for place, frame in enumerate(chosen):
        left = place * (1 + GAP)
        extent = (left, left + 1, 0, aspect)
        ax.imshow(frames[frame], cmap=FRAMES, vmin=limits[0], vmax=limits[1], extent=extent, interpolation="nearest")
        ax.add_patch(_edge(left, aspect))
        if influence is not None and influence.max() > OUTLINED > influence.min():
            ax.contour(influence, [OUTLINED], extent=extent, origin="upper", colors=HIGHLIGHT, linewidths=0.8)
    ends = (-0.01, num_frames * (1 + GAP) - GAP + 0.01)
    ax.set(xlim=ends, ylim=(-0.01, aspect + 0.01), aspect="equal", yticks=[], xlabel="time (s)")
    ax.set_xticks(np.arange(num_frames) * (1 + GAP) + 0.5, [f"{frame / HZ:.2f}" for frame in chosen])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=SMALL)
    ax.xaxis.label.set_size(SMALL)
    return ax


def draw_traces(ax: Any, responses: Any, names: Sequence[str] | None = None, *, mean: Any = None) -> Any:
    """Responses of a few units over time, a colour each, at most six.

    Args:
        responses: ``[T, unit]``. names: of the units, for the legend. mean: of all units, ``[T]``, drawn in black.

    Raises:
        ValueError: responses has another shape, or more than six units; names are not as many.
    """
    responses = _array("responses", responses, "[frames, units]", 2)
    if responses.shape[1] > len(SIDE_BY_SIDE):
        raise ValueError(
            f"responses has {responses.shape[1]} units; expected at most {len(SIDE_BY_SIDE)}, which can be told apart. "
            "Choose some, or draw_population."
        )
    if names is not None and len(names) != responses.shape[1]:
        raise ValueError(f"names has {len(names)} entries; expected one for each of {responses.shape[1]} units.")
    time = np.arange(len(responses)) / HZ
    for number, trace in enumerate(responses.T):
        label = None if names is None else str(names[number])
        ax.plot(time, trace, color=SIDE_BY_SIDE[number], linewidth=1, label=label)
    if mean is not None:
        ax.plot(time, np.asarray(mean), color=DATA, linewidth=1.8, label="mean of all")
    ax.set(xlabel="time (s)", ylabel=RESPONSE, xlim=(0, len(responses) / HZ))
    if names is not None:
        legend_above(ax)
    return style(ax)


def draw_population(ax: Any, responses: Any, *, normalise: bool = True, onsets: Any = (), bar: bool = True) -> Any:
    """Responses of all units over time, units that peak early above.

    Args:
        responses: ``[T, unit]``. normalise: each unit by its largest response. onsets: seconds that are marked. bar:
            say what the colours mean.

    Raises:
        ValueError: responses has another shape.
    """
    responses = _array("responses", responses, "[frames, units]", 2)
    peak = np.maximum(np.nan_to_num(responses).max(0), 1e-12)
    values = responses / peak if normalise else responses
    order = np.argsort(np.nan_to_num(values, nan=-np.inf).argmax(0), kind="stable")
    extent = (0, len(responses) / HZ, responses.shape[1], 0)
    image = ax.imshow(values[:, order].T, aspect="auto", extent=extent, cmap=RESPONSES, interpolation="nearest", vmin=0)
    for onset in onsets:
        ax.axvline(onset, color=ON_IMAGE, linewidth=0.5, alpha=0.6)
    ax.set(xlabel="time (s)", ylabel="units, by time of their peak")
    if bar:
        color_bar(ax, image, "response / unit's largest" if normalise else RESPONSE)
    return style(ax)


def draw_relation(ax: Any, x: Any, y: Any, *, equal: bool = False) -> Any:
    """One number of each unit over another: points, or from 1000 units on how many lie in each hexagon.

    Args:
        x, y: ``[unit]``; units of which one is not finite are left out. equal: one scale for both, with the line where
            they are equal.

    Raises:
        ValueError: x and y are not as many.
    """
    x, y = np.asarray(x, float).ravel(), np.asarray(y, float).ravel()
    if x.shape != y.shape:
        raise ValueError(f"x has {len(x)} values and y {len(y)}; expected as many.")
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < DENSE:
        ax.scatter(x, y, s=6, color=MAIN, linewidths=0)
    else:
        ends = {"extent": _ends(x, y)} if equal else {}
        image = ax.hexbin(x, y, gridsize=40, bins="log", mincnt=1, cmap=COUNTS, linewidths=0.1, **ends)
        color_bar(ax, image, "units")
    if equal and len(x):
        low, high, *_ = _ends(x, y)
        ax.plot([low, high], [low, high], linestyle="--", linewidth=0.8, color=REFERENCE, zorder=3)
        ax.set_aspect("equal")
    return style(ax)


def draw_cortex(ax: Any, x: Any, y: Any, values: Any, label: str) -> Any:
    """Where units lie in cortex, seen from above, coloured by a number of each.

    Args:
        x, y: ``[unit]``, micrometres, such as ``unit_x`` (posterior to anterior) and ``unit_y`` (lateral to medial) of
            ``microns.units``. values: ``[unit]``; ``label`` says what they are, and in which unit.

    Raises:
        ValueError: x, y and values are not as many.
    """
    x, y, values = (np.asarray(each, float).ravel() for each in (x, y, values))
    if not x.shape == y.shape == values.shape:
        raise ValueError(f"x, y and values have {len(x)}, {len(y)} and {len(values)} units; expected as many.")
    # Units far from the median would take all colours for themselves.
    low, high = np.nanpercentile(values, [2, 98]) if np.isfinite(values).any() else (0, 1)
    size = np.clip(4000 / max(len(x), 1), 0.5, 12)
    points = ax.scatter(
        x, y, c=values, s=size, cmap=VALUES, vmin=low, vmax=high, linewidths=0, rasterized=len(x) > DENSE
    )
    ax.set(xlabel="posterior to anterior (µm)", ylabel="lateral to medial (µm)", aspect="equal")
    color_bar(ax, points, label, extend="both")
    return style(ax)


def _array(name: str, value: Any, expected: str, ndim: int) -> np.ndarray:
    array = np.asarray(value, float)
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"{name} has the shape {shown(list(array.shape))}; expected {expected}, at least one each.")
    return array


def _ends(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    low, high = min(x.min(), y.min(), 0), max(x.max(), y.max())
    return low, high, low, high


def _edge(left: float, aspect: float) -> Any:
    """Frames may be white."""
    from matplotlib.patches import Rectangle

    return Rectangle((left, 0), 1, aspect, fill=False, edgecolor=REFERENCE, linewidth=0.4)
