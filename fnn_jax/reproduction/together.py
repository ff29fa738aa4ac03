"""Several comparisons, one after the other, as one report."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fnn_jax.common import checks
from fnn_jax.common.arrays import map_array
from fnn_jax.common.rate import HZ
from fnn_jax.microns.cache import Cache
from fnn_jax.reproduction.performance import compare_performance
from fnn_jax.reproduction.plan import Plan, plan
from fnn_jax.reproduction.published import checked_scans
from fnn_jax.reproduction.readout import compare_readout
from fnn_jax.reproduction.report import Part, Report
from fnn_jax.reproduction.responses import FRAMES, TOLERANCE, UNITS, compare_responses
from fnn_jax.reproduction.training import compare_training, recipe_of
from fnn_jax.reproduction.tuning import DURATION_S, MOVIES, compare_tuning
from fnn_jax.reproduction.tuning import SCANS as TUNED_SCANS
from fnn_jax.reproduction.tuning import UNITS as TUNED_UNITS

PARTS = ("responses", "readout", "tuning", "performance", "training")


def reproduce(
    parts: Sequence[str] | str = PARTS[:3],
    out: str | os.PathLike | None = None,
    *,
    scans: Sequence[str] | str | None = None,
    num_units: int | None = None,
    num_frames: int = FRAMES,
    tolerance: float = TOLERANCE,
    movies: int = MOVIES,
    data: str | os.PathLike | None = None,
    example: str | os.PathLike | None = None,
    epochs: int | None = None,
    precision: str = "float32",
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
    announce: Callable[[Plan], Any] | None = None,
) -> Report:
    """Compare what the package computes with what was published.

    Args:
        parts: out of ``PARTS``. Where several are asked for, one that cannot be done is reported as
            such, and the others are done.
        out: a folder that the report is written to, and what is needed to go on after a kill.
        scans: names such as ``"8-5"``; None: as each part has it.
        num_units: of each scan; None: as each part has it.
        num_frames, tolerance: as for ``compare_responses``. movies: as for ``compare_tuning``.
        data: recordings for ``performance``, of the one scan of ``scans``: see ``compare_performance``.
        example, epochs, precision: as for ``compare_training``, which needs ``out``.
        directory, offline, progress: as for ``microns.download``.
        announce: is given what will be downloaded and predicted, before it begins.

    Raises:
        TypeError, ValueError: wrong arguments. DownloadError, CheckpointError: of a part that was asked for alone.
    """
    names = [parts] if isinstance(parts, str) else checks.ordered("parts", parts, f"names out of {', '.join(PARTS)}")
    for name in names:
        checks.one_of("parts", name, PARTS)
    out = None if out is None else checks.path("out", out)
    checked_scans(Cache(directory, offline=True, progress=False), scans)
    units = None if num_units is None else checks.integer("num_units", num_units)
    frames, tolerance = checks.integer("num_frames", num_frames, 2), checks.number("tolerance", tolerance, above=0)
    movies = checks.integer("movies", movies)
    recorded = _recorded_scan(names, data, scans)
    if "training" in names and out is None:
        raise ValueError("out is None; expected, for training, a folder to train in.")
    example = None if example is None else checks.path("example", example)
    recipe_of(1 if epochs is None else epochs, precision)  # wrong ones are refused before any work
    common: dict[str, Any] = {"directory": directory, "offline": offline, "progress": progress}
    several: dict[str, Callable[[], Part]] = {
        "responses": lambda: compare_responses(
            out,
            scans=scans,
            num_units=UNITS if units is None else units,
            num_frames=frames,
            tolerance=tolerance,
            **common,
        ),
        "readout": lambda: compare_readout(scans=scans, **common),
        "tuning": lambda: compare_tuning(
            out, scans=scans, num_units=TUNED_UNITS if units is None else units, movies=movies, **common
        ),
        "performance": lambda: compare_performance(data or "", recorded, out, **common),
        "training": lambda: compare_training(out or "", epochs=epochs, precision=precision, example=example, **common),
    }
    if announce is not None:
        settings: dict[str, Any] = {"scans": scans, "num_units": units, "num_frames": frames, "movies": movies}
        announce(planned(names, data=data, example=example, epochs=epochs, directory=directory, **settings))
    done = []
    for name in names:
        done.append(_made(name, several[name], alone=len(names) == 1))
        if out is not None:
            Report(tuple(done)).save(out)  # what is done is there, whatever becomes of the next
    return Report(tuple(done))


def planned(
    parts: Sequence[str] | str = PARTS[:3],
    *,
    scans: Sequence[str] | str | None = None,
    num_units: int | None = None,
    num_frames: int = FRAMES,
    movies: int = MOVIES,
    data: str | os.PathLike | None = None,
    example: str | os.PathLike | None = None,
    epochs: int | None = None,
    directory: str | os.PathLike | None = None,
) -> Plan:
    """What ``reproduce`` would download and predict; arguments as there. Nothing is asked of the server."""
    parts = [parts] if isinstance(parts, str) else parts
    units = UNITS if num_units is None else checks.integer("num_units", num_units)
    cache = Cache(directory, offline=True, progress=False)
    published = cache.release.example
    updates = 0
    if "training" in parts and published is not None:
        recipe = recipe_of(published.epochs if epochs is None else epochs)
        updates = recipe.num_epochs * recipe.training_batches

    def names(part: str) -> list[str]:
        if part == "training":
            return [] if published is None else [published.start]
        return checked_scans(cache, TUNED_SCANS if scans is None and part == "tuning" else scans)

    return plan(
        parts,
        names,
        units=units,
        frames=checks.integer("num_frames", num_frames, 2),
        recorded_frames=0 if data is None else _frames(checks.path("data", data)),
        tuning_frames=round(checks.integer("movies", movies) * DURATION_S * HZ),
        updates=updates,
        has_example=example is not None,
        directory=directory,
    )


def _frames(data: Path) -> int:
    """Of all repeats in a folder of recordings, as far as they can be read; what is wrong is said later."""
    total = 0
    for path in data.glob("units/*/*.npy"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += map_array(path).shape[0]
    return total


def _recorded_scan(names: Sequence[str], data: str | os.PathLike | None, scans: Sequence[str] | str | None) -> str:
    """The scan that recordings are of, where they are asked for: it is known before anything begins."""
    if "performance" not in names:
        return ""
    if data is None:
        raise ValueError(
            "performance needs recordings: give --data FOLDER (data=), with {stimuli,perspectives,modulations,units}/"
            "VIDEO/REPEAT.npy, and --scan, whose they are; or leave this part out."
        )
    given = [scans] if isinstance(scans, str) else list(scans or ())
    if len(given) != 1:
        raise ValueError(f"scans is {given or None}; expected, with recordings, whose they are: one scan.")
    return given[0]


def _made(name: str, make: Callable[[], Part], alone: bool) -> Part:
    try:
        return make()
    except (ValueError, OSError) as error:
        if alone:
            raise
        print(f"fnn_jax: {name} could not be done: {error}", file=sys.stderr)
        return Part(name, None, str(error))
