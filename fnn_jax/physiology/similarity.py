"""How alike two units are: in what they respond to, what they read, and where; as in functional connectomics."""

from typing import Any

import numpy as np

from fnn_jax.model import geometry
from fnn_jax.twin.twin import Twin


def signal_correlation(responses: Any, others: Any = None) -> np.ndarray:
    """Correlation of mean responses over conditions, of every unit with every other, ``[unit, other]``.

    Args:
        responses: ``[condition, unit]``, of stimuli or of frames. others: the same of other units; default these.

    NaN for units whose responses do not vary, or are not all known.
    """
    first = unit_vectors(np.asarray(responses, float).T, centred=True)
    second = first if others is None else unit_vectors(np.asarray(others, float).T, centred=True)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"responses has {first.shape[1]} conditions and others {second.shape[1]}; expected the same.")
    return np.clip(first @ second.T, -1, 1)


def readout_cosine(twin: Twin, other: Twin | None = None) -> np.ndarray:
    """Cosine of the readout weights of every unit with every other, ``[unit, other]``; also between scans."""
    first = unit_vectors(twin.readout_weights().astype(float))
    second = first if other is None else unit_vectors(other.readout_weights().astype(float))
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"the twins read {first.shape[1]} and {second.shape[1]} features; expected the same core.")
    return np.clip(first @ second.T, -1, 1)


def location_distance_deg(twin: Twin, other: Twin | None = None) -> np.ndarray:
    """Visual angle between the readout locations of every unit and every other, in degrees, ``[unit, other]``.

    Locations are points of the retina, so this is the angle between their directions, whatever the monitor.
    """
    first = readout_rays(twin)
    second = first if other is None else readout_rays(other)
    chord = np.sqrt(np.maximum(2 - 2 * np.clip(first @ second.T, -1, 1), 0))
    return np.rad2deg(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def readout_rays(twin: Twin) -> np.ndarray:
    """Directions in which the units look while the eye is at its mean, of length 1, ``[unit, 3]``."""
    perspective = twin.config.perspective
    points = twin.readout_locations(y="down")[["core_x", "core_y_down"]].to_numpy(float)
    points = geometry.edges_to_isotropic(points, perspective.height, perspective.width)
    return geometry.angular_rays(points, perspective.max_angle_deg)


def unit_vectors(rows: np.ndarray, centred: bool = False) -> np.ndarray:
    """Rows of length 1, minus their mean where ``centred``; NaN where a row has no direction, or is not all known."""
    if rows.ndim != 2:
        raise ValueError(f"an array has the shape {list(rows.shape)}; expected two axes.")
    scale = np.abs(rows).max(1, keepdims=True)
    rows = rows - rows.mean(1, keepdims=True) if centred else rows
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    length = np.where(length > 1e-12 * scale * np.sqrt(rows.shape[1]), length, np.nan)
    return rows / length
