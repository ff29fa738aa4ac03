"""``fnn-jax download``: get the published weights and tables."""

import argparse

from fnn_jax import microns
from fnn_jax.cli.options import CACHE_HELP, TAG_HELP, TAGS, path_name


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Download the published weights and tables of properties, verify them, and convert the weights. "
        "What is there already causes no traffic; what is damaged is replaced; what was cut off or killed is "
        "resumed."
    )
    parser.add_argument("--weights", choices=(*TAGS, "none"), help=f"{TAG_HELP} (default: default)")
    parser.add_argument("--scan", nargs="+", metavar="8-5", help="convert only these scans (default: all 13)")
    parser.add_argument(
        "--properties",
        nargs="*",
        metavar="NAME",
        help="tables of the units: performance, tuning, anatomy (a few MB each; the default), readout (213 MB)",
    )
    parser.add_argument(
        "--example-recording",
        action="store_true",
        help="instead of these: the published recording to train on, of animal 27203, scan 4-7 (docs/training.md)",
    )
    parser.add_argument("--directory", metavar="DIR", type=path_name, help=f"folder to fill ({CACHE_HELP})")
    parser.add_argument("--offline", action="store_true", help="download nothing; say what is missing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.example_recording:
        others = {"--weights": options.weights, "--scan": options.scan, "--properties": options.properties}
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise ValueError(f"--example-recording comes alone; {', '.join(given)} is for another call.")
        recording = microns.example_recording(directory=options.directory, offline=options.offline or None)
        print(f"training data in {recording.training}\nevaluation data in {recording.evaluation}")
        return
    weights = {None: "default", "none": None}.get(options.weights, options.weights)
    chosen = {} if options.properties is None else {"properties": options.properties}
    directory = microns.download(
        weights=weights, scans=options.scan, directory=options.directory, offline=options.offline or None, **chosen
    )
    if weights is not None:
        print(microns.scans(weights=weights, directory=directory).to_string())
    print(f"in {directory}")
