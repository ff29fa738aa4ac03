"""The results of a screen: what is kept of each stimulus, and the dataset that they make."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

WAITING, DONE, FAILED = 0, 1, 2
TEXT = np.dtypes.StringDType()


class ScreenError(ValueError):
    """What is at the place of the results is not of this screen."""


class Row(NamedTuple):
    """What is kept of one stimulus; without responses, the reason."""

    index: int  # type: ignore[assignment]  # not the method of a tuple
    id: str
    frames: int
    digest: bytes
    responses: np.ndarray | None
    error: str


class Layout(NamedTuple):
    """Names and sizes of the axes between stimulus and unit, the type of the responses, and how many are one block."""

    inner: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    block: int


class InMemory:
    """The results of a screen in memory."""

    verifies = False
    path = None

    def __init__(self, *, settings: Mapping[str, Any], record: Mapping[str, Any], layout: Layout, units: pd.DataFrame):
        self._attributes = {"settings": dict(settings), **record}
        self._layout, self._units = layout, units
        self.block = layout.block
        self._rows: dict[int, Row] = {}

    def verify(self) -> None:
        """Nothing was written by others."""

    def done(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Nothing, to begin with."""
        return np.zeros(0 if stop is None else stop - start, np.uint8)

    def claim(self, block: int) -> bool:
        return True

    def release(self, claim: bool) -> None:
        pass

    def write(self, block: int, rows: Sequence[Row]) -> None:
        self._rows |= {row.index: row for row in rows}

    def errors(self) -> dict[str, str]:
        """Reason, by id, of the stimuli that could not be shown."""
        return {row.id: row.error for row in self._rows.values() if row.error}

    def dataset(self):
        """The results as an ``xarray.Dataset``."""
        import xarray

        rows = [self._rows[index] for index in sorted(self._rows)]
        shapes = [row.responses.shape[:-1] for row in rows if row.responses is not None] or [self._layout.shape]
        inner = tuple(map(max, zip(*shapes, strict=True)))
        responses = np.full((len(rows), *inner, len(self._units)), np.nan, self._layout.dtype)
        for values, row in zip(responses, rows, strict=True):
            if row.responses is not None:
                values[tuple(map(slice, row.responses.shape[:-1]))] = row.responses
        of_stimulus = {
            "stimulus": np.array([row.id for row in rows], TEXT),
            "frames": np.array([row.frames for row in rows], np.int32),
            "done": np.array([FAILED if row.error else DONE for row in rows], np.uint8),
            "error": np.array([row.error for row in rows], TEXT),
        }
        coordinates = {name: ("stimulus", values) for name, values in of_stimulus.items()}
        coordinates |= {name: ("unit", values) for name, values in unit_columns(self._units).items()}
        dimensions = ("stimulus", *self._layout.inner, "unit")
        return xarray.Dataset({"responses": (dimensions, responses)}, coordinates, self._attributes)


def unit_columns(units: pd.DataFrame) -> dict[str, np.ndarray]:
    """Columns of a table of units as arrays of numbers, truth values or text."""
    return {str(name): _plain(column) for name, column in units.items()}


def _plain(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(bool)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(float) if column.isna().any() else column.to_numpy(column.dtype.name.lower())
    return np.array(["" if pd.isna(value) else str(value) for value in column], TEXT)
