"""``fnn-jax export``: back to PyTorch."""

import argparse

from fnn_jax import microns
from fnn_jax.cli.options import TAG_HELP, TAGS, path_name


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a twin for the released package: one .pt file with all keys, or, where OUT does not end in "
        ".pt, a folder in the published layout. Converting it again gives the same weights, bit for bit."
    )
    parser.add_argument("directory", metavar="DIR", type=path_name, help="folder of weights")
    parser.add_argument("output", metavar="OUT", type=path_name, help="file or folder to write, such as out.pt")
    parser.add_argument("--scan", metavar="8-5", help="may be left out where DIR holds one scan")
    parser.add_argument("--weights", choices=TAGS, help=TAG_HELP)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from fnn_jax.convert import export  # needs torch, which the help does not

    twin = microns.load(options.directory, options.scan, weights=options.weights)
    export(twin, options.output, overwrite=options.overwrite)
    print(f"wrote {twin} to {options.output}")
