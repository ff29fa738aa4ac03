"""The results of a screen: what is kept of each stimulus, and the dataset that they make."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

WAITING, DONE, FAILED = 0, 1, 2
RESPONSES = "responses"
TEXT = np.dtypes.StringDType()


TAKEN = (RESPONSES, "stimulus", "frames", "done", "error", "digest", "checksum")  # arrays of a screen on disk


class ScreenError(ValueError):
    """What is at the place of the results is not of this screen."""


class Row(NamedTuple):
    """What is kept of one stimulus, arrays by name; without them, the reason."""

    index: int  # type: ignore[assignment]  # not the method of a tuple
    id: str
    frames: int
    digest: bytes
    arrays: dict[str, np.ndarray] | None
    error: str


class Kept(NamedTuple):
    """An array that is kept of each stimulus: names and sizes of its axes, which for others may be longer."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype


class Layout(NamedTuple):
    """What is kept of each stimulus, by name; and how many stimuli are one block."""

    arrays: dict[str, Kept]
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
        arrays = {name: self._array(name, kept, rows) for name, kept in self._layout.arrays.items()}
        of_stimulus = {
            "stimulus": np.array([row.id for row in rows], TEXT),
            "frames": np.array([row.frames for row in rows], np.int32),
            "done": np.array([FAILED if row.error else DONE for row in rows], np.uint8),
            "error": np.array([row.error for row in rows], TEXT),
        }
        coordinates = {name: ("stimulus", values) for name, values in of_stimulus.items()}
        coordinates |= {name: ("unit", values) for name, values in unit_columns(self._units).items()}
        return with_twins(xarray.Dataset(arrays, coordinates, self._attributes))

    def _array(self, name: str, kept: Kept, rows: Sequence[Row]) -> tuple[tuple[str, ...], np.ndarray]:
        """Axes and values of an array of all stimuli; NaN after the end of shorter ones."""
        given = [None if row.arrays is None else row.arrays[name] for row in rows]
        shapes = [values.shape for values in given if values is not None] or [kept.shape]
        array = np.full((len(rows), *map(max, zip(*shapes, strict=True))), np.nan, kept.dtype)
        for place, values in zip(array, given, strict=True):
            if values is not None:
                place[tuple(map(slice, values.shape))] = values
        return ("stimulus", *kept.axes), array


def with_twins(dataset: Any) -> Any:
    """A dataset with the names of the twins along their axis, where it has one."""
    if "twin" not in dataset.dims:
        return dataset
    names = [twin.rsplit(" ", 1)[0] for twin in dataset.attrs["settings"]["twins"]]
    return dataset.assign_coords(twin=np.array(names, TEXT))


def check_columns(twins: Any, axes: Sequence[str]) -> None:
    """Raise ``ValueError`` where columns of a table of units have names that results have; warn where ``scan`` differs.

    ``axes``: of the results, beside those of stimuli and units.
    """
    taken = sorted({str(column) for twin in twins for column in twin.units} & {*TAKEN, *axes})
    if taken:
        raise ValueError(
            f"The table of units has the columns {', '.join(taken)}, which are names of results of a screen; rename "
            "them: Twin(twin.network, twin.units.rename(columns=...), name=twin.name)."
        )
    other = [twin.name for twin in twins if "scan" in twin.units and {*twin.units["scan"].astype(str)} != {twin.name}]
    if other:
        warnings.warn(
            f"The column scan in the table of units of {', '.join(other)} says otherwise. Results name the scan of "
            "a unit by its twin, and leave the column out.",
            stacklevel=3,
        )


def unit_columns(units: pd.DataFrame) -> dict[str, np.ndarray]:
    """Columns of a table of units as arrays of numbers, truth values or text."""
    return {str(name): _plain(column) for name, column in units.items()}


def _plain(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(bool)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(float) if column.isna().any() else column.to_numpy(column.dtype.name.lower())
    return np.array(["" if pd.isna(value) else str(value) for value in column], TEXT)
