"""A training as one page: objectives, epochs, recordings, recipe, and how it was made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fnn_jax.common import page
from fnn_jax.version import __version__

OBJECTIVE = "Poisson loss, mean over frames, windows and units"
UNITS = {"training_objective": "Poisson loss", "validation_objective": "Poisson loss"}


def write(
    directory: Path,
    rows: Sequence[Mapping[str, Any]],
    recordings: Mapping[str, str],
    record: Mapping[str, Any],
    remarks: Sequence[str],
) -> Path:
    """Write ``report.html`` beside ``metrics.csv`` and ``objectives.png`` of a folder, whole or not at all.

    Args:
        rows: of ``Training.metrics``. recordings: what each scan was trained on, in words. record: what decides the
            result (``training.json``).
    """
    table = pd.DataFrame(rows)
    best = {}
    for column in UNITS:
        values = table[column].astype(float)
        if values.notna().any():
            best[f"best {column.replace('_', ' ')}"] = f"{values.min():.4f} in epoch {table['epoch'][values.idxmin()]}"
    said = ", ".join(f"{name} {value}" for name, value in best.items())
    parts = [
        page.heading("Objectives"),
        page.paragraph(f"Objective: {OBJECTIVE}."),
        page.facts({"epochs": len(table), **best}),
        *map(page.paragraph, remarks),
        page.picture(directory / "objectives.png", f"Objectives and learning rate by epoch; {said}"),
        page.table(table, "A row for each epoch", "metrics.csv", UNITS),
        page.heading("Recordings"),
        page.facts(recordings),
        page.heading("Recipe"),
        page.facts(record["recipe"]),
        page.heading("How it was made"),
        page.provenance(
            __version__,
            **{"optimizer": record["optimizer"], "start": record["start"] or "new weights"},
            **{"data fingerprints": ", ".join(f"{scan} {digest}" for scan, digest in record["data"].items())},
            **{"architecture": record["config"], "devices of the training": record["devices"]},
            **{"made with": ", ".join(f"{name} {version}" for name, version in record["versions"].items())},
        ),
    ]
    title = f"Training of {', '.join(recordings)}: {len(table)} epochs"
    return page.write_page(directory / page.REPORT, title, parts)
