"""Where predictions differ from the published ones: what else they might be, and which of it fits best."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.rate import HZ
from fnn_jax.microns.cache import Cache
from fnn_jax.reproduction.comparison import SHIFTS, as_rounded, compare, is_float16, nearest, shifted
from fnn_jax.reproduction.prediction import predict
from fnn_jax.twin.twin import Twin

CLIP_FRAMES = 10 * HZ  # of each of the clips that the published stream is made of
USUAL = "default weights, periphery dark"


def what_fits(
    cache: Cache,
    scan: str,
    chosen: pd.DataFrame,
    stimulus: np.ndarray,
    published: np.ndarray,
    tolerance: float,
    work: Path | None,
) -> pd.DataFrame:
    """Other ways to predict some units of a scan, beside their published responses.

    Args:
        chosen: ``unit_id`` of each column. stimulus: ``[frame, H, W]``. published: ``[frame, unit]``.
        work: where predictions are kept.

    Returns:
        ``what``, ``largest`` difference, ``median`` of units' largest differences, and median ``correlation``; the
        best first. Of other weights only those that are here are tried.
    """
    rows: list[dict[str, Any]] = []

    def add(what: str, predicted: np.ndarray, measured: np.ndarray) -> None:
        table = compare(predicted, measured, tolerance)
        numbers = {"largest": table["largest"].max(), "median": table["largest"].median()}
        rows.append({"what": what, **numbers, "correlation": table["correlation"].median()})

    ids = chosen["unit_id"].to_numpy()
    for tag in cache.release.weights:
        if scan not in cache.scans(tag):
            continue
        twin = Twin.load(cache.store_directory(tag), scan)
        for periphery in ("dark", "extend"):
            name = f"{tag} weights, periphery {periphery}"
            predicted = predict(twin.select(unit_ids=ids), stimulus, work, periphery)
            add(name, predicted, published)
            for frames in SHIFTS:
                late = "later" if frames > 0 else "earlier"
                add(
                    f"{name}, published responses {abs(frames)} frame{'s' * (abs(frames) > 1)} {late}",
                    *shifted(predicted, published, frames),
                )
            if is_float16(published):
                add(f"{name}, published responses rounded to float16", as_rounded(predicted, published), published)
        usual = f"{tag} weights, periphery dark"
        if len(stimulus) > CLIP_FRAMES:
            add(f"{usual}, state reset with each clip of 10 s", _reset(twin.select(unit_ids=ids), stimulus), published)
        others, best = _other_units(twin, ids, stimulus, published, work)
        if others:
            add(f"{usual}, other units of the scan: {others}", best, published)
    table = pd.DataFrame(rows).sort_values(["largest", "median"], ignore_index=True, kind="stable")
    return table


def _reset(twin: Twin, stimulus: np.ndarray) -> np.ndarray:
    clips = [stimulus[start : start + CLIP_FRAMES] for start in range(0, len(stimulus), CLIP_FRAMES)]
    return np.concatenate([twin.predict(clip, progress=False) for clip in clips])


def _other_units(
    twin: Twin, ids: np.ndarray, stimulus: np.ndarray, published: np.ndarray, work: Path | None
) -> tuple[str, np.ndarray]:
    """Which units of the scan the published rows are most like: in words, unless they are the expected ones."""
    everyone = predict(twin, stimulus, work)
    columns = nearest(published, everyone)
    found = twin.units["unit_id"].to_numpy()[columns]
    other = np.flatnonzero(found != ids)
    pairs = [f"the row of unit_id {ids[place]} is that of {found[place]}" for place in other[:3]]
    words = f"{len(other)} of {len(ids)} rows belong to others, {', '.join(pairs)}" if len(other) else ""
    return words, everyone[:, columns]
