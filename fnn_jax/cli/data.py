"""``fnn-jax data``: recordings: check them, make them of signals on clocks of their own, or make an example."""

import argparse
import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from fnn_jax.cli.options import count, path_name
from fnn_jax.common.checks import integer, number, seed
from fnn_jax.data.building import MOST_VALIDATION, NEGATIVE, TRACES
from fnn_jax.data.example import make_example
from fnn_jax.data.folders import from_folder
from fnn_jax.data.nwb import from_nwb, show
from fnn_jax.data.nwb_export import export
from fnn_jax.data.recordings import entries
from fnn_jax.data.report import Report, check
from fnn_jax.videos import FITS

MOST_SECONDS = 3600.0  # of a trial; an example is small


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "Recordings."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="is a recording fit to train on?",
        description="Looks at every number of a recording in the released layout: files, shapes, types, scales, what "
        "is missing. Exit code 0: no problems; 1: there are some, and each is said.",
    )
    check.add_argument(
        "directory", metavar="DIR", type=path_name, help="training data, evaluation data, or a folder that holds them"
    )
    check.add_argument("--window-frames", type=count, default=100, metavar="N", help="of a window (%(default)s)")
    check.set_defaults(run=check_data)
    arrays = actions.add_parser(
        "from-arrays",
        help="a recording from a folder of .npy files with times",
        description="Resamples signals with times of their own to 30 Hz, z-scores eye and behaviour, divides responses "
        "by their mean, splits trials into training, validation and repeated clips, writes a recording: docs/nwb.md.",
    )
    arrays.add_argument(
        "folder",
        metavar="FOLDER",
        type=path_name,
        help="holds responses.npy, responses_times.npy; stimulus.npy, stimulus_times.npy or movies; trials.csv; "
        "pupil_position.npy, pupil_radius.npy, treadmill_velocity.npy, each with times",
    )
    _add_building(arrays)
    arrays.set_defaults(run=build_from_arrays)
    nwb = actions.add_parser(
        "from-nwb",
        help="a recording from NWB files",
        description="Writes a recording, as from-arrays does, from the NWB files of a session (needs pynwb). What is "
        "what, --mapping says, or what is there, if nothing is ambiguous; --show proposes a mapping: docs/nwb.md.",
    )
    nwb.add_argument("files", nargs="+", metavar="FILE.nwb", type=path_name, help="of one session")
    nwb.add_argument("--mapping", metavar="TOML", type=path_name, help="which objects are what")
    nwb.add_argument("--show", action="store_true", help="print what is there, and a mapping, and end")
    _add_building(nwb, required=False)
    nwb.set_defaults(run=build_from_nwb)
    export = actions.add_parser(
        "to-nwb",
        help="predicted responses as an NWB file",
        description="Writes predicted responses and the table of their units as NWB, to be shared, as on DANDI "
        "(needs pynwb): docs/nwb.md.",
    )
    export.add_argument(
        "source", metavar="FILE", type=path_name, help=".npz of fnn-jax predict, or .zarr of fnn-jax screen or predict"
    )
    export.add_argument("-o", "--output", metavar="OUT.nwb", type=path_name, required=True, help="file to write")
    export.add_argument(
        "--session-start", type=time, metavar="TIME", help="such as 2024-05-01T12:00+02:00; without a zone: UTC (now)"
    )
    export.add_argument("--description", help="of the session, in words")
    export.add_argument("--subject-id", metavar="ID", help="of the animal that the twin is of; DANDI wants the four")
    export.add_argument("--species", metavar="NAME", help="such as 'Mus musculus'")
    export.add_argument("--sex", choices=("M", "F", "U", "O"), help="of the animal")
    export.add_argument("--age", metavar="P100D", help="days since birth")
    export.add_argument("--overwrite", action="store_true", help="replace OUT.nwb, when the new one is complete")
    export.set_defaults(run=write_nwb)
    example = actions.add_parser(
        "make-example",
        help="a small recording of a hidden twin",
        description="Writes a recording of 18 x 32 pixels, whose responses come from a twin with random weights, a "
        "twin to start from, and a config.toml, so that fnn-jax train can be tried without a mouse or a download.",
    )
    example.add_argument("-o", "--output", metavar="OUT", type=path_name, required=True, help="folder to write")
    example.add_argument("--num-units", type=count, default=40, metavar="N", help="%(default)s")
    example.add_argument("--trials", type=count, default=20, metavar="N", help="a fifth validates (%(default)s)")
    example.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of a trial (%(default)s)")
    example.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    example.set_defaults(run=make_example_data)


