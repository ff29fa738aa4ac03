"""A recording from a folder of ``.npy`` files with times."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from fnn_jax.common import checks
from fnn_jax.data.building import TRACES, from_arrays
from fnn_jax.data.recordings import DataError, entries, open_array
from fnn_jax.data.resampling import Signal
from fnn_jax.videos import is_video

TIMES = "_times"  # what is added to the name of a file for that of its times


def from_folder(folder: str | os.PathLike, directory: str | os.PathLike, **options: Any) -> Path:
    """Write a recording from a folder of ``.npy`` files, each with times of its own, as ``from_arrays`` does.

    Args:
        folder: holds ``responses.npy`` and ``responses_times.npy``; ``stimulus.npy`` and ``stimulus_times.npy``, or a
            folder ``movies`` with a file for each clip; ``trials.csv`` (``start, stop, clip``); of ``pupil_position``,
            ``pupil_radius`` and ``treadmill_velocity`` those that were recorded, with times likewise; and, if there is
            a table of the units, ``units.csv``. Shapes and units are those of ``from_arrays``.
        directory: folder to write.
        options: further arguments of ``from_arrays``, such as ``absent`` and ``seed``.

    Raises:
        DataError: files are missing or damaged, or hold Python objects.
        What ``from_arrays`` raises.
    """
    folder = checks.path("folder", folder).absolute()
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; expected one with responses.npy, responses_times.npy, trials.csv, ...")
    movies = folder / "movies"
    if movies.is_dir() and (folder / "stimulus.npy").exists():
        raise DataError(f"{folder} holds both stimulus.npy and movies; expected one of them.")
    if movies.is_dir():
        stimulus: Any = {path.stem: path for path in entries(movies) if is_video(path)}
    else:
        stimulus = _signal(folder, "stimulus", " (or a folder movies)")
    traces: dict[str, Any] = {name: _signal(folder, name) for name, *_ in TRACES if (folder / f"{name}.npy").exists()}
    if (folder / "units.csv").exists():
        options["units"] = _table(folder / "units.csv")
    responses, trials = _signal(folder, "responses"), _table(folder / "trials.csv")
    return from_arrays(directory, responses=responses, stimulus=stimulus, trials=trials, **traces, **options)


def _signal(folder: Path, name: str, instead: str = "") -> Signal:
    paths = [folder / f"{name}{ending}.npy" for ending in ("", TIMES)]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        there = ", ".join(path.name for path in entries(folder)) or "nothing"
        raise DataError(f"{folder} lacks {' and '.join(missing)}{instead}; it holds {there}.")
    values, times = map(open_array, paths)
    return Signal(values, times)


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; expected a table with the columns start, stop, clip.") from error
    except (ValueError, OSError) as error:  # of pandas: no table, other encodings
        raise DataError(f"{path} cannot be read: {error}. Expected a table in CSV.") from error
