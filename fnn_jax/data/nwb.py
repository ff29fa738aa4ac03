"""A recording from NWB files."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.rate import HZ
from fnn_jax.data.building import from_arrays
from fnn_jax.data.nwb_mapping import AXES, TRACES, find, propose, read_mapping, unambiguous
from fnn_jax.data.nwb_objects import EXPECTED, Item, is_series, listing, nwb, opened
from fnn_jax.data.recordings import DataError
from fnn_jax.data.resampling import Signal, Spikes
from fnn_jax.videos import read_video

COLUMNS = {"pupil_position": 2, "pupil_radius": 1, "treadmill_velocity": 1}


def from_nwb(
    files: Sequence[str | os.PathLike],
    directory: str | os.PathLike,
    mapping: str | os.PathLike | Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write a recording from the NWB files of a session, as ``from_arrays`` does.

    Args:
        files: paths of NWB files of one session; their times are brought to the clock of the first one.
        directory: folder to write.
        mapping: which objects are what: a TOML file, or a dictionary; see docs/nwb.md. None: what is there decides, if
            nothing is ambiguous.
        options: further arguments of ``from_arrays``, such as ``absent`` and ``negative``.

    Raises:
        DataError: a ValueError: a file is no NWB; what is needed is missing or ambiguous, and what is there is named;
            what ``from_arrays`` refuses.
        ImportError: pynwb is not installed.
    """
    absent = list(options.get("absent", ()))
    with opened(files) as items:
        known = unambiguous(items, absent) if mapping is None else read_mapping(mapping)
        for role in ("responses", "stimulus", "trials", *TRACES):
            if role not in known and role not in absent:
                instead = f", or say that it was not recorded: absent = ['{role}']" if role in TRACES else ""
                raise DataError(
                    f"The mapping has no [{role}]; expected one that names {EXPECTED[role]}{instead}. There is:\n"
                    f"{listing(items)}"
                )
        named = known["responses"]["object"]
        sources = [find(items, name, "responses") for name in (named if isinstance(named, list) else [named])]
        traces: dict[str, Any] = {role: _trace(items, role, known[role]) for role in TRACES if role in known}
        return from_arrays(
            directory,
            responses=[_responses(item) for item in sources],
            units=pd.concat([_units(item) for item in sources], ignore_index=True).drop(
                columns="readout_id",  # of the twin that made a file of predictions; here the file says which is which
                errors="ignore",
            ),
            stimulus=_stimulus(find(items, known["stimulus"]["object"], "stimulus"), known["stimulus"], options),
            trials=_trials(find(items, known["trials"]["object"], "trials"), known["trials"]),
            **traces,
            **options,
        )


def show(files: Sequence[str | os.PathLike]) -> str:
    """What is in NWB files, as comments, and the mapping that is proposed, in TOML.

    Raises:
        DataError: a file is no NWB. ImportError: pynwb is not installed.
    """
    with opened(files) as items:
        there = "\n".join(f"# {line}" for line in listing(items).splitlines())
        return f"{there}\n\n{propose(items)}\n"


class _Data:
    """A dataset as it is meant: some columns, times its conversion plus its offset. Read as it is sliced."""

    def __init__(self, thing: Any, columns: list[int] | None = None):
        self._data, self._columns = thing.data, columns
        self._factor, self._offset = thing.conversion, thing.offset
        shape = tuple(np.shape(self._data))
        if len(shape) == 1 and columns is None:
            shape = (*shape, 1)
        self.shape = shape if columns is None else (shape[0], len(columns))
        self.dtype = getattr(self._data, "dtype", np.asarray(self._data).dtype)

    def __getitem__(self, rows: slice) -> np.ndarray:
        values = np.asarray(self._data[rows], np.float64)
        values = values if values.ndim > 1 else values[:, None]
        values = values if self._columns is None else values[:, self._columns]
        return values * self._factor + self._offset


