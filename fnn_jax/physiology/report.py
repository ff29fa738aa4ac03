"""What a protocol found, to look at: tables, figures, and one page with them."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnn_jax.common import checks, page
from fnn_jax.common.rate import HZ
from fnn_jax.physiology import figures
from fnn_jax.physiology.columns import KNOWN
from fnn_jax.physiology.result import Result
from fnn_jax.stimuli.sheet import contact_sheet
from fnn_jax.version import __version__

SUFFIXES = (".png", ".pdf")
MOST_FRAMES = 90  # of the movie in the page: three seconds
POLAR, FIELDS = 12, 8  # units in the figures of several
FITTED = {"mu": "rad", "u": "per frame", "A": "per frame", "rmse": "per frame", "r_max": "per frame"}


def write_report(
    result: Result, folder: str | os.PathLike, *, pages: int = 6, settings: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write the tables of ``Result.save``, figures, and ``report.html``, which holds them, into a folder.

    Figures as .png and .pdf: ``stimulus``, ``summary``, ``tuning`` or ``fields`` where there are such panels, and
    ``units/SCAN-ID`` of the best units (the protocol's ``best_by``). Each file is written whole or not at all, the
    page last.

    Args:
        result: of ``Protocol.run``. folder: made where it is not there.
        pages: single units that are drawn, the best first; a second or two each.
        settings: what the page says besides of how the result was made.

    Returns:
        The paths, the page last.

    Raises:
        TypeError, ValueError: an argument is something else.
        DiskFullError, OSError: the files cannot be written.
    """
    if not isinstance(result, Result):
        raise TypeError(f"result is {checks.shown(result)}; expected what Protocol.run returned.")
    pages = checks.integer("pages", pages, 0)
    folder = checks.path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    written, best = result.save(folder), best_units(result)
    drawn = _figures(result, best, pages)
    for name, (draw, _) in drawn.items():
        for suffix in SUFFIXES:
            draw(folder / f"{name}{suffix}")
            written.append(folder / f"{name}{suffix}")
    parts = [
        *_stimulus(result, folder),
        page.heading("Units"),
        *(page.picture(folder / f"{name}.png", said) for name, (_, said) in drawn.items() if name != "stimulus"),
        page.table(result.table, "A row for each unit", "units.csv", _units(result)),
        page.heading("How it was made"),
        page.provenance(__version__, **{**_record(result), **(settings or {})}),
    ]
    return [*written, page.write_page(folder / page.REPORT, _title(result), parts)]


def best_units(result: Result) -> list[int]:
    """Rows of the table by the protocol's ``best_by``, else by how much responses differ; the best first."""
    column = result.protocol.best_by
    if column is None and result.responses is None:
        return list(range(len(result.table)))
    score = result.table[column].to_numpy(float) if column else np.ptp(result.responses, axis=0)  # type: ignore[arg-type]
    return np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable").tolist()


def _figures(result: Result, best: list[int], pages: int) -> dict[str, tuple[Any, str]]:
    """By name: what draws it into a path, and what is seen on it."""
    kinds = {panel.kind for panel in result.protocol.panels}
    drawn = {
        "stimulus": (lambda path: contact_sheet(result.protocol.movie(0), path), "Frames of the first movie"),
        "summary": (
            lambda path: figures.scan_summary(result, path, title=_title(result)),
            f"How the measures are distributed over {len(result.table)} units",
        ),
    }
    if "polar" in kinds:
        said = f"Responses over directions of the best {min(POLAR, len(best))} units"
        drawn["tuning"] = (lambda path: figures.polar_tuning(result, best[:POLAR], path), said)
    if "field" in kinds:
        said = f"Receptive fields of the best {min(FIELDS, len(best))} units"
        drawn["fields"] = (lambda path: figures.receptive_field_panels(result, best[:FIELDS], path), said)
    for unit in best[:pages]:
        row = result.table.iloc[unit]
        drawn[f"units/{row['scan']}-{row['readout_id']}"] = (
            lambda path, unit=unit: figures.unit_report(result, unit, path),
            f"Unit {row['readout_id']} of {row['scan']}: what it responds to, and what was measured",
        )
    return drawn


def _title(result: Result) -> str:
    return f"{result.protocol.name}: {', '.join(result.table['scan'].unique())}, {len(result.table)} units"


def _stimulus(result: Result, folder: Path) -> Iterator[str]:
    labels = {each["label"]: None for each in _attributes(result).get("provenance", []) if each.get("label")}
    if labels:
        yield page.paragraph(f"Weights: {', '.join(labels)}.")
    protocol, movie = result.protocol, result.protocol.movie(0)
    seconds = movie.num_frames / HZ
    yield page.heading("Stimulus")
    yield page.paragraph(
        f"{len(protocol)} movie{'s' * (len(protocol) != 1)} with {len(protocol.conditions)} intervals in all; the "
        f"first takes {seconds:.4g} s. conditions.csv says what each interval shows."
    )
    shown = "" if movie.num_frames <= MOST_FRAMES else f", the first {MOST_FRAMES / HZ:.4g} s"
    yield page.video(movie.frames[:MOST_FRAMES], f"The first movie{shown}, at the speed of 30 Hz")
    yield page.picture(folder / "stimulus.png", "Frames of the first movie, and when they are shown")


def _units(result: Result) -> dict[str, str]:
    """Units of columns: what stands in parentheses in their labels."""
    columns = {**KNOWN, **{column.name: column for column in result.protocol.summary}}
    found = {name: re.search(r"\((.*)\)$", column.label) for name, column in columns.items()}
    unit = result.protocol.display.unit
    return {**FITTED, **{name: match[1].format(unit=unit) for name, match in found.items() if match}}


def _attributes(result: Result) -> Mapping[str, Any]:
    """Of the screen, which a result that was loaded lacks."""
    return {} if result.dataset is None else result.dataset.attrs


def _record(result: Result) -> dict[str, Any]:
    """What the screen says of itself: twins, weights, settings."""
    attributes = _attributes(result)
    settings = dict(attributes.get("settings", {}))
    shown: dict[str, Any] = {"display": result.protocol.display, "twins": ", ".join(settings.pop("twins", []))}
    settings.pop("intervals", None)
    shown |= {name: value for name, value in settings.items() if value not in (None, [], {})}
    shown["weights"] = "; ".join(map(str, attributes.get("provenance", [])))
    return {**shown, "computed with": attributes.get("computed_with", "")}
