"""Batches of videos through one or several twins, on all devices of this process.

The device never waits for the host: a batch is dispatched before the results of the one before are fetched.
"""

import collections
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.extent import last_border
from fnn_jax.model.network import Inputs, Network, NetworkState
from fnn_jax.model.parameters import named_parameters, network_from_parameters, unit_axis
from fnn_jax.screen.reduction import RUNNING
from fnn_jax.screen.results import RESPONSES
from fnn_jax.screen.source import Loaded
from fnn_jax.screen.values import Asked, Value, change_units, of_stimuli
from fnn_jax.twin import sizes
from fnn_jax.twin.rollout import compiled_rollout, fold
from fnn_jax.twin.twin import Twin

IN_FLIGHT = 2  # batches that are dispatched before the results of the first are waited for


class _Dispatched(NamedTuple):
    batch: Sequence[Loaded]
    # For each twin and value an array [videos, intervals, ...], its own axes in one, or chunks [frames, videos, ...].
    results: list[dict[str, Any]]


class Predictor:
    """What is asked for of twins of one architecture; all units of all twins in one row.

    Args:
        twins: their numbers of units may differ: the program is compiled once, for the largest, unless interventions
            on units would see that.
        asked: what is kept, and interventions.
        reduce: see ``Screen``.
        batch_size: videos at once, over all devices; None: from the memory at hand.
    """

    def __init__(
        self,
        twins: Sequence[Twin],
        *,
        asked: Asked,
        reduce: str | Callable | None,
        periphery: str,
        stream: int | None,
        precision: str,
        batch_size: int | None = None,
        chunk_frames: int | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        self.devices = list(jax.local_devices() if devices is None else devices)
        self.config = twins[0].config
        self.num_units = [twin.num_units for twin in twins]
        if batch_size is None:
            batch_size = sizes.batch_size(self.config, self.devices[0]) * len(self.devices)
        self.batch_size = self._divisible(batch_size)
        self.chunk_frames = chunk_frames
        self._mesh = Mesh(np.array(self.devices), ("video",))
        self._reduce = jax.jit(reduce) if callable(reduce) else reduce
        self._options = {"periphery": periphery, "features": asked.features, "precision": precision}
        if not asked.responses:  # what comes after the last of the features is not computed
            self._options["end"] = last_border("stimulus", (*asked.features, *asked.interventions))
        self._stream = None if stream is None else self._put(np.int32(stream))
        self.dtype = np.dtype(twins[0].network.perspective.monitor.center.dtype)
        self._values = asked.values
        self._changes = self._put(asked.interventions) if asked.interventions else None
        most = max(self.num_units)
        self._padded = self.num_units if change_units(asked.interventions) else [most] * len(twins)
        self._leaves, self._structures, self._cores = [], [], []
        for twin, units in zip(twins, self._padded, strict=True):
            network, core = fold(_with_units(twin.network, units))
            leaves, structure = jax.tree.flatten(network)
            self._leaves.append([self._put(leaf) for leaf in leaves])
            self._structures.append(structure)
            self._cores.append(core)
        self._init_state = twins[0].network.init_state
        self._states: dict[int, NetworkState] = {}

    def description(self) -> str:
        """What computes, for the record."""
        kinds = ", ".join(sorted({device.device_kind for device in self.devices}))
        return f"{len(self.devices)} x {kinds}, jax {jax.__version__}, batches of {self.batch_size}"

    def results(self, batches: Iterable[Sequence[Loaded]]) -> Iterator[list[dict[str, np.ndarray]]]:
        """For each batch of at most ``batch_size`` videos, in order: of each video its values by name, ``[frames,
        ...]``, or, reduced, ``[intervals, ...]``.

        When the memory of the device does not suffice, batches are cut in two, and a warning says so.
        """
        waiting: collections.deque[Any] = collections.deque()
        for batch in batches:
            waiting.append(self._dispatch_or_none(batch) or batch)
            if len(waiting) > IN_FLIGHT - 1:
                yield self._fetch(waiting)
        while waiting:
            yield self._fetch(waiting)

    def _fetch(self, waiting: collections.deque) -> list[dict[str, np.ndarray]]:
        first = waiting.popleft()
        if isinstance(first, _Dispatched):
            try:
                return self._collect(first)
            except jax.errors.JaxRuntimeError as error:
                _require_out_of_memory(error)
                first = first.batch
        for index, other in enumerate(waiting):  # nothing else may hold memory meanwhile
            waiting[index] = other.batch if isinstance(other, _Dispatched) else other
        return self._in_smaller_batches(first)

    def _dispatch_or_none(self, batch: Sequence[Loaded]) -> _Dispatched | None:
        try:
            return self._dispatch(batch)
        except jax.errors.JaxRuntimeError as error:
            _require_out_of_memory(error)
            return None

    def _in_smaller_batches(self, batch: Sequence[Loaded]) -> list[dict[str, np.ndarray]]:
        while True:
            try:
                parts = [batch[i : i + self.batch_size] for i in range(0, len(batch), self.batch_size)]
                return [result for part in parts for result in self._collect(self._dispatch(part))]
            except jax.errors.JaxRuntimeError as error:
                _require_out_of_memory(error)
                if self.batch_size <= len(self.devices):
                    raise
                self.batch_size = self._divisible(self.batch_size // 2)
                self._states.clear()
                warnings.warn(
                    f"Out of memory: the screen goes on in batches of {self.batch_size}. Give batch_size="
                    f"{self.batch_size} to begin with them.",
                    stacklevel=2,
                )

    def _divisible(self, batch_size: int) -> int:
        count = len(self.devices)
        return max(1, round(batch_size / count)) * count

    def _dispatch(self, batch: Sequence[Loaded]) -> _Dispatched:
        """Start a batch; the last chunk of each video is filled up, and so are missing videos of the batch."""
        # More than the batch size where that became smaller after the batch was made.
        size = max(self.batch_size, math.ceil(len(batch) / len(self.devices)) * len(self.devices))
        length = self.chunk_frames or sizes.chunk_frames(self.config, self.devices[0], size // len(self.devices))
        longest = max(loaded.inputs.frames for loaded in batch)
        running = RUNNING.get(self._reduce) if isinstance(self._reduce, str) else None
        states = [self._state(size)] * len(self._leaves)
        results: list[dict[str, Any]] = [{value.name: [] for value in self._values} for _ in self._leaves]
        if running:
            counts = self._put(_padded_counts(batch, size, self.dtype), axis=0)
            results = [self._start(running, index, counts.shape) for index in range(len(self._leaves))]
        numbers = None
        if self._changes is not None:
            numbers = [loaded.index for loaded in batch] + [0] * (size - len(batch))
            numbers = self._put(np.array(numbers, np.int32), axis=0)
        with jax.transfer_guard("disallow"):
            for start in range(0, longest, length):
                inputs = Inputs(*(self._put(array, axis=1) for array in self._chunk(batch, size, start, length)))
                inside = self._put(_inside(batch, size, start, length), axis=1) if running else None
                changed = () if numbers is None else (numbers, self._changes, self._put(np.int32(start)))
                for index, kept in enumerate(results):
                    states[index], found = self._rollout(index, states[index], inputs, *changed)
                    for name, value in kept.items():
                        kept[name] = (
                            _add(value, found[name], inside, running=running) if running else [*value, found[name]]
                        )
            if running:
                results = [
                    {name: _finish(value, counts, running=running) for name, value in kept.items()} for kept in results
                ]
        if not callable(self._reduce):  # of which the result alone leaves the device
            for array in jax.tree.leaves(results):
                array.copy_to_host_async()
        return _Dispatched(batch, results)

    def _start(self, running, index: int, counts: tuple[int, ...]) -> dict[str, jax.Array]:
        """Of a reduction that goes along with the video, for a twin: what it begins with."""
        found = {}
        for value in self._values:
            shape = (*counts, math.prod(value.shape_of(index, self._padded[index])))
            found[value.name] = self._put(running.start(shape, value.dtype), axis=0)
        return found

    def _rollout(self, index, state, inputs, *changed):
        arguments = self._leaves[index], state, inputs, self._stream, *changed
        if len(self.devices) == 1:
            return _values(*arguments, structure=self._structures[index], **self._options)
        options = tuple(self._options.items())
        return _sharded_values(self._mesh, self._structures[index], options, bool(changed))(*arguments)

    def _collect(self, dispatched: _Dispatched) -> list[dict[str, np.ndarray]]:
        """Wait for a batch, and put the values of all twins together."""
        batch, results = dispatched
        videos: list[dict[str, np.ndarray]] = [{} for _ in batch]
        for value in self._values:
            parts = [kept[value.name] for kept in results]
            for video, array in zip(videos, self._collected(value, parts, batch), strict=True):
                video[value.name] = array
        return videos

    def _collected(self, value: Value, parts: Sequence[Any], batch: Sequence[Loaded]) -> list[np.ndarray]:
        """A value of each video; ``parts`` are what was dispatched for each twin."""
        if callable(self._reduce):
            return [self._reduced(value, parts, index, loaded) for index, loaded in enumerate(batch)]
        twins = []
        for index, (part, units) in enumerate(zip(parts, self.num_units, strict=True)):
            if self._reduce is None:
                array = np.concatenate(part)
            else:
                array = np.asarray(part)
                array = array.reshape(*array.shape[:2], *value.shape_of(index, self._padded[index]))
            twins.append(value.only_units(array, 2, units))
        joined = value.joined(twins, 2)
        if self._reduce is None:
            return [joined[: loaded.inputs.frames, index] for index, loaded in enumerate(batch)]
        return list(joined[: len(batch)])

    def _reduced(self, value: Value, parts: Sequence[Any], video: int, loaded: Loaded) -> np.ndarray:
        """What a caller's function makes of a value of one video, interval by interval."""
        twins = []
        for chunks, units in zip(parts, self.num_units, strict=True):
            array = jnp.concatenate([value.only_units(chunk[:, video], 1, units) for chunk in chunks])
            flat = array.reshape(len(array), -1)
            spans = np.stack([np.asarray(self._reduce(flat[start:stop])) for start, stop in loaded.spans()])  # type: ignore[operator]
            twins.append(spans.reshape(*spans.shape[:-1], *array.shape[1:]))
        return value.joined(twins, spans.ndim - 1)

    def _chunk(self, batch, size, start, length):
        """Stimulus, eye and behaviour of all videos, ``[frames, videos, ...]``."""
        chunks = []
        for loaded in batch:
            frames = loaded.inputs.frames
            begin = min(start, frames - 1)  # a video that has ended shows its last frame
            stop = min(begin + length, frames)
            chunks.append(loaded.inputs.chunk(begin, stop, length, self.config, self.dtype))
        arrays = [np.concatenate(arrays, axis=1) for arrays in zip(*chunks, strict=True)]
        missing = size - len(batch)
        if missing:
            arrays = [np.concatenate([a, np.zeros((length, missing, *a.shape[2:]), a.dtype)], axis=1) for a in arrays]
        return arrays

    def _state(self, size: int) -> NetworkState:
        if size not in self._states:
            self._states[size] = jax.tree.map(lambda array: self._put(array, axis=0), self._init_state(size))
        return self._states[size]

    def _sharding(self, axis: int | None) -> Any:
        if len(self.devices) == 1:
            return self.devices[0]
        spec = PartitionSpec() if axis is None else PartitionSpec(*(None,) * axis, "video")
        return NamedSharding(self._mesh, spec)

    def _put(self, array: Any, axis: int | None = None) -> jax.Array:
        """Onto the devices: cut along the axis of the videos, or the whole on each."""
        return jax.device_put(array, self._sharding(axis))


def _with_units(network: Network, num_units: int) -> Network:
    """The network with units added that read nothing, so that networks of several scans have one program."""
    missing = num_units - network.config.num_units
    if not missing:
        return network
    arrays = named_parameters(network)
    for name, array in arrays.items():
        if (axis := unit_axis(name)) is not None:
            arrays[name] = jnp.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)])
    config = NetworkConfig.from_dict(network.config.to_dict() | {"num_units": num_units})
    return network_from_parameters(config, arrays)


