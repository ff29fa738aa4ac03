"""The stimuli of a screen: whatever holds them, one at a time, by number or in order."""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fnn_jax import videos
from fnn_jax.common import checks
from fnn_jax.common.arrays import map_array
from fnn_jax.common.checks import one_of, shown
from fnn_jax.model.config import NetworkConfig
from fnn_jax.twin.inputs import CheckedInputs, check_inputs, constant_trace

Intervals = tuple[tuple[int, int], ...]
SHOWN = 5  # problems that a message lists


class Stimulus(NamedTuple):
    """One stimulus of a screen, where an array alone does not say enough.

    ``frames``: a video ``[T, H, W]`` or ``[T, H, W, 1]`` as for ``Twin.predict``, or the path of one. ``id``: its name
    in the results. ``perspectives`` and ``modulations``: ``[T, 2]``, or ``[2]`` for a constant. ``intervals``: pairs of
    frames ``(start, stop)``, for this stimulus alone.
    """

    frames: Any
    id: str | None = None
    perspectives: Any = None
    modulations: Any = None
    intervals: Any = None


class Loaded(NamedTuple):
    """A stimulus in memory, checked; or, with an ``error``, why it cannot be shown."""

    index: int  # type: ignore[assignment]  # not the method of a tuple
    id: str
    inputs: CheckedInputs | None
    intervals: Intervals | None
    error: str = ""

    def spans(self) -> Intervals:
        """The intervals, or the whole stimulus as one."""
        return self.intervals or ((0, self.inputs.frames),)

    def digest(self, salt: bytes = b"") -> bytes:
        """SHA-256 of everything that decides the responses; ``salt`` is what decides them besides the stimulus."""
        digest = hashlib.sha256(repr(self.intervals).encode() + salt)
        for array in (self.inputs.stimuli, self.inputs.perspectives, self.inputs.modulations):
            array = np.ascontiguousarray(np.zeros(0) if array is None else array)
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.data)
        return digest.digest()


