"""What several verbs understand, and what they make of it."""

import argparse
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from fnn_jax import microns
from fnn_jax.common import checks
from fnn_jax.common.arrays import read_array
from fnn_jax.common.directories import cache_directory
from fnn_jax.common.progress import terminal_or_lines
from fnn_jax.microns.cache import Cache, is_cache
from fnn_jax.microns.release import MICRONS
from fnn_jax.twin import Twin
from fnn_jax.twin.compilation import enable_compilation_cache
from fnn_jax.weights.store import Store, is_store
from fnn_jax.weights.units import QUALITY

MOST_CPU_DEVICES = 4  # each has its own copy of the weights; more were not measured
TAGS = tuple(MICRONS.weights)
TAG_HELP = "which published weights; ori-trained are those trained further on oriented stimuli"
CACHE_HELP = "default: the folder of the environment variable FNN_JAX_CACHE, or one in your cache"
FORMS = "mp4, avi, mov, mkv, webm, gif, npy, npz, zarr, or a folder of images"


def path_name(text: str) -> str:
    """A name that a file can have; which ones there are, the verbs say."""
    try:
        checks.path("it", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def count(text: str) -> int:
    """How many of something, at least one; refused in the option's name, which the library does not know."""
    try:
        return checks.integer("it", int(text) if text.lstrip("+-").isdecimal() else text)
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def unit_name(text: str) -> int | str:
    """A ``readout_id``, a quality, or the path of a table; argparse says this function's name of what is none."""
    return path_name(text) if text in QUALITY or text.endswith(".csv") else int(text)


def add_units(parser: Any, required: bool = False) -> None:
    """Which units, to verbs of all kinds; see ``select_units``."""
    parser.add_argument(
        "--units",
        nargs="+",
        type=unit_name,
        metavar="ID",
        required=required,
        help="these units: by readout_id; 'reliable', 'oriented': by published properties; or a .csv with a row for "
        "each, as fnn-jax tune and explore write them (docs/units.md)",
    )


def add_weights(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """The options of every verb that needs weights."""
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=path_name,
        help=f"folder of weights: of fnn-jax download or fnn-jax convert, or the published files ({CACHE_HELP})",
    )
    rest = ", several of them, or 'all' that are here" if several else ""
    parser.add_argument(
        "--scan",
        metavar="8-5",
        nargs="+" if several else None,
        help=f"session and scan{rest}; may be left out where the folder holds one scan",
    )
    parser.add_argument("--weights", choices=TAGS, help=TAG_HELP)


def add_prediction(parser: argparse.ArgumentParser, videos: bool = True) -> None:
    """What predictions of all kinds understand; ``videos``: also those of videos of any size and length."""
    add_units(parser)
    if videos:
        parser.add_argument(
            "--fit",
            choices=("crop", "pad", "stretch"),
            default="crop",
            help="how frames of another size become 144 x 256: cut to 16:9, gray borders, or distorted (%(default)s)",
        )
    add_behaviour(parser)
    add_rollout(parser)


def add_behaviour(parser: argparse.ArgumentParser) -> None:
    """What the animal does, where no recording says it."""
    parser.add_argument(
        "--perspectives",
        metavar="NPY",
        type=path_name,
        help="z-scored pupil position (x, y), [T, 2] or [2]; default zeros",
    )
    parser.add_argument(
        "--modulations",
        metavar="NPY",
        type=path_name,
        help="z-scored pupil radius and treadmill velocity, [T, 2] or [2]; default zeros",
    )


def add_rollout(parser: argparse.ArgumentParser) -> None:
    """How the network runs, wherever it does."""
    parser.add_argument("--periphery", choices=("dark", "extend"), default="dark", help="beyond the monitor")
    parser.add_argument(
        "--precision",
        choices=("float32", "tensorfloat32", "bfloat16"),
        default="float32",
        help="the others are faster on accelerators, and less exact; see docs/speed.md (%(default)s)",
    )
    parser.add_argument("--keep-compiled", action="store_true", help="keep what is compiled, for the next time")


def load_twins(options: argparse.Namespace, scans: Sequence[str | None]) -> list[Twin]:
    if options.keep_compiled:
        enable_compilation_cache()
    if list(scans) == ["all"]:
        scans = _all_scans(options)
    twins = [microns.load(options.directory, scan, weights=options.weights) for scan in scans]
    return select_units(twins, options, options.directory)


def select_units(twins: list[Twin], options: argparse.Namespace, directory: str | None) -> list[Twin]:
    """Of each twin the units that ``--units`` names: those that meet every quality, and are in every table."""
    units = options.units or ()
    quality = [unit for unit in units if unit in QUALITY]
    tables = [unit for unit in units if isinstance(unit, str) and unit not in QUALITY]
    numbers = [unit for unit in units if isinstance(unit, int)]
    if quality:
        where = {} if options.weights is None else {"weights": options.weights}
        if directory is not None and is_cache(directory):
            where["directory"] = directory
        published = microns.units([twin.name for twin in twins], quality=quality, **where)
        twins = [twin.select(published) for twin in twins]
    for path in tables:
        table = _read_units(path)
        twins = [twin.select(_of_scan(table, twin, path)) for twin in twins]
    if numbers:
        twins = [twin.select(numbers) for twin in twins]
    return twins


def _read_units(path: str) -> pd.DataFrame:
    try:
        return pd.read_csv(Path(path).expanduser())
    except OSError as error:
        raise type(error)(f"--units is {path}, which cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # pandas raises many kinds
        raise ValueError(f"--units is {path}, which is no table in CSV, or is damaged: {error}") from error


def _of_scan(table: pd.DataFrame, twin: Twin, path: str) -> pd.DataFrame:
    """Its rows of a scan, where it says which scans they are of."""
    if "scan" not in table:
        return table
    of_scan = table[table["scan"].astype(str) == twin.name]
    if not len(of_scan):
        raise ValueError(
            f"--units is {path}, with units of {', '.join(sorted(table['scan'].astype(str).unique())) or 'no scan'}; "
            f"expected some of {twin.name}."
        )
    return of_scan


def _all_scans(options: argparse.Namespace) -> Sequence[str]:
    directory = cache_directory(options.directory)
    if is_store(directory):
        return Store(directory).scans()
    scans = Cache(directory).scans(options.weights or "default")
    if not scans:
        raise ValueError(f"--scan is all, but {directory} holds none. Download them: fnn-jax download")
    return list(scans)


def common_options(options: argparse.Namespace) -> dict:
    return {"periphery": options.periphery, "precision": options.precision, "progress": terminal_or_lines()}


def behaviour(options: argparse.Namespace) -> dict:
    named = {"perspectives": options.perspectives, "modulations": options.modulations}
    return {name: read_array(f"--{name}", path) for name, path in named.items() if path is not None}


def use_all_cores() -> None:
    """Let a screen on a CPU show a video on each core: JAX's own threads leave a part of them idle (docs/speed.md)."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # JAX is in use already, and has its devices
        jax.config.update("jax_num_cpu_devices", min(MOST_CPU_DEVICES, cores))
