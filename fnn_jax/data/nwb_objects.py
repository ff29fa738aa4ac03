"""What is in NWB files, and which of it may be what a recording needs."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fnn_jax.common import checks
from fnn_jax.common.extras import missing
from fnn_jax.data.recordings import DataError
from fnn_jax.data.resampling import interval_s

ROLES = ("responses", "stimulus", "trials", "pupil_position", "pupil_radius", "treadmill_velocity")
EYE_WORDS = ("pupil", "eye")
SIZE_WORDS = ("radius", "diameter", "size", "area", "pupiltracking")
RUNNING_WORDS = ("treadmill", "running", "velocity", "speed", "wheel", "locomotion")
EXPECTED = {
    "responses": "a RoiResponseSeries, or a table of units with spike_times",
    "stimulus": "an ImageSeries, OpticalSeries or IndexSeries in stimulus/presentation",
    "trials": "a table in intervals",
    "pupil_position": "a series [n, 2] with pupil or eye in its path",
    "pupil_radius": "a series [n] with pupil or eye, and radius, diameter, size or area in its path",
    "treadmill_velocity": f"a series [n] with one of {', '.join(RUNNING_WORDS)} in its path",
}


class Item(NamedTuple):
    """A series or a table: its file, its path there, and the object of pynwb; seconds to add to its times."""

    file: Path
    path: str
    thing: Any
    shift_s: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its data; of a table, its rows."""
        return tuple(np.shape(self.thing.data)) if hasattr(self.thing, "data") else (len(self.thing),)

    def times(self) -> np.ndarray:
        """The time of each sample, in seconds on the clock of the first file."""
        thing = self.thing
        if thing.timestamps is not None:
            return np.asarray(thing.timestamps, np.float64) + self.shift_s
        if thing.rate is None:
            raise DataError(f"{self.path} has neither timestamps nor a rate. Correct the file.")
        return thing.starting_time + np.arange(self.shape[0]) / thing.rate + self.shift_s

    def words(self) -> str:
        """Type, shape, and when it was."""
        kind = f"{type(self.thing).__name__} {list(self.shape)}"
        if not is_series(self.thing):
            return f"{kind}, columns {', '.join(self.thing.colnames)}"
        times = self.times() if self.shape[0] else np.zeros(0)
        when = f", {times[0]:.3f} to {times[-1]:.3f} s" if len(times) else ""
        rate = f" at {1 / interval_s(times):.4g} Hz" if len(times) > 1 else ""
        return f"{kind}{rate}{when}"


def nwb() -> Any:
    """The package pynwb, which only this needs.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import pynwb
        import pynwb.image
        import pynwb.misc
        import pynwb.ophys
    except ImportError as error:
        raise ImportError(missing("Reading and writing NWB", "nwb")) from error
    return pynwb


def is_series(thing: Any) -> bool:
    """Whether it has data with times."""
    return isinstance(thing, nwb().TimeSeries)


@contextlib.contextmanager
def opened(files: Sequence[str | os.PathLike]) -> Iterator[list[Item]]:
    """The series and tables of NWB files of one session, which are open while the block lasts.

    Times of other files than the first are moved by the difference of their ``timestamps_reference_time``.

    Raises:
        DataError: a file is no NWB file, or is damaged. FileNotFoundError: there is none.
    """
    pynwb = nwb()
    items: list[Item] = []
    reference = None
    with contextlib.ExitStack() as stack:
        for file in checks.ordered("files", files, "paths of NWB files"):
            path = checks.path("files", file).absolute()
            if not path.exists():
                raise FileNotFoundError(f"{path} does not exist; expected an NWB file.")
            try:
                io = stack.enter_context(pynwb.NWBHDF5IO(path, "r", load_namespaces=True))
                content = io.read()
            except Exception as error:  # h5py, hdmf and pynwb raise many kinds
                raise DataError(
                    f"{path} cannot be read as NWB: {error} Expected an HDF5 file of NWB 2. It is damaged or "
                    "incomplete, or of another format."
                ) from error
            time = content.timestamps_reference_time
            reference = time if reference is None else reference
            shift = (time - reference).total_seconds()
            for thing in content.objects.values():
                is_table = isinstance(thing, pynwb.epoch.TimeIntervals | pynwb.misc.Units)
                if is_series(thing) or is_table:
                    place = io.manager.get_builder(thing).path.removeprefix("root/")
                    items.append(Item(path, place, thing, shift))
        yield sorted(items, key=lambda item: (str(item.file), item.path))


def candidates(items: Sequence[Item]) -> dict[str, list[Item]]:
    """For each role the series and tables that may have it, by type, shape and the words of their path."""
    pynwb = nwb()
    found: dict[str, list[Item]] = {role: [] for role in ROLES}
    intervals = []
    for item in items:
        thing, place, shape = item.thing, item.path.lower(), item.shape
        if isinstance(thing, pynwb.epoch.TimeIntervals):
            intervals.append(item)
        elif isinstance(thing, pynwb.misc.Units):
            if "spike_times" in thing.colnames:
                found["responses"].append(item)
        elif isinstance(thing, pynwb.ophys.RoiResponseSeries):
            found["responses"].append(item)
        elif isinstance(thing, pynwb.image.ImageSeries | pynwb.image.IndexSeries):
            if place.startswith("stimulus/presentation"):
                found["stimulus"].append(item)
        elif any(word in place for word in EYE_WORDS):
            if len(shape) == 2 and shape[1] == 2:
                found["pupil_position"].append(item)
            elif _is_one_column(shape) and any(word in place for word in SIZE_WORDS):
                found["pupil_radius"].append(item)
        elif _is_one_column(shape) and any(word in place for word in RUNNING_WORDS):
            found["treadmill_velocity"].append(item)
    trials = [
        item for item in intervals if item.path == "intervals/trials"
    ]  # which are those of the file, if it has them
    found["trials"] = trials or [item for item in intervals if item.path != "intervals/invalid_times"]
    return found


def _is_one_column(shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def listing(items: Sequence[Item]) -> str:
    """A line for each series and table."""
    several = len({item.file for item in items}) > 1
    names = [f"{item.file.name}:{item.path}" if several else item.path for item in items]
    width = max(map(len, names), default=0)
    return "\n".join(f"{name:{width}}  {item.words()}" for name, item in zip(names, items, strict=True))
