"""``fnn-jax data``: recordings: check them, or make an example."""

import argparse

from fnn_jax.cli.options import path_name
from fnn_jax.common.checks import integer, number
from fnn_jax.data.example import make_example
from fnn_jax.data.report import check

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
    check.add_argument("--window-frames", type=int, default=100, metavar="N", help="of a training window (%(default)s)")
    check.set_defaults(run=check_data)
    example = actions.add_parser(
        "make-example",
        help="a small recording of a hidden twin",
        description="Writes a recording of 18 x 32 pixels, whose responses come from a twin with random weights, a "
        "twin to start from, and a config.toml, so that fnn-jax train can be tried without a mouse or a download.",
    )
    example.add_argument("directory", metavar="DIR", type=path_name, help="folder to write")
    example.add_argument("--num-units", type=int, default=40, metavar="N", help="%(default)s")
    example.add_argument("--trials", type=int, default=20, metavar="N", help="a fifth is for validation (%(default)s)")
    example.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of a trial (%(default)s)")
    example.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    example.set_defaults(run=make_example_data)


def check_data(options: argparse.Namespace) -> int:
    """Print a report; 1 if there are problems."""
    report = check(options.directory, integer("--window-frames", options.window_frames))
    print(*report.lines, sep="\n")
    for problem in report.problems:
        print(f"PROBLEM: {problem}")
    print("no problems" if not report.problems else f"{len(report.problems)} problems")
    return 1 if report.problems else 0


def make_example_data(options: argparse.Namespace) -> None:
    """Write the example, and say what to do with it."""
    directory = make_example(
        options.directory,
        num_units=integer("--num-units", options.num_units),
        trials=integer("--trials", options.trials),
        seconds=number("--seconds", options.seconds, 1, most=MOST_SECONDS),
        seed=integer("--seed", options.seed, 0),
    )
    print(f"in {directory}: training_data, evaluation_data, hidden, foundation, config.toml")
    print(f"next: fnn-jax data check {directory}")
    print(f"      fnn-jax train {directory / 'config.toml'}")
    print(f"      fnn-jax evaluate {directory / 'twin' / 'best'} {directory / 'evaluation_data'}")
