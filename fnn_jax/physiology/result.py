"""What a protocol measured: a table of units, and the curves or fields that it comes from."""

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray

from fnn_jax.common.arrays import header_read, load_members
from fnn_jax.common.files import explained_full_disk, file_digest, whole_file
from fnn_jax.common.records import read_record, write_record

if TYPE_CHECKING:
    from fnn_jax.physiology.protocol import Protocol

UNITS, CONDITIONS, ARRAYS, DISPLAY = "units.parquet", "conditions.csv", "arrays.npz", "display.json"
RECORD = "result.json"  # with the SHA-256 of each of them
REMEDY = "Measure it again; the screen.zarr in it, where there is one, saves the work."
AXIS = "axis/"  # before the names of what curves are over


class Result(NamedTuple):
    """What a protocol says of the units that saw it.

    ``table``: a row for each unit, its number and scan first. ``conditions``: a row for each interval of each movie.
    ``responses``: mean of each interval, ``[interval, unit]``; None where the protocol needs every frame. ``arrays``:
    curves and fields by name, the units in their first axis (fields) or their last (curves). ``values``: what the
    curves are over. ``dataset``: the screen, as xarray; None of a result that was loaded.
    """

    protocol: "Protocol"
    table: pd.DataFrame
    conditions: pd.DataFrame
    responses: np.ndarray | None
    arrays: dict[str, np.ndarray]
    values: pd.Index | None
    dataset: xarray.Dataset | None

    def __repr__(self) -> str:
        scans = ", ".join(map(str, self.table["scan"].unique()))
        return f"Result({self.protocol.name}: {len(self.table)} units of {scans}, {', '.join(self.arrays)})"

    def save(self, directory: str | os.PathLike) -> list[Path]:
        """Write ``units.csv``, ``units.parquet``, ``conditions.csv``, ``display.json``, ``arrays.npz`` into a folder,
        and ``result.json``, their SHA-256, last.

        Killed at any moment, it leaves what was there before, or what ``load`` refuses, never a mix of two results.
        ``Display.of_record`` makes the monitor that fields are on from ``display.json``. Returns paths.

        Raises:
            DiskFullError, OSError: the files cannot be written; a result that was there is kept.
        """
        directory = Path(directory).expanduser()
        writers = {
            "units.csv": lambda path: self.table.to_csv(path, index=False),
            UNITS: lambda path: self.table.to_parquet(path, index=False),
            CONDITIONS: lambda path: self.conditions.to_csv(path, index=False),
            DISPLAY: lambda path: path.write_text(json.dumps(self.protocol.display.record()), encoding="utf-8"),
            ARRAYS: lambda path: np.savez_compressed(path, **self.arrays, **_axis(self.values)),  # type: ignore[arg-type]
        }
        digests = {}
        with explained_full_disk(directory), contextlib.ExitStack() as files:
            for name, write in writers.items():
                path = files.enter_context(whole_file(directory / name))
                write(path)
                digests[name] = file_digest(path)
            # All are complete and take their places now; while some are old and some new, no record says that they fit.
            (directory / RECORD).unlink(missing_ok=True)
        write_record(directory / RECORD, {"protocol": self.protocol.name, "sha256": digests})
        return [directory / name for name in (*writers, RECORD)]

    @classmethod
    def load(cls, directory: str | os.PathLike, protocol: "Protocol") -> "Result":
        """A result from the folder that ``save``, ``write_report`` or ``fnn-jax tune`` wrote.

        Args:
            protocol: that it is of, made with the same arguments. Nothing is shown or measured again.

        Returns:
            The result, without ``responses`` and ``dataset``: these are None.

        Raises:
            FileNotFoundError: the folder holds no result, or a part of one. ValueError: a file of it is damaged, or of
                another result; or it is of another protocol, other conditions or another display.
        """
        directory = Path(directory).expanduser()
        name = require_whole(directory)["protocol"]
        if name != protocol.name:
            raise ValueError(f"{directory} holds a result of the protocol {name!r}; expected one of {protocol!r}.")
        try:
            table, conditions = pd.read_parquet(directory / UNITS), (directory / CONDITIONS).read_text()
            arrays = header_read(lambda: load_members(directory / ARRAYS))
            display = json.loads((directory / DISPLAY).read_text(encoding="utf-8"))
        except Exception as error:  # pyarrow, zipfile and NumPy raise many kinds
            raise ValueError(f"{directory} holds a result that cannot be read: {error}. {REMEDY}") from error
        if conditions != protocol.conditions.to_csv(index=False):
            raise ValueError(f"{directory} holds a result of other conditions than those of {protocol!r}.")
        if display != json.loads(json.dumps(protocol.display.record())):
            raise ValueError(f"{directory} holds a result of another display ({display}) than that of {protocol!r}.")
        axes = {name.removeprefix(AXIS): arrays.pop(name) for name in [*arrays] if name.startswith(AXIS)}
        return cls(protocol, table, protocol.conditions, None, arrays, _values(axes), None)


def require_whole(directory: Path) -> dict[str, Any]:
    """The record of a result whose files are those that ``Result.save`` wrote together.

    Raises:
        FileNotFoundError: one is not there. ValueError: one is damaged, or of another result.
    """
    if not (directory / RECORD).exists():
        raise FileNotFoundError(f"{directory} holds no whole result: {RECORD}, written last, is not there. {REMEDY}")
    record = read_record(directory / RECORD, "result", ValueError, REMEDY)
    for name in (UNITS, CONDITIONS, ARRAYS, DISPLAY):
        if not (directory / name).exists():
            raise FileNotFoundError(f"{directory} holds no whole result: {name} is not there. {REMEDY}")
        if file_digest(directory / name) != record["sha256"][name]:
            raise ValueError(
                f"{directory} holds a result that is damaged, or mixed of two: {name} differs from the SHA-256 in "
                f"{RECORD}. {REMEDY}"
            )
    return record


class Measured(NamedTuple):
    """Properties of each unit, and the arrays that they come from."""

    table: pd.DataFrame
    arrays: dict[str, np.ndarray]
    values: pd.Index | None = None


def _axis(values: pd.Index | None) -> dict[str, np.ndarray]:
    if values is None:
        return {}
    frame = values.to_frame(index=False)
    return {f"{AXIS}{name}": _plain(frame[name]) for name in frame}


def _plain(column: pd.Series) -> np.ndarray:
    return column.to_numpy() if pd.api.types.is_numeric_dtype(column) else column.astype(str).to_numpy(dtype="U")


def _values(axes: dict[str, np.ndarray]) -> pd.Index | None:
    if len(axes) < 2:
        return next((pd.Index(values, name=name) for name, values in axes.items()), None)
    return pd.MultiIndex.from_arrays([*axes.values()], names=[*axes])
