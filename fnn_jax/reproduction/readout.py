"""Readout weights and locations of the model beside the published ones, and which way their y points."""

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fnn_jax.microns.cache import Cache
from fnn_jax.microns.verification import LOCATION_TOLERANCE, location_errors, published_readout
from fnn_jax.reproduction import figures
from fnn_jax.reproduction.published import checked_scans
from fnn_jax.reproduction.report import Part
from fnn_jax.reproduction.tables import known_rows
from fnn_jax.twin.twin import Twin

TABLES = ("performance", "tuning", "anatomy")
MEANING = {"down": "down: -1 is the top row", "up": "up: -1 is the bottom row, as the readme of the release has it"}


def compare_readout(
    *,
    scans: Sequence[str] | str | None = None,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Part:
    """Readout weights and locations of the default weights beside the published arrays, for every unit.

    The release does not say in full how its locations were made, so four readings of the model's are tried: on the
    monitor or in the maps of the core, y down or up. Known rows of the small tables are looked at as well.

    Args:
        scans: names such as ``"8-5"``; default all.
        directory, offline, progress: as for ``microns.download``.

    Returns:
        A part whose table has a row for each scan: ``scan, num_units, weights`` (the largest difference, expected 0),
        ``reading`` (which fits best), ``largest`` difference of a location (half the monitor is 1, 0.01 passes),
        and that of each reading. It passes where weights are equal, locations agree with y down, which is what
        ``microns.units`` calls it, and the known rows are as known.

    Raises:
        ValueError: scans that do not exist. DownloadError, CheckpointError: what is needed cannot be had.
    """
    cache = Cache(directory, offline=offline, progress=progress)
    names = checked_scans(cache, scans)
    known, problems = known_rows(cache, TABLES)
    cache.require_properties("readout")
    store = cache.require_scans("default", names)
    rows, places = [], {}
    for name in names:
        twin = Twin.load(store, name)
        weights, locations = published_readout(twin, cache)
        difference = float(np.abs(weights - twin.readout_weights()).max())
        if difference:
            problems.append(_other_weights(cache, name, weights, difference))
        errors = location_errors(twin, locations)
        best = min(errors, key=errors.__getitem__)
        rows.append((name, twin.num_units, difference, best, errors[best], *errors.values()))
        model = twin.readout_locations()
        place = best.partition(",")[0]
        places[name] = locations, model[[f"{place}_x", f"{place}_y_down"]].to_numpy()
    columns = ["scan", "num_units", "weights", "reading", "largest", *errors]
    table = pd.DataFrame(rows, columns=columns)
    readings = sorted(set(table["reading"]))
    largest = float(table["largest"].max())
    direction = _direction(readings)
    if largest > LOCATION_TOLERANCE:
        problems.append(f"locations agree with no reading of the model's: they differ by {largest:.2g} and more.")
    elif direction != "down":
        problems.append(
            "locations agree with y up, and this package calls the published ones y down (readout_y_down of "
            "microns.units): please report it, or look whether the table was changed."
        )
    facts = {
        "compared": f"{table['num_units'].sum()} units of {len(names)} scan{'s' * (len(names) > 1)}",
        "weights": f"largest difference {table['weights'].max():.2e}, expected 0",
        "locations": f"largest difference {largest:.1e} of half the monitor, expected up to {LOCATION_TOLERANCE:g}",
        "read as": "; ".join(readings),
        "y points": MEANING.get(direction, "not the same way in all scans"),
        "known rows": f"{int(known['same'].sum())} of {len(known)} numbers as known",
    }
    verdict = "Weights are equal, locations agree, and y points down." if not problems else " ".join(problems)
    return Part("readout", not problems, verdict, facts, table, draw=lambda path=None: figures.locations(places, path))


def _direction(readings: Sequence[str]) -> str:
    directions = {reading.rpartition(" ")[2] for reading in readings}
    return directions.pop() if len(directions) == 1 else ""


def _other_weights(cache: Cache, scan: str, published: np.ndarray, difference: float) -> str:
    """What the published weights of a scan are, where they are not those of the model."""
    for tag in cache.release.weights:
        if tag != "default" and scan in cache.scans(tag):
            twin = Twin.load(cache.store_directory(tag), scan)
            if np.array_equal(published, twin.readout_weights()):
                return f"{scan}: the published readout weights are those of the {tag} weights: they were swapped."
    return f"{scan}: the published readout weights differ from those of the model, by up to {difference:.2g}."
