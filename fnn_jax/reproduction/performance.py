"""cc_abs, cc_max and cc_norm of a twin, computed from recordings, beside the published ones."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.data.evaluation import EvaluationData
from fnn_jax.evaluation.measures import BURN_IN, SETTINGS, Evaluation, evaluate
from fnn_jax.microns.cache import COLUMNS, Cache
from fnn_jax.reproduction import figures
from fnn_jax.reproduction.published import checked_scans
from fnn_jax.reproduction.report import Part
from fnn_jax.reproduction.tables import known_rows, published_table
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.units import KEY

TOLERANCE = 1e-3
MEASURES = COLUMNS["performance"]


def compare_performance(
    data: EvaluationData | str | os.PathLike,
    scan: str,
    out: str | os.PathLike | None = None,
    *,
    directory: str | os.PathLike | None = None,
    offline: bool | None = None,
    progress: bool | None = None,
) -> Part:
    """How well the default weights predict recordings of a published scan, beside the published table.

    Args:
        data: recordings of repeated videos of this scan, or their folder: docs/evaluation.md. The release is not known
            to hold them: this is for whoever has them.
        scan: whose they are, such as ``"8-5"``.
        out: a folder; the evaluation is kept in ``OUT/work``, and a second call reads it.
        directory, offline, progress: as for ``microns.download``.

    Returns:
        A part whose table has a row for each measure: ``units`` that have it in both, ``ours`` and ``published``
        medians, ``correlation``, median absolute ``difference``, and the fraction ``within`` 0.001. It passes where 95
        % of the units are within it: cc_max is of the recordings alone, so that where it differs, they are others.

    Raises:
        DataError: the folder is not as it should be. ValueError: no such scan, or recordings of other units.
        DownloadError, CheckpointError: what is needed cannot be had, or is not what it should be.
    """
    cache = Cache(directory, offline=offline, progress=progress)
    (name,) = checked_scans(cache, checks.text("scan", scan))
    data = data if isinstance(data, EvaluationData) else EvaluationData(checks.path("data", data))
    if data.num_units != cache.release.num_units[name]:
        raise ValueError(
            f"data has responses of {data.num_units} units, and {name} has {cache.release.num_units[name]}: they are "
            "of another scan or animal (the published example, animal 27203, has a scan 4-7 of 8509 units)."
        )
    known, problems = known_rows(cache, ["performance"])
    twin = Twin.load(cache.require_scans("default", [name]), name)
    work = None if out is None else checks.path("out", out) / "work" / f"evaluation-{name}"
    evaluation = evaluated(twin, data, work, progress)
    both = evaluation.table.set_index(KEY)[MEASURES].join(
        published_table(cache, "performance").add_suffix("_published")
    )
    table = pd.DataFrame([_agreement(both, measure) for measure in MEASURES])
    far = table[~(table["within"] >= 0.95)]["measure"].tolist()
    if "cc_max" in far:
        problems.append(
            "cc_max, which is of the recordings alone, differs: they are other recordings, other videos of them, or "
            "other repeats than those of the table."
        )
    elif far:
        differ = "differs" if len(far) == 1 else "differ"
        problems.append(f"{' and '.join(far)} {differ}, though the recordings are those of the table (cc_max agrees).")
    facts = {
        "compared": f"{len(both)} units of {name}, {len(data)} videos, {data.num_repeats} repeats, without the "
        f"first {BURN_IN} frames of each",
        "tolerance": f"{TOLERANCE} for 95 % of the units",
        "within it": ", ".join(f"{row.measure} {100 * row.within:.0f} %" for row in table.itertuples()),
        "medians": ", ".join(
            f"{row.measure} {row.ours:.4f} (published {row.published:.4f})" for row in table.itertuples()
        ),
        "known rows": f"{int(known['same'].sum())} of {len(known)} numbers as known",
    }
    verdict = "The published performance is met, unit by unit." if not problems else " ".join(problems)
    draw = lambda path=None: figures.performance(both, table, path)  # noqa: E731
    return Part("performance", not problems, verdict, facts, table, draw=draw)


def evaluated(twin: Twin, data: EvaluationData, work: Path | None, progress: bool | None) -> Evaluation:
    """The evaluation that is kept, if it is of this twin and these recordings; else a new one."""
    if work is not None and (work / SETTINGS).is_file():
        kept = Evaluation.load(work)
        if kept.settings["fingerprint"] == twin.fingerprint() and kept.settings["data"] == str(data.directory):
            return kept
    evaluation = evaluate(twin, data, progress=progress)
    if work is not None:
        evaluation.save(work, overwrite=True)
    return evaluation


def _agreement(both: pd.DataFrame, measure: str) -> dict[str, str | int | float]:
    there = both[[measure, f"{measure}_published"]].dropna().to_numpy(float)
    ours, published = there.T
    difference = np.abs(ours - published)
    varies = len(there) > 2 and np.ptp(ours) > 0 and np.ptp(published) > 0
    return {
        "measure": measure,
        "units": len(there),
        "ours": float(np.median(ours)) if len(there) else np.nan,
        "published": float(np.median(published)) if len(there) else np.nan,
        "correlation": float(np.corrcoef(ours, published)[0, 1]) if varies else np.nan,
        "difference": float(np.median(difference)) if len(there) else np.nan,
        "within": float((difference <= TOLERANCE).mean()) if len(there) else np.nan,
    }
