"""``fnn-jax screen``: many stimuli, on every device, to disk."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from fnn_jax.cli.options import (
    FORMS,
    add_prediction,
    add_weights,
    behaviour,
    common_options,
    count,
    load_twins,
    path_name,
    use_all_cores,
)
from fnn_jax.screen import Screen
from fnn_jax.twin.twin import Twin
from fnn_jax.videos import VideoError, find_videos, is_video, read_video


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicts the responses of one or several scans to many stimuli, and writes them to a zarr folder "
        "that xarray reads. Killed at any moment and started again with the same arguments, it resumes. "
        "Several processes, also on several machines, may work on one OUT."
    )
    parser.add_argument(
        "stimuli",
        nargs="+",
        type=path_name,
        metavar="STIMULI",
        help=f"a folder of videos, a .npy [S, T, 144, 256], or videos ({FORMS})",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=path_name, required=True, help="folder to write, such as screen.zarr"
    )
    add_weights(parser, several=True)
    parser.add_argument(
        "--reduce",
        choices=("frames", "mean", "max"),
        default="frames",
        help="keep every frame, or the mean or maximum over each interval (%(default)s)",
    )
    parser.add_argument(
        "--intervals", nargs="+", metavar="START:STOP", help="frames, such as 15:45; default: the whole stimulus"
    )
    parser.add_argument(
        "--features",
        nargs="+",
        metavar="NAME",
        help="keep values inside the network, too, by name or pattern, such as 'recurrent.*' (docs/inside.md)",
    )
    parser.add_argument("--only-features", action="store_true", help="these values instead of the responses")
    parser.add_argument("--batch-size", type=count, metavar="N", help="stimuli at once (from the memory at hand)")
    parser.add_argument(
        "--errors",
        choices=("record", "raise"),
        default="record",
        help="note a broken stimulus and go on, or stop (%(default)s)",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="one of several processes under SLURM, OpenMPI, Kubernetes or on TPUs",
    )
    add_prediction(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Many stimuli through one or several twins."""
    output = Path(options.output).expanduser()
    if output.suffix != ".zarr":
        raise ValueError(f"-o is {options.output}; expected a name that ends in .zarr.")
    if options.distributed:
        jax.distributed.initialize()
    else:
        use_all_cores()
    if options.only_features and not options.features:
        raise ValueError("--only-features is given without --features, so that nothing would be kept.")
    stimuli = options.stimuli[0] if len(options.stimuli) == 1 else _named_paths(options.stimuli)
    reduce = None if options.reduce == "frames" else options.reduce
    intervals = None if options.intervals is None else _intervals(options.intervals)
    runner = Screen(
        load_twins(options, options.scan or [None]),
        reduce=reduce,
        intervals=intervals,
        features=options.features,
        responses=not options.only_features,
        batch_size=options.batch_size,
        errors=options.errors,
        **common_options(options),
    )
    _print_fit(stimuli, runner.twins[0], options.fit)
    run_screen(runner, stimuli, output, behaviour(options) | {"fit": options.fit})


def run_screen(runner: Screen, stimuli, output: Path, arguments: dict) -> None:
    dataset = runner(stimuli, output, **arguments)
    print(", ".join(repr(twin) for twin in runner.twins))
    for name, array in dataset.data_vars.items():
        sizes = ", ".join(f"{axis} {size}" for axis, size in array.sizes.items())
        print(f"{'mean responses per frame' if name == 'responses' else name} ({sizes}) in {output}")
    print(f"read them with: fnn_jax.open_screen({str(output)!r})")


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


def _intervals(texts: Sequence[str]) -> list[tuple[int, int]] | tuple[int, int]:
    try:
        pairs: list[Any] = [tuple(map(int, text.split(":"))) for text in texts]
    except ValueError:
        pairs = [()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"--intervals is {' '.join(texts)}; expected START:STOP in frames, such as 15:45.")
    return pairs if len(pairs) > 1 else pairs[0]


def _named_paths(videos: Sequence[str]) -> dict[str, str]:
    names = [Path(video).name for video in videos]  # as those of a folder
    return dict(zip(names if len(set(names)) == len(names) else videos, videos, strict=True))
