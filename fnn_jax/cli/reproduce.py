"""``fnn-jax reproduce``: published numbers, computed again and compared."""

import argparse

from fnn_jax.cli.options import CACHE_HELP, count, path_name, use_all_cores
from fnn_jax.model.numerics import PRECISIONS
from fnn_jax.reproduction.responses import FRAMES, TOLERANCE, UNITS
from fnn_jax.reproduction.together import PARTS, planned, reproduce
from fnn_jax.reproduction.tuning import MOVIES
from fnn_jax.reproduction.tuning import UNITS as TUNED_UNITS

DESCRIPTION = """\
Compares what this package computes with what was published of the MICrONS mouse, and writes one report: OUT/report.txt,
report.html, and a table and a figure for each part. Of the large published files (31 GB) only what is compared is
downloaded. Exit code 0: nothing fails; 1: something does, or could not be done.
"""
EPILOG = """\
parts:
  responses    the released model's own predictions, frame by frame: the strongest proof, and the first to run
  readout      readout weights and locations of all units, which way their y points, and known rows of the tables
  tuning       OSI, DSI, gOSI, gDSI and preferences of the ori-trained weights beside the published table
  performance  cc_abs, cc_max, cc_norm beside the published table, from recordings that you have (--data, --scan)
  training     a twin trained on the published example recording, beside the released demonstration: hours on a GPU,
               days on a CPU; --epochs for a shorter look
  all          these; performance only with --data, training only with --epochs

examples:
  fnn-jax reproduce responses --plan            what would be downloaded, and how long it would take
  fnn-jax reproduce responses --scan 8-5        one scan: 234 MB, most of it the weights
  fnn-jax reproduce responses                   all 13 scans, 50 units each
  fnn-jax reproduce readout                     all units of all scans; 213 MB beside the weights and tables
  fnn-jax reproduce tuning --movies 2           scan 8-5, a shorter look
  fnn-jax reproduce training --plan             how long 100 epochs would take; --epochs 2 for a look

It says PASS or FAIL against a stated tolerance, and where it fails, what else was tried and what fits best.
Interrupted or killed, the same command goes on where it was. OUT/report.txt is a block of text to paste into an
issue. See docs/reproduce.md.
"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("part", metavar="PART", nargs="?", choices=(*PARTS, "all"), default="all", help="%(choices)s")
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=path_name, default="reproduction", help="folder to write (%(default)s)"
    )
    parser.add_argument("--scan", metavar="8-5", nargs="+", help="these published scans (default: all 13; tuning: 8-5)")
    parser.add_argument(
        "--num-units",
        metavar="N",
        type=count,
        help=f"units of each scan, evenly spread over it (default: {UNITS}; tuning: {TUNED_UNITS})",
    )
    parser.add_argument(
        "--frames", metavar="N", type=count, default=FRAMES, help="responses: first frames of the stream (%(default)s)"
    )
    parser.add_argument(
        "--tolerance",
        metavar="X",
        type=float,
        default=TOLERANCE,
        help="responses: largest difference that passes, of a unit's largest response (%(default)s)",
    )
    parser.add_argument(
        "--movies", metavar="N", type=count, default=MOVIES, help="tuning: movies of 30 s that are shown (%(default)s)"
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=path_name,
        help="performance: {stimuli,perspectives,modulations,units}/VIDEO/REPEAT.npy of the scan of --scan; "
        "training: a folder with the example recording (default: downloaded)",
    )
    parser.add_argument(
        "--epochs", metavar="N", type=count, help="training: epochs (default: 100, as released; others are for a look)"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="training: of the products in the core; see docs/speed.md (%(default)s)",
    )
    parser.add_argument("--directory", metavar="DIR", type=path_name, help=f"folder of fnn-jax download ({CACHE_HELP})")
    parser.add_argument("--offline", action="store_true", help="download nothing; say what is missing")
    parser.add_argument(
        "--plan", action="store_true", help="say what would be downloaded and how long it takes, and stop"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Say what is to come, compare, print the block of text, write the report."""
    parts: tuple[str, ...] = (options.part,)
    if options.part == "all":
        without = {"performance": options.data is None, "training": options.epochs is None}
        parts = tuple(part for part in PARTS if not without.get(part, False))
    chosen = {
        "scans": options.scan,
        "num_units": options.num_units,
        "num_frames": options.frames,
        "movies": options.movies,
        "data": None if parts == ("training",) else options.data,
        "example": options.data if parts == ("training",) else None,
        "epochs": options.epochs,
        "directory": options.directory,
    }
    if options.plan:
        print(planned(parts, **chosen))
        return 0
    use_all_cores()
    report = reproduce(
        parts,
        options.output,
        tolerance=options.tolerance,
        precision=options.precision,
        offline=options.offline or None,
        announce=print,
        **chosen,
    )
    print(report)
    print(f"written to {options.output}: report.html, report.txt, and a table and a figure for each part")
    return 1 if report.failed else 0