class Source:
    """Stimuli by number (``count`` of them), or, from a generator, one after the other (``count`` is None).

    Args:
        stimuli: an array ``[S, T, H, W]`` or ``[S, T, H, W, 1]``; a list, or anything with a length and items; a
            mapping from ids; a folder of videos; or any iterable. Items are videos, paths of videos, or ``Stimulus``.
        ids: names, one for each stimulus; default: those of mapping or files, or numbers.
        perspectives, modulations: shared, ``[T, 2]`` or ``[2]``, or one for each stimulus: ``[S, T, 2]``, a list, or a
            mapping from ids.
        intervals: pairs of frames for every stimulus that has none of its own; None: all frames.

    Raises:
        TypeError, ValueError: what is known to be wrong before anything is loaded.
    """

    def __init__(
        self,
        stimuli: Any,
        config: NetworkConfig,
        *,
        ids: Any = None,
        perspectives: Any = None,
        modulations: Any = None,
        intervals: Intervals | None = None,
        fit: str = "crop",
    ):
        self.config, self.intervals, self.fit = config, intervals, one_of("fit", fit, videos.FITS)
        self.size = (config.stimulus_height, config.stimulus_width)
        self.traces = {
            name: _checked_traces(name, traces)
            for name, traces in (("perspectives", perspectives), ("modulations", modulations))
        }
        self._stimuli: Any = None  # what items can be had from by number
        self._read, names = self._reader(stimuli)
        self.count = None if self._read is None else len(self._stimuli)
        self._iterator = iter(stimuli) if self._read is None else None
        self._peeked: list[Any] = []
        self.ids = self._names(ids, names)
        for name, traces in self.traces.items():
            if isinstance(traces, list | tuple) and len(traces) == self.count and _are_constants(traces):
                raise ValueError(
                    f"{name} is a list of {len(traces)} pairs for as many stimuli. If each is the constant of a "
                    "stimulus, give a mapping from ids; if it is one trace, an array [T, 2]."
                )
            if self.count is not None and _is_list(traces) and len(traces) != self.count:
                raise ValueError(f"{name} holds {len(traces)} traces for {self.count} stimuli; expected one for each.")

    def _reader(self, stimuli: Any) -> tuple[Callable[[int], Any] | None, list[str] | None]:
        """How to get a stimulus by number, and the names they have by themselves."""
        if isinstance(stimuli, Stimulus):
            raise TypeError("stimuli is one Stimulus; expected several: [stimulus].")
        if isinstance(stimuli, str | os.PathLike):
            path = checks.path("stimuli", stimuli)
            array = None
            if path.is_file() and path.suffix == ".npy":
                with contextlib.suppress(OSError, ValueError):  # it is told as a video that cannot be read
                    array = map_array(path)
            if array is not None and array.ndim > 3:
                return self._reader(array)
            self._stimuli = [path] if videos.is_video(path) else videos.find_videos(path)
            return self._stimuli.__getitem__, [path.name for path in self._stimuli]
        if isinstance(stimuli, Mapping):
            keys = list(stimuli)
            if not keys:
                raise ValueError("stimuli holds none; expected at least one.")
            self._stimuli = stimuli
            return (lambda index: stimuli[keys[index]]), [str(key) for key in keys]
        if hasattr(stimuli, "shape"):
            self._check_array(stimuli)
        elif not hasattr(stimuli, "__len__") or not hasattr(stimuli, "__getitem__"):
            if not hasattr(stimuli, "__iter__"):
                raise TypeError(
                    f"stimuli is {type(stimuli).__name__}; expected an array, a list, a folder or a generator."
                )
            return None, None
        if not len(stimuli):
            raise ValueError("stimuli holds none; expected at least one.")
        self._stimuli = stimuli
        return stimuli.__getitem__, _names_of(stimuli)

    def _check_array(self, array: Any) -> None:
        height, width, channels = *self.size, self.config.stimulus_channels
        shape = tuple(array.shape)
        forms = f"[S, T, {height}, {width}] or [S, T, {height}, {width}, {channels}]"
        if shape[1:] in ((height, width), (height, width, channels)):
            raise ValueError(f"stimuli has the shape {list(shape)}, one video; expected {forms}. Use stimuli[None].")
        if shape[2:] not in ((height, width), (height, width, channels)):
            raise ValueError(f"stimuli has the shape {list(shape)}; expected {forms}.")

    def _names(self, ids: Any, own: list[str] | None) -> list[str] | None:
        if ids is None and own is None:
            return None
        given = ids = own if ids is None else ids
        if self.count is None:
            raise ValueError("ids are given for a generator; let it yield Stimulus(frames, id=...) instead.")
        ids = [] if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__") else list(ids)
        if not ids or not all(isinstance(each, str | int | np.integer | os.PathLike) for each in ids):
            raise TypeError(f"ids is {shown(given)}; expected a name for each stimulus.")
        ids = [str(each) for each in ids]
        if len(ids) != self.count:
            raise ValueError(f"ids holds {len(ids)} names for {self.count} stimuli; expected one for each.")
        repeated = sorted({each for each in ids if ids.count(each) > 1}) if len(set(ids)) < len(ids) else []
        if repeated:
            raise ValueError(f"ids has names more than once: {repeated[:SHOWN]}.")
        return ids

    def check(self) -> None:
        """Look at every stimulus that is at hand, without reading pixels.

        Raises:
            ValueError: some cannot be shown; the message lists the first ones, by id and reason. Or there are traces
                of other ids, where those of the stimuli are known.
        """
        problems = []
        for index in self._at_hand():
            try:
                self._prepare(self._item(index), index, values=False)
            except (TypeError, ValueError, OSError) as error:
                problems.append(f"{self.name(index)}: {error}")
        if problems:
            listed = "\n".join("  " + problem for problem in problems[:SHOWN])
            more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise ValueError(f"{len(problems)} of {self.count} stimuli cannot be shown:\n{listed}{more}")
        self._check_ids_of_traces()

    def _check_ids_of_traces(self) -> None:
        known = set(self.ids or ())
        for name, traces in self.traces.items():
            unknown = [each for each in traces if each not in known] if known and isinstance(traces, Mapping) else []
            if unknown:
                more = " and more" if self.count > SHOWN else ""
                raise ValueError(
                    f"{name} has traces of ids that no stimulus has: {unknown[:SHOWN]}; the stimuli are "
                    f"{self.ids[:SHOWN]}{more}."
                )

    def _at_hand(self) -> range:
        """Numbers of the stimuli that can be looked at before the start."""
        if self._stimuli is None:
            return range(0)
        if hasattr(self._stimuli, "shape"):  # all have one shape: that of the first
            varying = any(
                isinstance(traces, Mapping) or (_is_list(traces) and not hasattr(traces, "shape"))
                for traces in self.traces.values()
            )
            return range(self.count if varying else 1)
        return range(self.count if isinstance(self._stimuli, list | tuple | dict) else 0)

    def load(self, index: int) -> Loaded:
        """A stimulus by number; what cannot be read or shown comes with the reason."""
        try:
            item = self._read(index)
        except (TypeError, ValueError, OSError) as error:
            return Loaded(index, self.name(index), None, None, str(error))
        return self._load(item, index)

    def __iter__(self) -> Iterator[Loaded]:
        """All of them in order; of a generator once."""
        if self.count is not None:
            yield from map(self.load, range(self.count))
            return
        for index, item in enumerate(itertools.chain(self._peeked, self._iterator)):
            yield self._load(item, index)

    def first(self) -> Loaded:
        """The first stimulus that can be shown; nothing is lost of a generator.

        Raises:
            ValueError: there is none.
        """
        reasons = []
        if self.count is not None:
            candidates = map(self.load, range(self.count))
        else:
            candidates = (self._load(item, i) for i, item in enumerate(self._peek()))
        for loaded in candidates:
            if not loaded.error:
                return loaded
            reasons.append(f"{loaded.id}: {loaded.error}")
        shown = "\n".join("  " + reason for reason in reasons[:SHOWN])
        raise ValueError(f"None of {len(reasons)} stimuli can be shown:\n{shown}" if reasons else "stimuli holds none.")

    def _peek(self) -> Iterator[Any]:
        for item in self._iterator:
            self._peeked.append(item)
            yield item

    def name(self, index: int) -> str:
        """The id of a stimulus, as far as it is known without loading it."""
        return str(index) if self.ids is None else self.ids[index]

    def _id(self, item: Any, index: int) -> str:
        own = item.id if isinstance(item, Stimulus) else None
        return self.name(index) if own is None or self.ids is not None else str(own)

    def _item(self, index: int) -> Stimulus:
        return self._with_traces(self._read(index), index)

    def _with_traces(self, item: Any, index: int) -> Stimulus:
        """The item as a ``Stimulus``, with the traces and the id that the source has for it."""
        stimulus = item if isinstance(item, Stimulus) else Stimulus(item)
        name = self._id(item, index)
        traces = {
            key: _trace(key, traces, index, name) if getattr(stimulus, key) is None else getattr(stimulus, key)
            for key, traces in self.traces.items()
        }
        return stimulus._replace(id=name, **traces)

    def _load(self, item: Any, index: int) -> Loaded:
        try:
            return self._prepare(self._with_traces(item, index), index)
        except (TypeError, ValueError, OSError) as error:
            return Loaded(index, self._id(item, index), None, None, str(error))

    def _prepare(self, item: Stimulus, index: int, values: bool = True) -> Loaded:
        frames = item.frames
        if isinstance(frames, str | os.PathLike):
            if not values:
                videos.check_video(frames, size=self.size, fit=self.fit)
                return Loaded(index, item.id, None, None)
            frames = videos.read_video(frames, size=self.size, fit=self.fit).frames
        elif values:  # a generator may use its array again for what comes next
            frames = np.array(frames) if self.count is None else np.asarray(frames)
        elif hasattr(frames, "shape"):
            frames = np.broadcast_to(np.zeros((), frames.dtype), frames.shape)  # its values are not read
        if not 0 < len(np.shape(frames)) <= 4:
            raise ValueError(
                f"the video has the shape {list(np.shape(frames))}; expected one video, [T, H, W] or [T, H, W, C], "
                "without batch axis."
            )
        length = len(frames)
        traces = [constant_trace(name, getattr(item, name), length) for name in ("perspectives", "modulations")]
        if self.count is None:
            traces = [None if trace is None else np.array(trace) for trace in traces]
        inputs = check_inputs(frames, *traces, self.config, traceable=False, values=values)  # type: ignore[call-arg]  # two
        if inputs.is_batch:
            raise ValueError("its perspectives or modulations have a batch axis; expected [T, 2] or [2].")
        intervals = self.intervals if item.intervals is None else as_intervals(item.intervals)
        for start, stop in intervals or ():
            if stop > inputs.frames:
                raise ValueError(f"the interval {start} to {stop} ends after its {inputs.frames} frames.")
        if self.intervals is not None and len(intervals) != len(self.intervals):
            raise ValueError(f"it has {len(intervals)} intervals where the screen has {len(self.intervals)}.")
        if self.intervals is None and item.intervals is not None:
            raise ValueError("it has intervals of its own; give the screen intervals, too, for the others.")
        return Loaded(index, item.id, inputs, intervals)


