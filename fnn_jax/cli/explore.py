"""``fnn-jax explore``: look around among units in the browser."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fnn_jax import microns
from fnn_jax.cli.options import CACHE_HELP, count, path_name
from fnn_jax.common import checks
from fnn_jax.common.directories import cache_directory
from fnn_jax.common.extras import missing
from fnn_jax.microns.downloads import DownloadError
from fnn_jax.weights.store import Store, is_store

if TYPE_CHECKING:
    from fnn_jax.explorer.tables import UnitTable

MOST_UNITS = 100_000
HIGHEST_PORT = 65_535
HELP = """\
Get the published tables (a few MB): fnn-jax download --weights none
Open results of fnn-jax tune, synthesize or screen: fnn-jax explore RESULTS
Or try it with random units: fnn-jax explore --random 100"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Opens a page in the browser with the table of units, maps of the cortex and of visual space coloured by any "
        "column, filters, pages of single units, and files to export. Only this computer reaches it, by an address "
        "with a secret in it; it needs no network. Without RESULTS: the published units. RESULTS alone: their "
        "units. With --scan, --directory or --random, too: those units, and beside each what RESULTS hold of it. "
        "See docs/explorer.md."
    )
    parser.add_argument(
        "results",
        nargs="*",
        metavar="RESULTS",
        type=path_name,
        help="folders of fnn-jax tune and synthesize, .zarr of fnn-jax screen, or tables, .csv and .parquet",
    )
    parser.add_argument("--scan", nargs="+", metavar="8-5", help="published scans, or those of a folder; default: all")
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=path_name,
        action="append",
        help=f"folder of weights or tables ({CACHE_HELP}); given twice or more, of weights: units of all are compared",
    )
    parser.add_argument("--random", type=count, metavar="UNITS", help="units of a twin with random weights, to try it")
    parser.add_argument("--port", type=int, default=0, help="of the page; default: a free one")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Open a table and serve the page of it."""
    elsewhere = {"--scan": options.scan, "--directory": options.directory, "--random": options.random}
    given = [name for name, value in elsewhere.items() if value is not None]
    if options.random is not None and len(given) > 1:
        raise ValueError(f"--random is given together with {given[0]}; expected one or the other.")
    if options.random is not None:
        checks.integer("--random", options.random, 1, MOST_UNITS)
    checks.integer("--port", options.port, 0, HIGHEST_PORT)
    if importlib.util.find_spec("panel") is None:
        raise ImportError(missing("The explorer", "explore"))
    table = _table(options)

    from fnn_jax.explorer.comparing import Comparison
    from fnn_jax.explorer.page import Page
    from fnn_jax.explorer.serving import serve
    from fnn_jax.explorer.state import State

    state = State(table)
    comparison = Comparison(state)
    print(f"{table.title}: {len(table.units):,} units", flush=True)
    serve(lambda: Page(state, comparison).template, options.port, not options.no_browser)


def _table(options: argparse.Namespace) -> "UnitTable":
    """Of results, of units, or of both together."""
    from fnn_jax.explorer import tables

    if not options.results:
        return _units(options)
    if options.scan is None and options.directory is None and options.random is None:
        return tables.result_table(options.results)
    results = tables.read_results(options.results)  # first: they are read soon, and twins are not
    return tables.with_results(_units(options), results)


def _units(options: argparse.Namespace) -> "UnitTable":
    from fnn_jax.explorer import tables

    if options.random is not None:
        from fnn_jax.twin import Twin

        code = f"import pandas as pd\nfrom fnn_jax import Twin\n\ntwins = [Twin.random(num_units={options.random})]"
        return tables.twin_table([Twin.random(num_units=options.random)], code)
    given = options.directory or [None]
    directories = [cache_directory(directory) for directory in given]
    if len(directories) > 1 or is_store(directories[0]):
        return _twins(directories, options.scan)
    try:
        return tables.published_table(options.scan, given[0])
    except DownloadError as error:
        raise FileNotFoundError(f"{error}\n{HELP}") from error


def _twins(directories: Sequence[Path], scans: Sequence[str] | None) -> "UnitTable":
    """Of folders of weights; of several, the column ``weights`` says which."""
    from fnn_jax.explorer import tables

    twice = next((each for number, each in enumerate(directories) if each in directories[:number]), None)
    if twice is not None:
        raise ValueError(f"--directory is {twice} twice; expected each once.")
    sources = [(str(each), scan) for each in directories for scan in scans or Store(each).scans()]
    code = f"import pandas as pd\nfrom fnn_jax import microns\n\nsources = {sources}\n"
    code += "twins = [microns.load(directory, scan) for directory, scan in sources]"
    twins = [microns.load(directory, scan) for directory, scan in sources]
    if len(directories) == 1:
        return tables.twin_table(twins, code)
    names = [each.name for each in directories]
    called = {str(each): each.name if names.count(each.name) == 1 else str(each) for each in directories}
    weights = [called[directory] for directory, _ in sources]
    return tables.twin_table(twins, f"{code}\nweights = {weights}", weights)
