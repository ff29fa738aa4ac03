"""``fnn-jax verify``: check everything in a folder of weights."""

import argparse

from fnn_jax.cli.options import CACHE_HELP, TAGS, path_name
from fnn_jax.common.directories import cache_directory
from fnn_jax.microns.verification import verify


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Checks every hash, that cores and scans belong together, all shapes against the architecture, the "
        "readout against the published arrays where these were downloaded, and, where the released package (fnn) is "
        "importable, responses side by side. Exit code 0: all is well; 1: something is not."
    )
    parser.add_argument("directory", metavar="DIR", type=path_name, nargs="?", help=CACHE_HELP)
    parser.add_argument("--weights", choices=TAGS, help="only these")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    directory = cache_directory(options.directory)
    table, problems = verify(directory, weights=options.weights)
    print(table.to_string(index=False))
    for problem in problems:
        print(f"FAILED: {problem}")
    if problems:
        print(
            f"To replace damaged downloads: fnn-jax download --directory {directory}, with the weights and properties "
            "that are damaged. Other weights must be converted again."
        )
    else:
        print(f"all is well in {directory}")
    return 1 if problems else 0
