"""``fnn-jax info``: what is in a folder of weights."""

import argparse

from fnn_jax.cli.options import CACHE_HELP, path_name
from fnn_jax.common.directories import cache_directory
from fnn_jax.microns.verification import info


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lists what a folder of weights holds: sizes, numbers of units, and where everything came from."
    )
    parser.add_argument("directory", metavar="DIR", type=path_name, nargs="?", help=CACHE_HELP)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    directory = cache_directory(options.directory)
    table = info(directory)
    for archive in filter(None, table["archive"].unique()):
        print(f"{', '.join(table['weights'][table['archive'] == archive].unique())} weights: from {archive}")
    print(table.drop(columns="archive").to_string(index=False))
    print(f"{table['MB'].sum():.1f} MB in {directory}")
