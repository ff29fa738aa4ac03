"""``fnn-jax demo``: predict responses to two short videos, and draw them."""

import argparse

from fnn_jax.cli.options import add_weights, path_name
from fnn_jax.demo import run_demo


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predicts the responses of a twin to three seconds of black, gray and white and to a photograph "
        "that is panned across, and draws them. Without --directory, --scan and --weights it makes a small scan with "
        "RANDOM weights, saves and loads it as a published one, and needs no download; it takes about half a minute."
    )
    add_weights(parser)
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=path_name, default="demo", help="folder to write (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    run_demo(options.output, options.directory, options.scan, options.weights)