def _responses(item: Item) -> Signal | Spikes:
    thing = item.thing
    if isinstance(thing, nwb().misc.Units):
        if "spike_times" not in thing.colnames:
            raise DataError(f"{item.path} has no spike_times; expected {EXPECTED['responses']}.")
        return Spikes([np.asarray(thing["spike_times"][unit]) + item.shift_s for unit in range(len(thing))])
    if not is_series(thing):
        raise DataError(f"[responses] names {item.path}, a {type(thing).__name__}; expected {EXPECTED['responses']}.")
    return Signal(_Data(thing), item.times())


def _units(item: Item) -> pd.DataFrame:
    """The columns of a table of units that have one number or word for each; the area of an imaging plane."""
    thing, extra = item.thing, {}
    if isinstance(thing, nwb().misc.Units):
        table, rows = thing, np.arange(len(thing))
    elif hasattr(thing, "rois"):
        table, rows = thing.rois.table, np.asarray(thing.rois.data[:], int)
        if "area" not in table.colnames:
            extra["area"] = table.imaging_plane.location
    else:
        return pd.DataFrame({"nwb_object": [item.path] * _Data(thing).shape[1]})
    found = {"nwb_object": [item.path] * len(rows), "nwb_id": np.asarray(table.id[:])[rows]}
    found |= {name: [value] * len(rows) for name, value in extra.items()}
    for column in table.columns:
        values = np.asarray(column.data[:]) if type(column) is nwb().core.VectorData else np.zeros(0)
        ragged = any(other.name == f"{column.name}_index" for other in table.columns)
        scalar = values.ndim == 1 and not ragged and column.name in table.colnames
        if scalar and (values.dtype.kind in "iufb" or all(isinstance(value, str | bytes) for value in values)):
            found[column.name] = [v.decode() if isinstance(v, bytes) else v for v in values[rows]]
    return pd.DataFrame(found)


def _trace(items: Sequence[Item], role: str, section: Mapping[str, Any]) -> Signal:
    item, count = find(items, section["object"], role), COLUMNS[role]
    if not is_series(item.thing):
        raise DataError(f"[{role}] names {item.path}, a {type(item.thing).__name__}; expected {EXPECTED[role]}.")
    there = item.shape[1] if len(item.shape) > 1 else 1
    columns = section.get("columns", list(range(there)))
    fits = isinstance(columns, list) and all(type(c) is int and 0 <= c < there for c in columns)
    if not fits or len(columns) != count:
        raise DataError(
            f"[{role}] {item.path} has the shape {list(item.shape)}, of which columns = {checks.shown(columns)} are "
            f"taken; expected {count} of them."
        )
    values = _Data(item.thing, columns)
    return Signal(values, item.times())


def _trials(item: Item, section: Mapping[str, Any]) -> pd.DataFrame:
    if not isinstance(item.thing, nwb().epoch.TimeIntervals):
        raise DataError(f"[trials] names {item.path}, a {type(item.thing).__name__}; expected {EXPECTED['trials']}.")
    table = item.thing.to_dataframe()
    wanted = {"clip": section.get("clip"), "split": section.get("split")}
    where = section.get("where", {})
    if not isinstance(where, Mapping):
        raise DataError(f"where of [trials] is {checks.shown(where)}; expected {{ column = value }}.")
    for column in [*(name for name in wanted.values() if name is not None), *where]:
        if column not in table:
            raise DataError(f"[trials] names the column {column} of {item.path}, which has {', '.join(table.columns)}.")
    for column, value in where.items():
        table = table[table[column].isin(value if isinstance(value, list) else [value])]
    if not len(table):
        raise DataError(f"No row of {item.path} is left by where = {checks.shown(dict(where))}.")
    found = pd.DataFrame(
        {"start": table["start_time"].to_numpy() + item.shift_s, "stop": table["stop_time"].to_numpy() + item.shift_s}
    )
    for name, column in wanted.items():
        if column is not None:
            found[name] = table[column].to_numpy()
    return found


