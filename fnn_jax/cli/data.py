"""What ``fnn-jax data`` does."""

import argparse
import sys

from fnn_jax.common.checks import integer, number
from fnn_jax.data.example import make_example
from fnn_jax.data.report import check

MOST_SECONDS = 3600.0  # of a trial; an example is small


def check_data(options: argparse.Namespace) -> int:
    """Print a report; 1 if there are problems."""
    report = check(options.directory, integer("--window-frames", options.window_frames), sys.stderr.isatty() or None)
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