def _add_building(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Options of what writes a recording from signals; they are arguments of ``fnn_jax.data.from_arrays``."""
    parser.add_argument("-o", "--output", metavar="OUT", type=path_name, required=required, help="folder to write")
    names = [name for name, *_ in TRACES]
    parser.add_argument(
        "--absent",
        nargs="+",
        choices=names,
        metavar="TRACE",
        help=f"was not recorded, and becomes 0: {', '.join(names)}",
    )
    parser.add_argument(
        "--size", type=count, nargs=2, default=(144, 256), metavar=("H", "W"), help="of the frames (144 256)"
    )
    parser.add_argument(
        "--fit", choices=FITS, default="crop", help="how frames of another size get this one (%(default)s)"
    )
    parser.add_argument(
        "--response-lag-s", type=float, default=0.0, metavar="S", help="responses are of so much later (%(default)s)"
    )
    parser.add_argument(
        "--negative", choices=NEGATIVE, default="error", help="responses below 0: refuse them, or put 0 (%(default)s)"
    )
    parser.add_argument("--drop-silent", action="store_true", help="leave out units that never respond")
    parser.add_argument(
        "--validation", type=float, default=0.1, metavar="SHARE", help="of the clips, for validation (%(default)s)"
    )
    parser.add_argument("--repeated", nargs="+", metavar="CLIP", help="to evaluate with (those shown more than once)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw for validation (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, when all is written")


def _building(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "absent": options.absent or (),
        "size": tuple(integer("--size", length) for length in options.size),
        "fit": options.fit,
        "response_lag_s": number("--response-lag-s", options.response_lag_s),
        "negative": options.negative,
        "drop_silent": options.drop_silent,
        "validation": number("--validation", options.validation, 0, most=MOST_VALIDATION),
        "repeated": options.repeated,
        "seed": seed("--seed", options.seed),
        "overwrite": options.overwrite,
    }


def build_from_arrays(options: argparse.Namespace) -> int:
    """Write a recording, and look at it."""
    return _report(from_folder(options.folder, options.output, **_building(options)))


def build_from_nwb(options: argparse.Namespace) -> int:
    """Write a recording, and look at it; or show what is there."""
    if options.show:
        print(show(options.files), end="")
        return 0
    if options.output is None:
        raise ValueError("-o is missing; expected the folder to write, or --show.")
    return _report(from_nwb(options.files, options.output, options.mapping, **_building(options)))


def time(text: str) -> datetime.datetime:
    """A time in ISO 8601; argparse says this function's name of what is none."""
    if not (text[:4].isdigit() and text[4:5] == "-"):  # digits without end are a time, too, to Python
        raise ValueError(text)
    time = datetime.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def write_nwb(options: argparse.Namespace) -> None:
    """Write predictions as NWB."""
    named = {name: getattr(options, name) for name in ("subject_id", "species", "sex", "age")}
    subject = {name: value for name, value in named.items() if value is not None}
    words = {} if options.description is None else {"description": options.description}
    path = export(
        options.source,
        options.output,
        session_start=options.session_start,
        subject=subject,
        overwrite=options.overwrite,
        **words,
    )
    print(f"written to {path}")


def _report(directory: Path) -> int:
    trials = pd.read_csv(directory / "trials.csv")
    counts = trials.groupby("split").agg(trials=("clip", "size"), clips=("clip", "nunique"), frames=("frames", "sum"))
    print(f"{counts.to_string()}\nwritten to {directory}: {', '.join(path.name for path in entries(directory))}")
    return _print_report(check(directory))


def check_data(options: argparse.Namespace) -> int:
    """Print a report; 1 if there are problems."""
    return _print_report(check(options.directory, integer("--window-frames", options.window_frames)))


def _print_report(report: Report) -> int:
    print(*report.lines, sep="\n")
    for problem in report.problems:
        print(f"PROBLEM: {problem}")
    print("no problems" if not report.problems else f"{len(report.problems)} problems")
    return 1 if report.problems else 0


def make_example_data(options: argparse.Namespace) -> None:
    """Write the example, and say what to do with it."""
    directory = make_example(
        options.output,
        num_units=integer("--num-units", options.num_units),
        trials=integer("--trials", options.trials),
        seconds=number("--seconds", options.seconds, 1, most=MOST_SECONDS),
        seed=integer("--seed", options.seed, 0),
    )
    print(f"in {directory}: training_data, evaluation_data, hidden, foundation, config.toml")
    print(f"next: fnn-jax data check {directory}")
    print(f"      fnn-jax train {directory / 'config.toml'}")
    print(f"      fnn-jax evaluate {directory / 'twin' / 'best'} {directory / 'evaluation_data'}")
