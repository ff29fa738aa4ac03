"""Predicted responses and tables of units as an NWB file, to be shared."""

import datetime
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.files import json_digest, refuse_existing, whole_file
from fnn_jax.common.rate import HZ
from fnn_jax.data.nwb_objects import nwb
from fnn_jax.data.recordings import DataError
from fnn_jax.microns.property_tables import MEANING
from fnn_jax.screen.results import DONE, RESPONSES
from fnn_jax.screen.store import open_screen
from fnn_jax.version import __version__

SUBJECT = ("subject_id", "species", "sex", "age", "description")
UNITS = "units/"  # what the names of columns of units begin with in files of fnn-jax predict
ROWS_AT_ONCE = 10 * HZ


def to_nwb(
    path: str | os.PathLike,
    responses: Any,
    units: pd.DataFrame | None = None,
    *,
    session_start: datetime.datetime | None = None,
    description: str = "Responses that a digital twin of mouse visual cortex predicts; nothing of it was recorded.",
    subject: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write predicted responses and the table of their units as NWB.

    In the file, a processing module ``twin``: the table ``units``, a row for each unit; and the time series
    ``predicted_responses`` ``[frame, unit]`` at 30 Hz, all stimuli one after the other, whose names and times are in
    ``intervals/trials``. Of a screen that kept something else of each stimulus, such as its mean, instead of these a
    table ``stimuli`` with ``responses`` ``[stimulus, ..., unit]``.

    Args:
        path: file to write, which ends in ``.nwb``.
        responses: for the name of each stimulus ``[frames, units]``, as ``Twin.predict`` gives them; or the dataset of
            a screen, which has its units.
        units: table of the units, by ``readout_id``; of a screen, none.
        session_start: with a time zone; None: now. NWB wants one.
        description: of the session.
        subject: ``subject_id, species, sex, age, description`` of the animal that the twin is of; DANDI wants the first
            four, sex as M, F, U or O, age as P100D.
        overwrite: replace the file, when the new one is complete.

    Raises:
        TypeError, ValueError: an argument is not as described, or stimuli of a screen were not shown.
        FileExistsError: something is at ``path``. ImportError: pynwb is not installed.
    """
    path = checks.path("path", path).absolute()
    if path.suffix != ".nwb":
        raise ValueError(f"path is {path}; expected a name that ends in .nwb.")
    refuse_existing(path, checks.boolean("overwrite", overwrite))
    start = datetime.datetime.now(datetime.UTC) if session_start is None else session_start
    if not isinstance(start, datetime.datetime) or start.tzinfo is None:
        raise TypeError(f"session_start is {checks.shown(session_start)}; expected a datetime with a time zone.")
    for name in subject or ():
        checks.one_of("subject", name, SUBJECT)
    pynwb = nwb()
    if hasattr(responses, "data_vars"):
        if units is not None:
            raise ValueError("units is given with a screen, which has its own; expected one of them.")
        names, frames, found, units = _of_screen(responses)
    else:
        names, frames, found, units = _of_mapping(responses, units)
    if not len(names):
        raise ValueError("responses is empty; expected at least one stimulus.")
    file = pynwb.NWBFile(
        session_description=checks.text("description", description),
        identifier=json_digest([names, frames, units.columns.tolist(), len(units), start.isoformat()]),
        session_start_time=start,
        keywords=["digital twin", "visual cortex"],
        subject=pynwb.file.Subject(**subject) if subject else None,
        was_generated_by=[["fnn_jax", __version__]],
    )
    module = file.create_processing_module("twin", "Responses predicted by a digital twin, and its units.")
    module.add(_table("units", "Units of the twin: row j is column j of the predicted responses.", units))
    if callable(found):
        module.add(_series(file, names, frames, found, len(units)))
    else:
        rows = pd.DataFrame({"stimulus": names, "num_frames": frames})
        table = _table("stimuli", "What was kept of the responses to each stimulus.", rows)
        table.add_column("responses", "Predicted responses, [..., unit].", data=found)
        module.add(table)
    with whole_file(path) as temporary, pynwb.NWBHDF5IO(temporary, "w") as io:
        io.write(file)
    return path


def export(source: str | os.PathLike, path: str | os.PathLike, **options: Any) -> Path:
    """``to_nwb`` of a file of ``fnn-jax predict`` (``.npz``), or of the folder of a screen (``.zarr``).

    Raises:
        ValueError: it is something else, or is damaged. What ``to_nwb`` raises.
    """
    source = checks.path("source", source)
    if source.suffix != ".npz":
        return to_nwb(path, open_screen(source), **options)
    arrays = _read(source)
    columns = {name.removeprefix(UNITS): array for name, array in arrays.items() if name.startswith(UNITS)}
    responses = {name: array for name, array in arrays.items() if not name.startswith(UNITS)}
    return to_nwb(path, responses, pd.DataFrame(columns) if columns else None, **options)


def _read(source: Path) -> dict[str, np.ndarray]:
    try:
        with open(source, "rb") as file, np.load(file, allow_pickle=False) as members:
            return dict(members)
    except OSError as error:
        raise type(error)(f"{source} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise DataError(f"{source} cannot be read: {error}. Expected a .npz of fnn-jax predict.") from error


def _of_screen(dataset: Any):
    if RESPONSES not in dataset:
        raise DataError("The screen kept no responses, but features alone; expected one with responses.")
    wrong = [str(name) for name, done in zip(dataset.stimulus.values, dataset.done.values, strict=True) if done != DONE]
    if wrong:
        raise DataError(
            f"{len(wrong)} stimuli of the screen were not shown: {checks.shown(wrong)}. Finish it first: the same "
            "command goes on where it stopped."
        )
    responses, names = dataset[RESPONSES], list(map(str, dataset.stimulus.values))
    frames = dataset.frames.values.astype(int).tolist()
    of_units = [name for name, values in dataset.coords.items() if values.dims == ("unit",)]
    units = pd.DataFrame({name: dataset[name].values for name in of_units})
    if responses.dims != ("stimulus", "time", "unit"):
        return names, frames, np.asarray(responses.values), units

    def parts() -> Iterator[np.ndarray]:
        for row, count in enumerate(frames):
            yield np.asarray(responses[row, :count].values)

    return names, frames, parts, units


def _of_mapping(responses: Any, units: Any):
    found = checks.mapping("responses", responses, "of the names of stimuli to responses [frames, units]")
    arrays = {
        checks.text("name of responses", name): checks.array(f"responses[{name!r}]", each, "[frames, units]", (2,))
        for name, each in found.items()
    }
    widths = sorted({array.shape[1] for array in arrays.values()})
    if len(widths) > 1:
        raise ValueError(f"responses have {widths} units; expected the same for all stimuli.")
    if units is None:
        units = pd.DataFrame({"readout_id": np.arange(widths[0] if widths else 0)})
    elif not isinstance(units, pd.DataFrame):
        raise TypeError(f"units is {checks.shown(units)}; expected a pandas table.")
    elif widths and len(units) != widths[0]:
        raise ValueError(f"units has {len(units)} rows, responses {widths[0]} units; expected a row for each unit.")
    elif units.index.name is not None and units.index.name not in units:
        units = units.reset_index()
    return list(arrays), [len(array) for array in arrays.values()], lambda: iter(arrays.values()), units


def _series(file: Any, names: list[str], frames: list[int], parts: Any, num_units: int) -> Any:
    """Responses to all stimuli, one after the other, and the trials that say where each is; written part by part."""
    from hdmf.data_utils import DataChunkIterator

    file.add_trial_column("clip", "Name of the stimulus.")
    ends = np.cumsum(frames)
    for name, count, end in zip(names, frames, ends, strict=True):
        file.add_trial(start_time=float((end - count) / HZ), stop_time=float(end / HZ), clip=name)
    rows = (row for part in parts() for row in part.astype(np.float32))
    data = DataChunkIterator(
        data=rows, maxshape=(int(ends[-1]), num_units), dtype=np.dtype("float32"), buffer_size=ROWS_AT_ONCE
    )
    return nwb().TimeSeries(
        name="predicted_responses",
        description="Predicted responses, [frame, unit]: 1 is the mean of a unit over the training of the twin.",
        data=data,
        unit="a.u.",
        rate=float(HZ),
        starting_time=0.0,
        comments="Stimuli follow one another without a pause; intervals/trials says where each is.",
    )


def _table(name: str, description: str, table: pd.DataFrame) -> Any:
    from hdmf.common import DynamicTable, VectorData

    columns = []
    for column, values in table.items():
        plain = values.isna().any() if values.dtype.kind not in "iufb" else False
        data = values.fillna("").astype(str).tolist() if plain or values.dtype.kind not in "iufb" else values.to_numpy()
        columns.append(VectorData(name=str(column), description=MEANING.get(str(column), str(column)), data=data))
    return DynamicTable(name=name, description=description, columns=columns)
