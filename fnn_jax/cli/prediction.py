"""What ``fnn-jax predict`` and ``fnn-jax screen`` do."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from fnn_jax import microns
from fnn_jax.common.arrays import read_array, write_npz
from fnn_jax.common.directories import cache_directory
from fnn_jax.common.files import refuse_existing, whole_file
from fnn_jax.microns.cache import Cache, is_cache
from fnn_jax.screen import Screen
from fnn_jax.screen.results import unit_columns
from fnn_jax.twin.compilation import enable_compilation_cache
from fnn_jax.twin.twin import Twin
from fnn_jax.videos import VideoError, find_videos, is_video, read_video
from fnn_jax.weights.store import Store, is_store
from fnn_jax.weights.units import QUALITY

SUFFIXES = (".npy", ".npz", ".zarr")
MOST_CPU_DEVICES = 4  # each has its own copy of the weights; more were not measured


def predict(options: argparse.Namespace) -> None:
    """Responses to each frame of a few videos."""
    output = Path(options.output).expanduser()
    if output.suffix not in SUFFIXES:
        raise ValueError(f"-o is {options.output}; expected a name that ends in {', '.join(SUFFIXES)}.")
    if output.suffix == ".npy" and len(options.videos) > 1:
        raise ValueError(f"-o is {options.output}, which holds one array, for {len(options.videos)} videos. Use .npz.")
    names = _distinct_names(options.videos)
    if output.suffix != ".zarr":
        refuse_existing(output, options.overwrite)
    (twin,) = load_twins(options, [options.scan])
    traces = behaviour(options)
    size = (twin.config.stimulus_height, twin.config.stimulus_width)

    frames = {}
    for name, path in zip(names, options.videos, strict=True):
        video = read_video(path, size=size, fit=options.fit, frames_per_second=options.frames_per_second)
        print(video.how)
        frames[name] = video.frames
    if output.suffix == ".zarr":
        _run(Screen(twin, **common_options(options)), frames, output, traces)
        return
    responses = {}
    for name, video in frames.items():
        expanded = {key: _for_frames(trace, len(video)) for key, trace in traces.items()}
        responses[name] = twin.predict(video, **expanded, **common_options(options))
    if output.suffix == ".npy":
        with whole_file(output) as path:
            np.save(path, responses[names[0]])
    else:
        units = {f"units/{name}": _without_strings(column) for name, column in _units(twin).items()}
        write_npz(output, responses | units)
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in responses.items())
    print(f"{twin!r}\nmean responses per frame, [frames, units]: {shapes}\nwritten to {output}")


def screen(options: argparse.Namespace) -> None:
    """Many stimuli through one or several twins."""
    output = Path(options.output).expanduser()
    if output.suffix != ".zarr":
        raise ValueError(f"-o is {options.output}; expected a name that ends in .zarr.")
    if options.distributed:
        jax.distributed.initialize()
    else:
        use_all_cores()
    stimuli = options.stimuli[0] if len(options.stimuli) == 1 else _named_paths(options.stimuli)
    reduce = None if options.reduce == "frames" else options.reduce
    intervals = None if options.intervals is None else _intervals(options.intervals)
    runner = Screen(
        load_twins(options, options.scan or [None]),
        reduce=reduce,
        intervals=intervals,
        batch_size=options.batch_size,
        errors=options.errors,
        **common_options(options),
    )
    _print_fit(stimuli, runner.twins[0], options.fit)
    _run(runner, stimuli, output, behaviour(options) | {"fit": options.fit})


def _run(runner: Screen, stimuli, output: Path, arguments: dict) -> None:
    dataset = runner(stimuli, output, **arguments)
    sizes = ", ".join(f"{name} {size}" for name, size in dataset.responses.sizes.items())
    print(", ".join(repr(twin) for twin in runner.twins))
    print(f"mean responses per frame ({sizes}) in {output}\nread them with: fnn_jax.open_screen({str(output)!r})")


def _print_fit(stimuli: str | dict[str, str], twin: Twin, fit: str) -> None:
    """How the first video is fitted; the others are fitted in the same way, from their own sizes."""
    if isinstance(stimuli, dict):
        first = next(iter(stimuli.values()))
    elif Path(stimuli).suffix == ".npy" and not Path(stimuli).is_dir():
        return  # an array of stimuli, which are not fitted
    else:
        first = stimuli if is_video(stimuli) else find_videos(stimuli)[0]
    size = (twin.config.stimulus_height, twin.config.stimulus_width)
    try:
        print(f"the first: {read_video(first, size=size, fit=fit).how}")
    except VideoError as error:  # the screen says what becomes of it
        print(f"the first: {error}")


def use_all_cores() -> None:
    """Let a screen on a CPU show a video on each core: JAX's own threads leave a part of them idle (docs/speed.md)."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX is in use already, and has its devices
        jax.config.update("jax_num_cpu_devices", min(MOST_CPU_DEVICES, cores))


