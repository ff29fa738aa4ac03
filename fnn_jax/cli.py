"""The command line: ``fnn-jax VERB``. What a verb needs (torch, matplotlib, Orbax) is imported when it is used."""

import argparse
import sys
from collections.abc import Sequence

EPILOG = """\
examples:
  fnn-jax demo                                   see it work, without any download
  fnn-jax convert PUBLISHED_FOLDER weights       published .pt files to Orbax checkpoints
  fnn-jax convert my_twin.pt my_twin             a twin you trained with the released package
  fnn-jax demo --directory weights --scan 8-5    the same demo with published weights

documentation: the folder docs/ of the project
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 1 for an error that is explained in one message, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"fnn-jax {options.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"fnn-jax {options.verb}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    from fnn_jax.version import __version__

    parser = argparse.ArgumentParser(
        prog="fnn-jax",
        description="The Foundation Neural Network of mouse visual cortex (Wang et al., Nature 2025) in JAX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fnn_jax {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_convert(verbs)
    _add_demo(verbs)
    return parser


def _add_weights(parser: argparse.ArgumentParser) -> None:
    """The two options of every verb that needs weights."""
    parser.add_argument(
        "--directory", metavar="DIR", help="folder of weights: the published files, or one written by fnn-jax convert"
    )
    parser.add_argument(
        "--scan", metavar="8-5", help="session and scan; may be left out where the folder holds one scan"
    )


def _add_convert(verbs) -> None:
    parser = verbs.add_parser(
        "convert",
        help="PyTorch weights to Orbax checkpoints",
        description="Convert published weights, or a twin trained with the released package, into a folder that loads "
        "without PyTorch. Everything is checked: keys, shapes, checksums. DEST appears when all of it is complete.",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="folder with params_core.pt, params_8_5.pt ..., or one .pt file"
    )
    parser.add_argument("destination", metavar="DEST", help="folder to write")
    parser.add_argument("--scans", nargs="+", metavar="8-5", help="only these scans of a folder (default: all)")
    parser.add_argument("--name", default="twin", help="name of the scan of a single .pt file (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace DEST, once the new one is complete")
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    from fnn_jax.convert import convert
    from fnn_jax.microns import scan_name

    scans = None if options.scans is None else [scan_name(name) for name in options.scans]
    store = convert(
        options.source,
        options.destination,
        scans=scans,
        name=options.name,
        overwrite=options.overwrite,
        progress=sys.stderr.isatty(),
    )
    for scan in store.scans():
        print(f"{scan}: {store.metadata(scan)['config']['num_units']} units")
    print(f"written to {store.directory}")


def _add_demo(verbs) -> None:
    parser = verbs.add_parser(
        "demo",
        help="predict responses to two short videos, and draw them",
        description="Predicts the responses of a twin to three seconds of black, gray and white and to a photograph "
        "that is panned across, and draws them. Without --directory it makes a small scan with RANDOM weights, saves "
        "and loads it as a published one, and needs no download; it takes about half a minute.",
    )
    _add_weights(parser)
    parser.add_argument("-o", "--output", metavar="DIR", default="demo", help="folder to write (default: %(default)s)")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from fnn_jax.demo import run_demo

    if options.scan is not None and options.directory is None:
        raise ValueError("--scan is given without --directory; expected both, or neither.")
    run_demo(options.output, options.directory, options.scan)


if __name__ == "__main__":
    sys.exit(main())
