"""The inside of the network, as a physiologist reads it: features of a video, chosen, pooled, and streamed to disk."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray

from fnn_jax.common.files import whole_directory
from fnn_jax.common.progress import SHORT_FRAMES, checked_progress, progress_bar
from fnn_jax.screen.consolidation import consolidate
from fnn_jax.screen.results import RESPONSES
from fnn_jax.screen.values import checked_values
from fnn_jax.stimuli.movie import Movie
from fnn_jax.twin.twin import Twin

CHANNELS = ("_channel", "_feature", "unit")  # how the names end of axes that ``channels`` chooses from
POOLS: dict[str, Callable[..., Any]] = {"mean": jnp.mean, "max": jnp.max}


def record_features(
    twin: Twin,
    stimulus: Any,
    names: Sequence[str] | str,
    out: str | os.PathLike | None = None,
    *,
    channels: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    streams: Sequence[int] | None = None,
    positions: Sequence[tuple[int, int]] | Mapping[str, Sequence[tuple[int, int]]] | None = None,
    pool: str | None = None,
    perspectives: Any = None,
    modulations: Any = None,
    periphery: str = "dark",
    progress: bool | None = None,
) -> xarray.Dataset:
    """Features of every frame of a video; only what is asked for leaves the device.

    Args:
        stimulus: a video as for ``Twin.predict``, or a ``Movie``.
        names: out of ``twin.feature_table()``, and ``responses``.
        out: folder to write, ``something.zarr``, chunk by chunk; None: in memory.
        channels: which channels (or features, units), the same for every name, or a mapping from names; not of
            ``recurrent.attention``, which has none.
        streams: which streams.
        positions: (row, column) in a map, likewise; instead of ``pool``. What is no map stays whole.
        pool: ``"mean"`` or ``"max"`` over rows and columns of maps.
        progress: show a progress bar; None: in terminals and notebooks. Videos below 20 seconds show one only
            where it is True.

    Returns:
        A dataset with a variable for each name, dots in it replaced by ``_``: ``[time, stream, row, column, channel]``,
        ``[time, stream, position, channel]`` or, pooled, ``[time, stream, channel]``. ``retina`` has no stream; what
        is no map has the axes that screens give it.

    Raises:
        ValueError: names, streams, channels or positions that do not exist, which is seen before anything is
            computed; both ``pool`` and ``positions``.
        FileExistsError: something is at ``out``.
    """
    progress = checked_progress(progress)
    names = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
    if not names:
        raise ValueError(f"names is empty; expected names out of {(*twin.network.feature_names, RESPONSES)}.")
    if pool is not None and positions is not None:
        raise ValueError("Both pool and positions are given; expected one of them.")
    if pool is not None and pool not in POOLS:
        raise ValueError(f"pool is {pool!r}; expected one of {tuple(POOLS)}, or None.")
    inner = tuple(name for name in names if name != RESPONSES)
    twin.network.check_options(None, periphery, inner)
    chosen = _Choice(twin, names, channels, streams, positions, pool)
    frames = stimulus.frames if isinstance(stimulus, Movie) else stimulus

    def chunks():
        outputs = twin.chunks(frames, inner, perspectives, modulations, periphery=periphery)
        with progress_bar(progress, "features", "frame", len(frames), least=SHORT_FRAMES, compiles=True) as bar:
            for part, output in outputs:
                if output.responses.shape[1] != 1:
                    raise ValueError("stimulus is a batch of videos; expected one.")
                found = {**output.features, RESPONSES: output.responses}
                count = part.stop - part.start
                yield part, {name: np.asarray(chosen(name, found[name][:, 0]))[:count] for name in names}
                bar.update(count)

    if out is None:
        parts = [arrays for _, arrays in chunks()]
        data = {name: np.concatenate([arrays[name] for arrays in parts]) for name in names}
        return xarray.Dataset({_key(name): (chosen.dimensions(name), array) for name, array in data.items()})
    path = Path(out).expanduser()
    if path.suffix != ".zarr":
        raise ValueError(f"out is {str(out)!r}; expected a name that ends in .zarr.")
    with whole_directory(path) as folder:
        _write(folder, names, chunks(), len(frames), chosen)
    return xarray.open_zarr(path, chunks=None)  # the same where dask is installed


def _key(name: str) -> str:
    return name.replace(".", "_")


class _Choice:
    """What is kept of each feature."""

    def __init__(self, twin, names, channels, streams, positions, pool):
        self._channels, self._positions, self._pool = channels, positions, pool
        self._streams = None if streams is None else list(streams)
        unknown = [stream for stream in streams or () if not 0 <= stream < twin.config.num_streams]
        if unknown:
            raise ValueError(f"streams has {unknown}; expected indices from 0 to {twin.config.num_streams - 1}.")
        values = checked_values([twin], [name for name in names if name != RESPONSES], True, None, None).values
        self._axes = {value.name: tuple(map(_key, value.axes)) for value in values}
        for argument, choice in (("channels", channels), ("positions", positions)):
            others = [name for name in choice if name not in names] if isinstance(choice, Mapping) else []
            if others:
                raise ValueError(f"{argument} has {others}, which names does not have; expected some of {names}.")
        shapes = {value.name: value.shapes[0] for value in values}
        for name in names:
            self._check(name, shapes[name])

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` for channels and positions that a value of this shape, ``[(stream,) ...]``, lacks."""
        channels, last = _of(self._channels, name), self._axes[name][-1]
        if channels is not None and not last.endswith(CHANNELS):
            raise ValueError(
                f"channels has {channels} for {name}, whose axes are {self._axes[name]}: it has no channels. Give "
                "those of the other names: channels={'core': [0, 5]}."
            )
        bad = [channel for channel in (() if channels is None else channels) if not 0 <= channel < shape[-1]]
        if bad:
            raise ValueError(f"channels has {bad}; {name} has {shape[-1]}, counted from 0.")
        if not self._is_map(name):
            if isinstance(self._positions, Mapping) and name in self._positions:
                raise ValueError(f"positions has {name!r}, which is no map: its axes are {self._axes[name]}.")
            return
        height, width = shape[-3:-1]
        positions = _of(self._positions, name)
        for row, column in np.array(() if positions is None else positions).reshape(-1, 2):
            if not (0 <= row < height and 0 <= column < width):
                raise ValueError(
                    f"positions has {(int(row), int(column))}; the map {name} has {height} rows and {width} columns."
                )

    def __call__(self, name: str, array: Any) -> Any:
        """Of ``[frames, (stream,) ..., channel]`` what is asked for."""
        has_stream = self._axes[name][0] == "stream"
        if has_stream and self._streams is not None:
            array = array[:, jnp.array(self._streams)]
        if self._is_map(name) and self._pool is not None:
            array = POOLS[self._pool](array, axis=(-3, -2))
        elif self._is_map(name) and _of(self._positions, name) is not None:
            rows, columns = np.array(_of(self._positions, name)).reshape(-1, 2).T
            array = array[..., rows, columns, :]
        channels = _of(self._channels, name)
        return array if channels is None else array[..., jnp.array(list(channels))]

    def dimensions(self, name: str) -> tuple[str, ...]:
        axes = self._axes[name]
        if self._is_map(name) and self._pool is not None:
            axes = (*axes[:-3], axes[-1])
        elif self._is_map(name) and _of(self._positions, name) is not None:
            axes = (*axes[:-3], "position", axes[-1])
        return ("time", *axes)

    def _is_map(self, name: str) -> bool:
        return self._axes[name][-3:] == tuple(f"{_key(name)}_{axis}" for axis in ("row", "column", "channel"))


def _of(choice: Any, name: str) -> Any:
    return choice.get(name) if isinstance(choice, Mapping) else choice


def _write(folder: Path, names: Sequence[str], chunks: Any, frames: int, chosen: _Choice) -> None:
    import zarr

    group = zarr.open_group(str(folder), mode="w")
    arrays: dict[str, Any] = {}
    for part, values in chunks:
        for name in names:
            value = values[name]
            if name not in arrays:
                arrays[name] = group.create_array(
                    _key(name),
                    shape=(frames, *value.shape[1:]),
                    chunks=(len(value), *value.shape[1:]),
                    dtype=value.dtype,
                    fill_value=np.nan,
                    compressors=zarr.codecs.ZstdCodec(level=0, checksum=True),  # flipped bits are an error when read
                    dimension_names=chosen.dimensions(name),
                )
            arrays[name][part] = value
    consolidate(folder, map(_key, arrays))
