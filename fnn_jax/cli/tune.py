"""``fnn-jax tune``: tuning and receptive fields of units: tables and figures."""

import argparse
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fnn_jax.cli.options import (
    add_prediction,
    add_weights,
    behaviour,
    common_options,
    count,
    load_twins,
    path_name,
    use_all_cores,
)
from fnn_jax.physiology.columns import UNIT_COLUMNS
from fnn_jax.physiology.protocol import Protocol
from fnn_jax.physiology.protocols import PROTOCOLS, readout_center
from fnn_jax.physiology.report import write_report
from fnn_jax.physiology.result import Result
from fnn_jax.stimuli.display import Display
from fnn_jax.twin.twin import Twin


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows the stimuli of a protocol to one or several scans and measures every unit. Writes "
        "OUT/units.csv and .parquet (a row for each unit, with the published names of columns), conditions.csv (what "
        "was shown), arrays.npz (curves or fields), figures as .png and .pdf, report.html with all of it, and "
        "screen.zarr, the responses: killed and started again, it resumes there. See docs/physiology.md."
    )
    parser.add_argument(
        "--protocol",
        required=True,
        choices=("direction", "frequency", "size", "contrast", "surround", "dots", "noise"),
        help="direction: OSI, DSI, gOSI, gDSI; frequency: spatial x temporal; size, contrast, surround: of gratings; "
        "dots, noise: receptive fields",
    )
    add_weights(parser, several=True)
    parser.add_argument("-o", "--output", metavar="OUT", type=path_name, required=True, help="folder to write")
    parser.add_argument(
        "--set",
        nargs="+",
        metavar="NAME=VALUE",
        default=[],
        help="parameters of the protocol, such as movies=4 duration_s=15 center=[10,-5]; a name that does not exist "
        "lists them",
    )
    parser.add_argument(
        "--geometry",
        choices=("spherical", "flat"),
        default="spherical",
        help="degrees as the eye sees them (of the first scan), or as many to every pixel (%(default)s)",
    )
    parser.add_argument("--pages", type=int, metavar="N", default=6, help="of single units, the best (%(default)s)")
    parser.add_argument("--batch-size", type=count, metavar="N", help="movies at once (from the memory at hand)")
    add_prediction(parser, videos=False)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Show a protocol, measure, write tables and figures."""
    output = Path(options.output).expanduser()
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"-o is {options.output}, which is a file; expected a folder.")
    if options.pages < 0:
        raise ValueError(f"--pages is {options.pages}; expected 0 or more.")
    use_all_cores()
    twins = load_twins(options, options.scan or [None])
    protocol = _protocol(options, twins)
    print(f"{', '.join(map(repr, twins))}\n{protocol!r}")
    output.mkdir(parents=True, exist_ok=True)
    result = protocol.run(
        twins, output / "screen.zarr", batch_size=options.batch_size, **common_options(options), **behaviour(options)
    )
    stated = {"protocol": " ".join([options.protocol, *options.set]), "geometry": options.geometry}
    written = write_report(result, output, pages=options.pages, settings=stated)
    _print_summary(result)
    print(f"written to {output}: {', '.join(str(path.relative_to(output)) for path in written)}, screen.zarr")


def _protocol(options: argparse.Namespace, twins: Sequence[Twin]) -> Protocol:
    display = Display.of(twins[0]) if options.geometry == "spherical" else Display.flat(twins[0])
    make = PROTOCOLS[options.protocol]
    known = {name: each.default for name, each in inspect.signature(make).parameters.items() if name != "display"}
    chosen: dict[str, Any] = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if name not in known or not equals:
            listed = ", ".join(f"{each}={default!r}" for each, default in known.items())
            raise ValueError(f"--set has {text!r}; the protocol {options.protocol} has: {listed}.")
        try:
            chosen[name] = json.loads(value)
        except (ValueError, RecursionError):  # such as that of an integer of many digits
            chosen[name] = value
    if "center" in known and "center" not in chosen:
        x, y = readout_center(twins[0], display)
        print(f"center: ({x:.1f}, {y:.1f}) {display.unit}, the median of the units' readout locations")
        chosen["center"] = (x, y)
    return make(display, **chosen)


def _print_summary(result: Result) -> None:
    shown = [name for name in result.table.select_dtypes(float) if name not in UNIT_COLUMNS]
    print(result.table[shown].describe().loc[["count", "25%", "50%", "75%"]].T.to_string(float_format="{:.4g}".format))
