"""``fnn-jax convert``: PyTorch weights to Orbax checkpoints."""

import argparse

from fnn_jax.cli.options import TAG_HELP, TAGS, path_name
from fnn_jax.microns import scan_name


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Convert published weights, or a twin trained with the released package, into a folder of Orbax checkpoints. "
        "PyTorch is not needed. Keys, shapes and checksums are checked. OUT appears when all of it is complete."
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=path_name,
        help="folder with params_core.pt, params_8_5.pt ..., the published zip, or one .pt file",
    )
    parser.add_argument("-o", "--output", metavar="OUT", type=path_name, required=True, help="folder to write")
    parser.add_argument("--scan", nargs="+", metavar="8-5", help="only these scans of a folder (default: all)")
    parser.add_argument("--name", default="twin", help="name of the scan of a single .pt file (default: %(default)s)")
    parser.add_argument("--weights", choices=TAGS, help=f"{TAG_HELP} (default: told by the zip's checksum)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, once the new one is complete")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from fnn_jax.convert import convert

    scans = None if options.scan is None else [scan_name(name) for name in options.scan]
    store = convert(
        options.source,
        options.output,
        scans=scans,
        name=options.name,
        weights=options.weights,
        overwrite=options.overwrite,
    )
    for scan in store.scans():
        print(f"{scan}: {store.metadata(scan)['config']['num_units']} units")
    print(f"written to {store.directory}")
