"""Which units are chosen: by ranges and kinds of columns, and by a shape that is drawn on a map."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Brush(NamedTuple):
    """A polygon on the map of two columns, ``corners`` ``[corner, 2]`` in their units."""

    x: str
    y: str
    corners: tuple[tuple[float, float], ...]


class Selection(NamedTuple):
    """``ranges``: least and most of columns of numbers, both included. ``kinds``: allowed values of others."""

    ranges: Mapping[str, tuple[float, float]] = {}
    kinds: Mapping[str, Sequence[Any]] = {}
    brush: Brush | None = None


def box(x: str, y: str, left: float, right: float, low: float, high: float) -> Brush:
    """A brush that is a rectangle."""
    return Brush(x, y, ((left, low), (right, low), (right, high), (left, high)))


def chosen(units: pd.DataFrame, selection: Selection) -> np.ndarray:
    """A truth value for each row; a unit without a value is outside every range.

    Raises:
        ValueError: a column is not there.
    """
    brushed = () if selection.brush is None else (selection.brush.x, selection.brush.y)
    missing = [name for name in (*selection.ranges, *selection.kinds, *brushed) if name not in units]
    if missing:
        raise ValueError(f"selection names the columns {missing}; the table has {list(map(str, units))}.")
    mask = np.ones(len(units), bool)
    for name, (least, most) in selection.ranges.items():
        values = units[name].to_numpy(float)
        mask &= (values >= least) & (values <= most)
    for name, allowed in selection.kinds.items():
        mask &= units[name].isin(list(allowed)).to_numpy()
    if selection.brush is not None:
        mask &= _inside(units, selection.brush)
    return mask


def _inside(units: pd.DataFrame, brush: Brush) -> np.ndarray:
    from matplotlib.path import Path

    points = units[[brush.x, brush.y]].to_numpy(float)
    corners = np.array(brush.corners)
    low, high = corners.min(axis=0), corners.max(axis=0)
    mask = ((points >= low) & (points <= high)).all(axis=1)
    if not _is_box(corners):  # of the units in the rectangle around the shape, which is soon found
        mask[mask] = Path(corners).contains_points(points[mask])
    return mask


def _is_box(corners: np.ndarray) -> bool:
    return len(corners) == 4 and all(len(np.unique(corners[:, axis])) == 2 for axis in (0, 1))


def selection_code(selection: Selection) -> str:
    """Lines of Python that take the chosen rows from a table of the name ``units``."""
    lines = []
    for name, (least, most) in selection.ranges.items():
        lines.append(f"units = units[units[{name!r}].between({least:g}, {most:g})]")
    for name, allowed in selection.kinds.items():
        lines.append(f"units = units[units[{name!r}].isin({list(allowed)!r})]")
    if selection.brush is not None:
        x, y, corners = selection.brush
        array = np.array(corners)
        if _is_box(array):
            (left, low), (right, high) = array.min(axis=0).tolist(), array.max(axis=0).tolist()
            lines.append(f"units = units[units[{x!r}].between({left!r}, {right!r})]")
            lines.append(f"units = units[units[{y!r}].between({low!r}, {high!r})]")
        else:
            lines.insert(0, "from matplotlib.path import Path\n")
            lines.append(f"shape = Path({[list(corner) for corner in corners]!r})")
            lines.append(f"units = units[shape.contains_points(units[[{x!r}, {y!r}]])]")
    return "\n".join(lines)