def as_intervals(intervals: Any) -> Intervals:
    """Pairs ``(start, stop)`` of frame numbers; one pair stands for itself.

    Raises:
        TypeError, ValueError: they are no pairs of integers, or empty.
    """
    try:
        array = np.asarray(intervals)
    except ValueError:  # pairs and others
        array = np.asarray(None)
    array = array[None] if array.shape == (2,) else array
    if array.ndim != 2 or array.shape[1] != 2 or not len(array) or not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            f"intervals is {shown(intervals)}; expected pairs of frame numbers such as (15, 45) or [(0, 15), ...]."
        )
    for start, stop in array:
        if not 0 <= start < stop:
            raise ValueError(f"intervals has ({start}, {stop}); expected 0 <= start < stop, in frames.")
    return tuple((int(start), int(stop)) for start, stop in array)


def _names_of(stimuli: Any) -> list[str] | None:
    """Names that are known without loading anything: not those of a sequence that makes its items when asked."""
    if isinstance(stimuli, list | tuple):
        items = [item if isinstance(item, Stimulus) else Stimulus(item) for item in stimuli]
        paths = [item.frames if isinstance(item.frames, str | os.PathLike) else None for item in items]
        files = [None if path is None else Path(path).name for path in paths]
        if len(set(files) - {None}) < sum(name is not None for name in files):  # of several folders
            files = [None if path is None else str(path) for path in paths]
        names = [name if item.id is None else item.id for item, name in zip(items, files, strict=True)]
        return [str(index) if name is None else str(name) for index, name in enumerate(names)]
    return [str(index) for index in range(len(stimuli))] if hasattr(stimuli, "shape") else None


