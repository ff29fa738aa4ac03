"""Maps of units: which columns are their axes, and what colours mean."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.physiology.columns import column_of

FEW = 12  # values that a column of integers has at most, to be shown as kinds and not as amounts
MARGIN = 0.04  # of the extent, around the units
TAIL = 2  # percent of units at each end of a colour scale, which one wild value would stretch


class View(NamedTuple):
    """Two columns as axes. ``edges``: of the monitor, from -1 to 1, which is always in view."""

    name: str
    x: str
    y: str
    x_label: str
    y_label: str
    y_down: bool = False
    edges: bool = False

    @property
    def is_same_measure(self) -> bool:
        """Whether both axes are one measure, of two results."""
        return measure_of(self.x) == measure_of(self.y)


TWO_COLUMNS = "any two columns"
MONITOR = ([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1])  # x and y of its edge
LEFT_RIGHT, TOP_BOTTOM = "left (-1) to right (1)", "top (-1) to bottom (1)"
CORTEX = (
    View("cortex from above", "unit_y", "unit_x", "lateral to medial (µm)", "posterior to anterior (µm)"),
    View("cortex from the side", "unit_x", "unit_z", "posterior to anterior (µm)", "deep to superficial (µm)", True),
)
VISUAL = (
    View("visual space", "monitor_x", "monitor_y_down", LEFT_RIGHT, TOP_BOTTOM, True, True),
    View("visual space, published", "readout_x", "readout_y_down", LEFT_RIGHT, TOP_BOTTOM, True, True),
)


class Colors(NamedTuple):
    """What the units of a map are coloured by.

    ``values``: a number of each unit, NaN where there is none; of kinds, their place in ``kinds``, which is empty
    otherwise. ``limits``: of the scale. ``circular``: both ends of the scale are the same.
    """

    values: np.ndarray
    kinds: tuple[str, ...]
    limits: tuple[float, float]
    circular: bool


def views_of(units: pd.DataFrame) -> list[View]:
    """The maps that a table has the columns for; without any, of its first two columns of numbers."""
    found = [view for view in (*CORTEX, *VISUAL) if {view.x, view.y} <= set(units)]
    if not found:
        numbers = [str(name) for name in units.select_dtypes("number") if units[name].nunique() > FEW]
        if len(numbers) > 1:
            found = [View(f"{numbers[1]} over {numbers[0]}", numbers[0], numbers[1], numbers[0], numbers[1])]
    return found


def measure_of(column: str) -> str:
    """What a column is, without the result that it comes from."""
    return column.split(" (")[0]


def first_pair(numbers: Sequence[str]) -> tuple[str, str] | None:
    """Of columns of numbers two that are worth comparing: one measure of two results, or the first two."""
    for number, name in enumerate(numbers):
        for other in numbers[number + 1 :]:
            if measure_of(name) == measure_of(other):
                return name, other
    return (numbers[0], numbers[1]) if len(numbers) > 1 else None


def is_kind(column: pd.Series) -> bool:
    """Whether a column's values are kinds, such as areas and imaging planes, and no amounts."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return True
    return pd.api.types.is_integer_dtype(column) and column.nunique() <= FEW


def is_whole(column: pd.Series) -> bool:
    """Whether a column has whole numbers alone; where it has gaps, pandas keeps them as others."""
    if not pd.api.types.is_float_dtype(column):
        return pd.api.types.is_integer_dtype(column)
    values = column.to_numpy(float)
    known = values[~np.isnan(values)]
    return len(known) > 0 and bool(((np.abs(known) < 2**53) & (known == np.round(known))).all())


def colors_of(column: pd.Series) -> Colors:
    """How a column is shown in colours."""
    if is_kind(column):
        codes, kinds = pd.factorize(column, sort=True)
        values = np.where(codes < 0, np.nan, codes)
        return Colors(values, tuple(map(str, kinds)), (0, max(len(kinds) - 1, 1)), False)
    values = column.to_numpy(float)
    known = column_of(measure_of(str(column.name)))
    finite = values[np.isfinite(values)]
    if known.limits is not None:
        limits = known.limits
    elif len(finite):
        low, high = np.percentile(finite, [TAIL, 100 - TAIL])
        limits = (float(low), float(high) if high > low else float(low) + 1)
    else:
        limits = (0.0, 1.0)
    return Colors(values, (), limits, known.scale == "circular")


def limits_of(units: pd.DataFrame, view: View) -> tuple[tuple[float, float], tuple[float, float]]:
    """What a map shows, (left, right) and (lowest, highest value of y): all units and a margin.

    As many micrometres are as long in both directions; visual space has the monitor in it; one measure of two results
    has the same scale twice.
    """
    spans = []
    for name in (view.x, view.y):
        values = units[name].to_numpy(float)
        values = values[np.isfinite(values)]
        ends = [values.min(), values.max()] if len(values) else [-1.0, 1.0]
        spans.append([min(ends[0], -1.0), max(ends[1], 1.0)] if view.edges else ends)
    if view.is_same_measure:
        spans = [[min(low for low, _ in spans), max(high for _, high in spans)]] * 2
    width = [high - low or 1.0 for low, high in spans]
    if view in CORTEX:
        width = [max(width)] * 2
    middle = [(low + high) / 2 for low, high in spans]
    x, y = ((m - w * (0.5 + MARGIN), m + w * (0.5 + MARGIN)) for m, w in zip(middle, width, strict=True))
    return x, y
