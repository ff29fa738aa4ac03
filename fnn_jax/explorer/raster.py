"""Units of a map as an image: what the browser gets does not grow with their number."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_rgba
from scipy.ndimage import convolve

from fnn_jax.common.figures import CIRCULAR, FAINT, MANY_KINDS, SIDE_BY_SIDE, UNKNOWN, VALUES
from fnn_jax.explorer.views import Colors

MANY = (2_000, 20_000)  # units from which on a dot is smaller
RADII = (4, 2, 1)  # pixels


def raster(
    x: np.ndarray,
    y: np.ndarray,
    colors: Colors,
    chosen: np.ndarray,
    limits: tuple[tuple[float, float], tuple[float, float]],
    shape: tuple[int, int],
) -> np.ndarray:
    """The units as dots: chosen ones in the colour of their mean value, the others faint and behind them.

    Args:
        x, y: ``[unit]``, in the units of ``limits``, which are of the map, (left, right) and (low, high).
        colors: of all units. chosen: ``[unit]``.
        shape: rows and columns of the image.

    Returns:
        Red, green, blue and opacity, uint8 ``[row, column, 4]``; the first row is the lowest y.
    """
    rows, columns = shape
    (left, right), (low, high) = limits
    with np.errstate(invalid="ignore"):
        column, row = (x - left) / (right - left) * columns, (y - low) / (high - low) * rows
        here = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    pixel = np.zeros(len(x), int)
    pixel[here] = row[here].astype(int) * columns + column[here].astype(int)
    known = np.isfinite(colors.values)
    disc = _disc(RADII[int(np.searchsorted(MANY, here.sum()))])

    def total(of: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        weights = None if weights is None else weights[of]
        return convolve(
            np.bincount(pixel[of], weights, rows * columns).reshape(shape).astype(float), disc, mode="constant"
        )

    image = np.zeros((rows, columns, 4), np.uint8)
    image[total(here & ~chosen) > 0] = _rgba(FAINT)
    image[total(here & chosen & ~known) > 0] = _rgba(UNKNOWN)
    drawn = here & chosen & known
    if colors.kinds:  # a mean of kinds is none of them: the most frequent one
        counts = np.stack([total(drawn & (colors.values == kind)) for kind in range(len(colors.kinds))])
        count, mean = counts.sum(axis=0), counts.argmax(axis=0).astype(float)
    elif colors.circular:
        low, high = colors.limits
        angle = (colors.values - low) / (high - low) * 2 * np.pi
        count, sine, cosine = total(drawn), total(drawn, np.sin(angle)), total(drawn, np.cos(angle))
        mean = low + (np.arctan2(sine, cosine) / (2 * np.pi) % 1) * (high - low)
    else:
        count = total(drawn)
        mean = total(drawn, colors.values) / np.maximum(count, 1)
    image[count > 0] = color_map(colors)(scaled(colors, mean[count > 0]), bytes=True)
    return image


def color_map(colors: Colors):
    """matplotlib's map from numbers between 0 and 1, or from the places of kinds, to colours."""
    if colors.kinds:
        many = len(colors.kinds) > len(SIDE_BY_SIDE)
        table = colormaps[MANY_KINDS].colors if many else SIDE_BY_SIDE  # type: ignore[attr-defined]
        return ListedColormap([table[kind % len(table)] for kind in range(len(colors.kinds))])
    return colormaps[CIRCULAR if colors.circular else VALUES]


def scaled(colors: Colors, values: np.ndarray) -> np.ndarray:
    """What ``color_map`` takes: places of kinds, or numbers from 0 to 1 between the limits."""
    if colors.kinds:
        return values.astype(int)
    low, high = colors.limits
    return np.clip((values - low) / (high - low), 0, 1)


def _disc(radius: int) -> np.ndarray:
    row, column = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (row**2 + column**2 <= radius**2 + 0.5).astype(float)


def _rgba(color: str) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in to_rgba(color))
