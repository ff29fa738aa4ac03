"""Tuning for direction, measured on the twin, beside the published table."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.microns.cache import COLUMNS, Cache
from fnn_jax.physiology.protocols import direction_tuning
from fnn_jax.reproduction import figures
from fnn_jax.reproduction.published import checked_scans, spread
from fnn_jax.reproduction.report import Part
from fnn_jax.reproduction.tables import known_rows, published_table
from fnn_jax.stimuli.display import Display
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.units import KEY

SCANS = ("8-5",)
UNITS, MOVIES, DURATION_S = 1000, 8, 30.0
WEIGHTS = "ori-trained"
SELECTIVE = 0.25  # published gOSI (and DSI, for the direction) of units whose preference says something
TURNS = {"pref_ori": 180.0, "pref_dir": 360.0}  # degrees after which a preference is the same again
NEAR = {"pref_ori": 10.0, "pref_dir": 10.0}  # degrees; of the others 0.05
INDEX_NEAR = 0.05
LEAST_CORRELATION = 0.8  # over units, of tuning that other movies of the same kind measured; a guess, not a measurement
MEASURES = COLUMNS["tuning"]
DIFFERENCES = (
    "known to differ: the movies. Which seeds, and how many movies, the published tuning is of is not known here: they "
    "are Monet2 with the usual parameters and the seeds 0, 1, ..., so that single units differ",
    "known to differ: the fit is begun at three widths of the peak instead of one, and the least error counts",
)


def compare_tuning(
    out: str | os.PathLike | None = None,
    *,
    scans: Sequence[str] | str | None = None,
    num_units: int = UNITS,
    movies: int = MOVIES,
    duration_s: float = DURATION_S,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Part:
    """OSI, DSI, gOSI, gDSI and preferences of the ori-trained weights beside ``ori_dir_tuning/units.csv``.

    Args:
        out: a folder; responses are kept in ``OUT/work``, so that a call that was killed goes on there.
        scans: names such as ``"8-5"``; default 8-5.
        num_units: of each scan, evenly spread over it.
        movies, duration_s: of the stimulus, Monet2, as for ``protocols.direction_tuning``.
        directory, offline, progress: as for ``microns.download``.

    Returns:
        A part whose table has a row for each measure: units that have it in both (of preferences only those that are
        selective: published gOSI > 0.25, and for the direction DSI > 0.25), ``correlation`` (circular for
        preferences), median absolute ``difference``, and the fraction of units ``within`` 0.05 or 10 degrees. It passes
        where each median difference is within that, and each correlation 0.8 or more; where it does not, the default
        weights are tried, if they are here.

    Raises:
        ValueError: scans that do not exist, or a stimulus too short for its directions.
        DownloadError, CheckpointError: what is needed cannot be had, or is not what it should be.
    """
    units, movies = checks.integer("num_units", num_units), checks.integer("movies", movies)
    duration_s = checks.number("duration_s", duration_s, above=0)
    work = None if out is None else checks.path("out", out) / "work"
    cache = Cache(directory, offline=offline, progress=progress)
    names = checked_scans(cache, SCANS if scans is None else scans)
    published = published_table(cache, "tuning")
    known, problems = known_rows(cache, ["tuning"])
    store = cache.require_scans(WEIGHTS, names)
    measure = functools.partial(
        _measured, units=units, movies=movies, duration_s=duration_s, work=work, progress=progress
    )
    ours = pd.concat([measure(Twin.load(store, name)) for name in names])
    both = ours.join(published.add_suffix("_published"))
    table = agreement(both)
    notes = list(DIFFERENCES)
    enough = table.dropna(subset=["difference"])
    far = enough[(enough["difference"] > enough["near"]) | (enough["correlation"] < LEAST_CORRELATION)]
    if len(far):
        problems.append(f"{', '.join(far['measure'])} {'is' if len(far) == 1 else 'are'} not those published.")
        here = [name for name in names if name in cache.scans("default")]
        if here:
            twins = [Twin.load(cache.store_directory("default"), name) for name in here]
            other = agreement(pd.concat(map(measure, twins)).join(published.add_suffix("_published")))
            nearer = (other["difference"] < table["difference"]).sum() > len(table) / 2
            which = "nearer: these were swapped, or the table was" if nearer else "not nearer"
            notes.append(f"tried: the default weights: {which} (median differences {_listed(other)})")
    facts = {
        "compared": f"{len(both)} units of {', '.join(names)}, {WEIGHTS} weights",
        "shown": f"Monet2, {movies} movies of {duration_s:g} s, 16 directions each",
        "tolerance": f"median absolute difference {INDEX_NEAR}, or 10 degrees, and correlation {LEAST_CORRELATION}",
        "median differences": _listed(table),
        "units within it": ", ".join(f"{row.measure} {100 * row.within:.0f} %" for row in enough.itertuples()),
        "correlation": ", ".join(f"{row.measure} {row.correlation:.3f}" for row in enough.itertuples()),
        "known rows": f"{int(known['same'].sum())} of {len(known)} numbers as known",
    }
    verdict = "Over the units the published tuning is met." if not problems else " ".join(problems)
    return Part(
        "tuning", not problems, verdict, facts, table, tuple(notes), lambda path=None: figures.tuning(both, table, path)
    )


def _measured(
    twin: Twin, *, units: int, movies: int, duration_s: float, work: Path | None, progress: bool | None
) -> pd.DataFrame:
    """Tuning of some units of a twin, by ``session, scan_idx, unit_id``."""
    rows = spread(twin.num_units, units, units)
    some = twin.select(twin.units.index[rows])
    protocol = direction_tuning(Display.of(twin), movies=movies, duration_s=duration_s)
    of = f"tuning-{twin.name}-{twin.weights}-{len(rows)}-{movies}-{duration_s:g}.zarr"
    result = protocol.run(some, None if work is None else work / of, progress=progress)
    return result.table.set_index(KEY)[MEASURES]


def agreement(both: pd.DataFrame) -> pd.DataFrame:
    """Measures of units beside published ones, which have ``_published`` in their names; see ``compare_tuning``.

    Returns:
        ``measure, units, correlation, difference, within, near`` (what ``within`` counts); NaN without any unit.
    """
    rows = []
    for measure in MEASURES:
        ours, theirs = (both[name].to_numpy(float) for name in (measure, f"{measure}_published"))
        there = np.isfinite(ours) & np.isfinite(theirs)
        if measure in TURNS:
            there &= both["gOSI_published"].to_numpy(float) > SELECTIVE
        if measure == "pref_dir":
            there &= both["DSI_published"].to_numpy(float) > SELECTIVE
        ours, theirs, near = ours[there], theirs[there], NEAR.get(measure, INDEX_NEAR)
        difference = apart(ours, theirs, TURNS.get(measure))
        known = len(difference) > 0
        rows.append(
            {
                "measure": measure,
                "units": len(difference),
                "correlation": _correlation(ours, theirs, TURNS.get(measure)),
                "difference": float(np.median(difference)) if known else np.nan,
                "within": float((difference <= near).mean()) if known else np.nan,
                "near": near,
            }
        )
    return pd.DataFrame(rows)


def apart(ours: np.ndarray, theirs: np.ndarray, turn: float | None) -> np.ndarray:
    """Absolute differences; of preferences in degrees, the shorter way around."""
    difference = np.abs(ours - theirs)
    return difference if turn is None else np.minimum(difference % turn, turn - difference % turn)


def _correlation(ours: np.ndarray, theirs: np.ndarray, turn: float | None) -> float:
    """Pearson's; of preferences the circular one, of sines of their distances from the mean direction."""
    if turn is not None:
        angles = [np.exp(2j * np.pi * each / turn) for each in (ours, theirs)]
        ours, theirs = (np.imag(each * np.conj(each.mean())) for each in angles) if len(ours) else (ours, theirs)
    if len(ours) < 3 or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return np.nan
    if turn is not None:
        return float((ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum()))
    return float(np.corrcoef(ours, theirs)[0, 1])


def _listed(table: pd.DataFrame) -> str:
    known = table.dropna(subset=["difference"])
    return ", ".join(f"{row.measure} {row.difference:.3g}" for row in known.itertuples())
