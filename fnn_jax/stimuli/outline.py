"""Where the monitor is, and what of it and around it the retina sees: outlines on axes in degrees."""

from typing import Any

import numpy as np

from fnn_jax.common.figures import HIGHLIGHT, REFERENCE, legend_above, style
from fnn_jax.model import geometry
from fnn_jax.stimuli.display import Display, azimuth_elevation, require_display


def draw_monitor(ax: Any, display: Display) -> Any:
    """The edge of the monitor, in the unit of a display; returns the axes.

    Raises:
        TypeError: display is none.
    """
    require_display(display)
    points = _around()
    row, column = (points[:, 1] + 1) / 2 * (display.height - 1), (points[:, 0] + 1) / 2 * (display.width - 1)
    ax.plot(*display.positions(row, column), color=REFERENCE, linewidth=0.8)
    ax.set(xlabel=f"x ({display.unit})", ylabel=f"y ({display.unit})", aspect="equal")
    return style(ax)


def draw_retina(ax: Any, twin: Any, eye: Any = (0.0, 0.0), *, label: str = "retina") -> Any:
    """The edge of what a twin's retina sees, for one position of the eye; returns the axes.

    In degrees on the axes of ``Display.of(twin)``. What of it lies outside the monitor is the periphery, which is dark
    or extends the monitor's border.

    Args:
        eye: z-scored position of the pupil, as in ``perspectives``. label: for the legend.

    Raises:
        ValueError: eye has another shape than the twin's perspectives.
    """
    perspective = twin.network.perspective
    eye = np.asarray(eye, np.float32)
    if eye.shape != (twin.config.perspective.eye_features,):
        raise ValueError(f"eye has the shape {list(eye.shape)}; expected [{twin.config.perspective.eye_features}].")
    height, width = perspective.retina.shape[:2]
    points = geometry.edges_to_isotropic(_around(), height, width)
    rays = geometry.angular_rays(points, perspective.max_angle_deg) @ np.asarray(perspective.gaze(eye[None])[0]).T
    ax.plot(
        *azimuth_elevation(rays @ Display.of(twin).axes), color=HIGHLIGHT, linewidth=0.8, linestyle="--", label=label
    )
    ax.set(xlabel="x (deg)", ylabel="y (deg)", aspect="equal")
    legend_above(ax)
    return style(ax)


def _around() -> np.ndarray:
    """Points along the edge of the square from -1 to 1, x and y down, ``[point, 2]``."""
    along, ends = np.linspace(-1, 1, 60), np.ones(60)
    sides = [(along, -ends), (ends, along), (along[::-1], ends), (-ends, along[::-1])]
    return np.concatenate([np.stack(side, axis=1) for side in sides])