def _values(leaves, state, inputs, stream, *changed, structure, **options):
    """A chunk of frames: the state, and responses and features by name. ``changed``: the numbers of the stimuli,
    interventions, and which frame the first one is."""
    if changed:
        numbers, changes, first_frame = changed
        changed = of_stimuli(changes, numbers), first_frame
    state, output = compiled_rollout(leaves, state, inputs, stream, *changed, structure=structure, **options)
    responses = {} if output.responses is None else {RESPONSES: output.responses}
    return state, responses | output.features


@functools.lru_cache(maxsize=32)
def _sharded_values(mesh, structure, options, is_changed):
    """The same with each device working on its own videos: no device waits for another."""
    values = functools.partial(_values, structure=structure, **dict(options))
    by_video, by_frame = PartitionSpec("video"), PartitionSpec(None, "video")
    changed = (by_video, PartitionSpec(), PartitionSpec()) if is_changed else ()
    return jax.jit(
        jax.shard_map(
            values,
            mesh=mesh,
            in_specs=(PartitionSpec(), by_video, by_frame, PartitionSpec(), *changed),
            out_specs=(by_video, by_frame),
            check_vma=False,
        )
    )


@functools.partial(jax.jit, static_argnames="running")
def _add(total, values, inside, *, running):
    """``values [frames, videos, ...]`` added to what there is, ``[videos, intervals, ...]``, their own axes in one."""
    return running.add(total, values.reshape(*values.shape[:2], -1), inside)


@functools.partial(jax.jit, static_argnames="running")
def _finish(value, counts, *, running):
    return running.finish(value, counts)


def _inside(batch: Sequence[Loaded], size: int, start: int, length: int) -> np.ndarray:
    """Which frames of a chunk are inside each interval, ``[frames, videos, intervals]``."""
    inside = np.zeros((length, size, len(batch[0].spans())), bool)
    frame = np.arange(start, start + length)[:, None]
    for index, loaded in enumerate(batch):
        spans = np.array(loaded.spans())
        inside[:, index] = (frame >= spans[:, 0]) & (frame < spans[:, 1])
    return inside


def _padded_counts(batch: Sequence[Loaded], size: int, dtype: Any) -> np.ndarray:
    """Frames of each interval, ``[videos, intervals]``; 1 for missing videos."""
    counts = np.ones((size, len(batch[0].spans())), dtype)
    for index, loaded in enumerate(batch):
        counts[index] = [stop - start for start, stop in loaded.spans()]
    return counts


def _require_out_of_memory(error: Exception) -> None:
    if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
        raise error
