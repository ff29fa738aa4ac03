"""The released model's own predictions, predicted again, and compared frame by frame."""

import os
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.progress import progress_bar
from fnn_jax.common.rate import HZ
from fnn_jax.microns.cache import Cache
from fnn_jax.reproduction import figures
from fnn_jax.reproduction.alternatives import USUAL, what_fits
from fnn_jax.reproduction.comparison import compare
from fnn_jax.reproduction.prediction import predict
from fnn_jax.reproduction.published import Predictions, checked_scans
from fnn_jax.reproduction.report import Part
from fnn_jax.twin.twin import Twin

TOLERANCE = 1e-5  # of a unit's largest response: docs/numbers.md; float32 programs that compute the same differ by 1e-6
TF32_TOLERANCE = 2e-3  # what rounding of products to tensorfloat32 may make of it: docs/numbers.md measured 4.5e-4
UNITS, FRAMES = 50, 300
MOST_LISTED = 6  # of the ways that were tried
WEIGHTS = "default"  # that the published predictions are of


def compare_responses(
    out: str | os.PathLike | None = None,
    *,
    scans: Sequence[str] | str | None = None,
    num_units: int = UNITS,
    num_frames: int = FRAMES,
    tolerance: float = TOLERANCE,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Part:
    """Predict what the release's ``responses.npy`` holds, and compare: the first frames of the published stream.

    The state starts anew at the first frame only, eye and behaviour are zeros, and the mean over all streams is taken.
    Of the published files (31 GB and 2.8 GB) only what is compared comes, by HTTP range; it is kept beside the weights,
    so that a second call asks for nothing.

    Args:
        out: a folder; predictions are kept in ``OUT/work``, so that a call that was killed goes on there.
        scans: names such as ``"8-5"``; default all.
        num_units: of each scan, evenly spread over it.
        num_frames: from the first one on, at 30 Hz.
        tolerance: the largest difference that passes, as a fraction of each unit's largest published response.
        directory, offline, progress: as for ``microns.download``.

    Returns:
        A part whose table has a row for each unit: ``scan, unit_id, readout_id, row`` (of the published array),
        ``largest`` and ``median`` difference, ``correlation``, ``first_frame`` beyond the tolerance. Where it fails,
        the scan that differs most is predicted in other ways too, and what fits best is said.

    Raises:
        ValueError: scans that do not exist, more frames than were published, a number out of range.
        DownloadError, CheckpointError: what is needed is not here and cannot be had, or is not what it should be.
    """
    units, frames = checks.integer("num_units", num_units), checks.integer("num_frames", num_frames, 2)
    tolerance = checks.number("tolerance", tolerance, above=0)
    work = None if out is None else checks.path("out", out) / "work"
    cache = Cache(directory, offline=offline, progress=progress)
    names = checked_scans(cache, scans)
    published = Predictions(cache)
    configuration = cache.release.architecture(1)
    published.check(frames, (configuration.stimulus_height, configuration.stimulus_width))
    store = cache.require_scans(WEIGHTS, names)
    chosen = published.choose(names, units)
    recorded = {}
    for scan, table in progress_bar(progress, "published responses", "scan", over=chosen.items()):
        recorded[scan] = published.of_rows(table["row"].to_numpy(), frames)
    stimulus = published.first_frames(frames)
    tables, predicted = [], {}
    for scan, table in progress_bar(progress, "predictions", "scan", over=chosen.items()):
        twin = Twin.load(store, scan).select(unit_ids=table["unit_id"].to_numpy())
        predicted[scan] = predict(twin, stimulus, work)
        named = table.assign(scan=scan, readout_id=twin.units.index)[["scan", "unit_id", "readout_id", "row"]]
        tables.append(pd.concat([named, compare(predicted[scan], recorded[scan], tolerance)], axis=1))
    table = pd.concat(tables, ignore_index=True)
    facts = _facts(table, names, frames, tolerance, published)
    worst = table["largest"].fillna(np.inf).idxmax()
    passed = bool((table["largest"] <= tolerance).all())
    notes: tuple[str, ...] = ()
    verdict = "The released model's predictions are reproduced, frame by frame."
    if not passed:
        scan = str(table.loc[worst, "scan"])
        if progress is not False:
            print(f"fnn_jax: responses differ; {scan} is predicted in other ways, too", file=sys.stderr)
        verdict, notes = _failure(
            table, tolerance, what_fits(cache, scan, chosen[scan], stimulus, recorded[scan], tolerance, work)
        )

    def draw(path=None):
        shown = table[table["scan"] == table.loc[worst, "scan"]].index
        errors = {scan: (predicted[scan], recorded[scan]) for scan in names}
        return figures.responses(table, errors, int(worst - shown[0]), tolerance, path)

    return Part("responses", passed, verdict, facts, table, notes, draw)


def _facts(
    table: pd.DataFrame, scans: Sequence[str], frames: int, tolerance: float, published: Predictions
) -> dict[str, str]:
    correlation = table["correlation"].dropna()
    first = table["first_frame"].dropna()
    facts = {
        "compared": f"{len(table)} units of {len(scans)} scan{'s' * (len(scans) > 1)}, frames 0 to {frames - 1} "
        f"({frames / HZ:.3g} s), mean over all streams",
        "tolerance": f"{tolerance:.1e} of each unit's largest response",
        "largest difference": f"{table['largest'].max():.2e}{_undefined(table)}",
        "median difference": f"{table['median'].median():.2e}",
        "units within it": f"{int((table['largest'] <= tolerance).sum())} of {len(table)}",
        "correlation": f"smallest {correlation.min():.7f}, median {correlation.median():.7f}"
        if len(correlation)
        else "not defined: every response is constant",
        "begins at frame": "none" if not len(first) else _begin(table),
        "rows are those of": published.order_from,
        "asked for": f"{published.responses.requests + published.stimulus.requests} requests, "
        f"{(published.responses.bytes + published.stimulus.bytes) / 1e6:.1f} MB",
    }
    return facts


def _undefined(table: pd.DataFrame) -> str:
    count = int(table["largest"].isna().sum())
    return f"; {count} units have numbers that are not finite" if count else ""


def _begin(table: pd.DataFrame) -> str:
    row = table.loc[table["first_frame"].astype(float).idxmin()]
    return f"{row['first_frame']} (counted from 0), of scan {row['scan']}, unit_id {row['unit_id']}"


def _failure(table: pd.DataFrame, tolerance: float, tried: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
    """The verdict where something differs, and what was tried."""
    largest, best = table["largest"].max(), tried.iloc[0]
    listed = [f"tried: {row['what']}: largest difference {row['largest']:.1e}" for _, row in tried.iterrows()]
    if len(listed) > MOST_LISTED:
        listed = [*listed[:MOST_LISTED], f"tried: {len(listed) - MOST_LISTED} other ways, none of which comes nearer"]
    by = f" by up to {largest:.1e}" if np.isfinite(largest) else ""
    differ = f"They differ{by}{_undefined(table)}; it begins at frame {_begin(table)}."
    if best["largest"] <= tolerance and not table["largest"].isna().any():
        return f"{differ} What fits: {best['what']}.", tuple(listed)
    if largest <= TF32_TOLERANCE and not table["largest"].isna().any():
        rounding = (
            f"Products that are rounded to tensorfloat32, as the released package has them on GPUs unless told "
            f"otherwise, may differ by as much (up to {TF32_TOLERANCE:.0e}); so may weights that are hardly different. "
            f"--tolerance {TF32_TOLERANCE:g} accepts it."
        )
        return f"{differ} Nothing that was tried explains it.", (rounding, *listed)
    nearest = "" if best["what"] == USUAL else f"; nearest comes: {best['what']}"
    return f"{differ} Nothing that was tried explains it{nearest}.", tuple(listed)