def load_twins(options: argparse.Namespace, scans: Sequence[str | None]) -> list[Twin]:
    if options.keep_compiled:
        enable_compilation_cache()
    if list(scans) == ["all"]:
        scans = _all_scans(options)
    twins = [microns.load(options.directory, scan, weights=options.weights) for scan in scans]
    quality = [unit for unit in options.units or () if unit in QUALITY]
    numbers = [unit for unit in options.units or () if unit not in QUALITY]
    if quality:
        where = {} if options.weights is None else {"weights": options.weights}
        if options.directory is not None and is_cache(options.directory):
            where["directory"] = options.directory
        table = microns.units([twin.name for twin in twins], quality=quality, **where)
        twins = [twin.select(table) for twin in twins]
    if numbers:
        twins = [twin.select(numbers) for twin in twins]
    return twins


def _all_scans(options: argparse.Namespace) -> Sequence[str]:
    directory = cache_directory(options.directory)
    if is_store(directory):
        return Store(directory).scans()
    scans = Cache(directory).scans(options.weights or "default")
    if not scans:
        raise ValueError(f"--scan is all, but {directory} holds none. Download them: fnn-jax download")
    return list(scans)


def common_options(options: argparse.Namespace) -> dict:
    return {"periphery": options.periphery, "precision": options.precision, "progress": sys.stderr.isatty() or None}


def behaviour(options: argparse.Namespace) -> dict:
    named = {"perspectives": options.perspectives, "modulations": options.modulations}
    return {name: read_array(f"--{name}", path) for name, path in named.items() if path is not None}


def _for_frames(trace: np.ndarray, frames: int) -> np.ndarray:
    return np.broadcast_to(trace, (frames, len(trace))) if trace.ndim == 1 else trace


def _intervals(texts: Sequence[str]) -> list[tuple[int, int]] | tuple[int, int]:
    try:
        pairs = [tuple(map(int, text.split(":"))) for text in texts]
    except ValueError:
        pairs = [()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"--intervals is {' '.join(texts)}; expected START:STOP in frames, such as 15:45.")
    return pairs if len(pairs) > 1 else pairs[0]


def _distinct_names(videos: Sequence[str]) -> list[str]:
    """Names of files without their endings, or paths where these are not enough."""
    names = [Path(video).stem for video in videos]
    return names if len(set(names)) == len(names) else list(map(str, videos))


def _named_paths(videos: Sequence[str]) -> dict[str, str]:
    names = [Path(video).name for video in videos]  # as those of a folder
    return dict(zip(names if len(set(names)) == len(names) else videos, videos, strict=True))


def _units(twin: Twin) -> dict[str, np.ndarray]:
    return unit_columns(twin.units.reset_index())


def _without_strings(column: np.ndarray) -> np.ndarray:
    return column if column.dtype.kind in "iufb" else column.astype(str)  # which a file without pickle can hold
