"""Large screens: many stimuli, one or several twins, every device; in memory or to disk."""

import collections
import functools
import math
import operator
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.checks import integer, one_of
from fnn_jax.common.progress import Bar, checked_progress, progress_bar, say_resumed
from fnn_jax.screen.predictor import Predictor
from fnn_jax.screen.reduction import check_reduction, describe, identity, result_shape
from fnn_jax.screen.results import RESPONSES, InMemory, Kept, Layout, check_columns
from fnn_jax.screen.source import Loaded, Source, as_intervals
from fnn_jax.screen.store import ScreenStore
from fnn_jax.screen.values import checked_values
from fnn_jax.screen.work import Block, Work
from fnn_jax.twin.finite import warn_of_responses
from fnn_jax.twin.twin import Twin
from fnn_jax.version import versions

LEAST_BLOCK = 16  # stimuli that are written together, at least; fewer of long ones, because a kill loses them
BLOCK_FRAMES = 480
BLOCK_BYTES = 2**28  # of features, where a batch is not more
ERRORS = ("record", "raise")
WAIT_S = 1.0  # before it is looked again whether other processes have finished


class Screen:
    """Responses of twins to many stimuli.

    >>> screen = Screen(twin, reduce="mean", intervals=(15, 45))
    >>> responses = screen(videos).responses            # xarray, [stimulus, unit]
    >>> screen(videos, "screen.zarr")                   # to disk; the same call again goes on where it was killed

    Args:
        twins: a twin, or several, such as those of several scans: their units stand in a row. ``twin.select`` chooses
            units. Twins that were loaded from one folder share the weights of the core.
        reduce: what is kept of the responses of each interval, computed on the device: ``"mean"``, ``"max"``, a
            function written in JAX of responses ``[frames, units]`` that returns ``[..., units]``, or None: all frames.
        intervals: ``(start, stop)`` in frames, or several such pairs, which make an axis ``interval``; None: the whole
            stimulus. A ``Stimulus`` may have its own.
        features: names of values inside the network, or patterns, as for ``Twin.features``; each is kept beside the
            responses, reduced like them. A function sees a feature as ``[frames, values]``, its own axes in one.
        responses: False: features alone are kept.
        interventions: as for ``Twin.predict``; ``place.video`` is the number of the stimulus, from 0.
        periphery, stream, precision: as for ``Twin.predict``.
        batch_size: stimuli that are predicted together; None: from the memory at hand.
        chunk_frames: frames that go through the network together; None: from the memory at hand.
        devices: JAX devices of this process; None: all of them. Each takes its part of every batch.
        errors: ``"record"`` a stimulus that turns out to be broken, with the reason, and go on; or ``"raise"``.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        TypeError, ValueError: options that do not exist, or twins that do not fit together.
    """

    def __init__(
        self,
        twins: Twin | Iterable[Twin],
        *,
        reduce: str | Callable | None = None,
        intervals: Any = None,
        features: Iterable[str] | str | None = None,
        responses: bool = True,
        interventions: Mapping[str, Callable] | None = None,
        periphery: str = "dark",
        stream: int | None = None,
        precision: str = "float32",
        batch_size: int | None = None,
        chunk_frames: int | None = None,
        devices: Sequence[jax.Device] | None = None,
        errors: str = "record",
        progress: bool | None = None,
    ):
        self.twins = checked_twins(twins)
        check_reduction(reduce)
        if intervals is not None and reduce is None:
            raise ValueError("intervals are given, but reduce is None, which keeps every frame; give reduce='mean'.")
        one_of("errors", errors, ERRORS)
        batch_size = None if batch_size is None else integer("batch_size", batch_size)
        chunk_frames = None if chunk_frames is None else integer("chunk_frames", chunk_frames)
        devices = None if devices is None else checks.devices("devices", devices)
        progress = checked_progress(progress)
        self.twins[0].network.check_options(stream, periphery, (), precision)
        stream = None if stream is None else operator.index(stream)
        self.asked = checked_values(self.twins, features, responses, interventions, stream)
        self.reduce, self.errors, self.progress = reduce, errors, progress
        self.intervals = None if intervals is None else as_intervals(intervals)
        self._has_interval_axis = intervals is not None and np.ndim(intervals) == 2
        axes = ("time",) if reduce is None else ("interval",) if self._has_interval_axis else ()
        check_columns(self.twins, (*axes, "twin") if len(self.twins) > 1 else axes)
        self._options: dict[str, Any] = {"periphery": periphery, "stream": stream, "precision": precision}
        self._sizes: dict[str, Any] = {"batch_size": batch_size, "chunk_frames": chunk_frames, "devices": devices}
        self._predictor: Predictor | None = None
        self._described: dict[int, str] = {}
        self._not_finite: Loaded | None = None  # the first stimulus whose responses are not
        self._arrays: list[jax.Array] = []

    def __call__(
        self,
        stimuli: Any,
        out: str | os.PathLike | None = None,
        *,
        ids: Iterable[str] | None = None,
        perspectives: Any = None,
        modulations: Any = None,
        fit: str = "crop",
    ):
        """Predict all stimuli.

        Args:
            stimuli: an array ``[S, T, H, W]`` (also on disk), a list or mapping of videos or of their paths, a folder
                of videos, a generator; lengths may differ. Items may be ``Stimulus``.
            out: folder to write, ``something.zarr``. One that is there is gone on with, if it is of the same screen.
                Several processes may share it.
            ids: names of the stimuli; default: keys, names of files, or numbers.
            perspectives, modulations: shared by the stimuli, ``[T, 2]`` or constant, ``[2]``; or one for each: ``[S, T,
                2]``, a list or a mapping from ids; default zeros.
            fit: how videos of other sizes are fitted: ``"crop"``, ``"pad"`` or ``"stretch"``; see ``fnn_jax.videos``.

        Returns:
            ``xarray.Dataset`` with ``responses [stimulus, (time | interval,) unit]`` and the table of units; NaN after
            the end of shorter stimuli, and where a stimulus could not be shown. Features are there by name,
            ``[stimulus, (time | interval,) (twin,) stream, ...]``: those of units in a row, like the responses, all
            others with an axis of twins where there are several. With ``out``, it reads from there.

        Raises:
            TypeError, ValueError: stimuli that are seen to be wrong before the start, all of them reported together.
            ScreenError: something else is at ``out``; it is kept.
        """
        out = None if out is None else checks.path("out", out)
        source = Source(
            stimuli,
            self.twins[0].config,
            ids=ids,
            perspectives=perspectives,
            modulations=modulations,
            intervals=self.intervals,
            fit=fit,
        )
        source.check()
        first = source.first()
        predictor = self._current_predictor()
        results = {
            "settings": self._settings(first, predictor, fit),
            "record": {
                "computed_with": predictor.description(),
                "provenance": [twin.record() | {"label": twin.label} for twin in self.twins],
                **self._feature_shapes(),
            },
            "layout": self._layout(first, predictor),
            "units": self.units,
        }
        sink = InMemory(**results) if out is None else ScreenStore(out, ids=source.ids, **results)
        self._not_finite = None
        with Work(source, sink, self.errors, functools.partial(self._reduction, predictor.dtype)) as work:
            self._run(work, predictor)
        if work.left:
            warnings.warn(
                f"{work.left} stimuli were left to other processes. Those that they have not finished have done == 0; "
                "call again with a new generator for what is missing.",
                stacklevel=2,
            )
        if self._not_finite is not None:
            changes = self.asked.interventions
            stage = self.twins[0].first_not_finite(self._not_finite.inputs, **self._options, interventions=changes)
            what = "responses" if self.asked.responses else "features"
            warn_of_responses(f"{what} to {self._not_finite.id}, and maybe others,", stage)
        failures = sink.errors()
        if failures:
            shown = "; ".join(f"{name}: {reason}" for name, reason in list(failures.items())[:3])
            warnings.warn(
                f"{len(failures)} stimuli could not be shown and are NaN ({shown}). All reasons: dataset.error.",
                stacklevel=2,
            )
        return sink.dataset()

    def _run(self, work: Work, predictor: Predictor) -> None:
        with progress_bar(self.progress, "screen", "stimulus", work.count, done=work.num_done, compiles=True) as bar:
            if work.num_done:
                say_resumed(bar)
            work.verify_done(bar)
            while True:
                self._run_once(work, predictor, bar)
                if not work.busy:
                    return
                bar.set_description(f"waiting for {len(work.busy)} blocks of other processes")
                time.sleep(WAIT_S)  # what other processes have is theirs, unless they die

    def _run_once(self, work: Work, predictor: Predictor, bar: Bar) -> None:
        """Everything that no other process has."""
        dispatched: collections.deque[tuple[Block, list[Loaded]]] = collections.deque()

        def finish(block):
            work.write(block)
            bar.update(len(block.stimuli))

        def batches():
            for block in work.blocks():
                parts = block.batches(predictor.batch_size)
                if not parts:  # nothing in it can be shown
                    finish(block)
                dispatched.extend((block, part) for part in parts)
                yield from parts

        for videos in predictor.results(batches()):
            block, batch = dispatched.popleft()
            if self.reduce is not None and not self._has_interval_axis:
                videos = [{name: array[0] for name, array in arrays.items()} for arrays in videos]
            block.arrays.update(zip((loaded.index for loaded in batch), videos, strict=True))
            if self._not_finite is None and not callable(self.reduce):  # which may have its reasons
                bad = (loaded for loaded, arrays in zip(batch, videos, strict=True) if not _are_finite(arrays))
                self._not_finite = next(bad, None)
            if not any(other is block for other, _ in dispatched):
                finish(block)

    def _current_predictor(self) -> Predictor:
        """The one of the last call, unless a network was replaced or changed since."""
        arrays = [leaf for twin in self.twins for leaf in jax.tree.leaves(twin.network)]
        if self._predictor is None or list(map(id, arrays)) != list(map(id, self._arrays)):
            self._predictor = Predictor(
                self.twins, asked=self.asked, reduce=self.reduce, **self._options, **self._sizes
            )
            self._arrays = arrays
        return self._predictor

    def _layout(self, first: Loaded, predictor: Predictor) -> Layout:
        inner, shape = ("time",), (first.inputs.frames,)
        if self.reduce is not None:
            inner, shape = (("interval",), (len(self.intervals),)) if self._has_interval_axis else ((), ())
            if callable(self.reduce):
                own = result_shape(self.reduce, first.spans()[0], predictor.dtype)
                inner, shape = (*inner, *(f"axis{i}" for i in range(len(own)))), (*shape, *own)
        arrays = {
            value.name: Kept((*inner, *value.joined_axes), (*shape, *value.joined_shape), value.dtype)
            for value in self.asked.values
        }
        least = min(LEAST_BLOCK, math.ceil(BLOCK_FRAMES / first.inputs.frames))
        heavy = math.prod(shape) * sum(value.num_bytes for value in self.asked.values if value.name != RESPONSES)
        if heavy:
            least = min(least, max(1, BLOCK_BYTES // heavy))
        block = predictor.batch_size * math.ceil(least / predictor.batch_size)
        return Layout(arrays, block)

    def _feature_shapes(self) -> dict[str, Any]:
        """Of features, where there are some, in one frame: what does not grow."""
        shapes = {value.name: list(value.joined_shape) for value in self.asked.values if value.name != RESPONSES}
        return {"feature_shapes": shapes} if shapes else {}

    def _reduction(self, dtype: Any, loaded: Loaded) -> bytes:
        """What a caller's function computes of intervals of these lengths, which may differ from that of others."""
        if not callable(self.reduce):
            return b""
        lengths = sorted({stop - start for start, stop in loaded.spans()})
        for length in lengths:
            if length not in self._described:
                self._described[length] = describe(self.reduce, length, dtype)
        return " ".join(self._described[length] for length in lengths).encode()

    def _settings(self, first: Loaded, predictor: Predictor, fit: str) -> dict[str, Any]:
        """What decides the responses."""
        self._reduction(predictor.dtype, first)  # a function that calls back to Python is refused before the start
        return {
            "twins": [f"{twin.name} {twin.fingerprint()}" for twin in self.twins],
            "reduce": identity(self.reduce, first.spans()[0][1] - first.spans()[0][0], predictor.dtype),
            "intervals": self.intervals and [list(interval) for interval in self.intervals],
            "interval_axis": self._has_interval_axis,
            **self._options,
            "dtype": str(predictor.dtype),
            "fit": fit,
            **self.asked.settings(),
            "versions": {name: version for name, version in versions().items() if name != "optax"},
        }

    @property
    def units(self) -> pd.DataFrame:
        """The units of all twins in a row, with the scan that each is of."""
        tables = [twin.units.reset_index().assign(scan=twin.name) for twin in self.twins]
        table = pd.concat(tables, ignore_index=True)
        return table[["scan", *(name for name in table if name != "scan")]]


def _are_finite(arrays: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in arrays.values())


def checked_twins(twins: Any) -> list[Twin]:
    """Those of a screen: of one architecture and precision.

    Raises:
        TypeError, ValueError: ``twins`` is something else, or they do not fit together.
    """
    if isinstance(twins, Twin):
        return [twins]
    twins = checks.sequence("twins", twins, "a twin, or several, such as microns.scan(8, 5)[0]")
    for twin in twins:
        if not isinstance(twin, Twin):
            raise TypeError(f"twins holds {type(twin).__name__}; expected Twin, such as microns.scan(8, 5)[0].")

    def architecture(twin):
        return twin.config.to_dict() | {"num_units": None}, twin.network.perspective.monitor.center.dtype

    others = [twin.name for twin in twins if architecture(twin) != architecture(twins[0])]
    if others:
        raise ValueError(
            f"twins {others} have another architecture or precision than {twins[0].name}; screen them apart."
        )
    return twins