def _checked_traces(name: str, traces: Any) -> Any:
    if isinstance(traces, Mapping):
        return {str(key): trace for key, trace in traces.items()}
    is_list = hasattr(traces, "__len__") and hasattr(traces, "__getitem__") and getattr(traces, "ndim", 1) > 0
    if traces is not None and not is_list:
        raise TypeError(f"{name} is {shown(traces)}; expected an array, or one for each stimulus.")
    return traces


def _is_list(traces: Any) -> bool:
    """Whether there is one trace for each stimulus."""
    if traces is None or isinstance(traces, Mapping):
        return False
    try:
        return hasattr(traces, "__len__") and len(traces) > 0 and np.ndim(traces[0]) == 2
    except ValueError:  # rows of several lengths
        return False


def _are_constants(traces: Any) -> bool:
    return all(np.ndim(each) == 1 and len(each) == 2 for each in traces)


def _trace(argument: str, traces: Any, index: int, name: str) -> Any:
    if isinstance(traces, Mapping):
        if name not in traces:
            raise ValueError(f"{argument} has no trace of this id, only of {sorted(map(str, traces))[:SHOWN]}.")
        return traces[name]
    if _is_list(traces) and index >= len(traces):
        raise ValueError(f"{argument} holds traces for {len(traces)} stimuli only.")
    return traces[index] if _is_list(traces) else traces
