"""An evaluation as one page: medians, figure, tables, and how it was made."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fnn_jax.common import page
from fnn_jax.version import __version__

if TYPE_CHECKING:
    from fnn_jax.evaluation.measures import Evaluation


def write(evaluation: "Evaluation", folder: Path, title: str, remarks: Sequence[str]) -> Path:
    """Write ``report.html`` beside the tables and ``summary.png`` of a folder, whole or not at all."""
    medians = evaluation.medians()
    settings = {
        name: value
        for name, value in evaluation.settings.items()
        if name not in ("provenance", "videos", "fingerprint")
    }
    values = ", ".join(f"{name} {value:.3f}" for name, value in medians.dropna().items())
    parts = [
        page.heading("Medians over units"),
        page.facts({name: "not defined" if value != value else f"{value:.3f}" for name, value in medians.items()}),
        *map(page.paragraph, remarks),
        page.picture(folder / "summary.png", f"Measures of all units; medians: {values}"),
        page.heading("Units"),
        page.table(evaluation.table.reset_index(), "A row for each unit; measures have no unit", "units.csv"),
        page.heading("Videos"),
        page.table(evaluation.per_video, "A row for each video and unit", "videos.csv"),
        page.heading("How it was made"),
        page.provenance(
            __version__,
            **settings,
            weights=evaluation.settings.get("provenance"),
            weights_sha256=evaluation.settings.get("fingerprint"),
        ),
    ]
    return page.write_page(folder / page.REPORT, title, parts)
