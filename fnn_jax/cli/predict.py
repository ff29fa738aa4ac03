"""``fnn-jax predict``: responses of a twin's units to videos."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.cli.options import FORMS, add_prediction, add_weights, behaviour, common_options, load_twins, path_name
from fnn_jax.cli.screen import run_screen
from fnn_jax.common.arrays import write_npz
from fnn_jax.common.files import refuse_existing, whole_file
from fnn_jax.screen import Screen
from fnn_jax.screen.results import unit_columns
from fnn_jax.twin.inputs import constant_trace
from fnn_jax.videos import read_video

SUFFIXES = (".npy", ".npz", ".zarr")


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"Predicts the responses of all units to each frame of one or more videos ({FORMS}). Videos become "
        "gray, 144 x 256 pixels and 30 frames a second; what was done to each is printed. OUT decides the format: .npy "
        "(one video, [frames, units]), .npz (an array for each video, and the table of units) or .zarr (for xarray)."
    )
    parser.add_argument("videos", nargs="+", type=path_name, metavar="VIDEO", help=FORMS)
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=path_name, required=True, help="file to write: .npy, .npz or .zarr"
    )
    parser.add_argument("--frames-per-second", type=float, metavar="HZ", help="of the input, where it does not say")
    parser.add_argument("--overwrite", action="store_true", help="replace a file OUT that is there (not a .zarr)")
    add_weights(parser)
    add_prediction(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
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
        run_screen(Screen(twin, **common_options(options)), frames, output, traces)
        return
    responses = {}
    for name, video in frames.items():
        expanded: dict[str, Any] = {key: constant_trace(key, trace, len(video)) for key, trace in traces.items()}
        responses[name] = twin.predict(video, **expanded, **common_options(options))
    if output.suffix == ".npy":
        with whole_file(output) as path:
            np.save(path, responses[names[0]])
    else:
        units = {
            f"units/{name}": _without_strings(column) for name, column in unit_columns(twin.units.reset_index()).items()
        }
        write_npz(output, responses | units)
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in responses.items())
    print(f"{twin!r}\nmean responses per frame, [frames, units]: {shapes}\nwritten to {output}")


def _distinct_names(videos: Sequence[str]) -> list[str]:
    """Names of files without their endings, or paths where these are not enough."""
    names = [Path(video).stem for video in videos]
    return names if len(set(names)) == len(names) else list(map(str, videos))


def _without_strings(column: np.ndarray) -> np.ndarray:
    return column if column.dtype.kind in "iufb" else column.astype(str)  # which a file without pickle can hold
