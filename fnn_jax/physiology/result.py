"""What a protocol measured: a table of units, and the curves or fields that it comes from."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import xarray

from fnn_jax.common.files import whole_file

if TYPE_CHECKING:
    from fnn_jax.physiology.protocol import Protocol


class Result(NamedTuple):
    """What a protocol says of the units that saw it.

    ``table``: a row for each unit, its number and scan first. ``conditions``: a row for each interval of each movie.
    ``responses``: mean of each interval, ``[interval, unit]``; None where the protocol needs every frame. ``arrays``:
    curves and fields by name, the units in their first axis (fields) or their last (curves). ``values``: what the
    curves are over. ``dataset``: the screen, as xarray.
    """

    protocol: "Protocol"
    table: pd.DataFrame
    conditions: pd.DataFrame
    responses: np.ndarray | None
    arrays: dict[str, np.ndarray]
    values: pd.Index | None
    dataset: xarray.Dataset


class Measured(NamedTuple):
    """Properties of each unit, and the arrays that they come from."""

    table: pd.DataFrame
    arrays: dict[str, np.ndarray]
    values: pd.Index | None = None


def save_result(result: Result, directory: str | os.PathLike) -> list[Path]:
    """Write ``units.csv``, ``units.parquet``, ``conditions.csv`` and ``arrays.npz`` into a folder; returns paths."""
    directory = Path(directory).expanduser()
    writers = {
        "units.csv": lambda path: result.table.to_csv(path, index=False),
        "units.parquet": lambda path: result.table.to_parquet(path, index=False),
        "conditions.csv": lambda path: result.conditions.to_csv(path, index=False),
        "arrays.npz": lambda path: np.savez_compressed(path, **result.arrays, **_axis(result.values)),  # type: ignore[arg-type]
    }
    paths = []
    for name, write in writers.items():
        with whole_file(directory / name) as path:
            write(path)
        paths.append(directory / name)
    return paths


def _axis(values: pd.Index | None) -> dict[str, np.ndarray]:
    if values is None:
        return {}
    frame = values.to_frame(index=False)
    return {f"axis/{name}": _plain(frame[name]) for name in frame}


def _plain(column: pd.Series) -> np.ndarray:
    return column.to_numpy() if pd.api.types.is_numeric_dtype(column) else column.astype(str).to_numpy(dtype="U")