class _Frames:
    """Frames that are read as they are sliced: ``read`` gives those of a slice."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, read: Any):
        self.shape, self.dtype, self._read = shape, np.dtype(dtype), read

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._read(rows)


def _stimulus(item: Item, section: Mapping[str, Any], options: Mapping[str, Any]) -> Signal:
    axes = checks.one_of("axes of [stimulus]", section.get("axes", "yx"), AXES)
    pynwb, thing = nwb(), item.thing
    if isinstance(thing, pynwb.image.IndexSeries):
        frames = _indexed(item, axes)
    elif not isinstance(thing, pynwb.image.ImageSeries):
        raise DataError(f"[stimulus] names {item.path}, a {type(thing).__name__}; expected {EXPECTED['stimulus']}.")
    elif thing.external_file is not None:
        return _external(item, options)
    else:
        frames = _turned(thing.data, axes)
    return Signal(frames, item.times())


def _turned(data: Any, axes: str) -> Any:
    if axes == "yx":
        return data
    shape = (data.shape[0], data.shape[2], data.shape[1], *data.shape[3:])
    return _Frames(shape, data.dtype, lambda rows: np.swapaxes(np.asarray(data[rows]), 1, 2))


def _indexed(item: Item, axes: str) -> Any:
    """Frames of another series, or of a collection of images, in the order in which they were shown."""
    thing = item.thing
    if thing.indexed_images is not None:
        images = thing.indexed_images
        order = images.order_of_images
        if order is None and len(images.images) > 1:  # a file lists them by name, 10 before 2
            raise DataError(
                f"{item.path} indexes the images of {images.name}, which say no order (order_of_images): which of the "
                f"{len(images.images)} an index means cannot be told. Add the order to the file, "
                "pynwb.base.ImageReferences(name='order_of_images', data=images), or give a stimulus with frames."
            )
        ordered = list(order.data) if order is not None else list(images.images.values())
        frames = np.stack([np.asarray(image.data) for image in ordered])
    elif thing.indexed_timeseries is not None and thing.indexed_timeseries.external_file is None:
        frames = thing.indexed_timeseries.data
    else:
        raise DataError(f"{item.path} indexes movies outside of the file, which is not read. Name another stimulus.")
    indices, frames = np.asarray(thing.data[:], int), _turned(frames, axes)
    wrong = (indices < 0) | (indices >= frames.shape[0])
    if wrong.any():
        raise DataError(f"{item.path} has the index {indices[wrong][0]}; expected 0 to {frames.shape[0] - 1}.")

    def read(rows: slice) -> np.ndarray:
        unique, back = np.unique(indices[rows], return_inverse=True)  # which h5py wants to increase
        return np.asarray(frames[unique])[back]

    return _Frames((len(indices), *frames.shape[1:]), frames.dtype, read)


def _external(item: Item, options: Mapping[str, Any]) -> Signal:
    """Frames of movies beside the file, one for one, whatever rate the movies say: the series has their times."""
    thing = item.thing
    paths = [item.file.parent / str(name) for name in thing.external_file[:]]
    chosen = {name: options[name] for name in ("size", "fit") if name in options}

    @functools.lru_cache(2)
    def movie(number: int) -> np.ndarray:
        if not paths[number].exists():
            raise FileNotFoundError(f"{item.path} names the movie {paths[number]}, which does not exist.")
        return read_video(paths[number], frames_per_second=HZ, **chosen).frames

    counts = [len(movie(number)) for number in range(len(paths))]
    starts = np.concatenate([[0], np.cumsum(counts)])
    stated = None if thing.starting_frame is None else list(map(int, thing.starting_frame[:]))
    if stated is not None and stated != starts[:-1].tolist():
        raise DataError(f"{item.path} has starting_frame {stated}; its movies begin at {starts[:-1].tolist()}.")

    def read(rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(int(starts[-1]))
        parts = [
            movie(number)[max(first - start, 0) : max(last - start, 0)] for number, start in enumerate(starts[:-1])
            if start < last and starts[number + 1] > first
        ]  # fmt: skip
        return np.concatenate(parts)

    frames = _Frames((int(starts[-1]), *movie(0).shape[1:]), movie(0).dtype, read)
    if thing.timestamps is not None:
        return Signal(frames, np.asarray(thing.timestamps, np.float64) + item.shift_s)
    return Signal(frames, thing.starting_time + np.arange(frames.shape[0]) / thing.rate + item.shift_s)
